//! Stage *freeze*: run the engine's own initialisation and the guest's first
//! steps in the engine's own Wasm, and let Wizer take the snapshot.
//!
//! Nothing here is real: the clock starts at a fixed date and moves with every
//! look at it, entropy is a stream that begins with the image's digest, and
//! there is no input. So the same image gives the same bytes, and what must be
//! renewed on opening is renewed by `friscy_thaw`.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use friscy_formats::aot::Profile;
use friscy_formats::boot::Boot;
use friscy_formats::ring::{LogLevel, Op, REPLAY_BYTES, Status};
use friscy_formats::warm::BlockId;
use friscy_translator::Output;
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use crate::point::Goal;
use crate::translate::Plan;
use crate::vm::{self, Vm, World, wasmtime_error};
use crate::{code, ring, train};

/// 2026-01-01T00:00:00Z: the date of everything that a guest writes before the freeze.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;
/// What one look at the clock costs.
const LOOK_NS: u64 = 1_000;
/// Guest instructions per call.
const BUDGET: i64 = 5_000_000;
/// End of the guest's output that is kept: what `output:REGEX` looks at, beside a new piece.
const SAID_BYTES: usize = 65536;
/// Last lines of it that an error shows, and the most of each.
const SAID_LINES: usize = 10;
const SAID_COLUMNS: usize = 200;

/// What to freeze.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The engine.
    pub engine: &'a [u8],
    /// The VFS archive.
    pub archive: &'a [u8],
    /// The chunk store.
    pub store: &'a [u8],
    /// What to start.
    pub boot: &'a Boot,
    /// How far to run it.
    pub goal: &'a Goal,
    /// Table slot that the link stage gives to the chunk accessor.
    pub chunk_slot: u32,
    /// And to the accessor of the warm segment.
    pub warm_slot: u32,
    /// Where entropy starts.
    pub seed: [u8; 32],
    /// Translate what ran.
    pub plan: Option<&'a Plan>,
    /// Find out which chunks are read next.
    pub go_on: bool,
}

/// A snapshot.
#[derive(Debug)]
pub struct Frozen {
    /// As Wizer wrote it; for the link stage.
    pub wasm: Vec<u8>,
    /// Guest instructions before the freeze point.
    pub retired: u64,
    /// Where the VFS archive lies in memory.
    pub archive_at: u32,
    /// Chunks read before the freeze point, in order, each once.
    pub touched: Vec<u32>,
    /// What was read when the machine went on from there, in order, each block once.
    pub next: Vec<BlockId>,
    /// The guest asked for the freeze before the point was reached.
    pub asked: bool,
    /// What the freeze does not carry over, a line each.
    pub caveats: Vec<String>,
    /// For the link stage.
    pub translated: Option<Output>,
}

/// The freeze point was not reached.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub struct NotReached {
    /// Why, in one line.
    line: String,
    /// The program's last output and what its tasks wait for, a line each.
    pub details: Vec<String>,
}

/// What [`run`] finds out, beside the memory.
struct Reached {
    retired: u64,
    archive_at: u32,
    touched: Vec<u32>,
    asked: bool,
    caveats: Vec<String>,
    translated: Option<Output>,
}

/// The world of pack time: nothing in it is real.
#[derive(Debug)]
pub struct Still {
    now_ns: u64,
    entropy: blake3::OutputReader,
    limits: StoreLimits,
    last_words: Vec<u8>,
}

impl Still {
    /// At the date when every world of pack time begins.
    pub fn new(seed: &[u8; 32]) -> Still {
        let entropy = blake3::Hasher::new().update(seed).finalize_xof();
        let limits = StoreLimitsBuilder::new().memory_size(4 << 30).build();
        Still { now_ns: 0, entropy, limits, last_words: Vec::new() }
    }

    /// Let time pass.
    pub fn sleep_until(&mut self, monotonic_ns: u64) {
        self.now_ns = self.now_ns.max(monotonic_ns);
    }
}

