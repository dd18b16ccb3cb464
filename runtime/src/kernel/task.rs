//! Tasks (threads) and processes (thread groups), and what they share by reference.
//!
//! State only. What is done with it: `sched` (who runs), `clone` and `exit`
//! (birth and death), `signal`, `cred`, `timers`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::FdTable;
use super::signal::{Pending, SigHand};
use super::timers::{Itimers, PosixTimer, TimerId};
use super::uts::Uts;
use super::wait::{WaitQueue, Waiter};
use crate::abi::resource::{RLIM_NLIMITS, RLIMIT_NOFILE, Rlimit};
use crate::abi::signal::{SS_DISABLE, StackT};
use crate::fs::Dentry;
use crate::hart::Registers;
use crate::mm::Mm;
use crate::syscall::Interrupt;

/// One thread, as clone(2) makes them.
pub struct Task {
    /// gettid(2).
    pub tid: u32,
    /// The thread group.
    pub process: Rc<Process>,
    /// User registers while not running.
    pub regs: RefCell<Registers>,
    /// Address space; CLONE_VM shares it.
    pub mm: RefCell<Rc<Mm>>,
    /// File descriptors; CLONE_FILES shares them.
    pub files: RefCell<Rc<FdTable>>,
    /// Root, cwd, umask; CLONE_FS shares them.
    pub fs: RefCell<Rc<FsContext>>,
    /// Credentials; replaced as a whole when they change.
    pub cred: RefCell<Rc<Cred>>,
    /// prctl(PR_SET_NAME), at most 15 bytes.
    pub comm: RefCell<Vec<u8>>,
    /// Blocked signals, bit N-1 for signal N.
    pub sigmask: Cell<u64>,
    /// What a blocked call must remember between two runs of its handler. Empty at the start of each new call.
    pub progress: RefCell<Progress>,

    /// What the scheduler may do with it.
    pub state: Cell<TaskState>,
    /// Where and how it is parked.
    pub park: RefCell<Park>,
    /// In the middle of a system call that will be run again (registers still stand at the ecall).
    pub in_call: Cell<bool>,
    /// Signal actions; CLONE_SIGHAND shares them.
    pub sighand: RefCell<Rc<SigHand>>,
    /// Signals for this thread alone.
    pub pending: RefCell<Pending>,
    /// The mask to come back to after sigsuspend(2), ppoll(2)…
    pub saved_mask: Cell<Option<u64>>,
    /// sigaltstack(2).
    pub altstack: Cell<StackT>,
    /// set_tid_address(2), CLONE_CHILD_CLEARTID; 0 none.
    pub clear_child_tid: Cell<u64>,
    /// set_robust_list(2); 0 none.
    pub robust_list: Cell<u64>,
    /// A vfork(2) parent waits here for this child's exec or end.
    pub vfork_done: RefCell<Option<WaitQueue>>,
    /// Scheduling parameters and accounts.
    pub sched: Sched,
    /// prctl(PR_SET_PDEATHSIG); 0 none.
    pub pdeathsig: Cell<u32>,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privs: Cell<bool>,
    /// prctl(PR_SET_TIMERSLACK), ns.
    pub timerslack_ns: Cell<u64>,
    /// prctl(PR_SET_KEEPCAPS).
    pub keepcaps: Cell<bool>,
    /// personality(2).
    pub personality: Cell<u32>,
    /// The UTS namespace; none for the machine's own.
    pub uts: RefCell<Option<Rc<Uts>>>,
}

/// Memory of a call that blocks: cleared when a new call starts, kept while the same one is run again.
#[derive(Default)]
pub struct Progress {
    /// Absolute monotonic deadline, computed on the first run.
    pub deadline_ns: Option<u64>,
    /// The call sleeps until a time on the wall clock: a thaw runs it again.
    pub wall_deadline: bool,
    /// Bytes already moved by a write that blocks in the middle.
    pub done: u64,
    /// A signal handler is about to run: this is the last run of the call, for
    /// it to return what it has (bytes moved, remaining time). Blocking again means EINTR or a restart.
    pub interrupted: bool,
    /// Whatever else the family needs.
    pub extra: Option<Box<dyn Any>>,
}

