//! Translated code while the guest runs: what the app brings is compiled, and
//! what is hot without having been foreseen is translated, both in a thread
//! beside, so that nothing waits for it, the first output least of all. What was
//! compiled once is in wasmtime's cache.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use friscy_formats::ring::EVENT_TRANSLATOR;
use friscy_translator::module::{self, Batch, SLOTS};
use wasmtime::{AsContextMut, Engine, Instance, Module, Store};

use crate::vm::{Vm, wasmtime_error};

/// How long the guest runs without output before translated code is dealt with all the same.
const PATIENCE: Duration = Duration::from_millis(100);
/// Requests that are answered in a run: wasmtime keeps every instance as long as the store.
const BATCHES_MAX: u32 = 512;

/// When translated code is compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// While the program runs, once it has written something or has run for a moment
    #[default]
    Beside,
    /// What the file holds before the program starts, what turns out to be hot beside it
    First,
    /// Not at all: everything is interpreted
    Never,
}

/// Translated code that an app brings.
#[derive(Debug)]
pub struct Code {
    /// A module, which fills the first new slots of the table.
    pub code: Vec<u8>,
    /// How many functions.
    pub functions: u32,
    /// A module that puts second forms into their slots if the host fuses.
    pub fused: Option<Vec<u8>>,
}

impl Code {
    /// The modules, in the order in which they belong into the table.
    fn compiled(&self, compile: impl Fn(&[u8]) -> Result<Module>) -> Result<Vec<Module>> {
        [Some(&self.code), self.fused.as_ref()].into_iter().flatten().map(|code| compile(code)).collect()
    }
}

/// The thread's work.
#[derive(Debug)]
enum Job {
    /// Compile what the app brings.
    Compile(Code),
    /// Answer the request with this token; a profile, and the first of the slots.
    Translate(u64, Vec<u8>, u32),
}

/// What came of it.
#[derive(Debug)]
enum Done {
    Compiled(Vec<Module>),
    Translated(u64, Option<(Module, Batch)>),
}

/// Translated code on its way.
#[derive(Debug)]
pub struct Late {
    /// What the app brings, until it is compiled.
    code: Option<Code>,
    /// When to begin at the latest.
    latest: Instant,
    engine: Engine,
    worker: Option<(Sender<Job>, Receiver<Result<Done>>)>,
    never: bool,
    /// Can translate for this engine.
    able: bool,
    /// Requests that were taken.
    batches: u32,
    /// Functions that were translated while the guest ran.
    pub functions: u32,
    /// The first of the slots for the next request, when they are there already.
    slots: Option<u32>,
}

impl Late {
    /// Make `code` part of the machine when it is time. `able`: the engine is
    /// that of this host, for which it can translate more. Called before guest code runs.
    pub fn new(
        vm: &Vm,
        mut store: impl AsContextMut,
        code: Option<Code>,
        when: When,
        able: bool,
    ) -> Result<Late> {
        let mut late = Late {
            code: None,
            latest: Instant::now() + PATIENCE,
            engine: store.as_context().engine().clone(),
            worker: None,
            never: when == When::Never,
            able,
            batches: 0,
            functions: 0,
            slots: None,
        };
        if let Some(code) = code {
            vm.translated(&mut store, false)?;
            vm.add_slots(&mut store, code.functions)?;
            if when == When::First {
                for module in code.compiled(|code| Module::new(&late.engine, code).map_err(wasmtime_error))? {
                    vm.add(&mut store, &module)?;
                }
                vm.translated(store, true)?;
            } else {
                late.code = Some(code);
            }
        }
        Ok(late)
    }

    /// Take the next step, if it is time for one. `written`: there was output. An event or an answer for the engine.
    pub fn step(
        &mut self,
        vm: &Vm,
        mut store: impl AsContextMut,
        written: bool,
    ) -> Result<Option<(u64, i64)>> {
        if self.never {
            return Ok(None);
        }
        let Some((_, done)) = &self.worker else {
            if !written && Instant::now() < self.latest {
                return Ok(None);
            }
            let (jobs, done) = worker(self.engine.clone())?;
            if let Some(code) = self.code.take() {
                jobs.send(Job::Compile(code)).context("the compiler's thread has ended")?;
            }
            self.worker = Some((jobs, done));
            return Ok(self.able.then_some((EVENT_TRANSLATOR, 1)));
        };
        match done.try_recv() {
            Err(_) => Ok(None),
            Ok(done) => match done? {
                Done::Compiled(modules) => {
                    for module in modules {
                        vm.add(&mut store, &module)?;
                    }
                    vm.translated(store, true)?;
                    Ok(None)
                }
                Done::Translated(token, None) => Ok(Some((token, 0))),
                Done::Translated(token, Some((module, batch))) => {
                    self.slots = None;
                    self.functions += batch.functions;
                    vm.add(&mut store, &module)?;
                    vm.add_translations(store, &batch.map)?;
                    Ok(Some((token, batch.functions.into())))
                }
            },
        }
    }

    /// The engine asks for a translation. False when it will not get one.
    pub fn translate(
        &mut self,
        vm: &Vm,
        store: impl AsContextMut,
        token: u64,
        profile: Vec<u8>,
    ) -> Result<bool> {
        let Some((jobs, _)) = &self.worker else { return Ok(false) };
        if self.batches == BATCHES_MAX {
            // It stays unanswered, so that no other comes.
            return Ok(true);
        }
        self.batches += 1;
        let first = match self.slots {
            Some(first) => first,
            None => vm.add_slots(store, SLOTS)?,
        };
        self.slots = Some(first);
        Ok(jobs.send(Job::Translate(token, profile, first)).is_ok())
    }
}

/// A thread that does one job after the other, and leaves a core to the guest where there are several.
fn worker(engine: Engine) -> Result<(Sender<Job>, Receiver<Result<Done>>)> {
    let (jobs, todo) = channel();
    let (say, done) = channel();
    let others = available_parallelism().map_or(1, |cores| cores.get() - 1).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(others).build()?;
    let compile = move |code: &[u8]| pool.install(|| Module::new(&engine, code)).map_err(wasmtime_error);
    let mut fuses = None;
    let mut work = move |job| match job {
        Job::Compile(code) => Ok(Done::Compiled(code.compiled(&compile)?)),
        Job::Translate(token, profile, first) => {
            let fuses = match fuses {
                Some(known) => known,
                None => *fuses.insert(self::fuses(&compile(&module::probe())?)?),
            };
            let Some(batch) = module::batch(&profile, first, fuses) else {
                return Ok(Done::Translated(token, None));
            };
            Ok(Done::Translated(token, Some((compile(&batch.module)?, batch))))
        }
    };
    std::thread::Builder::new()
        .name("translate".to_string())
        .spawn(move || {
            for job in todo {
                // When the guest has ended meanwhile, nobody listens.
                if say.send(work(job)).is_err() {
                    break;
                }
            }
        })
        .context("cannot start a thread")?;
    Ok((jobs, done))
}

/// What the probe says.
fn fuses(probe: &Module) -> Result<bool> {
    let mut store = Store::new(probe.engine(), ());
    let instance = Instance::new(&mut store, probe, &[]).map_err(wasmtime_error)?;
    let fuses = instance.get_typed_func::<(), i32>(&mut store, module::FUSES).map_err(wasmtime_error)?;
    Ok(fuses.call(&mut store, ()).map_err(wasmtime_error)? != 0)
}
