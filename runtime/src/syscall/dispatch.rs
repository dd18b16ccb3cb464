//! From the ecall to the handler and back: the path of a system call.
//!
//! A call that blocks leaves the registers as they are (pc at the ecall) and
//! `Task::in_call` set; it is called again from its start when something that
//! it waits for has changed.

use std::rc::Rc;

use friscy_formats::ring::LogLevel;

use super::table::{self, Support};
use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::kernel::{Ctx, Kernel, Task};

const A0: usize = 10;
const A7: usize = 17;
/// Bytes of an ecall.
const ECALL: u64 = 4;

impl Kernel {
    /// The task stands at an ecall: begin the call. What it waits for, if it must.
    pub(crate) fn begin_call(&mut self, task: &Rc<Task>) -> Option<Block> {
        task.in_call.set(true);
        drop(task.progress.take());
        if self.strace {
            self.strace_entry(task);
        }
        self.call_again(task)
    }

    /// Run the handler of the call in progress.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub(crate) fn call_again(&mut self, task: &Rc<Task>) -> Option<Block> {
        let (number, args) = registers(task);
        self.charge_call();
        self.world.enter(task);
        let mut cx = Ctx { kernel: self, task: Rc::clone(task) };
        let result = call(&mut cx, number, args);
        // execve(2) may have made the caller another task.
        let task = cx.task;
        self.drain_outbox();
        let value = match result {
            Ok(value) => value,
            Err(Flow::Errno(Errno::PENDING)) => {
                let queues = vec![self.vfs.chunk_queue.clone()];
                return Some(Block { queues, deadline_ns: None, interrupt: Interrupt::Never });
            }
            Err(Flow::Errno(Errno::RESTART)) => {
                return Some(Block {
                    queues: Vec::new(),
                    deadline_ns: Some(0),
                    interrupt: Interrupt::Restart,
                });
            }
            Err(Flow::Errno(errno)) => u64::from(errno.0).wrapping_neg(),
            Err(Flow::Block(block)) => return Some(block),
            Err(Flow::Done) => {
                self.strace_exit(&task, None);
                end_call(&task);
                return None;
            }
        };
        self.finish_call(&task, value);
        None
    }

    fn finish_call(&mut self, task: &Rc<Task>, value: u64) {
        {
            let mut regs = task.regs.borrow_mut();
            regs.x[A0] = value;
            regs.pc = regs.pc.wrapping_add(ECALL);
        }
        self.strace_exit(task, Some(value));
        end_call(task);
        if let Some(mask) = task.saved_mask.take() {
            task.sigmask.set(mask);
        }
    }

    /// A signal handler ends the call in progress: with an error, or (none) by beginning it anew afterwards.
    pub(crate) fn abandon_call(&mut self, task: &Rc<Task>, errno: Option<Errno>) {
        if let Some(errno) = errno {
            let mut regs = task.regs.borrow_mut();
            regs.x[A0] = u64::from(errno.0).wrapping_neg();
            regs.pc = regs.pc.wrapping_add(ECALL);
        }
        self.strace_exit(task, errno.map(|errno| u64::from(errno.0).wrapping_neg()));
        end_call(task);
    }

    /// A system call nobody knows: loud, but once.
    fn report_unknown(&mut self, task: &Task, number: u64) {
        /// A program that tries numbers out does not fill the log.
        const MOST: usize = 16;
        if self.unknown_calls.len() >= MOST || !self.unknown_calls.insert(number) {
            return;
        }
        let comm = task.comm.borrow();
        let comm = String::from_utf8_lossy(&comm);
        let line = format!("{comm}[{}]: there is no system call {number}: ENOSYS", task.tid);
        self.ring.log(LogLevel::Warning, &line);
    }
}

/// Number and arguments of the call that `task` stands at.
pub(super) fn registers(task: &Task) -> (u64, Args) {
    let regs = task.regs.borrow();
    let mut args = [0; 6];
    args.copy_from_slice(&regs.x[A0..A0 + 6]);
    (regs.x[A7], Args(args))
}

fn end_call(task: &Task) {
    task.in_call.set(false);
    task.park.borrow_mut().awaits = 0;
    // Dropped outside the borrow: what a call kept may close files.
    let progress = task.progress.take();
    drop(progress);
}

fn call(cx: &mut Ctx<'_>, number: u64, args: Args) -> SysResult {
    let row = table::row(number);
    match row.map(|row| row.support) {
        Some(Support::Full(handler) | Support::Partial(handler, _)) => handler(cx, args),
        Some(Support::Refused(errno, _)) => Err(errno.into()),
        None => {
            let task = Rc::clone(&cx.task);
            cx.kernel.report_unknown(&task, number);
            Err(Errno::ENOSYS.into())
        }
    }
}