/// What the scheduler may do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Runs or waits for its turn.
    Runnable,
    /// Parked, see [`Task::park`].
    Blocked,
    /// Stopped by a signal (SIGSTOP…).
    Stopped,
    /// Ended; a leader stays in the task table until it is reaped.
    Dead,
}

/// The ticket of a blocked task.
pub struct Park {
    /// What the queues hold weakly.
    pub waiter: Option<Rc<Waiter>>,
    /// The deadline's entry in the timer queue.
    pub timer: Option<TimerId>,
    /// What a signal does.
    pub interrupt: Interrupt,
    /// Signals that end the sleep although they are blocked: sigtimedwait(2).
    pub awaits: u64,
}

/// Scheduling parameters and accounts of a task.
#[derive(Debug)]
pub struct Sched {
    /// nice(2), -20..=19.
    pub nice: Cell<i32>,
    /// sched_setscheduler(2) policy, kept and reported; all share one fair queue.
    pub policy: Cell<u32>,
    /// sched_setscheduler(2) priority.
    pub priority: Cell<i32>,
    /// SCHED_RESET_ON_FORK.
    pub reset_on_fork: Cell<bool>,
    /// Weighted instructions run: the least runs next.
    pub vruntime: Cell<u64>,
    /// Instructions retired.
    pub retired: Cell<u64>,
    /// Time used, ns.
    pub cpu: Cell<CpuTime>,
    /// Times it gave the hart away.
    pub voluntary_switches: Cell<u64>,
    /// Times the hart was taken from it.
    pub involuntary_switches: Cell<u64>,
    /// Page faults served.
    pub minor_faults: Cell<u64>,
    /// Monotonic time of its birth, ns.
    pub start_ns: Cell<u64>,
}

/// CPU time, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

impl CpuTime {
    /// Both together.
    pub fn total_ns(self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }

    /// The sum of two accounts.
    pub fn plus(self, other: CpuTime) -> CpuTime {
        CpuTime {
            user_ns: self.user_ns.saturating_add(other.user_ns),
            system_ns: self.system_ns.saturating_add(other.system_ns),
        }
    }
}

/// What ended threads or reaped children used, for getrusage(2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time.
    pub cpu: CpuTime,
    /// Page faults served.
    pub minor_faults: u64,
    /// Context switches given.
    pub voluntary_switches: u64,
    /// Context switches taken.
    pub involuntary_switches: u64,
    /// Largest resident set, KiB.
    pub maxrss_kib: u64,
}

impl Usage {
    /// Add another account.
    pub fn add(&mut self, other: &Usage) {
        self.cpu = self.cpu.plus(other.cpu);
        self.minor_faults += other.minor_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.maxrss_kib = self.maxrss_kib.max(other.maxrss_kib);
    }
}

/// A thread group: what the outside sees as a process.
pub struct Process {
    /// getpid(2).
    pub tgid: u32,
    /// Live threads.
    pub threads: RefCell<Vec<Weak<Task>>>,
    /// Parent; none for pid 1.
    pub parent: RefCell<Weak<Process>>,
    /// Children, zombies included.
    pub children: RefCell<Vec<Rc<Process>>>,
    /// Process group.
    pub pgid: Cell<u32>,
    /// Session.
    pub sid: Cell<u32>,
    /// The executable, for /proc/PID/exe.
    pub exe: RefCell<Option<Rc<Dentry>>>,
    /// Woken when a child changes state.
    pub child_events: WaitQueue,

