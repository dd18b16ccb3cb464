//! The timer queue, and the timers of processes: setitimer(2), timer_create(2), alarm clocks of blocked calls.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::Kernel;
use super::outbox::Target;
use super::signal::Pending;
use super::task::{Process, TaskState};
use super::wait::{WaitQueue, Waiter};
use crate::abi::resource::{RLIM_INFINITY, RLIMIT_CPU};
use crate::abi::signal::{
    SI_TIMER, SIGALRM, SIGEV_NONE, SIGEV_THREAD_ID, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU, SigInfo,
};

/// An entry of the timer queue, to cancel it.
pub type TimerId = (u64, u64);

/// What to do when the time has come.
enum Action {
    /// Run a blocked call again.
    Wake(Weak<Waiter>),
    /// Something changed: timerfd(2).
    Queue(WaitQueue),
    /// ITIMER_REAL of a process.
    Itimer(Weak<Process>),
    /// A POSIX timer of a process.
    Posix(Weak<Process>, i32),
}

/// Everything that waits for a time, ordered by monotonic deadline (ns), then by order of arrival.
#[derive(Default)]
pub struct TimerQueue {
    entries: BTreeMap<TimerId, Action>,
    next: u64,
}

impl TimerQueue {
    fn add(&mut self, deadline_ns: u64, action: Action) -> TimerId {
        self.next += 1;
        let id = (deadline_ns, self.next);
        self.entries.insert(id, action);
        id
    }

    /// Wake `waiter` at `deadline_ns`.
    pub fn wake(&mut self, deadline_ns: u64, waiter: &Rc<Waiter>) -> TimerId {
        self.add(deadline_ns, Action::Wake(Rc::downgrade(waiter)))
    }

    /// Wake all of `queue` at `deadline_ns` (monotonic).
    pub fn wake_queue(&mut self, deadline_ns: u64, queue: &WaitQueue) -> TimerId {
        self.add(deadline_ns, Action::Queue(queue.clone()))
    }

    /// Forget an entry; nothing happens when its time is over.
    pub fn cancel(&mut self, id: TimerId) {
        self.entries.remove(&id);
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.entries.keys().next().map(|id| id.0)
    }

    fn take_expired(&mut self, now_ns: u64) -> Option<Action> {
        let entry = self.entries.first_entry()?;
        if entry.key().0 > now_ns { None } else { Some(entry.remove()) }
    }
}

/// An interval timer: when it fires next and how often then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Itimer {
    /// Absolute time on the timer's own clock, ns; none: disarmed.
    pub next_ns: Option<u64>,
    /// Period, ns; 0: once.
    pub interval_ns: u64,
    /// The entry in the timer queue (ITIMER_REAL).
    pub id: Option<TimerId>,
}

/// setitimer(2)'s three.
#[derive(Debug, Default)]
pub struct Itimers {
    /// ITIMER_REAL (monotonic), ITIMER_VIRTUAL (user time), ITIMER_PROF (user and system time).
    pub timers: [Itimer; 3],
}

/// A POSIX timer.
#[derive(Debug, Clone)]
pub struct PosixTimer {
    /// CLOCK_* it counts on.
    pub clock: u32,
    /// SIGEV_*.
    pub notify: u32,
    /// The signal.
    pub signo: u32,
    /// sigev_value.
    pub value: u64,
    /// SIGEV_THREAD_ID's thread.
    pub tid: u32,
    /// Absolute deadline, ns, monotonic or on the CPU clock; none: disarmed.
    pub next_ns: Option<u64>,
    /// Absolute wall-clock deadline, ns, of a TIMER_ABSTIME on CLOCK_REALTIME: a thaw moves it.
    pub wall_ns: Option<u64>,
    /// Period, ns; 0: once.
    pub interval_ns: u64,
    /// Entry in the timer queue.
    pub id: Option<TimerId>,
    /// Expirations missed before the signal that was delivered last.
    pub overrun: u64,
    /// Expirations missed since the pending signal was sent.
    pub missed: u64,
}

