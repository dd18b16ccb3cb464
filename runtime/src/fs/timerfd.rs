//! timerfd_create(2): a timer that is read.
//!
//! The kernel's timer queue wakes `ticks` when the time has come; how often it
//! has come is worked out when somebody reads.

use std::any::Any;
use std::cell::{Cell, RefCell};

use super::{FileOps, Io, OpenFile, poll};
use crate::abi::Errno;
use crate::abi::time::{Itimerspec, Timespec};
use crate::kernel::timers::TimerId;
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Kernel};

/// A timer descriptor.
pub struct TimerFd {
    /// CLOCK_*.
    pub clock: u32,
    /// Woken by the timer queue alone: its generation tells that the time has come.
    ticks: WaitQueue,
    /// Generation of `ticks` when the timer was armed.
    armed_at: Cell<u64>,
    /// Expirations counted and not yet read.
    expired: Cell<u64>,
    /// Absolute monotonic time of the next expiration, ns; none: disarmed.
    next_ns: Cell<Option<u64>>,
    /// The same on the wall clock, for a timer that was set to a date there: a thaw moves it.
    wall_ns: Cell<Option<u64>>,
    /// TFD_TIMER_CANCEL_ON_SET.
    cancel_on_set: Cell<bool>,
    /// The wall clock jumped since: the next read says so.
    canceled: Cell<bool>,
    /// Period, ns; 0: once.
    interval_ns: Cell<u64>,
    /// Woken when the setting changes.
    changed: WaitQueue,
    entry: RefCell<Option<TimerId>>,
}

impl TimerFd {
    /// A disarmed timer.
    pub fn new(clock: u32) -> TimerFd {
        TimerFd {
            clock,
            ticks: WaitQueue::new(),
            armed_at: Cell::new(0),
            expired: Cell::new(0),
            next_ns: Cell::new(None),
            wall_ns: Cell::new(None),
            cancel_on_set: Cell::new(false),
            canceled: Cell::new(false),
            interval_ns: Cell::new(0),
            changed: WaitQueue::new(),
            entry: RefCell::new(None),
        }
    }

    fn rung(&self) -> bool {
        self.next_ns.get().is_some() && self.ticks.generation() != self.armed_at.get()
    }

    fn arm(&self, kernel: &mut Kernel, next_ns: Option<u64>) {
        if let Some(old) = self.entry.take() {
            kernel.timers.cancel(old);
        }
        self.next_ns.set(next_ns);
        self.armed_at.set(self.ticks.generation());
        *self.entry.borrow_mut() = next_ns.map(|at| kernel.timers.wake_queue(at, &self.ticks));
    }

    /// timerfd_settime(2). `next_ns`: absolute monotonic time, none to disarm; `wall_ns`: the date that it stands
    /// for, if any, with whether a jump of the clock is to be told.
    pub fn set(
        &self,
        kernel: &mut Kernel,
        next_ns: Option<u64>,
        interval_ns: u64,
        wall_ns: Option<(u64, bool)>,
    ) {
        self.interval_ns.set(interval_ns);
        self.wall_ns.set(wall_ns.map(|(at, _)| at));
        self.cancel_on_set.set(wall_ns.is_some_and(|(_, cancel)| cancel));
        self.canceled.set(false);
        self.expired.set(0);
        self.arm(kernel, next_ns);
        self.changed.wake_all();
    }

    /// The date it is set to, ns since the epoch.
    pub fn wall_ns(&self) -> Option<u64> {
        self.wall_ns.get().filter(|_| self.next_ns.get().is_some())
    }

    /// The wall clock has jumped: a timer that was set to a date there expires when it comes.
    pub(crate) fn clock_was_set(&self, kernel: &mut Kernel) {
        let Some(wall) = self.wall_ns() else { return };
        let next = kernel.wall_to_monotonic(wall);
        self.arm(kernel, Some(next));
        if self.cancel_on_set.get() {
            self.canceled.set(true);
            self.changed.wake_all();
        }
    }

    /// Count what has expired by now, and arm for the next time.
    fn catch_up(&self, kernel: &mut Kernel) {
        let now = kernel.monotonic_ns();
        let Some(next) = self.next_ns.get().filter(|&next| next <= now) else { return };
        let interval = self.interval_ns.get();
        let (times, later) = match self.wall_ns.get() {
            Some(wall) => {
                let (times, later) = advance(wall, interval, kernel.realtime_ns().max(wall));
                self.wall_ns.set(later);
                (times, later.map(|at| kernel.wall_to_monotonic(at)))
            }
            None => advance(next, interval, now),
        };
        self.expired.set(self.expired.get().saturating_add(times));
        self.arm(kernel, later);
    }

    /// timerfd_gettime(2).
    pub fn get(&self, kernel: &mut Kernel) -> Itimerspec {
        let now = kernel.monotonic_ns();
        let next = self.next_ns.get().and_then(|next| {
            if next > now { Some(next) } else { advance(next, self.interval_ns.get(), now).1 }
        });
        let left = next.map_or(0, |next| next - now);
        Itimerspec { interval: Timespec::from_ns(self.interval_ns.get()), value: Timespec::from_ns(left) }
    }
}

/// How often a timer due at `next` has expired by `now`, and when it does again.
fn advance(next: u64, interval: u64, now: u64) -> (u64, Option<u64>) {
    match (now - next).checked_div(interval) {
        None => (1, None),
        Some(more) => (more + 1, Some(next + (more + 1) * interval)),
    }
}

impl FileOps for TimerFd {
    fn read(&self, cx: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        if self.canceled.take() {
            self.expired.set(0);
            return Err(Errno::ECANCELED);
        }
        self.catch_up(cx.kernel);
        match self.expired.replace(0) {
            0 => Err(Errno::EAGAIN),
            times => Ok(dst.put(&times.to_le_bytes())),
        }
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        if self.expired.get() > 0 || self.canceled.get() || self.rung() { poll::IN | poll::RDNORM } else { 0 }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.ticks);
        visit(&self.changed);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::advance;

    #[test]
    fn expirations_are_counted() {
        assert_eq!(advance(100, 0, 100), (1, None));
        assert_eq!(advance(100, 10, 100), (1, Some(110)));
        assert_eq!(advance(100, 10, 109), (1, Some(110)));
        assert_eq!(advance(100, 10, 135), (4, Some(140)));
    }
}