    /// Signals for whichever thread takes them.
    pub pending: RefCell<Pending>,
    /// Woken when a signal arrives: signalfd(2).
    pub signal_events: WaitQueue,
    /// Woken when the process has ended: pidfd_open(2).
    pub exit_events: WaitQueue,
    /// All threads are on their way out with this wait(2) status.
    pub exiting: Cell<Option<u32>>,
    /// Ended, with this wait(2) status; a zombie until it is reaped.
    pub zombie: Cell<Option<u32>>,
    /// What the first thread gave to exit(2): the status when no exit_group(2) comes.
    pub leader_status: Cell<u32>,
    /// Stop and continue, as wait(2) reports them.
    pub job: Cell<JobState>,
    /// The job state was not yet seen by the parent.
    pub job_news: Cell<bool>,
    /// Signal to the parent at the end; 0 none.
    pub exit_signal: Cell<u32>,
    /// execve(2) was called since the fork (setpgid(2) asks).
    pub did_exec: Cell<bool>,
    /// prctl(PR_SET_CHILD_SUBREAPER).
    pub subreaper: Cell<bool>,
    /// prctl(PR_SET_DUMPABLE).
    pub dumpable: Cell<u32>,
    /// prlimit(2).
    pub rlimits: RefCell<[Rlimit; RLIM_NLIMITS]>,
    /// setitimer(2).
    pub itimers: RefCell<Itimers>,
    /// timer_create(2).
    pub posix_timers: RefCell<BTreeMap<i32, PosixTimer>>,
    /// Of threads that ended.
    pub own_usage: Cell<Usage>,
    /// Of reaped children.
    pub child_usage: Cell<Usage>,
    /// membarrier(2) registrations.
    pub membarrier: Cell<u32>,
    /// oom_score_adj and whatever else only /proc reads: 0 by default.
    pub oom_score_adj: Cell<i32>,
    /// The audited user and session: who logged in, whatever su(1) made of it since. See pam_loginuid(8).
    pub login: Cell<Login>,
}

/// /proc/PID/loginuid and sessionid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// User ID; `u32::MAX` before any login.
    pub uid: u32,
    /// A number for each login; `u32::MAX` before any.
    pub session: u32,
}

/// Stop and continue of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Runs, and never stopped.
    Running,
    /// Stopped by this signal.
    Stopped(u32),
    /// Continued by SIGCONT.
    Continued,
}

/// What CLONE_FS shares.
pub struct FsContext {
    /// chroot(2).
    pub root: RefCell<Rc<Dentry>>,
    /// chdir(2).
    pub cwd: RefCell<Rc<Dentry>>,
    /// umask(2).
    pub umask: Cell<u32>,
}

/// Credentials, see credentials(7) and capabilities(7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Linux's; credentials(7) says what they mean")]
pub struct Cred {
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    pub fsuid: u32,
    pub fsgid: u32,
    pub groups: Vec<u32>,
    /// Effective capabilities, bit N for capability N.
    pub cap_effective: u64,
    pub cap_permitted: u64,
    pub cap_inheritable: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
}

impl Task {
    /// A thread of `process` that shares what it is given. Not yet known to the kernel.
    pub fn new(
        tid: u32,
        process: Rc<Process>,
        regs: Registers,
        (mm, files, fs): (Rc<Mm>, Rc<FdTable>, Rc<FsContext>),
        cred: Rc<Cred>,
        sighand: Rc<SigHand>,
    ) -> Task {
        Task {
            tid,
            process,
            regs: RefCell::new(regs),
            mm: RefCell::new(mm),
            files: RefCell::new(files),
            fs: RefCell::new(fs),
            cred: RefCell::new(cred),
            comm: RefCell::default(),
            sigmask: Cell::new(0),
            progress: RefCell::default(),
            state: Cell::new(TaskState::Runnable),
            park: RefCell::new(Park { waiter: None, timer: None, interrupt: Interrupt::Restart, awaits: 0 }),
            in_call: Cell::new(false),
            sighand: RefCell::new(sighand),
            pending: RefCell::default(),
            saved_mask: Cell::new(None),
            altstack: Cell::new(StackT { flags: SS_DISABLE, ..StackT::default() }),
            clear_child_tid: Cell::new(0),
            robust_list: Cell::new(0),
            vfork_done: RefCell::new(None),
            sched: Sched {
                nice: Cell::new(0),
                policy: Cell::new(0),
                priority: Cell::new(0),
                reset_on_fork: Cell::new(false),
                vruntime: Cell::new(0),
                retired: Cell::new(0),
                cpu: Cell::default(),
                voluntary_switches: Cell::new(0),
                involuntary_switches: Cell::new(0),
                minor_faults: Cell::new(0),
                start_ns: Cell::new(0),
            },
            pdeathsig: Cell::new(0),
            no_new_privs: Cell::new(false),
            timerslack_ns: Cell::new(50_000),
            keepcaps: Cell::new(false),
            personality: Cell::new(0),
            uts: RefCell::default(),
        }
    }