impl Kernel {
    /// Act on everything whose time has come.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub fn expire_timers(&mut self) {
        let now = self.monotonic_ns();
        self.load.sample(now, self.run_queue.len());
        while let Some(action) = self.timers.take_expired(now) {
            match action {
                Action::Wake(waiter) => {
                    if let Some(waiter) = waiter.upgrade() {
                        waiter.wake();
                    }
                }
                Action::Queue(queue) => queue.wake_all(),
                Action::Itimer(process) => {
                    if let Some(process) = process.upgrade() {
                        self.itimer_fired(&process, now);
                    }
                }
                Action::Posix(process, id) => {
                    if let Some(process) = process.upgrade() {
                        self.posix_timer_fired(&process, id, now);
                    }
                }
            }
        }
    }

    /// Arm ITIMER_REAL (absolute monotonic time) or disarm it.
    pub fn set_real_timer(&mut self, process: &Rc<Process>, next_ns: Option<u64>, interval_ns: u64) {
        let mut itimers = process.itimers.borrow_mut();
        let timer = &mut itimers.timers[0];
        if let Some(id) = timer.id.take() {
            self.timers.cancel(id);
        }
        let id = next_ns.map(|at| self.timers.add(at, Action::Itimer(Rc::downgrade(process))));
        *timer = Itimer { next_ns, interval_ns, id };
    }

    fn itimer_fired(&mut self, process: &Rc<Process>, now: u64) {
        let timer = process.itimers.borrow().timers[0];
        let next = timer.next_ns.and_then(|next| following(next, timer.interval_ns, now));
        self.set_real_timer(process, next.map(|n| n.0), timer.interval_ns);
        let _ = self.signal_process(process, SigInfo::kernel(SIGALRM));
    }

    /// Arm POSIX timer `id` of `process` as its fields say.
    pub fn arm_posix_timer(&mut self, process: &Rc<Process>, id: i32) {
        let mut timers = process.posix_timers.borrow_mut();
        let Some(timer) = timers.get_mut(&id) else { return };
        if let Some(id) = timer.id.take() {
            self.timers.cancel(id);
        }
        let weak = Rc::downgrade(process);
        if is_cpu_clock(timer.clock) {
            self.cpu_timers.retain(|(owner, other)| *other != id || !owner.ptr_eq(&weak));
            if timer.next_ns.is_some() {
                self.cpu_timers.push((weak, id));
            }
            return;
        }
        timer.id = timer.next_ns.map(|at| self.timers.add(at, Action::Posix(weak, id)));
    }

    /// Act on the timers whose process or thread has used as much of the hart as they wait for.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub(super) fn expire_cpu_timers(&mut self) {
        for (owner, id) in std::mem::take(&mut self.cpu_timers) {
            let Some(process) = owner.upgrade() else { continue };
            let armed = process.posix_timers.borrow().get(&id).and_then(|t| Some((t.clock, t.next_ns?)));
            // What ended uses no more.
            let Some((clock, next_ns)) = armed else { continue };
            let Ok(used) = self.cpu_clock_used(clock) else { continue };
            if next_ns <= used {
                self.posix_timer_fired(&process, id, used);
            } else {
                self.cpu_timers.push((owner, id));
            }
        }
    }

    fn posix_timer_fired(&mut self, process: &Rc<Process>, id: i32, now: u64) {
        let timer = {
            let mut timers = process.posix_timers.borrow_mut();
            let Some(timer) = timers.get_mut(&id) else { return };
            let next = match timer.wall_ns {
                // The next of a periodic timer is a date as well.
                Some(wall) => {
                    let next = following(wall, timer.interval_ns, self.realtime_ns());
                    timer.wall_ns = next.map(|n| n.0);
                    next.map(|(wall, missed)| (self.wall_to_monotonic(wall), missed))
                }
                None => timer.next_ns.and_then(|next| following(next, timer.interval_ns, now)),
            };
            timer.id = None;
            timer.next_ns = next.map(|n| n.0);
            timer.missed = timer.missed.saturating_add(next.map_or(0, |n| n.1));
            timer.clone()
        };
        self.arm_posix_timer(process, id);
        if timer.notify == SIGEV_NONE {
            return;
        }
        let mut info = SigInfo::new(timer.signo, SI_TIMER);
        info.fields[0] = u64::from(id as u32);
        info.fields[1] = timer.value;
        let target = self.tasks.get(&timer.tid).filter(|_| timer.notify == SIGEV_THREAD_ID).cloned();
        // One signal per timer is pending at a time; further expirations are overruns.
        let waiting = |pending: &Pending| pending.has_timer(id);
        let pending = match &target {
            Some(task) => waiting(&task.pending.borrow()),
            None => waiting(&process.pending.borrow()),
        };
        if pending {
            if let Some(timer) = process.posix_timers.borrow_mut().get_mut(&id) {
                timer.missed = timer.missed.saturating_add(1);
            }
            return;
        }
        let _ = match target {
            Some(task) => self.signal_task(&task, info),
            None => self.signal_process(process, info),
        };
    }

    /// CPU-time limits and timers of `process`, after time was charged to it.
    pub(super) fn check_cpu_timers(&mut self, process: &Rc<Process>) {
        let limit = process.rlimit(RLIMIT_CPU);
        let armed = process.itimers.borrow().timers[1..].iter().any(|timer| timer.next_ns.is_some());
        if limit == RLIM_INFINITY && !armed {
            return;
        }
        let cpu = self.process_usage(process).cpu;
        for (which, used, signal) in [(1, cpu.user_ns, SIGVTALRM), (2, cpu.total_ns(), SIGPROF)] {
            let timer = process.itimers.borrow().timers[which];
            if let Some(next) = timer.next_ns.filter(|&next| next <= used) {
                process.itimers.borrow_mut().timers[which].next_ns =
                    following(next, timer.interval_ns, used).map(|n| n.0);
                self.outbox.post(Target::Process(process.tgid), signal);
            }
        }
        let seconds = cpu.total_ns() / 1_000_000_000;
        if limit != RLIM_INFINITY && seconds >= limit {
            let mut limits = process.rlimits.borrow_mut();
            let slot = &mut limits[RLIMIT_CPU as usize];
            let hard = slot.max != RLIM_INFINITY && seconds >= slot.max;
            // As Linux does: SIGXCPU once a second beyond the soft limit, SIGKILL at the hard one.
            slot.cur = seconds + 1;
            self.outbox.post(Target::Process(process.tgid), if hard { SIGKILL } else { SIGXCPU });
        }
    }

    /// After a thaw: deadlines on the wall clock are where the wall clock is now.
    pub(crate) fn rebase_wall_timers(&mut self) {
        let processes = self.processes(|_| true);
        for process in processes {
            let moved: Vec<(i32, u64)> = {
                let timers = process.posix_timers.borrow();
                timers.iter().filter_map(|(&id, timer)| Some((id, timer.wall_ns?))).collect()
            };
            for (id, wall_ns) in moved {
                let next = self.wall_to_monotonic(wall_ns);
                if let Some(timer) = process.posix_timers.borrow_mut().get_mut(&id) {
                    timer.next_ns = Some(next);
                }
                self.arm_posix_timer(&process, id);
            }
        }
        // Calls that sleep until a wall-clock time compute their deadline anew when they run again.
        for task in self.tasks.values() {
            let asleep = task.state.get() == TaskState::Blocked && task.progress.borrow().wall_deadline;
            if let Some(waiter) = task.park.borrow().waiter.as_ref().filter(|_| asleep) {
                waiter.wake();
            }
        }
    }
}

/// A clock of a process or thread: clock_getcpuclockid(3) puts ~pid in the upper bits.
pub fn is_cpu_clock(clock: u32) -> bool {
    clock > i32::MAX as u32
}

/// The first of `next`, `next + interval`, … after `now`, and how many were skipped.
fn following(next: u64, interval: u64, now: u64) -> Option<(u64, u64)> {
    if interval == 0 {
        return None;
    }
    let behind = now.saturating_sub(next) / interval;
    Some((next.saturating_add(interval.saturating_mul(behind + 1)), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_skip_what_was_missed() {
        assert_eq!(following(100, 0, 150), None);
        assert_eq!(following(100, 10, 100), Some((110, 0)));
        assert_eq!(following(100, 10, 155), Some((160, 5)));
        assert_eq!(following(100, u64::MAX, 155), Some((u64::MAX, 0)));
    }
}
