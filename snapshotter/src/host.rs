//! The native host: an app.wasm under wasmtime in this terminal.
//!
//! Only the engine is compiled before the guest runs (and cached: it is the same
//! for every image), translated code beside it ([`crate::compile`]); the memory
//! image is copied in, and chunks are handed over straight from the mapped file.
//! Then: resume, serve the ring, wait, again.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::ring::{EVENT_SIGNAL, EVENT_WINSIZE, LogLevel, Op, Status, Submission};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wasmtime::{Caller, Func, Memory, Store};

use crate::app::{App, Warm};
use crate::compile::{Code, Late, When};
use crate::marks::{self, Marks};
use crate::terminal::{self, Raw, Signals};
use crate::vm::{self, Vm, World, wasmtime_error};
use crate::{code, embedded, native, ring};

/// Guest instructions between two looks at the outside.
const BUDGET: i64 = 2_000_000;

/// How to open an app.
#[derive(Debug, Default)]
pub struct Options {
    /// Start this in the place of what was frozen.
    pub boot: Option<Boot>,
    /// No standard input.
    pub no_input: bool,
    /// Say what the engine warns of.
    pub verbose: bool,
    /// When translated code is compiled.
    pub compile: When,
    /// Stages of opening, for who measures.
    pub marks: Marks,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The guest's exit code, 128+N for a signal.
    pub code: u8,
    /// Guest instructions, those of before the freeze included.
    pub retired: u64,
    /// Linear memory at the end.
    pub memory_bytes: u64,
    /// From the call to the guest's first instruction here.
    pub opened: Duration,
    /// From the call to the first byte of output; the whole time if there was none.
    pub first_output: Duration,
    /// From the call to the end.
    pub total: Duration,
    /// Bytes read from the chunk store.
    pub chunk_bytes: u64,
    /// Functions translated while the guest ran.
    pub translated: u32,
    /// Why not one guest instruction ran.
    pub not_started: Option<String>,
}

struct Live {
    start: Instant,
    last_words: Vec<u8>,
}

impl World for Live {
    fn realtime_ns(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn entropy(&mut self, bytes: &mut [u8]) {
        // Without it nothing that the guest does with keys is safe, so there is no going on.
        std::fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(bytes))
            .unwrap_or_else(|error| panic!("/dev/urandom: {error}"));
    }

    fn last_words(&mut self, text: &[u8]) {
        self.last_words.extend_from_slice(text);
    }
}

/// Open `app` and run it to its end.
pub fn run(app: &App, mut options: Options) -> Result<Outcome> {
    let start = Instant::now();
    let (vm, mut store, late) = open(app, start, &mut options)?;
    let result = drive(app, &vm, &mut store, late, options);
    result.map_err(|error| {
        // A trap says little; the engine's last words say why.
        match std::mem::take(&mut store.data_mut().last_words) {
            words if words.is_empty() => error,
            words => error.context(String::from_utf8_lossy(&words).trim_end().to_string()),
        }
    })
}

fn open(app: &App, start: Instant, options: &mut Options) -> Result<(Vm, Store<Live>, Late)> {
    let marks = &mut options.marks;
    let engine = vm::engine()?;
    let parts = native::split(app.bytes(), app.translated_functions())?;
    let module = code::module(&engine, &parts.engine)?;
    marks.mark(marks::COMPILE);
    let mut store = Store::new(&engine, Live { start, last_words: Vec::new() });
    let linker = vm::linker(&engine, &module)?;
    let instance = linker.instantiate(&mut store, &module).map_err(wasmtime_error)?;
    let memory = instance.get_memory(&mut store, "memory").context("the engine exports no memory")?;
    let pages = app.memory_pages.saturating_sub(memory.size(&store));
    memory.grow(&mut store, pages).map_err(wasmtime_error)?;
    for (at, bytes) in app.runs() {
        memory.write(&mut store, at as usize, bytes)?;
    }
    let vm = Vm::new(&mut store, instance)?;
    marks.mark(marks::INSTANTIATE);
    vm.thaw(&mut store)?;
    marks.mark(marks::THAW);
    vm.chunk_slot(&mut store, u32::MAX)?;
    let accessor = warm_accessor(&mut store, memory, app.warm());
    vm.warm_accessor(&mut store, accessor)?;
    // Engine and translated code call each other in ways that change from version to version.
    let able = app.manifest.engine_digest == embedded::ENGINE_DIGEST;
    let code = parts.translated.map(|(code, functions)| Code {
        code,
        functions,
        fused: app.fused().map(<[u8]>::to_vec),
    });
    let late = Late::new(&vm, &mut store, code, options.compile, able)?;
    Ok((vm, store, late))
}