    /// The thread whose tid is the process's.
    pub fn is_leader(&self) -> bool {
        self.tid == self.process.tgid
    }

    /// Take `mask` for the duration of this call: ppoll(2), sigsuspend(2)…
    /// Comes back when the call ends, or after the handler that interrupts it. Calling it again on a re-run changes nothing.
    pub fn set_temporary_mask(&self, mask: u64) {
        if self.saved_mask.get().is_none() {
            self.saved_mask.set(Some(self.sigmask.get()));
            self.sigmask.set(mask & !super::signal::UNBLOCKABLE);
        }
    }
}

impl Process {
    /// A process without threads, parent or children, its own group and session.
    pub fn new(tgid: u32) -> Process {
        Process {
            tgid,
            threads: RefCell::default(),
            parent: RefCell::new(Weak::new()),
            children: RefCell::default(),
            pgid: Cell::new(tgid),
            sid: Cell::new(tgid),
            exe: RefCell::default(),
            child_events: WaitQueue::new(),
            pending: RefCell::default(),
            signal_events: WaitQueue::new(),
            exit_events: WaitQueue::new(),
            exiting: Cell::new(None),
            zombie: Cell::new(None),
            leader_status: Cell::new(0),
            job: Cell::new(JobState::Running),
            job_news: Cell::new(false),
            exit_signal: Cell::new(0),
            did_exec: Cell::new(false),
            subreaper: Cell::new(false),
            dumpable: Cell::new(1),
            rlimits: RefCell::new(super::limits::initial()),
            itimers: RefCell::default(),
            posix_timers: RefCell::default(),
            own_usage: Cell::default(),
            child_usage: Cell::default(),
            membarrier: Cell::new(0),
            oom_score_adj: Cell::new(0),
            login: Cell::new(Login { uid: u32::MAX, session: u32::MAX }),
        }
    }

    /// The live threads.
    pub fn live_threads(&self) -> Vec<Rc<Task>> {
        self.threads.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// A soft limit, `RLIMIT_*`; infinite for a number that is none.
    pub fn rlimit(&self, resource: u32) -> u64 {
        let index = usize::try_from(resource).unwrap_or(usize::MAX);
        self.rlimits.borrow().get(index).map_or(u64::MAX, |limit| limit.cur)
    }

    /// RLIMIT_NOFILE as a table size.
    pub fn max_files(&self) -> u32 {
        u32::try_from(self.rlimit(RLIMIT_NOFILE)).unwrap_or(u32::MAX)
    }
}

impl FsContext {
    /// A copy for fork(2).
    pub fn duplicate(&self) -> FsContext {
        FsContext { root: self.root.clone(), cwd: self.cwd.clone(), umask: self.umask.clone() }
    }
}

impl Cred {
    /// root with every capability that a container gets by default, and no more.
    pub fn root() -> Cred {
        Cred {
            cap_effective: super::cred::ALL_CAPS,
            cap_permitted: super::cred::ALL_CAPS,
            cap_bounding: super::cred::ALL_CAPS,
            ..Cred::default()
        }
    }

    /// Capability `cap` is effective.
    pub fn capable(&self, cap: u32) -> bool {
        self.cap_effective >> cap & 1 != 0
    }
}
