//! Stage *train*: which contents the program will read first when it is opened.
//!
//! The machine goes on from its freeze point, after the snapshot was taken and
//! in the same unreal world, until it waits for input, ends, or has run for
//! [`BUDGET`]. A program that is frozen before its first instructions and has
//! code translated was run that far already (`translate::Training`). What it reads
//! is kept warm ([`friscy_formats::warm`]), and what is too much for that is put at
//! the front of the chunk store, so that a host can fetch it in one stretch. A service
//! that answered requests before the freeze answers them again. Nothing else of this run is kept.

use anyhow::{Context, Result};
use friscy_formats::aot::Translations;
use friscy_formats::ring::{EVENT_WINSIZE, Op, Status};
use friscy_formats::warm::BlockId;
use wasmtime::Store;

use crate::freeze::{Input, Still};
use crate::ring;
use crate::vm::Vm;

/// Guest instructions, at most: about a second.
pub const BUDGET: u64 = 300_000_000;
/// Guest instructions per call.
const SLICE: i64 = 5_000_000;
/// Sleeps, at most: a server with a tick never ends by itself.
const SLEEPS: u32 = 50;

/// What the machine reads after its freeze point, in order, each block once. `vm` was frozen and is used up.
pub fn go_on(vm: &Vm, store: &mut Store<Still>, input: Input<'_>) -> Result<Vec<BlockId>> {
    vm.record_reads(&mut *store)?;
    vm.thaw(&mut *store)?;
    vm.chunk_slot(&mut *store, u32::MAX)?;
    // Translated code is not in this instance.
    vm.translations(&mut *store, &Translations::default())?;
    if input.boot.tty {
        // As every host does; the size is new to the program, whatever it is.
        vm.ring.set_winsize(vm.memory.data_mut(&mut *store), 24, 80)?;
        vm.ring.complete(vm.memory.data_mut(&mut *store), EVENT_WINSIZE, 0)?;
    }
    input.goal.warm_up(vm, &mut *store)?;
    let mut sleeps = 0;
    let end = vm.ring.retired(vm.memory.data(&*store))?.saturating_add(BUDGET);
    while vm.ring.retired(vm.memory.data(&*store))? < end {
        let status = vm.resume(&mut *store, SLICE)?;
        serve(vm, store, input)?;
        let memory = vm.memory.data(&*store);
        match status {
            Status::Runnable => {}
            // What the service was asked again is answered.
            Status::Exited | Status::Frozen => break,
            Status::Idle if vm.ring.answered(memory)? => {}
            Status::Idle => match vm.ring.deadline_ns(memory)? {
                u64::MAX => break,
                _ if sleeps == SLEEPS => break,
                deadline => {
                    sleeps += 1;
                    store.data_mut().sleep_until(deadline);
                }
            },
        }
    }
    vm.reads(&mut *store)
}

/// Output goes nowhere and input never comes.
fn serve(vm: &Vm, store: &mut Store<Still>, input: Input<'_>) -> Result<()> {
    let memory = vm.memory.data_mut(&mut *store);
    while let Some(entry) = vm.ring.take(memory)? {
        let result = match Op::from_u32(entry.op) {
            Some(Op::ConsoleRead) => continue,
            Some(Op::ChunkFetch | Op::ChunkRefetch) => {
                let buffer = ring::buffer(memory, &entry)
                    .context("the engine asks for a transfer outside of its memory")?;
                let stored = ring::chunk(input.store, &entry).context("no such chunk")?;
                buffer.copy_from_slice(stored);
                stored.len() as i64
            }
            _ => entry.len as i64,
        };
        vm.ring.complete(memory, entry.token, result)?;
    }
    Ok(())
}
