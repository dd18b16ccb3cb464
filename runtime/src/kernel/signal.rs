//! Signals: sending, and what is pending where. `deliver` acts on them. See signal(7).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::outbox::Target;
use super::task::{JobState, Process, Task, TaskState};
use super::{Cred, Kernel};
use crate::abi::Errno;
use crate::abi::resource::RLIMIT_SIGPENDING;
use crate::abi::signal::{
    CLD_CONTINUED, CLD_STOPPED, NSIG, SA_NOCLDSTOP, SI_KERNEL, SI_MESGQ, SI_TIMER, SI_TKILL, SI_USER,
    SIG_DFL, SIG_IGN, SIGCHLD, SIGCONT, SIGKILL, SIGNALS, SIGRTMIN, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
    SIGURG, SIGWINCH, SigAction, SigInfo,
};
use crate::syscall::Interrupt;

/// The mask bit of signal `number` (1..=64).
pub const fn bit(number: u32) -> u64 {
    1 << ((number - 1) & 63)
}

/// "SIGINT", or "SIGRT_8" for real-time ones, as strace prints it.
pub fn name(number: u32) -> String {
    let known = SIGNALS.iter().find(|known| known.0 == u64::from(number));
    match known {
        Some(known) => known.1.to_string(),
        None if (SIGRTMIN..=NSIG).contains(&number) => format!("SIGRT_{}", number - SIGRTMIN),
        None => number.to_string(),
    }
}

/// Signals that no mask holds back.
pub const UNBLOCKABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);
/// Signals that stop a process by default.
pub const STOPS: u64 = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);
/// Signals that do nothing by default.
pub const IGNORED: u64 = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH);

/// Signal actions of a process (CLONE_SIGHAND).
#[derive(Debug)]
pub struct SigHand(RefCell<[SigAction; NSIG as usize]>);

impl Default for SigHand {
    fn default() -> SigHand {
        SigHand(RefCell::new([SigAction::default(); NSIG as usize]))
    }
}

impl SigHand {
    /// The action of signal `number`, 1..=64; the default one for anything else.
    pub fn get(&self, number: u32) -> SigAction {
        let index = number.wrapping_sub(1) as usize;
        self.0.borrow().get(index).copied().unwrap_or_default()
    }

    /// Change the action of signal `number`.
    pub fn set(&self, number: u32, action: SigAction) {
        let index = number.wrapping_sub(1) as usize;
        if let Some(slot) = self.0.borrow_mut().get_mut(index) {
            *slot = action;
        }
    }

    /// A copy for fork(2).
    pub fn duplicate(&self) -> SigHand {
        SigHand(RefCell::new(*self.0.borrow()))
    }

    /// What execve(2) does: handlers become the default; with `all`, so does SIG_IGN (CLONE_CLEAR_SIGHAND).
    pub fn reset_handlers(&self, all: bool) {
        for action in self.0.borrow_mut().iter_mut() {
            let handler = if action.handler == SIG_IGN && !all { SIG_IGN } else { SIG_DFL };
            *action = SigAction { handler, ..SigAction::default() };
        }
    }

    /// A signal with this number would have no effect.
    pub fn ignores(&self, number: u32) -> bool {
        match self.get(number).handler {
            SIG_IGN => true,
            SIG_DFL => IGNORED & bit(number) != 0,
            _ => false,
        }
    }
}

/// Signals sent and not yet taken. Standard signals are there once, real-time ones queue.
#[derive(Debug, Default)]
pub struct Pending {
    set: u64,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Bit N-1 for each signal N that is pending.
    pub fn set(&self) -> u64 {
        self.set
    }

    /// Add a signal. False: the queue (of `limit` entries) is full, and only the bit was kept.
    fn add(&mut self, info: SigInfo, limit: usize) -> bool {
        let number = info.signo as u32;
        let already = self.set & bit(number) != 0;
        self.set |= bit(number);
        if already && number < SIGRTMIN {
            return true;
        }
        if self.queue.len() >= limit {
            return false;
        }
        self.queue.push_back(info);
        true
    }

