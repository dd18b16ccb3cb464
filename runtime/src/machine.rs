//! The machine: kernel, ring and clock as one thing that a host steps.
//!
//! The only way in for hosts: mount an archive, boot a program, `resume` until
//! it ends. What is submitted to the host and what comes back is routed here;
//! what runs when is `kernel::run`.

use std::rc::Rc;

use friscy_formats::aot::{Profile, Translations};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::ring::{EVENT_SIGNAL, EVENT_TRANSLATOR, EVENT_WINSIZE, Header, LogLevel, Op, Status};
use friscy_formats::vfs::{self, ArchivedVfs};
use friscy_formats::warm::BlockId;

use crate::abi::Errno;
use crate::fs::Vfs;
use crate::fs::chunks::Request;
use crate::hart::Library;
use crate::kernel::freeze::Watch;
use crate::kernel::run::Ran;
use crate::kernel::start::{StartError, start};
use crate::kernel::{Kernel, exec};
use crate::mm::Linear;
use crate::net::WarmUp;
use crate::net::warm_up::Step;
use crate::platform::Platform;
use crate::ring::{Completed, Ring};

/// A timer farther away than this does not keep a machine from being idle.
const IDLE_HORIZON_NS: u64 = 1_000_000_000;
/// Short sleeps in a row after which a machine that does nothing else counts as idle: servers with a tick.
const IDLE_TICKS: u32 = 20;
/// Instructions that such a tick may take.
const TICK_INSTRUCTIONS: u64 = 2_000_000;
/// Exit codes of a program that is not there, or cannot be started: as docker's.
const EXIT_NOT_FOUND: u32 = 127;
const EXIT_NOT_EXECUTABLE: u32 = 126;

/// One guest machine.
pub struct Machine {
    platform: Rc<dyn Platform>,
    ring: Ring,
    linear: Option<Rc<Linear>>,
    archive: Option<&'static ArchivedVfs>,
    kernel: Option<Kernel>,
    library: Rc<Library>,
    boot: Boot,
    /// The first process waits for contents of its program.
    starting: bool,
    /// Nothing ran since boot.
    untouched: bool,
    /// Monotonic time at which [`Machine::freeze`] stopped the clock.
    frozen_at: Option<u64>,
    /// A console write is with the host; pieces go one by one, so that order holds when one is taken in part.
    writing: bool,
    /// The user knows that the chunk store is damaged: one line says it, however many chunks are.
    told_of_damage: bool,
    ticks: u32,
    ticked_at: u64,
    warm_up: WarmUp,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine without a file system or a program.
    pub fn new(platform: Rc<dyn Platform>) -> Machine {
        Machine {
            platform,
            ring: Ring::new(),
            linear: None,
            archive: None,
            kernel: None,
            library: Rc::default(),
            boot: Boot::default(),
            starting: false,
            untouched: true,
            frozen_at: None,
            writing: false,
            told_of_damage: false,
            ticks: 0,
            ticked_at: 0,
            warm_up: WarmUp::default(),
        }
    }