impl World for Still {
    fn realtime_ns(&mut self) -> u64 {
        EPOCH_NS + self.monotonic_ns()
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.now_ns += LOOK_NS;
        self.now_ns
    }

    fn entropy(&mut self, bytes: &mut [u8]) {
        self.entropy.fill(bytes);
    }

    fn last_words(&mut self, text: &[u8]) {
        self.last_words.extend_from_slice(text);
    }
}

/// Run to the freeze point and take the snapshot. `log` gets the lines that the engine logs, `progress` the
/// instructions so far.
pub fn freeze(
    input: Input<'_>,
    log: &mut dyn FnMut(LogLevel, &str),
    progress: &mut dyn FnMut(u64),
) -> Result<Frozen> {
    let engine = vm::engine()?;
    let mut store = Store::new(&engine, Still::new(&input.seed));
    store.limiter(|world| &mut world.limits);

    // The closure's error goes around Wizer: it is for the user, Wizer's are not.
    let mut outcome: Option<Result<(Vm, Reached)>> = None;
    let wasm =
        pollster::block_on(wizer::Wizer::new().run(&mut store, input.engine, async |store, module| {
            let instance = vm::linker(store.engine(), module)
                .and_then(|linker| linker.instantiate(&mut *store, module).map_err(wasmtime_error))
                .map_err(|error| wasmtime::Error::msg(format!("{error:#}")))?;
            let result = Vm::new(store, instance)
                .and_then(|vm| run(&vm, store, input, log, progress).map(|reached| (vm, reached)));
            let failed = result.is_err();
            outcome = Some(result);
            if failed {
                Err(wasmtime::Error::msg("the guest did not reach the freeze point"))
            } else {
                Ok(instance)
            }
        }));
    match (wasm, outcome) {
        (_, Some(Err(error))) => Err(match std::mem::take(&mut store.data_mut().last_words) {
            words if words.is_empty() => error,
            words => error.context(String::from_utf8_lossy(&words).trim_end().to_string()),
        }),
        (Ok(wasm), Some(Ok((vm, reached)))) => {
            let Reached { retired, archive_at, touched, asked, caveats, translated } = reached;
            // What it shows only makes opening faster: a program that breaks down now does so when it is opened.
            let next = match input.go_on {
                true => train::go_on(&vm, &mut store, input).unwrap_or_default(),
                false => Vec::new(),
            };
            Ok(Frozen { wasm, retired, archive_at, touched, next, asked, caveats, translated })
        }
        (Err(error), _) => Err(wasmtime_error(error)).context("the engine cannot be frozen"),
        (Ok(_), None) => bail!("the engine was not started"),
    }
}

/// Run `boot` in an instance of its own to its end, until it waits for ever, or for `most` instructions, and tell
/// what ran. Nothing of it remains.
pub fn train(input: Input<'_>, boot: &Boot, most: u64) -> Result<(Profile, Vec<BlockId>)> {
    let engine = vm::engine()?;
    let module = code::module(&engine, input.engine)?;
    let mut store = Store::new(&engine, Still::new(&input.seed));
    store.limiter(|world| &mut world.limits);
    let instance = vm::linker(&engine, &module)?.instantiate(&mut store, &module).map_err(wasmtime_error)?;
    let vm = Vm::new(&mut store, instance)?;
    vm.mount(&mut store, input.archive)?;
    vm.record(&mut store)?;
    let mut log = |_: LogLevel, _: &str| {};
    let mut host = Host::new(&vm, input, &mut log);
    vm.boot(&mut store, boot)?;
    vm.record_reads(&mut store)?;
    loop {
        let status = vm.resume(&mut store, BUDGET)?;
        host.serve(&mut store)?;
        // None of it will be repeated.
        host.written = 0;
        let retired = vm.ring.retired(vm.memory.data(&store))?;
        match status {
            Status::Exited => match host.warning.take().filter(|_| retired == 0) {
                Some(why) => bail!("{why}"),
                None => break,
            },
            // What waits for input has shown what it does without.
            Status::Idle if host.idle(&mut store, retired).is_err() => break,
            Status::Frozen => break,
            _ if retired >= most => break,
            Status::Idle | Status::Runnable => {}
        }
    }
    Ok((vm.profile(&mut store)?, vm.reads(&mut store)?))
}