    /// Take the first signal of `wanted`, the lowest number first.
    pub fn take(&mut self, wanted: u64) -> Option<SigInfo> {
        let candidates = self.set & wanted;
        if candidates == 0 {
            return None;
        }
        let number = candidates.trailing_zeros() + 1;
        let position = self.queue.iter().position(|info| info.signo as u32 == number);
        let info = position.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(|info| info.signo as u32 == number) {
            self.set &= !bit(number);
        }
        Some(info.unwrap_or_else(|| SigInfo::new(number, SI_USER)))
    }

    /// The signal of POSIX timer `id` is here.
    pub(super) fn has_timer(&self, id: i32) -> bool {
        self.queue.iter().any(|info| info.code == SI_TIMER && info.fields[0] as u32 == id as u32)
    }

    /// Forget signals.
    pub fn discard(&mut self, signals: u64) {
        self.set &= !signals;
        self.queue.retain(|info| signals & bit(info.signo as u32) == 0);
    }
}

impl SigInfo {
    /// Signal `number` with a code and no more.
    pub fn new(number: u32, code: i32) -> SigInfo {
        SigInfo { signo: number as i32, errno: 0, code, pad: 0, fields: [0; 14] }
    }

    /// From the kernel itself (terminals, timers of the old kind).
    pub fn kernel(number: u32) -> SigInfo {
        SigInfo::new(number, SI_KERNEL)
    }

    /// From a process, by kill(2) (`SI_USER`) or tkill(2) (`SI_TKILL`).
    pub fn from_user(number: u32, code: i32, pid: u32, uid: u32) -> SigInfo {
        let mut info = SigInfo::new(number, code);
        info.fields[0] = u64::from(pid) | u64::from(uid) << 32;
        info
    }

    /// A fault at `addr`.
    pub fn fault(number: u32, code: i32, addr: u64) -> SigInfo {
        let mut info = SigInfo::new(number, code);
        info.fields[0] = addr;
        info
    }

    /// SIGCHLD about a child: `code` is a `CLD_*`, `status` an exit code or signal number.
    pub fn child(number: u32, code: i32, pid: u32, uid: u32, status: u32, times: (u64, u64)) -> SigInfo {
        let mut info = SigInfo::from_user(number, code, pid, uid);
        info.fields[1] = u64::from(status);
        // Clock ticks of 10 ms, as times(2) counts.
        info.fields[2] = times.0 / 10_000_000;
        info.fields[3] = times.1 / 10_000_000;
        info
    }

    /// The sender's pid, where the code has one.
    pub fn pid(&self) -> u32 {
        self.fields[0] as u32
    }
}

impl Task {
    /// Signals that this task would take now.
    pub fn deliverable(&self) -> u64 {
        let pending = self.pending.borrow().set() | self.process.pending.borrow().set();
        pending & (!self.sigmask.get() | UNBLOCKABLE)
    }

    /// Signal `number` is blocked or ignored here: what a terminal asks before it stops a background job.
    pub fn ignores(&self, number: u32) -> bool {
        self.sigmask.get() & bit(number) != 0 || self.sighand.borrow().get(number).handler == SIG_IGN
    }

    /// Take the next pending signal of `wanted`: this thread's own first.
    pub fn take_signal(&self, wanted: u64) -> Option<SigInfo> {
        let own = self.pending.borrow_mut().take(wanted);
        own.or_else(|| self.process.pending.borrow_mut().take(wanted))
    }
}

