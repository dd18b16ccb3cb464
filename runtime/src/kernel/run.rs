//! The run loop: pick a task, let it run, handle why it stopped.
//!
//! What it calls and is large is kept out of line: V8's optimising compiler takes
//! the loop as one function, soon, and its time grows faster than the function.

use std::rc::Rc;

use friscy_formats::ring::LogLevel;

use super::Kernel;
use super::signal::name;
use super::task::{Task, TaskState};
use crate::abi::signal::{
    BUS_ADRALN, BUS_ADRERR, ILL_ILLOPC, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGILL, SIGKILL, SIGSEGV, SIGTRAP,
    SigInfo, TRAP_BRKPT,
};
use crate::hart::{self, Exit};
use crate::mm::Fault;
use crate::syscall::{Block, Interrupt};

/// Instructions a task runs before others get their turn.
const SLICE: u64 = 1_000_000;
/// The same while a timer is due soon, so that it is not late by more than about a millisecond.
const SHORT_SLICE: u64 = 100_000;
/// What "soon" is.
const SOON_NS: u64 = 20_000_000;
/// Instructions that a trip into the kernel counts for, so that calls and faults use up a budget as well.
const TRIP: u64 = 500;

/// Why [`Kernel::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// The budget is used up.
    Budget,
    /// Nobody can run.
    Idle,
    /// The first process has ended.
    Exited,
    /// What the machine watches for has happened: see [`super::freeze::Watch`].
    Watched,
}

impl Kernel {
    /// Run tasks for about `budget` instructions.
    pub fn run(&mut self, budget: u64) -> Ran {
        let mut left = budget;
        loop {
            self.drain_outbox();
            self.expire_timers();
            self.expire_cpu_timers();
            self.drain_ready();
            if self.exited.is_some() {
                return Ran::Exited;
            }
            if self.watched() {
                return Ran::Watched;
            }
            if left == 0 {
                return Ran::Budget;
            }
            let Some(task) = self.pick() else { return Ran::Idle };
            let used = self.run_task(&task, self.slice().min(left));
            left = left.saturating_sub(used.max(1));
            // The host has to take what was submitted before there can be more.
            if self.ring.congested() {
                left = 0;
            }
        }
    }

    fn slice(&self) -> u64 {
        let soon = self.monotonic_ns().saturating_add(SOON_NS);
        if !self.cpu_timers.is_empty() || self.timers.next_deadline().is_some_and(|at| at <= soon) {
            SHORT_SLICE
        } else {
            SLICE
        }
    }

    /// Let `task` run until its slice ends or it cannot go on; the instructions used.
    fn run_task(&mut self, task: &Rc<Task>, slice: u64) -> u64 {
        let mut task = Rc::clone(task);
        let mut left = slice;
        self.current = Some(task.tid);
        self.switches = self.switches.wrapping_add(1);
        self.need_resched = false;
        self.start_charging();
        {
            let mut regs = task.regs.borrow_mut();
            regs.reservation = None;
            regs.time = self.monotonic_ns() / 100;
        }
        while self.exited.is_none() {
            self.deliver_signals(&task);
            if task.state.get() != TaskState::Runnable {
                break;
            }
            if task.in_call.get() {
                if let Some(block) = self.call_again(&task) {
                    self.settle(&task, &block);
                }
            } else if left == 0 || self.need_resched || self.watched() {
                break;
            } else {
                self.step(&task, &mut left);
            }
            // execve(2) by a thread makes it another task.
            if task.state.get() == TaskState::Dead {
                match self.current.and_then(|tid| self.tasks.get(&tid)) {
                    Some(new) if new.state.get() != TaskState::Dead => task = Rc::clone(new),
                    _ => break,
                }
            }
        }
        self.charge_time(&task);
        self.current = None;
        let switches = match task.state.get() {
            TaskState::Runnable => &task.sched.involuntary_switches,
            _ => &task.sched.voluntary_switches,
        };
        switches.set(switches.get().wrapping_add(1));
        self.put_back(&task);
        slice - left
    }

    /// Run the hart once and handle its exit.
    #[inline(never)]
    fn step(&mut self, task: &Rc<Task>, left: &mut u64) {
        let mm = Rc::clone(&task.mm.borrow());
        let before = *left;
        let exit = hart::run(&mut task.regs.borrow_mut(), &mut mm.code(), &mm.window(), &self.library, left);
        self.charge_instructions(task, before - *left);
        if exit != Exit::Budget {
            *left = left.saturating_sub(TRIP);
        }
        let pc = task.regs.borrow().pc;
        match exit {
            Exit::Budget => {}
            Exit::Ecall => {
                if let Some(block) = self.begin_call(task) {
                    self.settle(task, &block);
                }
            }
            Exit::Fault { addr, access } => match mm.fault(addr, access) {
                Ok(()) => task.sched.minor_faults.set(task.sched.minor_faults.get() + 1),
                Err(fault) => self.bad_fault(task, addr, fault),
            },
            Exit::Breakpoint if self.at_watched_entry(task, pc) => {}
            Exit::Breakpoint => self.force_signal(task, SigInfo::fault(SIGTRAP, TRAP_BRKPT, pc)),
            Exit::Illegal(_) => self.force_signal(task, SigInfo::fault(SIGILL, ILL_ILLOPC, pc)),
            Exit::Misaligned { addr } => self.force_signal(task, SigInfo::fault(SIGBUS, BUS_ADRALN, addr)),
        }
    }

    #[inline(never)]
    fn bad_fault(&mut self, task: &Rc<Task>, addr: u64, fault: Fault) {
        let (number, code) = match fault {
            Fault::Pending => return self.park_for_chunks(task),
            Fault::NotMapped => (SIGSEGV, SEGV_MAPERR),
            Fault::Forbidden => (SIGSEGV, SEGV_ACCERR),
            Fault::Bus => (SIGBUS, BUS_ADRERR),
            Fault::OutOfMemory => {
                let comm = String::from_utf8_lossy(&task.comm.borrow()).into_owned();
                let line = format!("{comm}[{}]: out of memory, killed by {}", task.tid, name(SIGKILL));
                self.ring.log(LogLevel::Warning, &line);
                return self.exit_process(task, SIGKILL);
            }
        };
        self.force_signal(task, SigInfo::fault(number, code, addr));
    }

    /// The call in progress would block: park the task, unless a signal is due first.
    #[inline(never)]
    fn settle(&mut self, task: &Rc<Task>, block: &Block) {
        self.drain_ready();
        let due = match block.interrupt {
            Interrupt::Never => task.process.exiting.get().is_some(),
            _ => task.deliverable() != 0,
        };
        if !due && task.state.get() == TaskState::Runnable {
            self.park(task, block);
        }
    }
}
