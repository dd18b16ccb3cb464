//! The kernel: tasks and everything they share. Objects are named as Linux names them.

pub mod clone;
pub mod cred;
pub mod deliver;
pub mod exec;
mod exec_layout;
pub mod exec_stack;
pub mod exit;
pub mod fasync;
pub mod fdtable;
pub mod freeze;
pub mod futex;
pub mod futex_pi;
pub mod ipc;
pub mod limits;
pub mod load;
pub mod outbox;
pub mod pidfd;
pub mod random;
pub mod run;
pub mod sched;
pub mod signal;
pub mod start;
pub mod task;
#[cfg(test)]
mod tests;
pub mod time;
pub mod timers;
pub mod uts;
pub mod vdso;
pub mod wait;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zerocopy::{FromBytes, IntoBytes};

use crate::abi::Errno;
use crate::fs::console::Console;
use crate::fs::locks::LockTable;
use crate::fs::pseudo::World;
use crate::fs::tty::devpts::Terminals;
use crate::fs::{FileRef, Io, Timespec, Vfs};
use crate::hart::Library;
use crate::mm::{Access, Linear, Mm};
use crate::net::Names;
use crate::platform::Platform;
use crate::ring::Ring;
use crate::syscall::{Block, Flow, Interrupt};
pub use fdtable::FdTable;
pub use outbox::{Outbox, Target};
pub use task::{Cred, FsContext, Process, Task};

/// What `--strace` keeps of a call between its start and its end.
type StracePending = (u64, crate::syscall::Args, Vec<Option<String>>);

/// Everything behind the system call interface.
pub struct Kernel {
    /// Clocks, entropy, chunk segment.
    pub platform: Rc<dyn Platform>,
    /// All tasks by tid, zombies' leaders included until reaped.
    pub tasks: BTreeMap<u32, Rc<Task>>,
    /// Tids whose wait queues were woken; the scheduler drains it. See [`wait::Waiter`].
    pub ready: Rc<RefCell<Vec<u32>>>,
    /// Signals that objects asked for; drained before any task runs on.
    pub outbox: Outbox,
    /// Mounts, and what file systems share.
    pub vfs: Vfs,
    /// Advisory file locks.
    pub locks: LockTable,
    /// Standard input, output and error of the first process.
    pub console: Rc<Console>,
    /// All terminals.
    pub terminals: Rc<Terminals>,
    /// Which socket has which address.
    pub names: Rc<Names>,
    /// What the pseudo file systems know of the caller.
    pub world: Rc<World>,
    /// The door to the outside.
    pub ring: Ring,
    /// Guest memory, all address spaces together.
    pub linear: Rc<Linear>,
    /// Translated code, and what is recorded for making it.
    pub library: Rc<Library>,
    /// System V shared memory.
    pub shm: crate::syscall::sys_shm::Segments,
    /// System V semaphores.
    pub semaphores: crate::syscall::sys_sem::Sets,
    /// System V message queues.
    pub messages: crate::syscall::sys_msg::Queues,
    /// The tmpfs of memfd_create(2); made by the first call.
    pub memfd_root: Option<crate::fs::InodeRef>,
    /// What every process has mapped; made by the first exec.
    pub vdso: Option<Rc<crate::mm::Mapped>>,
    /// An empty address space: what ended tasks have.
    pub no_memory: Rc<Mm>,
    /// Who waits for the hart.
    pub run_queue: sched::RunQueue,
    /// Who waits for a time.
    pub timers: timers::TimerQueue,
    /// Descriptions with O_ASYNC.
    pub async_files: fasync::AsyncFiles,
    /// All timerfds, for a thaw.
    pub timer_fds: Vec<std::rc::Weak<crate::fs::timerfd::TimerFd>>,
    /// What stops the run loop at pack time.
    pub watch: freeze::Watch,
    /// Who waits for a word of memory.
    pub futexes: futex::FutexTable,
    /// What /proc/loadavg shows.
    pub load: load::Load,
    /// Futexes with an owner that somebody waits for.
    pub pi_futexes: futex_pi::PiTable,
    /// Armed POSIX timers on CPU clocks: process and timer.
    pub(crate) cpu_timers: Vec<(std::rc::Weak<Process>, i32)>,
    /// getrandom(2).
    pub random: random::Random,
    /// /proc/sys/kernel/random/boot_id, drawn when it is first read: what nobody has seen may differ in each opening.
    pub boot_id: Option<[u8; 16]>,
    /// The running task.
    pub current: Option<u32>,
    /// Exit code of the machine, once its first process has ended.
    pub exited: Option<u32>,
    /// Instructions retired since boot.
    pub retired: u64,
    /// Processes and threads made since boot (/proc/stat).
    pub forks: u64,
    /// Logins since boot (/proc/PID/sessionid).
    logins: u32,
    /// Context switches since boot (/proc/stat).
    pub switches: u64,
    /// One line for each system call.
    pub strace: bool,
    /// Calls that began and have not ended: number, arguments, and those arguments that were printed at the start.
    pub(crate) strace_pending: BTreeMap<u32, StracePending>,
    /// The running task gives the hart away after this call.
    pub need_resched: bool,
    /// Standard streams of a first process that is not there yet.
    standard: Option<[FileRef; 3]>,
    /// Monotonic time minus the platform's.
    clock_offset_ns: u64,
    last_pid: u32,
    /// System calls that do not exist, reported once each.
    pub(crate) unknown_calls: BTreeSet<u64>,
}

