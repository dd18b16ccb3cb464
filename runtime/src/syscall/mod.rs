//! System calls: dispatch, and one file per family.
//!
//! `table.rs` names every riscv64 system call; a row is a handler or a
//! deliberate errno. A handler decodes, validates and calls an object (task,
//! inode, pipe…): semantics live in the object. It never blocks: it returns
//! [`Flow::Block`] and is called again from its start when woken, so it has no
//! side effects before the point where it may block (user memory is faulted in
//! first for the same reason).

use crate::abi::Errno;
use crate::kernel::wait::WaitQueue;

pub mod ancillary;
mod args;
#[cfg(test)]
mod descriptors_test;
mod dispatch;
#[cfg(test)]
mod files_test;
pub mod strace;
mod strace_args;
mod strace_ipc;
mod sys_copy;
mod sys_cred;
mod sys_dir;
mod sys_event;
mod sys_exec;
mod sys_file;
mod sys_futex;
mod sys_lock;
mod sys_memfd;
mod sys_mm;
mod sys_mount;
mod sys_mqueue;
pub mod sys_msg;
mod sys_pipe;
mod sys_poll;
mod sys_process;
mod sys_process_vm;
mod sys_rw;
mod sys_sched;
pub mod sys_sem;
pub mod sys_shm;
mod sys_signal;
mod sys_socket;
mod sys_stat;
pub mod sys_system;
mod sys_time;
mod sys_xattr;
pub mod table;
#[cfg(test)]
mod testing;

pub use args::Args;

/// What a handler returns: the value for a0, or how else to go on.
pub type SysResult = Result<u64, Flow>;

/// Everything that is not "return this value".
#[derive(Debug)]
pub enum Flow {
    /// Fail with this error.
    Errno(Errno),
    /// Park the task, then run the handler again.
    Block(Block),
    /// Registers are as they should be (execve, rt_sigreturn) or the task is gone (exit): write no result.
    Done,
}

impl From<Errno> for Flow {
    fn from(errno: Errno) -> Flow {
        Flow::Errno(errno)
    }
}

/// What a parked task waits for, and what a signal does to the call.
#[derive(Debug)]
pub struct Block {
    /// Any of these being woken runs the handler again.
    pub queues: Vec<WaitQueue>,
    /// Monotonic nanoseconds at which the handler runs again in any case. The
    /// handler keeps its absolute deadline in `Task::progress` so that it can
    /// tell that the time is over.
    pub deadline_ns: Option<u64>,
    /// What a signal does.
    pub interrupt: Interrupt,
}

/// What happens to a blocked call when a signal is to be delivered. See signal(7), "Interruption of system calls".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// EINTR with a handler without SA_RESTART, else run again (Linux ERESTARTSYS): read, write, wait4…
    Restart,
    /// EINTR with any handler, else run again (Linux ERESTARTNOHAND): pause, sigsuspend, poll, select…
    NoHandler,
    /// Run again after any handler (Linux ERESTARTNOINTR): locks with priority inheritance.
    Again,
    /// EINTR always.
    Fail,
    /// Signals wait (disk sleep): chunk fetches.
    Never,
}

impl Block {
    /// Wait for `queues` without a deadline.
    pub fn on(queues: Vec<WaitQueue>, interrupt: Interrupt) -> Flow {
        Flow::Block(Block { queues, deadline_ns: None, interrupt })
    }
}