/// What is a `memory.init` in the file itself: its data is not in the module that is compiled here.
fn warm_accessor(store: &mut Store<Live>, memory: Memory, warm: Warm) -> Func {
    Func::wrap(&mut *store, move |mut caller: Caller<'_, Live>, dst: u32, offset: u32, len: u32| {
        let from = offset as usize..offset as usize + len as usize;
        let to = dst as usize..dst as usize + len as usize;
        match (warm.get(from), memory.data_mut(&mut caller).get_mut(to)) {
            (Some(from), Some(to)) => to.copy_from_slice(from),
            _ => return Err(wasmtime::Error::from(wasmtime::Trap::MemoryOutOfBounds)),
        }
        Ok(())
    })
}

fn drive(app: &App, vm: &Vm, store: &mut Store<Live>, late: Late, options: Options) -> Result<Outcome> {
    let mut boot = options.boot;
    let tty = boot.as_ref().unwrap_or(&app.boot).tty;
    let (rows, cols) = if tty { terminal::size() } else { (0, 0) };
    if let Some(boot) = &mut boot {
        (boot.rows, boot.cols, boot.until) = (rows, cols, Until::Never);
        vm.boot(&mut *store, boot)?;
    }
    // Signals first: nothing may end us between raw mode and its restoration.
    let signals = Signals::listen().context("cannot listen for signals")?;
    let raw = if tty && terminal::present() {
        Some(Raw::enter().context("cannot put the terminal into raw mode")?)
    } else {
        None
    };
    let mut host = Host {
        app,
        vm,
        signals,
        raw,
        no_input: options.no_input,
        verbose: options.verbose,
        marks: options.marks,
        warning: None,
        reading: Vec::new(),
        events: Vec::new(),
        late,
        outcome: Outcome { opened: store.data().start.elapsed(), ..Outcome::default() },
    };
    if tty {
        host.resized(store)?;
    }
    host.marks.mark(marks::FIRST_INSTRUCTION);
    host.run(store)?;
    let start = store.data().start;
    let mut outcome = host.outcome;
    outcome.translated = host.late.functions;
    let memory = vm.memory.data(&*store);
    outcome.total = start.elapsed();
    if outcome.first_output.is_zero() {
        outcome.first_output = outcome.total;
    }
    outcome.retired = vm.ring.retired(memory)?;
    outcome.not_started = host.warning.filter(|_| outcome.retired == 0);
    outcome.memory_bytes = memory.len() as u64;
    outcome.code = u8::try_from(vm.ring.exit_code(memory)? & 0xff).unwrap_or(u8::MAX);
    Ok(outcome)
}

struct Host<'a> {
    app: &'a App,
    vm: &'a Vm,
    signals: Signals,
    raw: Option<Raw>,
    no_input: bool,
    verbose: bool,
    marks: Marks,
    /// A warning that was not shown, for it may tell why nothing started.
    warning: Option<String>,
    /// Reads that wait for input; the first is served first.
    reading: Vec<Submission>,
    /// Events that found the completion queue full.
    events: Vec<(u64, i64)>,
    late: Late,
    outcome: Outcome,
}

