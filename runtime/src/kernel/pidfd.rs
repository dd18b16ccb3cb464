//! pidfd_open(2): a process as a file descriptor that does not come to mean another one.

use std::any::Any;
use std::rc::Rc;

use super::Ctx;
use super::task::Process;
use super::wait::WaitQueue;
use crate::abi::Errno;
use crate::abi::fcntl::{O_NONBLOCK, O_RDWR};
use crate::fs::{FileOps, FileRef, OpenFile, anon, poll, proc};

/// What is behind the descriptor.
pub struct PidFd(pub Rc<Process>);

impl FileOps for PidFd {
    fn poll(&self, _: &OpenFile) -> u32 {
        if self.0.zombie.get().is_some() { poll::IN | poll::RDNORM } else { 0 }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.0.exit_events);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// PIDFD_NONBLOCK is O_NONBLOCK.
pub const PIDFD_NONBLOCK: u32 = O_NONBLOCK;

/// A descriptor for `process` in the caller's table, closed by execve(2). EMFILE.
pub fn open(cx: &mut Ctx<'_>, process: &Rc<Process>, flags: u32) -> Result<i32, Errno> {
    let ops = Rc::new(PidFd(Rc::clone(process)));
    let file = anon::open_kind(cx, "[pidfd]", ops, O_RDWR | flags & PIDFD_NONBLOCK);
    cx.task.files.borrow().install(file, true, 0)
}

/// The process behind an open file; EBADF.
pub fn process_of(file: &FileRef) -> Result<Rc<Process>, Errno> {
    let pidfd = file.ops.as_any().downcast_ref::<PidFd>().ok_or(Errno::EBADF)?;
    Ok(Rc::clone(&pidfd.0))
}

/// The process that pidfd_send_signal(2) means: it takes an open /proc/PID as well. EBADF.
pub fn target_of(file: &FileRef) -> Result<Rc<Process>, Errno> {
    process_of(file).or_else(|errno| proc::process_of(&*file.dentry.inode).ok_or(errno))
}
