//! Birth of tasks: clone(2) with all its flags. And what execve(2) does to a thread group.

use std::rc::Rc;

use super::limits::MAX_TASKS;
use super::signal::{SigHand, bit};
use super::task::{Process, Task};
use super::wait::WaitQueue;
use super::{Ctx, Kernel};
use crate::abi::Errno;
use crate::abi::resource::RLIMIT_NPROC;
use crate::abi::sched::{
    CLONE, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_CLEAR_SIGHAND, CLONE_FILES, CLONE_FS,
    CLONE_INTO_CGROUP, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME,
    CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PARENT, CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_SETTLS, CLONE_SIGHAND,
    CLONE_THREAD, CLONE_VFORK, CLONE_VM, CloneArgs,
};
use crate::abi::signal::{SS_AUTODISARM, SS_DISABLE, StackT};
use crate::mm::Access;

/// Namespaces that a clone may ask for.
const NAMESPACES: u64 = CLONE_NEWNS
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWCGROUP
    | CLONE_NEWTIME;
/// Highest pid, as in /proc/sys/kernel/pid_max.
pub const PID_MAX: u32 = 32768;
const SP: usize = 2;
const TP: usize = 4;
const A0: usize = 10;

/// Linux's rules for flags that need each other.
fn check_flags(flags: u64) -> Result<(), Errno> {
    let known = CLONE.iter().fold(0, |bits, flag| bits | flag.0);
    let needs = |flag: u64, other: u64| flags & flag != 0 && flags & other == 0;
    let excludes = |flag: u64, other: u64| flags & flag != 0 && flags & other != 0;
    if flags & !known != 0
        || needs(CLONE_SIGHAND, CLONE_VM)
        || needs(CLONE_THREAD, CLONE_SIGHAND)
        || excludes(CLONE_FS, CLONE_NEWNS | CLONE_NEWUSER)
        || excludes(CLONE_CLEAR_SIGHAND, CLONE_SIGHAND)
    {
        return Err(Errno::EINVAL);
    }
    if flags & CLONE_INTO_CGROUP != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    // One namespace of each kind but UTS: what an unprivileged container answers.
    if flags & NAMESPACES & !CLONE_NEWUTS != 0 { Err(Errno::EPERM) } else { Ok(()) }
}

/// What a new task needs from user memory or writes to it is checked before it exists.
fn check_memory(cx: &Ctx<'_>, args: &CloneArgs) -> Result<(), Errno> {
    let mm = cx.mm();
    for (flag, addr) in [(CLONE_PARENT_SETTID, args.parent_tid), (CLONE_PIDFD, args.pidfd)] {
        if args.flags & flag != 0 {
            mm.fault_in(addr, 4, Access::Write)?;
        }
    }
    Ok(())
}

/// Make a task as `args` say; the child is runnable and its registers are the
/// caller's with a0 = 0. EINVAL, EAGAIN, EPERM, ENOMEM, EFAULT.
pub fn clone(cx: &mut Ctx<'_>, args: &CloneArgs) -> Result<Rc<Task>, Errno> {
    let flags = args.flags;
    check_flags(flags)?;
    check_memory(cx, args)?;
    if flags & CLONE_NEWUTS != 0 {
        cx.may_change_namespaces()?;
    }
    let parent = Rc::clone(&cx.task);
    cx.kernel.check_task_limit(&parent)?;
    let mm = if flags & CLONE_VM != 0 { cx.mm() } else { cx.mm().fork()? };
    let files = match flags & CLONE_FILES {
        0 => Rc::new(parent.files.borrow().duplicate()),
        _ => Rc::clone(&parent.files.borrow()),
    };
    let fs = match flags & CLONE_FS {
        0 => Rc::new(parent.fs.borrow().duplicate()),
        _ => Rc::clone(&parent.fs.borrow()),
    };
    let sighand = if flags & CLONE_SIGHAND != 0 {
        Rc::clone(&parent.sighand.borrow())
    } else {
        let copy = SigHand::duplicate(&parent.sighand.borrow());
        if flags & CLONE_CLEAR_SIGHAND != 0 {
            copy.reset_handlers(true);
        }
        Rc::new(copy)
    };
    let tid = cx.kernel.new_tid()?;
    let process = if flags & CLONE_THREAD != 0 {
        Rc::clone(&parent.process)
    } else {
        new_process(&parent, tid, flags, args.exit_signal)
    };
    let mut regs = parent.regs.borrow().clone();
    regs.x[A0] = 0;
    regs.pc = regs.pc.wrapping_add(4);
    regs.reservation = None;
    regs.instret = 0;
    if args.stack != 0 {
        regs.x[SP] = args.stack.wrapping_add(args.stack_size);
    }
    if flags & CLONE_SETTLS != 0 {
        regs.x[TP] = args.tls;
    }
    let cred = Rc::clone(&parent.cred.borrow());
    let task = Rc::new(Task::new(tid, process, regs, (mm, files, fs), cred, sighand));
    inherit(&parent, &task, args);
    if flags & CLONE_NEWUTS != 0 {
        cx.new_uts(&task)?;
    }
    task.process.threads.borrow_mut().push(Rc::downgrade(&task));
    if flags & CLONE_THREAD == 0
        && let Some(of) = task.process.parent.borrow().upgrade()
    {
        of.children.borrow_mut().push(Rc::clone(&task.process));
    }
    task.sched.start_ns.set(cx.kernel.monotonic_ns());
    if flags & CLONE_PARENT_SETTID != 0 {
        cx.mm().copy_out(args.parent_tid, &tid.to_le_bytes())?;
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        // Linux ignores a bad address here: the child would find out.
        let mm = Rc::clone(&task.mm.borrow());
        let _ = mm.copy_out(args.child_tid, &tid.to_le_bytes());
    }
    cx.kernel.tasks.insert(tid, Rc::clone(&task));
    cx.kernel.enqueue_new(&task);
    cx.kernel.forks = cx.kernel.forks.wrapping_add(1);
    Ok(task)
}

