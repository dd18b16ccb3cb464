//! Compiling an app's translated code while the guest runs: the first output
//! never waits for it. What was compiled once is in wasmtime's cache.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmtime::{AsContextMut, Engine, Module};

use crate::vm::{Vm, wasmtime_error};

/// How long the guest runs without output before its translated code is compiled all the same.
const PATIENCE: Duration = Duration::from_millis(100);

/// When translated code is compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// While the program runs, once it has written something or has run for a moment
    #[default]
    Beside,
    /// Before the program starts
    First,
    /// Not at all: everything is interpreted
    Never,
}

/// Translated code on its way.
#[derive(Debug, Default)]
pub struct Late {
    stage: Stage,
    /// Functions in it.
    functions: u32,
}

#[derive(Debug, Default)]
enum Stage {
    /// The bytes, and when to begin at the latest.
    Waiting(Engine, Vec<u8>, Instant),
    Compiling(Receiver<Result<Module>>),
    #[default]
    Done,
}

impl Late {
    /// Make `code`, which is a module of so many functions, part of the machine when it is time. Called before guest code runs.
    pub fn new(
        vm: &Vm,
        mut store: impl AsContextMut,
        code: Option<(Vec<u8>, u32)>,
        when: When,
    ) -> Result<Late> {
        let Some((code, functions)) = code else { return Ok(Late::default()) };
        let engine = store.as_context().engine().clone();
        vm.translated(&mut store, false)?;
        let stage = match when {
            When::Never => Stage::Done,
            When::Beside => Stage::Waiting(engine, code, Instant::now() + PATIENCE),
            When::First => {
                let module = Module::new(&engine, code).map_err(wasmtime_error)?;
                vm.add(&mut store, &module, functions)?;
                vm.translated(store, true)?;
                Stage::Done
            }
        };
        Ok(Late { stage, functions })
    }

    /// Take the next step, if it is time for one. `written`: there was output.
    pub fn step(&mut self, vm: &Vm, mut store: impl AsContextMut, written: bool) -> Result<()> {
        match &mut self.stage {
            Stage::Done => {}
            Stage::Waiting(engine, code, latest) => {
                if written || Instant::now() >= *latest {
                    self.stage = Stage::Compiling(beside(engine.clone(), std::mem::take(code))?);
                }
            }
            Stage::Compiling(result) => match result.try_recv() {
                Err(TryRecvError::Empty) => {}
                // The thread is gone without an answer: it has said why.
                Err(TryRecvError::Disconnected) => self.stage = Stage::Done,
                Ok(module) => {
                    vm.add(&mut store, &module?, self.functions)?;
                    vm.translated(store, true)?;
                    self.stage = Stage::Done;
                }
            },
        }
        Ok(())
    }
}

/// Compile in a thread of its own, which leaves a core to the guest where there are several.
fn beside(engine: Engine, code: Vec<u8>) -> Result<Receiver<Result<Module>>> {
    let (sender, receiver) = channel();
    let others = std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1);
    let compile = move || -> Result<Module> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(others).build()?;
        pool.install(|| Module::new(&engine, code)).map_err(wasmtime_error)
    };
    std::thread::Builder::new()
        .name("compile".to_string())
        // When the guest has ended meanwhile, nobody listens.
        .spawn(move || drop(sender.send(compile())))
        .context("cannot start a thread")?;
    Ok(receiver)
}