impl Host<'_> {
    fn run(&mut self, store: &mut Store<Live>) -> Result<()> {
        loop {
            self.serve(store)?;
            let status = self.vm.resume(&mut *store, BUDGET)?;
            self.serve(store)?;
            let written = !self.outcome.first_output.is_zero();
            self.events.extend(self.late.step(self.vm, &mut *store, written)?);
            match status {
                Status::Exited => return Ok(()),
                Status::Frozen => bail!("the engine froze although nobody asked it to"),
                Status::Runnable => self.wait(store, Some(Duration::ZERO))?,
                Status::Idle => {
                    let timeout = self.timeout(store)?;
                    self.wait(store, timeout)?;
                }
            }
        }
    }

    /// How long nothing can happen by itself; `None`: for ever.
    fn timeout(&self, store: &mut Store<Live>) -> Result<Option<Duration>> {
        let now = store.data_mut().monotonic_ns();
        let memory = self.vm.memory.data(&*store);
        if self.vm.ring.answered(memory)? || !self.events.is_empty() {
            return Ok(Some(Duration::ZERO));
        }
        Ok(match self.vm.ring.deadline_ns(memory)? {
            u64::MAX => None,
            deadline => Some(Duration::from_nanos(deadline.saturating_sub(now))),
        })
    }

    /// Do what the engine asked for.
    fn serve(&mut self, store: &mut Store<Live>) -> Result<()> {
        let vm = self.vm;
        let start = store.data().start;
        let memory = vm.memory.data_mut(&mut *store);
        let mut posted = 0;
        for &(token, result) in &self.events {
            if !vm.ring.complete(memory, token, result)? {
                break;
            }
            posted += 1;
        }
        self.events.drain(..posted);
        let mut hot = Vec::new();
        while let Some(entry) = vm.ring.take(memory)? {
            let buffer = ring::buffer(memory, &entry)
                .context("the engine asks for a transfer outside of its memory")?;
            let result = match Op::from_u32(entry.op) {
                Some(Op::ConsoleWrite) => {
                    if self.outcome.first_output.is_zero() {
                        self.outcome.first_output = start.elapsed();
                    }
                    let fd = if entry.arg == 2 { rustix::stdio::stderr() } else { rustix::stdio::stdout() };
                    let result = write(fd, buffer);
                    self.marks.mark(marks::FIRST_OUTPUT);
                    result
                }
                Some(Op::ConsoleRead) if self.no_input => 0,
                Some(Op::ConsoleRead) => {
                    self.reading.push(entry);
                    continue;
                }
                Some(Op::ChunkFetch | Op::ChunkRefetch) => match ring::chunk(self.app.store(), &entry) {
                    Some(stored) => {
                        buffer.copy_from_slice(stored);
                        self.outcome.chunk_bytes += stored.len() as u64;
                        stored.len() as i64
                    }
                    None => negative(Errno::IO),
                },
                Some(Op::Log) => {
                    self.log(entry.arg, buffer);
                    0
                }
                Some(Op::Translate) => {
                    hot.push((entry.token, buffer.to_vec()));
                    continue;
                }
                None => negative(Errno::NOSYS),
            };
            if !vm.ring.complete(memory, entry.token, result)? {
                self.events.push((entry.token, result));
            }
        }
        for (token, profile) in hot {
            if !self.late.translate(vm, &mut *store, token, profile)? {
                self.events.push((token, negative(Errno::NOSYS)));
            }
        }
        Ok(())
    }

    fn log(&mut self, level: u32, line: &[u8]) {
        let strace = level == LogLevel::Strace as u32;
        if level == LogLevel::Warning as u32 && !self.verbose {
            self.warning = Some(String::from_utf8_lossy(line).into_owned());
            return;
        }
        let mut text = if strace { Vec::new() } else { b"friscy-snap: ".to_vec() };
        text.extend_from_slice(line);
        text.extend_from_slice(if self.raw.is_some() { b"\r\n" } else { b"\n" });
        write(rustix::stdio::stderr(), &text);
    }

    /// Let input, signals and time come, for at most `timeout`.
    fn wait(&mut self, store: &mut Store<Live>, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let stdin = rustix::stdio::stdin();
        let (signalled, readable) = {
            let mut fds = vec![PollFd::from_borrowed_fd(self.signals.fd(), PollFlags::IN)];
            if !self.reading.is_empty() {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot poll standard input"),
            }
            (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()))
        };
        if signalled {
            for signal in self.signals.take() {
                if terminal::is_resize(signal) {
                    self.resized(store)?;
                } else {
                    self.events.push((EVENT_SIGNAL, signal.into()));
                }
            }
        }
        if readable {
            self.read(store)?;
        }
        Ok(())
    }

    /// One read(2) of standard input, for the read that waited longest.
    fn read(&mut self, store: &mut Store<Live>) -> Result<()> {
        let entry = self.reading.remove(0);
        let memory = self.vm.memory.data_mut(&mut *store);
        let buffer =
            ring::buffer(memory, &entry).context("the engine asks for a transfer outside of its memory")?;
        let result = match rustix::io::read(rustix::stdio::stdin(), buffer) {
            Ok(count) => count as i64,
            Err(Errno::INTR | Errno::AGAIN) => {
                self.reading.insert(0, entry);
                return Ok(());
            }
            Err(error) => negative(error),
        };
        self.events.push((entry.token, result));
        Ok(())
    }

    fn resized(&mut self, store: &mut Store<Live>) -> Result<()> {
        let (rows, cols) = terminal::size();
        self.vm.ring.set_winsize(self.vm.memory.data_mut(&mut *store), rows, cols)?;
        self.events.push((EVENT_WINSIZE, 0));
        Ok(())
    }
}

fn negative(error: Errno) -> i64 {
    -i64::from(error.raw_os_error())
}

/// Write all of it, also to a descriptor that does not block; bytes written, or a negative error number.
fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> i64 {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::write(fd, &bytes[done..]) {
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Somebody made our output non-blocking; wait as if it were not.
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(error) if done == 0 => return negative(error),
            Err(_) => break,
        }
    }
    done as i64
}

/// CPU time of this process's threads so far, as far as the system says.
pub fn cpu_time() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let on_cpu_ns = tasks.flatten().filter_map(|task| {
        let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(on_cpu_ns.sum())
}

/// Whether an error means that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