fn new_process(parent: &Rc<Task>, tgid: u32, flags: u64, exit_signal: u64) -> Rc<Process> {
    let old = &parent.process;
    let process = Process::new(tgid);
    let real_parent = if flags & CLONE_PARENT != 0 {
        process.exit_signal.set(old.exit_signal.get());
        old.parent.borrow().clone()
    } else {
        process.exit_signal.set(exit_signal as u32);
        Rc::downgrade(old)
    };
    *process.parent.borrow_mut() = real_parent;
    process.pgid.set(old.pgid.get());
    process.sid.set(old.sid.get());
    process.exe.replace(old.exe.borrow().clone());
    process.dumpable.set(old.dumpable.get());
    process.rlimits.replace(*old.rlimits.borrow());
    process.oom_score_adj.set(old.oom_score_adj.get());
    process.login.set(old.login.get());
    Rc::new(process)
}

/// What a new task takes over from the caller.
fn inherit(parent: &Task, task: &Task, args: &CloneArgs) {
    let flags = args.flags;
    task.comm.replace(parent.comm.borrow().clone());
    task.sigmask.set(parent.sigmask.get());
    // A thread or vfork child must not run handlers on a stack that is in use; a copy may.
    let alt = parent.altstack.get();
    let fresh = flags & CLONE_VM != 0 && flags & CLONE_VFORK == 0;
    let none = StackT { flags: SS_DISABLE, ..StackT::default() };
    task.altstack.set(if fresh {
        none
    } else {
        StackT { flags: alt.flags & (SS_DISABLE | SS_AUTODISARM), ..alt }
    });
    if flags & CLONE_CHILD_CLEARTID != 0 {
        task.clear_child_tid.set(args.child_tid);
    }
    let (from, to) = (&parent.sched, &task.sched);
    to.vruntime.set(from.vruntime.get());
    if !from.reset_on_fork.get() {
        to.nice.set(from.nice.get());
        to.policy.set(from.policy.get());
        to.priority.set(from.priority.get());
    }
    task.no_new_privs.set(parent.no_new_privs.get());
    task.timerslack_ns.set(parent.timerslack_ns.get());
    task.keepcaps.set(parent.keepcaps.get());
    task.personality.set(parent.personality.get());
    task.uts.replace(parent.uts.borrow().clone());
    if flags & CLONE_VFORK != 0 {
        task.vfork_done.replace(Some(WaitQueue::new()));
    }
}