/// From an empty instance to the freeze point.
fn run(
    vm: &Vm,
    store: &mut Store<Still>,
    input: Input<'_>,
    log: &mut dyn FnMut(LogLevel, &str),
    progress: &mut dyn FnMut(u64),
) -> Result<Reached> {
    let start = Instant::now();
    let archive_at = vm.mount(&mut *store, input.archive)?;
    vm.chunk_slot(&mut *store, input.chunk_slot)?;
    vm.set_warm_slot(&mut *store, input.warm_slot)?;
    if input.plan.is_some() {
        vm.record(&mut *store)?;
    }
    let mut host = Host::new(vm, input, log);
    vm.boot(&mut *store, input.boot)?;
    input.goal.warm_up(vm, &mut *store)?;
    loop {
        let status = vm.resume(&mut *store, BUDGET)?;
        host.serve(store)?;
        let retired = vm.ring.retired(vm.memory.data(&*store))?;
        progress(retired);
        match status {
            // The machine itself repeats output and asks again for input when it is thawed.
            _ if host.matched || status == Status::Frozen => {
                let asked = status == Status::Frozen && vm.ring.exit_code(vm.memory.data(&*store))? == 1;
                let caveats = vm.caveats(&mut *store)?;
                let translated = input.plan.map(|plan| plan.carry_out(vm, store)).transpose()?.flatten();
                return Ok(Reached {
                    retired,
                    archive_at,
                    touched: host.touched,
                    asked,
                    caveats,
                    translated,
                });
            }
            Status::Exited => {
                let code = vm.ring.exit_code(vm.memory.data(&*store))?;
                return Err(host.ended(store, code, retired));
            }
            Status::Idle => host.idle(store, retired)?,
            Status::Runnable | Status::Frozen => {}
        }
        let by_guest = std::time::Duration::from_nanos(store.data().now_ns);
        if start.elapsed().max(by_guest) > input.goal.timeout {
            let seconds = input.goal.timeout.as_secs();
            let line = format!("not reached after {seconds} s and {retired} instructions (--until-timeout)");
            return Err(host.not_reached(store, &line));
        }
    }
}

/// The packer as host of the ring.
struct Host<'a> {
    vm: &'a Vm,
    input: Input<'a>,
    log: &'a mut dyn FnMut(LogLevel, &str),
    /// The guest waits for input, of which there is none yet.
    reading: bool,
    /// The engine's last warning: why nothing started.
    warning: Option<String>,
    /// The end of what the guest has written.
    output: Vec<u8>,
    /// Bytes that it has written in all.
    written: usize,
    /// The output is what `output:REGEX` waits for.
    matched: bool,
    touched: Vec<u32>,
}

