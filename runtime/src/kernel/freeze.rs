//! What the kernel watches for while a freeze is to come, and what it tells of
//! a machine that is to be frozen. The freeze itself is the machine's.

use std::rc::{Rc, Weak};

use super::Kernel;
use super::exec_stack::{self, AT_ENTRY};
use super::task::{Task, TaskState};
use crate::abi::Errno;
use crate::fs::timerfd::TimerFd;
use crate::hart::Registers;

/// `c.ebreak`, which every entry has room for.
const BREAKPOINT: [u8; 2] = [0x02, 0x90];

/// What ends the run loop before its budget does, at pack time.
#[derive(Debug, Default)]
pub struct Watch {
    /// A freeze is to come: the guest may ask for it.
    pub armed: bool,
    /// Stop at each console write.
    pub output: bool,
    /// Where the first program begins, and the bytes that a breakpoint stands for there.
    entry: Option<(u64, [u8; 2])>,
    /// What was watched for has happened.
    pub reached: bool,
    /// The guest asked for the freeze.
    pub asked: bool,
}

impl Watch {
    /// Watch no more; whether the guest asked is still known.
    pub fn end(&mut self) {
        *self = Watch { asked: self.asked, ..Watch::default() };
    }
}

impl Kernel {
    /// Stop when `task`, which has not run, comes to its program's own entry. PENDING.
    pub(super) fn watch_entry(&mut self, task: &Task) -> Result<(), Errno> {
        let mm = Rc::clone(&task.mm.borrow());
        let entry = exec_stack::auxv_value(&mm.auxv(), AT_ENTRY).ok_or(Errno::ENOEXEC)?;
        if entry == task.regs.borrow().pc {
            self.watch.reached = true;
            return Ok(());
        }
        let mut bytes = [0; 2];
        mm.peek(entry, &mut bytes)?;
        mm.poke(entry, &BREAKPOINT)?;
        self.watch.entry = Some((entry, bytes));
        Ok(())
    }

    /// Whether the breakpoint at `pc` is that of [`Kernel::watch_entry`]; it is gone then.
    pub(super) fn at_watched_entry(&mut self, task: &Task, pc: u64) -> bool {
        let Some((entry, bytes)) = self.watch.entry.filter(|&(entry, _)| entry == pc && task.tid == 1) else {
            return false;
        };
        self.watch.entry = None;
        // The page is there: the hart fetched from it.
        let restored = task.mm.borrow().poke(entry, &bytes);
        debug_assert!(restored.is_ok(), "the page of the entry has gone");
        self.watch.reached = true;
        self.need_resched = true;
        true
    }

    /// /proc/friscy/freeze: the guest wants to be frozen when the call in progress has returned. Nothing happens
    /// when no freeze is to come.
    pub fn ask_for_freeze(&mut self) {
        if self.watch.armed {
            self.watch.asked = true;
            self.watch.reached = true;
            self.need_resched = true;
        }
    }

    /// The run loop should stop here.
    pub(super) fn watched(&self) -> bool {
        self.watch.reached || self.watch.output && self.console.has_output()
    }

    /// One line for each thread: what it does or waits for.
    pub fn describe_tasks(&self) -> Vec<String> {
        self.tasks.values().filter_map(|task| self.describe_task(task)).collect()
    }

    fn describe_task(&self, task: &Rc<Task>) -> Option<String> {
        let comm = String::from_utf8_lossy(&task.comm.borrow()).into_owned();
        let thread = if task.is_leader() { String::new() } else { format!(" of {}", task.process.tgid) };
        let doing = match task.state.get() {
            TaskState::Dead if task.process.zombie.get().is_some() => {
                "has ended; nobody has waited for it".into()
            }
            TaskState::Dead => return None,
            TaskState::Stopped => "is stopped by a signal".to_string(),
            _ if task.in_call.get() => format!("waits in {}", crate::syscall::strace::call_in_progress(task)),
            _ => {
                let Registers { pc, .. } = *task.regs.borrow();
                format!("runs, at {pc:#x}")
            }
        };
        Some(format!("{comm}[{}]{thread} {doing}", task.tid))
    }

    /// One line for each thing that will not be after the opening as it was before.
    pub fn describe_caveats(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut note = |task: &Task, what: &str| {
            let comm = String::from_utf8_lossy(&task.comm.borrow()).into_owned();
            let line = format!(
                "{comm}[{}]: {what} a date of the wall clock, which will be over when the app is opened later",
                task.tid
            );
            lines.push(line);
        };
        for task in self.tasks.values() {
            if task.in_call.get() && task.progress.borrow().wall_deadline {
                note(task, "sleeps until");
            }
            if task.is_leader() && task.process.posix_timers.borrow().values().any(|t| t.wall_ns.is_some()) {
                note(task, "has a timer set to");
            }
            let files = Rc::clone(&task.files.borrow());
            let timers = files.list().into_iter().filter_map(|fd| files.get(fd).ok());
            let wall = |timer: &TimerFd| timer.wall_ns().is_some();
            if timers.into_iter().any(|file| file.ops.as_any().downcast_ref().is_some_and(wall)) {
                note(task, "has a timer descriptor set to");
            }
        }
        lines
    }

    /// After a thaw: what the world outside decides is made anew, and whoever keeps secrets of its own can learn of it.
    pub(crate) fn renew(&mut self) {
        self.random.reseed(&*self.platform);
        let mut generation = [0; 16];
        self.random_bytes(&mut generation);
        self.world.new_generation(generation);
        for task in self.tasks.values() {
            task.mm.borrow().wipe();
        }
        self.rebase_wall_timers();
        let timers: Vec<Rc<TimerFd>> = self.timer_fds.iter().filter_map(Weak::upgrade).collect();
        for timer in timers {
            timer.clock_was_set(self);
        }
    }
}
