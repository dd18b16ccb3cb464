//! Stage *freeze*: run the engine's own initialisation and the guest's first
//! steps in the engine's own Wasm, and let Wizer take the snapshot.
//!
//! Nothing here is real: the clock starts at a fixed date and moves with every
//! look at it, entropy is a stream that begins with the image's digest, and
//! there is no input. So the same image gives the same bytes, and what must be
//! renewed on opening is renewed by `friscy_thaw`.

use anyhow::{Context, Result, bail};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::ring::{LogLevel, Op, Status};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use crate::ring;
use crate::vm::{self, Vm, World, wasmtime_error};

/// 2026-01-01T00:00:00Z: the date of everything that a guest writes before the freeze.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;
/// What one look at the clock costs.
const LOOK_NS: u64 = 1_000;
/// Guest instructions per call.
const BUDGET: i64 = 5_000_000;
/// End of the guest's output that is kept for an error's line.
const SAID_BYTES: usize = 4096;

/// What to freeze.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The engine.
    pub engine: &'a [u8],
    /// The VFS archive.
    pub archive: &'a [u8],
    /// The chunk store.
    pub store: &'a [u8],
    /// Position and stored length of each chunk in the store.
    pub chunks: &'a [(u64, u32)],
    /// What to start, and how far to run it.
    pub boot: &'a Boot,
    /// Table slot that the link stage gives to the chunk accessor.
    pub chunk_slot: u32,
    /// Where entropy starts.
    pub seed: [u8; 32],
}

/// A snapshot.
#[derive(Debug)]
pub struct Frozen {
    /// As Wizer wrote it; for the link stage.
    pub wasm: Vec<u8>,
    /// Guest instructions before the freeze point.
    pub retired: u64,
    /// Chunks read before the freeze point, in order, each once.
    pub touched: Vec<u32>,
}

struct Still {
    now_ns: u64,
    entropy: blake3::OutputReader,
    limits: StoreLimits,
    last_words: Vec<u8>,
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
    let entropy = blake3::Hasher::new().update(&input.seed).finalize_xof();
    let limits = StoreLimitsBuilder::new().memory_size(4 << 30).build();
    let mut store = Store::new(&engine, Still { now_ns: 0, entropy, limits, last_words: Vec::new() });
    store.limiter(|world| &mut world.limits);

    // The closure's error goes around Wizer: it is for the user, Wizer's are not.
    let mut outcome: Option<Result<(u64, Vec<u32>)>> = None;
    let wasm =
        pollster::block_on(wizer::Wizer::new().run(&mut store, input.engine, async |store, module| {
            let instance = vm::linker(store.engine(), module)
                .and_then(|linker| linker.instantiate(&mut *store, module).map_err(wasmtime_error))
                .map_err(|error| wasmtime::Error::msg(format!("{error:#}")))?;
            let result = Vm::new(store, instance).and_then(|vm| run(&vm, store, input, log, progress));
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
        (Ok(wasm), Some(Ok((retired, touched)))) => Ok(Frozen { wasm, retired, touched }),
        (Err(error), _) => Err(wasmtime_error(error)).context("the engine cannot be frozen"),
        (Ok(_), None) => bail!("the engine was not started"),
    }
}

/// From an empty instance to the freeze point.
fn run(
    vm: &Vm,
    store: &mut Store<Still>,
    input: Input<'_>,
    log: &mut dyn FnMut(LogLevel, &str),
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Vec<u32>)> {
    vm.mount(&mut *store, input.archive)?;
    vm.chunk_slot(&mut *store, input.chunk_slot)?;
    let mut host =
        Host { vm, input, log, reading: false, warning: None, output: Vec::new(), touched: Vec::new() };
    vm.boot(&mut *store, input.boot)?;
    loop {
        let status = vm.resume(&mut *store, BUDGET)?;
        host.serve(store)?;
        let retired = vm.ring.retired(vm.memory.data(&*store))?;
        progress(retired);
        match status {
            Status::Runnable => {}
            // The machine itself repeats output and asks again for input when it is thawed.
            Status::Frozen => return Ok((retired, host.touched)),
            Status::Exited => {
                return Err(host.ended(vm.ring.exit_code(vm.memory.data(&*store))?, retired));
            }
            Status::Idle => host.idle(store, retired)?,
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
    touched: Vec<u32>,
}

impl Host<'_> {
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
                    self.output.extend_from_slice(buffer);
                    self.output.drain(..self.output.len().saturating_sub(SAID_BYTES));
                    entry.len as i64
                }
                Some(Op::ChunkFetch) => {
                    let (offset, len) = *input.chunks.get(entry.arg as usize).context("no such chunk")?;
                    let start = usize::try_from(offset)?;
                    let stored = input.store.get(start..start + len as usize).context("no such chunk")?;
                    let len = stored.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&stored[..len]);
                    if !self.touched.contains(&entry.arg) {
                        self.touched.push(entry.arg);
                    }
                    len as i64
                }
                Some(Op::Log) => {
                    let level = if entry.arg == LogLevel::Strace as u32 {
                        LogLevel::Strace
                    } else {
                        LogLevel::Warning
                    };
                    let line = String::from_utf8_lossy(buffer);
                    (self.log)(level, &line);
                    if level == LogLevel::Warning {
                        self.warning = Some(line.into_owned());
                    }
                    0
                }
                None => bail!("the engine asks for operation {}, which this packer does not know", entry.op),
            };
            vm.ring.complete(memory, entry.token, result)?;
        }
        Ok(())
    }

    /// Every task waits: let time pass, if that helps.
    fn idle(&mut self, store: &mut Store<Still>, retired: u64) -> Result<()> {
        if self.vm.ring.answered(self.vm.memory.data(&*store))? {
            return Ok(());
        }
        match self.vm.ring.deadline_ns(self.vm.memory.data(&*store))? {
            u64::MAX if !self.reading => {
                bail!(
                    "the program waits for ever after {retired} instructions, before the freeze point{}",
                    self.said()
                )
            }
            u64::MAX => bail!(
                "the program waits for input after {retired} instructions, before the freeze point; \
                 freeze it there with --until idle{}",
                self.said()
            ),
            deadline => {
                let world = store.data_mut();
                world.now_ns = world.now_ns.max(deadline);
                Ok(())
            }
        }
    }

    fn ended(&mut self, code: u32, retired: u64) -> anyhow::Error {
        if retired == 0
            && let Some(why) = self.warning.take()
        {
            return anyhow::anyhow!("{why}; say what to run with --entrypoint, or after --");
        }
        match self.input.boot.until {
            Until::Never | Until::Entry => {
                anyhow::anyhow!("the program ended with exit code {code}{}", self.said())
            }
            _ => anyhow::anyhow!(
                "the program ended with exit code {code} before the freeze point; freeze it earlier{}",
                self.said()
            ),
        }
    }

    /// The end of the guest's output, for an error's line.
    fn said(&self) -> String {
        match String::from_utf8_lossy(&self.output).trim().lines().last() {
            Some(line) => format!(" (its last words: {})", line.chars().take(200).collect::<String>()),
            None => String::new(),
        }
    }
}