    /// Take the VFS archive for the root file system. It is validated here, once.
    pub fn mount(&mut self, archive: &'static [u8]) -> Result<(), String> {
        self.archive = Some(vfs::access(archive).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Have the first process started by the next [`resume`](Self::resume), or, while nothing has run yet (freeze
    /// point `entry`), another one in its place; it logs why that fails, with a shell's exit code. After that only the
    /// hostname and `strace` can change. The error is one clear line.
    pub fn boot(&mut self, boot: &Boot) -> Result<(), String> {
        if self.kernel.is_some() && !self.untouched {
            return self.change(boot);
        }
        let linear = Rc::clone(self.linear.get_or_insert_with(|| Rc::new(Linear::new(boot.memory_bytes))));
        if boot.memory_bytes != 0 {
            linear.set_limit_bytes(boot.memory_bytes);
        }
        // The old process gives its memory back before the new one needs some.
        self.kernel = None;
        let error = |errno: Errno| format!("cannot build the machine: {}", errno.message());
        let vfs = Vfs::new(self.archive, &self.platform).map_err(error)?;
        let mut kernel =
            Kernel::new(Rc::clone(&self.platform), vfs, self.ring.clone(), linear).map_err(error)?;
        kernel.library = Rc::clone(&self.library);
        self.kernel = Some(kernel);
        self.boot = boot.clone();
        self.warm_up = WarmUp::default();
        self.untouched = true;
        self.writing = false;
        self.ring.reset();
        self.ring.set_header(|header| (header.rows, header.cols) = (boot.rows, boot.cols));
        if boot.until != Until::Never {
            self.ring.keep_output();
        }
        self.starting = true;
        Ok(())
    }

    /// What a program that runs can be given.
    fn change(&mut self, boot: &Boot) -> Result<(), String> {
        let (old, Some(kernel)) = (&mut self.boot, &mut self.kernel) else { return Ok(()) };
        let Boot { hostname, strace, rows, cols, until, .. } = boot;
        let possible = Boot {
            hostname: hostname.clone(),
            strace: *strace,
            rows: *rows,
            cols: *cols,
            until: *until,
            ..old.clone()
        };
        if possible != *boot {
            let line = "the program has already run: another command, environment, directory, user, terminal or \
                        memory size is possible only at freeze point entry";
            return Err(line.into());
        }
        if *hostname != old.hostname {
            kernel.world.uts.hostname.replace(hostname.clone());
        }
        kernel.strace = *strace;
        (old.hostname, old.strace) = (hostname.clone(), *strace);
        Ok(())
    }

    fn try_start(&mut self) -> Result<(), StartError> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        start(kernel, &self.boot)?;
        self.starting = false;
        Ok(())
    }

    /// The ring's header, for the host.
    pub fn ring(&self) -> *mut Header {
        self.ring.header()
    }

    /// The ring itself, for hosts in the same program.
    pub fn host_ring(&self) -> &Ring {
        &self.ring
    }

    /// Record from now on what code runs: for the packer.
    pub fn record(&mut self) {
        self.library.record();
    }

    /// What was recorded. Recording ends.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.library.take_profile()
    }

    /// Record from now on which contents of files are read: for the packer.
    pub fn record_reads(&mut self) {
        if let Some(chunks) = self.kernel.as_ref().and_then(|kernel| kernel.vfs.chunks()) {
            chunks.record();
        }
    }

    /// What was read, in order. Recording ends.
    pub fn take_reads(&mut self) -> Vec<BlockId> {
        let chunks = self.kernel.as_ref().and_then(|kernel| kernel.vfs.chunks());
        chunks.map(|chunks| chunks.take_touched()).unwrap_or_default()
    }

    /// Use this translated code, which the packer will append in these slots of the engine's table, after the freeze.
    pub fn translations(&mut self, translations: Translations) {
        self.library.load(translations);
    }

    /// Use this translated code as well: the host has put it into these slots of the engine's table.
    pub fn add_translations(&mut self, translations: Translations) {
        self.library.add(translations);
    }

    /// Do not use these slots of the engine's table any more.
    pub fn remove_translations(&mut self, slots: &std::ops::Range<u32>) {
        self.library.remove(slots);
    }

    /// Whether the table holds the translated functions: a host may bring them while the guest runs.
    pub fn translated(&mut self, present: bool) {
        self.library.set_present(present);
    }

    /// The kernel, once something was booted: for tests and inspection.
    pub fn kernel(&mut self) -> Option<&mut Kernel> {
        self.kernel.as_mut()
    }

    /// Run guest tasks for about `budget` instructions, or until all of them wait.
    pub fn resume(&mut self, budget: u64) -> Status {
        self.take_completions();
        let status = self.advance(budget);
        self.submit_requests();
        if let Some(profile) = self.library.take_request() {
            self.ring.submit(Op::Translate, 0, profile.to_bytes());
        }
        let status = match status {
            // The end is told when everything said before it has been heard.
            Status::Exited if !self.console_drained() => Status::Idle,
            other => other,
        };
        self.publish(status);
        status
    }

    fn advance(&mut self, budget: u64) -> Status {
        if self.starting {
            match self.try_start() {
                Ok(()) => {}
                Err(StartError::Pending) => return Status::Idle,
                Err(StartError::Failed(line)) => {
                    self.ring.log(LogLevel::Warning, &line);
                    self.starting = false;
                    if let Some(kernel) = &mut self.kernel {
                        let missing =
                            [Errno::ENOENT.message(), exec::NOT_FOUND].iter().any(|end| line.ends_with(end));
                        kernel.exited = Some(if missing { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE });
                    }
                }
            }
        }
        let until = self.boot.until;
        let Some(kernel) = &mut self.kernel else { return Status::Idle };
        if kernel.exited.is_none() && (until == Until::Entry || kernel.watch.reached) {
            return self.frozen();
        }
        let budget = match until {
            Until::Instructions(n) => budget.min(n.saturating_sub(kernel.retired).max(1)),
            _ => budget,
        };
        self.untouched = false;
        let ran = kernel.run(budget);
        let reached = match (until, ran) {
            (_, Ran::Exited) => return Status::Exited,
            (_, Ran::Watched) => kernel.watch.reached,
            (Until::Instructions(n), _) => kernel.retired >= n,
            (Until::Idle, Ran::Idle) => self.quiet(),
            (Until::Listen(port), Ran::Idle) if kernel.names.listens(port) => match self.warmed_up(port) {
                Some(warm) => warm,
                None => return Status::Runnable,
            },
            _ => false,
        };
        match (reached, ran) {
            (true, _) => self.frozen(),
            (false, Ran::Budget | Ran::Watched) => Status::Runnable,
            (false, _) if self.kernel.as_ref().is_some_and(|kernel| kernel.console.tell_end()) => {
                Status::Runnable
            }
            (false, _) => Status::Idle,
        }
    }

    /// The freeze point is reached. The next call goes on, if there is one.
    fn frozen(&mut self) -> Status {
        self.boot.until = Until::Never;
        if let Some(kernel) = &mut self.kernel {
            kernel.watch.end();
        }
        Status::Frozen
    }

    /// Whether the service on TCP `port` is at rest and has answered all requests; `None` when it was just told
    /// something.
    fn warmed_up(&mut self, port: u16) -> Option<bool> {
        if !self.quiet() {
            return Some(false);
        }
        let names = &self.kernel.as_ref()?.names;
        match self.warm_up.step(names, port) {
            Step::Done => Some(true),
            Step::Waits => Some(false),
            Step::Runs => None,
        }
    }

    /// Have the service on TCP `port` answer `request`, too, before [`Status::Frozen`] is told. After a freeze it is
    /// told once more: for the packer, which looks what an answer reads.
    pub fn warm_up(&mut self, port: u16, request: Vec<u8>) {
        self.boot.until = Until::Listen(port);
        self.warm_up.add(request);
    }

    /// The guest itself asked for the freeze.
    fn asked(&self) -> bool {
        self.kernel.as_ref().is_some_and(|kernel| kernel.watch.asked)
    }

    /// One line for each thread: what it does or waits for; and why a service is not ready to be frozen.
    pub fn tasks(&self) -> Vec<String> {
        let tasks = self.kernel.as_ref().map_or_else(Vec::new, Kernel::describe_tasks);
        tasks.into_iter().chain(self.warm_up.describe()).collect()
    }

    /// One line for each thing that a freeze at this point will not carry over.
    pub fn caveats(&mut self) -> Vec<String> {
        self.kernel.as_mut().map_or_else(Vec::new, Kernel::describe_caveats)
    }

    /// Freeze point `idle`: nothing will happen until something comes from
    /// outside. Short sleeps do not count, unless they are all that is done.
    fn quiet(&mut self) -> bool {
        self.submit_requests();
        let drained = self.console_drained();
        let Some(kernel) = &self.kernel else { return false };
        if !drained || self.ring.fetching() {
            return false;
        }
        let horizon = kernel.monotonic_ns().saturating_add(IDLE_HORIZON_NS);
        if kernel.timers.next_deadline().is_none_or(|at| at > horizon) {
            return true;
        }
        let worked = kernel.retired - self.ticked_at > TICK_INSTRUCTIONS;
        self.ticks = if worked { 0 } else { self.ticks + 1 };
        self.ticked_at = kernel.retired;
        self.ticks >= IDLE_TICKS
    }

    fn console_drained(&self) -> bool {
        !self.writing
            && self.ring.console_drained()
            && self.kernel.as_ref().is_none_or(|k| !k.console.has_output())
    }

    fn take_completions(&mut self) {
        while let Some(completed) = self.ring.next_completion() {
            let Some(kernel) = &mut self.kernel else { continue };
            match completed {
                Completed::Request { op: Op::ConsoleWrite, arg, result, buffer, .. } => {
                    self.writing = false;
                    let taken = usize::try_from(result).map_err(|_| Errno::EPIPE);
                    kernel.console.output_done(arg, buffer, taken);
                }
                Completed::Request { op: Op::ConsoleRead, result, mut buffer, .. } => {
                    buffer.truncate(usize::try_from(result).unwrap_or(0));
                    kernel.console.input_done(&buffer);
                }
                Completed::Request { op: Op::ChunkFetch | Op::ChunkRefetch, arg, result, buffer, .. } => {
                    let stored = usize::try_from(result).ok().and_then(|len| buffer.get(..len));
                    let Some(chunks) = kernel.vfs.chunks() else { continue };
                    if let Err(error) = chunks.arrived(arg, stored)
                        && !std::mem::replace(&mut self.told_of_damage, true)
                    {
                        let line = format!("a part of the image's files cannot be used: {error}");
                        self.ring.log(LogLevel::Failure, &line);
                    }
                }
                Completed::Request { op: Op::Log, .. } => {}
                Completed::Request { op: Op::Translate, result, .. } => self.library.answered(result > 0),
                Completed::Event { event: EVENT_TRANSLATOR, result } => {
                    self.library.set_translator(result != 0)
                }
                Completed::Event { event: EVENT_WINSIZE, .. } => {
                    let header = self.ring.read_header();
                    kernel.console.resized(header.rows, header.cols);
                }
                Completed::Event { event: EVENT_SIGNAL, result } => {
                    let signal = u32::try_from(result).unwrap_or(0);
                    if (1..=crate::abi::signal::NSIG).contains(&signal) {
                        kernel.console.interrupted(&kernel.outbox, signal);
                    }
                }
                // An event of a newer host.
                Completed::Event { .. } => {}
            }
        }
    }

    fn submit_requests(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        if !self.writing
            && let Some((stream, bytes)) = kernel.console.take_output()
        {
            self.writing = true;
            self.ring.submit(Op::ConsoleWrite, stream, bytes);
        }
        if kernel.exited.is_some() {
            return;
        }
        if let Some(wanted) = kernel.console.wants_input() {
            self.ring.submit(Op::ConsoleRead, 0, vec![0; wanted]);
        }
        if let Some(chunks) = kernel.vfs.chunks() {
            for Request { index, chunk, again } in chunks.take_requests() {
                let op = if again { Op::ChunkRefetch } else { Op::ChunkFetch };
                self.ring.submit_at(op, index, chunk.offset, vec![0; chunk.stored_len as usize]);
            }
        }
    }

    fn publish(&mut self, status: Status) {
        let asked = u32::from(self.asked());
        let (exit_code, deadline_ns, retired) = match &self.kernel {
            Some(kernel) if status == Status::Frozen => (asked, u64::MAX, kernel.retired),
            Some(kernel) => {
                let deadline = kernel.timers.next_deadline().map_or(u64::MAX, |at| kernel.to_platform_ns(at));
                (kernel.exited.unwrap_or(0), deadline, kernel.retired)
            }
            None => (0, u64::MAX, 0),
        };
        self.ring.set_header(|header| {
            header.status = status as u32;
            header.exit_code = exit_code;
            header.deadline_ns = deadline_ns;
            header.retired = retired;
        });
    }

    /// Get ready for the snapshot: stop the clock, drop what can be made again, forget secrets.
    pub fn freeze(&mut self) {
        self.ring.freeze();
        let Some(kernel) = &mut self.kernel else { return };
        self.boot.until = Until::Never;
        self.frozen_at = Some(kernel.monotonic_ns());
        kernel.watch = Watch::default();
        kernel.random.forget();
        for task in kernel.tasks.values() {
            let mm = task.mm.borrow();
            mm.code().clear();
            mm.drop_clean();
        }
        if let Some(chunks) = kernel.vfs.chunks() {
            chunks.drop_cache();
        }
    }

    /// Wake up in another time and place: what must be renewed is renewed. Does nothing to a machine that was not frozen.
    pub fn thaw(&mut self) {
        let Some(at) = self.frozen_at.take() else { return };
        let Some(kernel) = &mut self.kernel else { return };
        kernel.set_monotonic_ns(at);
        kernel.renew();
        if let Some(first) = kernel.tasks.get(&1).filter(|_| self.untouched && !self.starting).cloned() {
            exec::renew_random(kernel, &first);
        }
        // Fetches that were under way are asked for again by those who wait for them.
        kernel.vfs.chunk_queue.wake_all();
        self.ring.thaw();
        let header = self.ring.read_header();
        if header.rows != 0 && header.cols != 0 {
            kernel.console.resized(header.rows, header.cols);
        }
        kernel.drain_outbox();
    }
}