impl<'a> Host<'a> {
    fn new(vm: &'a Vm, input: Input<'a>, log: &'a mut dyn FnMut(LogLevel, &str)) -> Host<'a> {
        Host {
            vm,
            input,
            log,
            reading: false,
            warning: None,
            output: Vec::new(),
            written: 0,
            matched: false,
            touched: Vec::new(),
        }
    }

    fn serve(&mut self, store: &mut Store<Still>) -> Result<()> {
        let (vm, input) = (self.vm, self.input);
        let memory = vm.memory.data_mut(&mut *store);
        while let Some(entry) = vm.ring.take(memory)? {
            let buffer = ring::buffer(memory, &entry)
                .context("the engine asks for a transfer outside of its memory")?;
            let result = match Op::from_u32(entry.op) {
                Some(Op::ConsoleRead) => {
                    self.reading = true;
                    continue;
                }
                Some(Op::ConsoleWrite) => {
                    self.said(buffer)?;
                    entry.len as i64
                }
                Some(Op::ChunkFetch | Op::ChunkRefetch) => {
                    let stored = ring::chunk(input.store, &entry).context("no such chunk")?;
                    buffer.copy_from_slice(stored);
                    if !self.touched.contains(&entry.arg) {
                        self.touched.push(entry.arg);
                    }
                    stored.len() as i64
                }
                Some(Op::Log) => {
                    let level = match entry.arg {
                        level if level == LogLevel::Strace as u32 => LogLevel::Strace,
                        level if level == LogLevel::Failure as u32 => LogLevel::Failure,
                        _ => LogLevel::Warning,
                    };
                    let line = String::from_utf8_lossy(buffer);
                    (self.log)(level, &line);
                    if level == LogLevel::Warning {
                        self.warning = Some(line.into_owned());
                    }
                    0
                }
                Some(Op::Translate) | None => {
                    bail!("the engine asks for operation {}, which this packer does not know", entry.op)
                }
            };
            vm.ring.complete(memory, entry.token, result)?;
        }
        Ok(())
    }

    /// The guest wrote `piece`.
    fn said(&mut self, piece: &[u8]) -> Result<()> {
        self.written += piece.len();
        if self.written > REPLAY_BYTES {
            bail!(
                "the program wrote more than {} MiB before the freeze point, all of which would be repeated on \
                 opening; send its output elsewhere, or freeze it earlier",
                REPLAY_BYTES >> 20
            );
        }
        self.output.drain(..self.output.len().saturating_sub(SAID_BYTES));
        self.output.extend_from_slice(piece);
        self.matched |=
            self.input.goal.point.output.as_ref().is_some_and(|regex| regex.is_match(&self.output));
        Ok(())
    }

    /// Every task waits: let time pass, if that helps.
    fn idle(&mut self, store: &mut Store<Still>, retired: u64) -> Result<()> {
        if self.vm.ring.answered(self.vm.memory.data(&*store))? {
            return Ok(());
        }
        match self.vm.ring.deadline_ns(self.vm.memory.data(&*store))? {
            u64::MAX if !self.reading => {
                let line = format!("not reached: after {retired} instructions every task waits for ever");
                Err(self.not_reached(store, &line))
            }
            u64::MAX => {
                let line = format!(
                    "not reached: the program waits for input after {retired} instructions; freeze it there with \
                     --until idle"
                );
                Err(self.not_reached(store, &line))
            }
            deadline => {
                store.data_mut().sleep_until(deadline);
                Ok(())
            }
        }
    }

    fn ended(&mut self, store: &mut Store<Still>, code: u32, retired: u64) -> anyhow::Error {
        if retired == 0
            && let Some(why) = self.warning.take()
        {
            return anyhow::anyhow!("{why}; say what to run with --entrypoint, or after --");
        }
        self.not_reached(
            store,
            &format!("not reached: the program ended with exit code {code}; freeze it earlier"),
        )
    }

    /// The error: `line` after the point's name, then the last output and what every task waits for.
    fn not_reached(&self, store: &mut Store<Still>, line: &str) -> anyhow::Error {
        let line = format!("freeze point {} {line}", self.input.goal.point);
        let output = String::from_utf8_lossy(&self.output);
        let shown =
            |line: &str| line.chars().filter(|c| !c.is_control()).take(SAID_COLUMNS).collect::<String>();
        let mut details: Vec<String> = output
            .trim_end()
            .lines()
            .rev()
            .take(SAID_LINES)
            .map(|line| format!("output: {}", shown(line)))
            .collect();
        details.reverse();
        match self.vm.tasks(store) {
            Ok(tasks) => details.extend(tasks.iter().map(|task| format!("task: {}", shown(task)))),
            Err(error) => return error.context(line),
        }
        NotReached { line, details }.into()
    }
}
