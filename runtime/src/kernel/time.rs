//! Clocks. Monotonic time goes on where a freeze left it; wall-clock time is the host's.

use super::Kernel;
use super::task::Task;
use super::timers::is_cpu_clock;
use crate::abi::Errno;
use crate::abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE, CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID, Timespec, Timeval,
};

/// A CPU clock is a thread's.
const THREAD: u32 = 4;
/// Nanoseconds per second.
pub const NS: u64 = 1_000_000_000;

impl Timespec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> Timespec {
        Timespec { sec: (ns / NS) as i64, nsec: (ns % NS) as i64 }
    }

    /// To nanoseconds, the farthest future for what does not fit. EINVAL for what is no time.
    pub fn to_ns(self) -> Result<u64, Errno> {
        let nsec = u64::try_from(self.nsec).ok().filter(|&nsec| nsec < NS).ok_or(Errno::EINVAL)?;
        let sec = u64::try_from(self.sec).map_err(|_| Errno::EINVAL)?;
        // Linux keeps times in signed 64 bits.
        Ok(sec.saturating_mul(NS).saturating_add(nsec).min(i64::MAX as u64))
    }
}

impl Timeval {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> Timeval {
        Timeval { sec: (ns / NS) as i64, usec: (ns % NS / 1000) as i64 }
    }

    /// To nanoseconds. EINVAL for what is no time.
    pub fn to_ns(self) -> Result<u64, Errno> {
        if !(0..1_000_000).contains(&self.usec) {
            return Err(Errno::EINVAL);
        }
        Timespec { sec: self.sec, nsec: self.usec * 1000 }.to_ns()
    }
}

impl Kernel {
    /// CLOCK_MONOTONIC, ns: since the machine came into being, without the time it lay frozen.
    pub fn monotonic_ns(&self) -> u64 {
        self.platform.monotonic_ns().wrapping_add(self.clock_offset_ns)
    }

    /// Let the monotonic clock go on from `ns`: after a thaw.
    pub(crate) fn set_monotonic_ns(&mut self, ns: u64) {
        self.clock_offset_ns = ns.wrapping_sub(self.platform.monotonic_ns());
    }

    /// A monotonic time as the platform counts, for the host.
    pub(crate) fn to_platform_ns(&self, ns: u64) -> u64 {
        ns.saturating_sub(self.monotonic_ns()).saturating_add(self.platform.monotonic_ns())
    }

    /// CLOCK_REALTIME, ns since the epoch.
    pub fn realtime_ns(&self) -> u64 {
        self.platform.realtime_ns()
    }

    /// The monotonic time at which the wall clock will show `wall_ns`.
    pub fn wall_to_monotonic(&self, wall_ns: u64) -> u64 {
        self.monotonic_ns().saturating_add(wall_ns.saturating_sub(self.realtime_ns()))
    }

    /// What clock `clock` shows `task`, ns. EINVAL for a clock that does not exist.
    pub fn clock_ns(&mut self, task: &Task, clock: u32) -> Result<u64, Errno> {
        Ok(match clock {
            CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => self.realtime_ns(),
            CLOCK_MONOTONIC
            | CLOCK_MONOTONIC_RAW
            | CLOCK_MONOTONIC_COARSE
            | CLOCK_BOOTTIME
            | CLOCK_BOOTTIME_ALARM => self.monotonic_ns(),
            CLOCK_PROCESS_CPUTIME_ID => {
                self.charge_time(task);
                self.process_usage(&task.process).cpu.total_ns()
            }
            CLOCK_THREAD_CPUTIME_ID => {
                self.charge_time(task);
                task.sched.cpu.get().total_ns()
            }
            // Clocks of other processes and threads: clock_getcpuclockid(3) puts ~pid in the upper bits.
            _ if clock & 0x8000_0000 != 0 => return self.cpu_clock_ns(task, clock),
            _ => return Err(Errno::EINVAL),
        })
    }

    fn cpu_clock_ns(&mut self, task: &Task, clock: u32) -> Result<u64, Errno> {
        let id = !(clock as i32 >> 3) as u32;
        let kind = clock & 3;
        if kind > 2 {
            return Err(Errno::EINVAL);
        }
        self.charge_time(task);
        let id = if id == 0 { if clock & THREAD != 0 { task.tid } else { task.process.tgid } } else { id };
        let target = self.tasks.get(&id).ok_or(Errno::EINVAL)?;
        if clock & THREAD != 0 && target.process.tgid != task.process.tgid {
            return Err(Errno::EINVAL);
        }
        self.cpu_clock_used(!id << 3 | clock & 7)
    }

    /// What a CPU clock with a pid in it shows after the last charge, ns. EINVAL when there is no such process or thread.
    pub(super) fn cpu_clock_used(&self, clock: u32) -> Result<u64, Errno> {
        let target = self.tasks.get(&(!(clock as i32 >> 3) as u32)).ok_or(Errno::EINVAL)?;
        let cpu = match clock & THREAD {
            0 if !target.is_leader() => return Err(Errno::EINVAL),
            0 => self.process_usage(&target.process).cpu,
            _ => target.sched.cpu.get(),
        };
        Ok(if clock & 3 == 1 { cpu.user_ns } else { cpu.total_ns() })
    }

    /// The CPU clock that `clock` means to `task`, with the pid in it: what a timer counts on. EINVAL.
    pub fn cpu_clock_of(&mut self, task: &Task, clock: u32) -> Result<u32, Errno> {
        let (id, bits) = match clock {
            CLOCK_PROCESS_CPUTIME_ID => (0, 2),
            CLOCK_THREAD_CPUTIME_ID => (0, THREAD | 2),
            other if is_cpu_clock(other) => (!(other as i32 >> 3) as u32, other & 7),
            _ => return Err(Errno::EINVAL),
        };
        let own = if bits & THREAD != 0 { task.tid } else { task.process.tgid };
        let clock = !(if id == 0 { own } else { id }) << 3 | bits;
        self.cpu_clock_ns(task, clock).map(|_| clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_times_are_refused_or_far_away() {
        assert_eq!(Timespec { sec: 1, nsec: 5 }.to_ns(), Ok(NS + 5));
        assert_eq!(Timespec { sec: 0, nsec: 1_000_000_000 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(Timespec { sec: i64::MAX, nsec: 999_999_999 }.to_ns(), Ok(i64::MAX as u64));
        assert_eq!(Timeval { sec: 1, usec: -1 }.to_ns(), Err(Errno::EINVAL));
    }
}