impl Kernel {
    /// A kernel without tasks, over this file system and this guest memory. ENOMEM.
    pub fn new(
        platform: Rc<dyn Platform>,
        vfs: Vfs,
        ring: Ring,
        linear: Rc<Linear>,
    ) -> Result<Kernel, Errno> {
        let outbox = Outbox::default();
        Ok(Kernel {
            tasks: BTreeMap::new(),
            ready: Rc::default(),
            terminals: Terminals::new(outbox.clone()),
            outbox,
            vfs,
            locks: LockTable::default(),
            console: Rc::default(),
            world: Rc::default(),
            names: Rc::default(),
            ring,
            shm: crate::syscall::sys_shm::Segments::default(),
            semaphores: crate::syscall::sys_sem::Sets::default(),
            messages: crate::syscall::sys_msg::Queues::default(),
            memfd_root: None,
            vdso: None,
            no_memory: Mm::new(&linear)?,
            linear,
            library: Rc::default(),
            run_queue: sched::RunQueue::default(),
            timers: timers::TimerQueue::default(),
            async_files: fasync::AsyncFiles::default(),
            timer_fds: Vec::new(),
            watch: freeze::Watch::default(),
            futexes: futex::FutexTable::default(),
            load: load::Load::default(),
            pi_futexes: futex_pi::PiTable::default(),
            cpu_timers: Vec::new(),
            random: random::Random::default(),
            boot_id: None,
            current: None,
            exited: None,
            retired: 0,
            forks: 0,
            logins: 0,
            switches: 0,
            strace: false,
            strace_pending: BTreeMap::new(),
            need_resched: false,
            standard: None,
            // The clock starts at one second: some programs take 0 for "never".
            clock_offset_ns: time::NS.wrapping_sub(platform.monotonic_ns()),
            last_pid: 0,
            unknown_calls: BTreeSet::new(),
            platform,
        })
    }

    /// The process with this pid, zombies included.
    pub fn process(&self, pid: u32) -> Option<Rc<Process>> {
        let leader = self.tasks.get(&pid).filter(|task| task.is_leader())?;
        Some(Rc::clone(&leader.process))
    }

    /// All processes (zombies included) that `wanted` accepts, by pid.
    pub fn processes(&self, mut wanted: impl FnMut(&Process) -> bool) -> Vec<Rc<Process>> {
        let leaders = self.tasks.values().filter(|task| task.is_leader());
        leaders.filter(|task| wanted(&task.process)).map(|task| Rc::clone(&task.process)).collect()
    }