impl Kernel {
    /// Send a signal to one thread. EAGAIN: a real-time queue is full.
    pub fn signal_task(&mut self, task: &Rc<Task>, info: SigInfo) -> Result<(), Errno> {
        let number = info.signo as u32;
        if number == 0 || number > NSIG || task.state.get() == TaskState::Dead {
            return Ok(());
        }
        self.before_signal(&task.process, number);
        if task.sigmask.get() & bit(number) == 0 && task.sighand.borrow().ignores(number) {
            return Ok(());
        }
        let limit = queue_limit(&task.process);
        let queued = task.pending.borrow_mut().add(info, limit);
        task.process.signal_events.wake_all();
        self.wake_for_signal(task, number);
        if queued || info.code >= 0 || number < SIGRTMIN { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Send a signal to a process: whichever thread does not block it takes it. EAGAIN as above.
    pub fn signal_process(&mut self, process: &Rc<Process>, info: SigInfo) -> Result<(), Errno> {
        let number = info.signo as u32;
        if number == 0 || number > NSIG || process.zombie.get().is_some() {
            return Ok(());
        }
        self.before_signal(process, number);
        let threads = process.live_threads();
        let wants = |task: &&Rc<Task>| {
            task.state.get() != TaskState::Dead
                && (task.sigmask.get() & bit(number) == 0 || UNBLOCKABLE & bit(number) != 0)
        };
        let taker = threads.iter().find(wants);
        if taker.is_some_and(|task| task.sighand.borrow().ignores(number)) {
            return Ok(());
        }
        let queued = process.pending.borrow_mut().add(info, queue_limit(process));
        process.signal_events.wake_all();
        for task in threads.iter().filter(wants) {
            self.wake_for_signal(task, number);
        }
        // sigtimedwait(2) waits for signals that are blocked.
        for task in threads.iter().filter(|task| task.park.borrow().awaits & bit(number) != 0) {
            self.unpark(task);
        }
        if queued || info.code >= 0 || number < SIGRTMIN { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Send a signal to all processes of a group; how many there are.
    pub fn signal_group(&mut self, pgid: u32, info: SigInfo) -> usize {
        let members = self.processes(|process| process.pgid.get() == pgid && process.zombie.get().is_none());
        for process in &members {
            // A full queue of one member is not the group's failure.
            let _ = self.signal_process(process, info);
        }
        members.len()
    }

    /// Send what objects asked for.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub fn drain_outbox(&mut self) {
        self.tell_owners();
        for (target, number) in self.outbox.take() {
            let info = SigInfo::kernel(number);
            match target {
                Target::Task(tid) => {
                    if let Some(task) = self.tasks.get(&tid).cloned() {
                        let _ = self.signal_task(&task, info);
                    }
                }
                Target::Process(tgid) => {
                    if let Some(process) = self.process(tgid) {
                        let _ = self.signal_process(&process, info);
                    }
                }
                Target::Group(pgid) => {
                    self.signal_group(pgid, info);
                }
            }
        }
    }

    /// A message queue tells `owner` of a message that `sender` sent: SI_MESGQ with a value.
    pub fn signal_message(&mut self, sender: &Task, owner: &Rc<Process>, number: u32, value: u64) {
        if number == 0 {
            return;
        }
        let uid = sender.cred.borrow().uid;
        let mut info = SigInfo::from_user(number, SI_MESGQ, sender.process.tgid, uid);
        info.fields[1] = value;
        let _ = self.signal_process(owner, info);
    }

    /// A fault of the task itself: cannot be blocked or ignored, kills then.
    pub fn force_signal(&mut self, task: &Rc<Task>, info: SigInfo) {
        let number = info.signo as u32;
        let sighand = Rc::clone(&task.sighand.borrow());
        let blocked = task.sigmask.get() & bit(number) != 0;
        if blocked || sighand.get(number).handler == SIG_IGN {
            sighand.set(number, SigAction::default());
            task.sigmask.set(task.sigmask.get() & !bit(number));
        }
        task.pending.borrow_mut().add(info, usize::MAX);
    }

    /// What sending does whether or not anybody takes the signal: stop and continue cancel each other.
    fn before_signal(&mut self, process: &Rc<Process>, number: u32) {
        let discard = |signals: u64| {
            process.pending.borrow_mut().discard(signals);
            for task in process.live_threads() {
                task.pending.borrow_mut().discard(signals);
            }
        };
        if number == SIGCONT {
            discard(STOPS);
        } else if STOPS & bit(number) != 0 {
            discard(bit(SIGCONT));
        }
        let stopped = matches!(process.job.get(), JobState::Stopped(_));
        if stopped && (number == SIGCONT || number == SIGKILL) {
            for task in process.live_threads() {
                if task.state.get() == TaskState::Stopped {
                    self.make_runnable(&task);
                }
            }
            process.job.set(if number == SIGCONT { JobState::Continued } else { JobState::Running });
            process.job_news.set(number == SIGCONT);
            if number == SIGCONT {
                self.tell_parent(process, CLD_CONTINUED, SIGCONT);
            }
        }
    }

    /// All threads of `process` stop because of `number`.
    pub(super) fn stop_process(&mut self, process: &Rc<Process>, number: u32) {
        for task in process.live_threads() {
            match task.state.get() {
                TaskState::Dead | TaskState::Stopped => {}
                TaskState::Blocked => {
                    self.unpark(&task);
                    task.state.set(TaskState::Stopped);
                }
                TaskState::Runnable => task.state.set(TaskState::Stopped),
            }
        }
        process.job.set(JobState::Stopped(number));
        process.job_news.set(true);
        self.tell_parent(process, CLD_STOPPED, number);
    }

    /// SIGCHLD about a stop or continue, and wake the parent's wait(2).
    fn tell_parent(&mut self, process: &Rc<Process>, code: i32, status: u32) {
        let Some(parent) = process.parent.borrow().upgrade() else { return };
        parent.child_events.wake_all();
        let threads = parent.live_threads();
        let Some(reader) = threads.first() else { return };
        if reader.sighand.borrow().get(SIGCHLD).flags & SA_NOCLDSTOP != 0 {
            return;
        }
        let uid = process.live_threads().first().map_or(0, |task| task.cred.borrow().uid);
        let cpu = self.process_usage(process).cpu;
        let times = (cpu.user_ns, cpu.system_ns);
        let _ = self.signal_process(&parent, SigInfo::child(SIGCHLD, code, process.tgid, uid, status, times));
    }

    /// If the signal would be taken, get the task out of its sleep.
    fn wake_for_signal(&mut self, task: &Rc<Task>, number: u32) {
        let (interrupt, awaits) = {
            let park = task.park.borrow();
            (park.interrupt, park.awaits)
        };
        let masked = task.sigmask.get() & bit(number) != 0 && UNBLOCKABLE & bit(number) == 0;
        let wanted = !masked && (interrupt != Interrupt::Never || number == SIGKILL);
        if task.state.get() == TaskState::Blocked && (wanted || awaits & bit(number) != 0) {
            self.unpark(task);
        }
        if task.state.get() == TaskState::Stopped && number == SIGKILL {
            self.make_runnable(task);
        }
    }
}

/// Who may send to whom: kill(2).
pub fn may_signal(sender: &Task, target: &Task, number: u32) -> bool {
    let (from, to): (&Cred, &Cred) = (&sender.cred.borrow(), &target.cred.borrow());
    let same_session = sender.process.sid.get() == target.process.sid.get();
    Rc::ptr_eq(&sender.process, &target.process)
        || from.capable(super::cred::CAP_KILL)
        || [from.euid, from.uid].iter().any(|id| [to.suid, to.uid].contains(id))
        || (number == SIGCONT && same_session)
}

/// The code of a siginfo that a process may make up for another one: kill(2)'s and the kernel's are reserved.
pub fn may_forge(code: i32) -> bool {
    code < 0 && code != SI_TKILL
}

fn queue_limit(process: &Process) -> usize {
    usize::try_from(process.rlimit(RLIMIT_SIGPENDING)).unwrap_or(usize::MAX).min(1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signals_coalesce_and_real_time_ones_queue() {
        let mut pending = Pending::default();
        for value in 0..3 {
            let mut info = SigInfo::new(40, -1);
            info.fields[1] = value;
            assert!(pending.add(info, 5));
            assert!(pending.add(SigInfo::new(10, 0), 5));
        }
        assert!(pending.add(SigInfo::new(41, -1), 5));
        assert!(!pending.add(SigInfo::new(41, -1), 5), "the queue is full");
        assert_eq!(pending.take(u64::MAX).map(|i| i.signo), Some(10));
        for value in 0..3 {
            assert_eq!(pending.take(!bit(41)).map(|i| (i.signo, i.fields[1])), Some((40, value)));
        }
        assert_eq!(pending.take(!bit(41)), None);
        assert_eq!(pending.set(), bit(41));
        pending.discard(bit(41));
        assert_eq!(pending.take(u64::MAX), None);
    }
}
