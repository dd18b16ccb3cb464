//! signalfd(2): signals that are read instead of delivered.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};

use zerocopy::IntoBytes;

use super::{FileOps, Io, OpenFile, poll};
use crate::abi::Errno;
use crate::abi::event::SignalfdSiginfo;
use crate::abi::signal::{CLD_EXITED, SI_TIMER, SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGSEGV, SigInfo};
use crate::kernel::signal::UNBLOCKABLE;
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Task};
use crate::syscall::SysResult;

/// A signal descriptor.
pub struct SignalFd {
    /// Signals it takes, bit N-1 for signal N.
    mask: Cell<u64>,
    /// Whose pending signals a poll looks at. Linux asks whoever polls; only a
    /// child that polls a descriptor made before the fork sees a difference.
    task: Weak<Task>,
    /// The process's signal arrivals.
    arrivals: WaitQueue,
    changed: WaitQueue,
}

impl SignalFd {
    /// A descriptor of `task` for the signals of `mask`.
    pub fn new(task: &Rc<Task>, mask: u64) -> SignalFd {
        let arrivals = task.process.signal_events.clone();
        SignalFd {
            mask: Cell::new(mask & !UNBLOCKABLE),
            task: Rc::downgrade(task),
            arrivals,
            changed: WaitQueue::new(),
        }
    }

    /// Change the signals.
    pub fn set_mask(&self, mask: u64) {
        self.mask.set(mask & !UNBLOCKABLE);
        self.changed.wake_all();
    }

    /// The signals (fdinfo).
    pub fn mask(&self) -> u64 {
        self.mask.get()
    }
}

impl FileOps for SignalFd {
    fn read(&self, cx: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        const SIZE: usize = size_of::<SignalfdSiginfo>();
        if dst.remaining() < SIZE {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while dst.remaining() >= SIZE {
            let Some(info) = cx.task.take_signal(self.mask.get()) else { break };
            let process = Rc::clone(&cx.task.process);
            let info = cx.kernel.complete_siginfo(&process, info);
            done += dst.put(convert(&info).as_bytes());
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let pending = self
            .task
            .upgrade()
            .map_or(0, |task| task.pending.borrow().set() | task.process.pending.borrow().set());
        if pending & self.mask.get() != 0 { poll::IN | poll::RDNORM } else { 0 }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.arrivals);
        visit(&self.changed);
    }

    fn ioctl(&self, _: &mut Ctx<'_>, _: &OpenFile, _: u32, _: u64) -> SysResult {
        Err(Errno::ENOTTY.into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The union of siginfo, spread out.
fn convert(info: &SigInfo) -> SignalfdSiginfo {
    let mut out = SignalfdSiginfo {
        signo: info.signo as u32,
        errno: info.errno,
        code: info.code,
        ..SignalfdSiginfo::default()
    };
    let fields = &info.fields;
    let number = info.signo as u32;
    if info.code == SI_TIMER {
        (out.tid, out.overrun) = (fields[0] as u32, (fields[0] >> 32) as u32);
        (out.int, out.ptr) = (fields[1] as i32, fields[1]);
    } else if number == SIGCHLD && info.code >= CLD_EXITED {
        (out.pid, out.uid) = (fields[0] as u32, (fields[0] >> 32) as u32);
        out.status = fields[1] as i32;
        (out.utime, out.stime) = (fields[2], fields[3]);
    } else if [SIGILL, SIGFPE, SIGSEGV, SIGBUS].contains(&number) && info.code > 0 {
        out.addr = fields[0];
    } else {
        (out.pid, out.uid) = (fields[0] as u32, (fields[0] >> 32) as u32);
        (out.int, out.ptr) = (fields[1] as i32, fields[1]);
    }
    out
}