    /// The number of a new login's session, from 1.
    pub fn next_login(&mut self) -> u32 {
        self.logins = self.logins.wrapping_add(1);
        self.logins
    }

    /// Random bytes: getrandom(2), /dev/urandom.
    pub fn random_bytes(&mut self, bytes: &mut [u8]) {
        self.random.fill(&*self.platform, bytes);
    }
}

/// What a system call (or a file operation under it) runs in: the kernel and the calling task.
pub struct Ctx<'k> {
    /// The kernel.
    pub kernel: &'k mut Kernel,
    /// The calling task.
    pub task: Rc<Task>,
}

impl Ctx<'_> {
    /// The caller's address space.
    pub fn mm(&self) -> Rc<Mm> {
        Rc::clone(&self.task.mm.borrow())
    }

    /// The open file description behind `fd`; EBADF.
    pub fn file(&self, fd: i32) -> Result<FileRef, Errno> {
        self.task.files.borrow().get(fd)
    }

    /// The monotonic deadline of the call in progress, for one that sleeps until `wall_ns` on the wall clock.
    /// Computed anew on each run: a thaw moves the wall clock.
    pub fn wall_deadline(&self, wall_ns: u64) -> u64 {
        self.task.progress.borrow_mut().wall_deadline = true;
        self.kernel.wall_to_monotonic(wall_ns)
    }

    /// The absolute monotonic deadline of the call in progress: `timeout_ns` from its first run.
    pub fn deadline(&self, timeout_ns: u64) -> u64 {
        let mut progress = self.task.progress.borrow_mut();
        *progress.deadline_ns.get_or_insert_with(|| self.kernel.monotonic_ns().saturating_add(timeout_ns))
    }

    /// The time is over.
    pub fn expired(&self, deadline_ns: u64) -> bool {
        self.kernel.monotonic_ns() >= deadline_ns
    }

    /// This is the last run of a call that a signal handler interrupts: see [`task::Progress::interrupted`].
    pub fn interrupted(&self) -> bool {
        self.task.progress.borrow().interrupted
    }

    /// Wait for a time only.
    pub fn sleep_until(&self, deadline_ns: u64, interrupt: Interrupt) -> Flow {
        Flow::Block(Block { queues: Vec::new(), deadline_ns: Some(deadline_ns), interrupt })
    }

    /// Wall-clock time, for timestamps.
    pub fn now(&self) -> Timespec {
        Timespec::from_nanos(self.kernel.platform.realtime_ns())
    }

    /// Read a fixed-layout struct from guest memory. EFAULT.
    pub fn read_user<T: FromBytes + IntoBytes>(&self, addr: u64) -> Result<T, Flow> {
        let mut value = T::new_zeroed();
        self.mm().copy_in(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Write a fixed-layout struct to guest memory. EFAULT.
    pub fn write_user<T: IntoBytes + zerocopy::Immutable>(&self, addr: u64, value: &T) -> Result<(), Flow> {
        Ok(self.mm().copy_out(addr, value.as_bytes())?)
    }

    /// A NUL-terminated path. EFAULT, ENAMETOOLONG beyond PATH_MAX (4096 with the NUL).
    pub fn read_path(&self, addr: u64) -> Result<Vec<u8>, Flow> {
        Ok(self.mm().read_cstr(addr, 4096, Errno::ENAMETOOLONG)?)
    }
}

/// Fault in `pieces` of guest memory for a transfer: `Write` when the kernel
/// will store into them (read(2)), `Read` when it will load. Call it before any side effect.
pub fn user_io<'m>(mm: &'m Mm, pieces: Vec<(u64, usize)>, access: Access) -> Result<Io<'m>, Flow> {
    for &(addr, len) in &pieces {
        mm.fault_in(addr, len as u64, access)?;
    }
    Ok(Io::user(mm, pieces))
}