impl Kernel {
    /// The lowest free pid after the last one given out. EAGAIN.
    pub(super) fn new_tid(&mut self) -> Result<u32, Errno> {
        for _ in 0..PID_MAX {
            self.last_pid = if self.last_pid + 1 >= PID_MAX { 300 } else { self.last_pid + 1 };
            let pid = self.last_pid;
            if !self.tasks.contains_key(&pid) && !self.id_in_use(pid) {
                return Ok(pid);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// A group or session still has this number.
    fn id_in_use(&self, id: u32) -> bool {
        // Only after the numbers wrapped can a group outlive its leader's number.
        self.pids_wrapped(id)
            && self.tasks.values().any(|t| t.process.pgid.get() == id || t.process.sid.get() == id)
    }

    fn pids_wrapped(&self, id: u32) -> bool {
        self.tasks.keys().next_back().is_some_and(|&highest| highest > id)
    }

    fn check_task_limit(&self, task: &Task) -> Result<(), Errno> {
        if self.tasks.len() >= MAX_TASKS {
            return Err(Errno::EAGAIN);
        }
        let cred = Rc::clone(&task.cred.borrow());
        let limit = task.process.rlimit(RLIMIT_NPROC);
        let privileged = cred.uid == 0
            || cred.capable(super::cred::CAP_SYS_RESOURCE)
            || cred.capable(super::cred::CAP_SYS_ADMIN);
        if privileged || limit >= MAX_TASKS as u64 {
            return Ok(());
        }
        let mine = self.tasks.values().filter(|t| t.cred.borrow().uid == cred.uid).count() as u64;
        if mine >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// execve(2), point of no return: the other threads of the caller's process
    /// end, and the caller becomes its leader. Call it before the new image's
    /// mm and registers are put in place; go on with the returned task, which is the caller in its new shape.
    pub fn begin_new_exec(&mut self, task: &Rc<Task>) -> Rc<Task> {
        for other in task.process.live_threads() {
            if !Rc::ptr_eq(&other, task) {
                self.exit_task(&other, 0);
            }
        }
        // The old image's futexes and joiners: its memory is about to go.
        self.walk_robust_list(task);
        self.release_child_tid(task);
        let task = if task.is_leader() { Rc::clone(task) } else { self.become_leader(task) };
        let process = Rc::clone(&task.process);
        let sighand = Rc::clone(&task.sighand.borrow());
        let own = if Rc::strong_count(&sighand) > 2 { Rc::new(sighand.duplicate()) } else { sighand };
        own.reset_handlers(false);
        task.sighand.replace(own);
        task.altstack.set(StackT { flags: SS_DISABLE, ..StackT::default() });
        task.saved_mask.set(None);
        task.pdeathsig.set(0);
        task.keepcaps.set(false);
        for timer in std::mem::take(&mut *process.posix_timers.borrow_mut()).into_values() {
            if let Some(id) = timer.id {
                self.timers.cancel(id);
            }
            process.pending.borrow_mut().discard(bit(timer.signo.max(1)));
        }
        process.did_exec.set(true);
        process.dumpable.set(1);
        task
    }

    /// A thread that is not the leader takes the (ended) leader's place and tid.
    fn become_leader(&mut self, task: &Rc<Task>) -> Rc<Task> {
        let process = Rc::clone(&task.process);
        let shared =
            (Rc::clone(&task.mm.borrow()), Rc::clone(&task.files.borrow()), Rc::clone(&task.fs.borrow()));
        let leader = Rc::new(Task::new(
            process.tgid,
            Rc::clone(&process),
            task.regs.borrow().clone(),
            shared,
            Rc::clone(&task.cred.borrow()),
            Rc::clone(&task.sighand.borrow()),
        ));
        leader.comm.replace(task.comm.borrow().clone());
        leader.sigmask.set(task.sigmask.get());
        leader.pending.replace(task.pending.take());
        leader.no_new_privs.set(task.no_new_privs.get());
        leader.timerslack_ns.set(task.timerslack_ns.get());
        leader.personality.set(task.personality.get());
        leader.uts.replace(task.uts.take());
        leader.vfork_done.replace(task.vfork_done.take());
        let (from, to) = (&task.sched, &leader.sched);
        to.nice.set(from.nice.get());
        to.policy.set(from.policy.get());
        to.priority.set(from.priority.get());
        to.vruntime.set(from.vruntime.get());
        to.retired.set(from.retired.get());
        to.cpu.set(from.cpu.get());
        to.start_ns.set(from.start_ns.get());
        task.state.set(super::task::TaskState::Dead);
        self.tasks.remove(&task.tid);
        self.tasks.insert(leader.tid, Rc::clone(&leader));
        *process.threads.borrow_mut() = vec![Rc::downgrade(&leader)];
        if self.current == Some(task.tid) {
            self.current = Some(leader.tid);
        }
        leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_need_each_other() {
        assert_eq!(check_flags(CLONE_THREAD), Err(Errno::EINVAL));
        assert_eq!(check_flags(CLONE_THREAD | CLONE_SIGHAND), Err(Errno::EINVAL));
        assert_eq!(check_flags(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM), Ok(()));
        assert_eq!(check_flags(CLONE_NEWUSER), Err(Errno::EPERM));
        assert_eq!(check_flags(1 << 40), Err(Errno::EINVAL));
    }
}
