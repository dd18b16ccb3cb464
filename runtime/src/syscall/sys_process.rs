//! Processes and threads: clone, exit, wait, groups and sessions, prctl.

use std::rc::Rc;

use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::prctl::*;
use crate::abi::resource::{PRIO_PGRP, PRIO_PROCESS, PRIO_USER};
use crate::abi::sched::{
    CLONE_DETACHED, CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_THREAD, CLONE_VFORK, CSIGNAL, CloneArgs,
};
use crate::abi::signal::{NSIG, SIGCHLD, SigInfo};
use crate::abi::wait::*;
use crate::kernel::exit::{Found, Which};
use crate::kernel::task::{Process, TaskState};
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Task, clone, cred, pidfd};
use crate::mm::Access;

/// ESRCH.
pub(super) fn find_task(cx: &Ctx<'_>, tid: i32) -> Result<Rc<Task>, Errno> {
    if tid == 0 {
        return Ok(Rc::clone(&cx.task));
    }
    let tid = u32::try_from(tid).map_err(|_| Errno::ESRCH)?;
    cx.kernel.tasks.get(&tid).cloned().ok_or(Errno::ESRCH)
}

/// The process `pid`, 0 for the caller's. ESRCH.
pub(super) fn find_process(cx: &Ctx<'_>, pid: i32) -> Result<Rc<Process>, Errno> {
    if pid == 0 {
        return Ok(Rc::clone(&cx.task.process));
    }
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    cx.kernel.process(pid).ok_or(Errno::ESRCH)
}

// ---- Birth and death ----

pub(super) fn clone(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    // riscv has CONFIG_CLONE_BACKWARDS: flags, stack, parent_tid, tls, child_tid.
    let bits = args.u64(0) & 0xffff_ffff;
    let args = CloneArgs {
        flags: bits & !CSIGNAL & !CLONE_DETACHED,
        exit_signal: bits & CSIGNAL,
        stack: args.u64(1),
        parent_tid: args.u64(2),
        pidfd: args.u64(2),
        tls: args.u64(3),
        child_tid: args.u64(4),
        ..CloneArgs::default()
    };
    // One pointer cannot take both.
    if args.flags & CLONE_PIDFD != 0 && args.flags & CLONE_PARENT_SETTID != 0 {
        return Err(Errno::EINVAL.into());
    }
    do_clone(cx, &args)
}

pub(super) fn clone3(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const SIZE_VER0: u64 = 64;
    let (addr, size) = (args.u64(0), args.u64(1));
    if size < SIZE_VER0 {
        return Err(Errno::EINVAL.into());
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let mut bytes = [0; 4096];
    let given = &mut bytes[..size as usize];
    cx.mm().copy_in(addr, given)?;
    let known = size_of::<CloneArgs>();
    if bytes[known..].iter().any(|&b| b != 0) {
        return Err(Errno::E2BIG.into());
    }
    let mut args = CloneArgs::default();
    zerocopy::IntoBytes::as_mut_bytes(&mut args).copy_from_slice(&bytes[..known]);
    let exit_signal_ok = args.exit_signal <= u64::from(NSIG);
    let stack_ok = (args.stack == 0) == (args.stack_size == 0);
    if !exit_signal_ok || !stack_ok || args.flags & (CSIGNAL | CLONE_DETACHED) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if args.set_tid_size != 0 {
        // Choosing pids is for checkpoint/restore, which needs a privilege nobody has here.
        return Err(Errno::EPERM.into());
    }
    do_clone(cx, &args)
}

/// What a vfork(2) parent remembers: the child and what it waits for.
struct Vfork {
    child: Rc<Task>,
    tid: u32,
}

fn do_clone(cx: &mut Ctx<'_>, args: &CloneArgs) -> SysResult {
    let waiting = cx.task.progress.borrow_mut().extra.take();
    let vfork = match waiting.map(|any| any.downcast::<Vfork>()) {
        Some(Ok(vfork)) => *vfork,
        _ => {
            if args.flags & CLONE_PIDFD != 0 && args.flags & CLONE_THREAD != 0 {
                return Err(Errno::EINVAL.into());
            }
            let child = clone::clone(cx, args)?;
            if args.flags & CLONE_PIDFD != 0 {
                // The child is there: a full table leaves the parent without a descriptor, not without a child.
                let fd = pidfd::open(cx, &child.process, 0).unwrap_or(-1);
                cx.write_user(args.pidfd, &fd)?;
            }
            let tid = child.tid;
            if args.flags & CLONE_VFORK == 0 {
                return Ok(u64::from(tid));
            }
            Vfork { child, tid }
        }
    };
    let queue: Option<WaitQueue> = vfork.child.vfork_done.borrow().clone();
    let Some(queue) = queue else { return Ok(u64::from(vfork.tid)) };
    cx.task.progress.borrow_mut().extra = Some(Box::new(vfork));
    Err(Block::on(vec![queue], Interrupt::Never))
}

pub(super) fn exit(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    cx.kernel.exit_task(&task, (args.u32(0) & 0xff) << 8);
    Err(Flow::Done)
}

pub(super) fn exit_group(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    cx.kernel.exit_process(&task, (args.u32(0) & 0xff) << 8);
    Err(Flow::Done)
}

pub(super) fn set_tid_address(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    cx.task.clear_child_tid.set(args.u64(0));
    Ok(u64::from(cx.task.tid))
}

pub(super) fn pidfd_open(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (pid, flags) = (args.i32(0), args.u32(1));
    if pid <= 0 || flags & !pidfd::PIDFD_NONBLOCK != 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = match find_process(cx, pid) {
        Ok(process) => process,
        // A thread that leads no process.
        Err(_) if find_task(cx, pid).is_ok() => return Err(Errno::EINVAL.into()),
        Err(errno) => return Err(errno.into()),
    };
    Ok(u64::from(pidfd::open(cx, &process, flags)?.unsigned_abs()))
}

// ---- Waiting for children ----

fn wait(cx: &mut Ctx<'_>, which: Which, options: u32) -> Result<Option<Found>, Flow> {
    let process = Rc::clone(&cx.task.process);
    match cx.kernel.wait_for_child(&process, which, options)? {
        Some(found) => Ok(Some(found)),
        None if options & WNOHANG != 0 => Ok(None),
        None => Err(Block::on(vec![process.child_events.clone()], Interrupt::Restart)),
    }
}

pub(super) fn wait4(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (pid, status, options, usage) = (args.i32(0), args.ptr(1), args.u32(2), args.ptr(3));
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => Which::All,
        0 => Which::Group(cx.task.process.pgid.get()),
        pid if pid < 0 => Which::Group(pid.unsigned_abs()),
        pid => Which::Pid(pid as u32),
    };
    for (addr, len) in [(status, 4), (usage, 144)] {
        if let Some(addr) = addr {
            cx.mm().fault_in(addr, len, Access::Write)?;
        }
    }
    let Some(found) = wait(cx, which, options | WEXITED)? else { return Ok(0) };
    if let Some(addr) = status {
        cx.write_user(addr, &found.status)?;
    }
    if let Some(addr) = usage {
        cx.write_user(addr, &super::sys_system::rusage(&found.usage))?;
    }
    Ok(u64::from(found.pid))
}

pub(super) fn waitid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (kind, id, info, options, usage) = (args.u32(0), args.i32(1), args.ptr(2), args.u32(3), args.ptr(4));
    let known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | __WNOTHREAD | __WCLONE | __WALL;
    if options & !known != 0 || options & (WEXITED | WUNTRACED | WCONTINUED) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match (kind, id) {
        (P_ALL, _) => Which::All,
        (P_PID, 1..) => Which::Pid(id as u32),
        (P_PGID, 0) => Which::Group(cx.task.process.pgid.get()),
        (P_PGID, 1..) => Which::Group(id as u32),
        (P_PIDFD, _) => Which::Pid(pidfd::process_of(&cx.file(id)?)?.tgid),
        _ => return Err(Errno::EINVAL.into()),
    };
    for (addr, len) in [(info, 128), (usage, 144)] {
        if let Some(addr) = addr {
            cx.mm().fault_in(addr, len, Access::Write)?;
        }
    }
    let found = wait(cx, which, options)?;
    if let Some(addr) = info {
        let siginfo = match &found {
            Some(f) => SigInfo::child(SIGCHLD, f.code.0, f.pid, f.uid, f.code.1, (0, 0)),
            None => SigInfo::new(0, 0),
        };
        cx.write_user(addr, &siginfo)?;
    }
    if let (Some(addr), Some(found)) = (usage, &found) {
        cx.write_user(addr, &super::sys_system::rusage(&found.usage))?;
    }
    Ok(0)
}

// ---- Identity ----

pub(super) fn getpid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cx.task.process.tgid))
}

pub(super) fn gettid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(u64::from(cx.task.tid))
}

pub(super) fn getppid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    Ok(cx.task.process.parent.borrow().upgrade().map_or(0, |parent| u64::from(parent.tgid)))
}

pub(super) fn getpgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(u64::from(find_task(cx, args.i32(0))?.process.pgid.get()))
}

pub(super) fn getsid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(u64::from(find_task(cx, args.i32(0))?.process.sid.get()))
}

/// setpgid(2): a process moves itself, or a child that has not called execve(2) yet, within its session.
pub(super) fn setpgid(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (pid, pgid) = (args.i32(0), args.i32(1));
    if pgid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let caller = Rc::clone(&cx.task.process);
    let target = find_process(cx, pid)?;
    let is_child = target.parent.borrow().upgrade().is_some_and(|parent| Rc::ptr_eq(&parent, &caller));
    if is_child {
        if target.sid.get() != caller.sid.get() {
            return Err(Errno::EPERM.into());
        }
        if target.did_exec.get() {
            return Err(Errno::EACCES.into());
        }
    } else if !Rc::ptr_eq(&target, &caller) {
        return Err(Errno::ESRCH.into());
    }
    if target.sid.get() == target.tgid {
        return Err(Errno::EPERM.into());
    }
    let pgid = if pgid == 0 { target.tgid } else { pgid as u32 };
    let sid = caller.sid.get();
    let exists = || !cx.kernel.processes(|p| p.pgid.get() == pgid && p.sid.get() == sid).is_empty();
    if pgid != target.tgid && !exists() {
        return Err(Errno::EPERM.into());
    }
    target.pgid.set(pgid);
    Ok(0)
}

pub(super) fn setsid(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    let process = &cx.task.process;
    let pid = process.tgid;
    if !cx.kernel.processes(|p| p.pgid.get() == pid).is_empty() {
        return Err(Errno::EPERM.into());
    }
    process.sid.set(pid);
    process.pgid.set(pid);
    Ok(u64::from(pid))
}

// ---- nice ----

fn targets(cx: &Ctx<'_>, which: u32, who: i32) -> Result<Vec<Rc<Task>>, Errno> {
    let wanted = |task: &Task| match which {
        PRIO_PROCESS => task.tid == if who == 0 { cx.task.tid } else { who as u32 },
        PRIO_PGRP => {
            task.process.pgid.get() == if who == 0 { cx.task.process.pgid.get() } else { who as u32 }
        }
        _ => task.cred.borrow().uid == if who == 0 { cx.task.cred.borrow().uid } else { who as u32 },
    };
    if ![PRIO_PROCESS, PRIO_PGRP, PRIO_USER].contains(&which) {
        return Err(Errno::EINVAL);
    }
    let alive = cx.kernel.tasks.values().filter(|task| task.state.get() != TaskState::Dead);
    let found: Vec<_> = alive.filter(|task| wanted(task)).cloned().collect();
    if found.is_empty() { Err(Errno::ESRCH) } else { Ok(found) }
}

pub(super) fn setpriority(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let nice = args.i32(2).clamp(-20, 19);
    let caller = Rc::clone(&cx.task.cred.borrow());
    for task in targets(cx, args.u32(0), args.i32(1))? {
        let owner = Rc::clone(&task.cred.borrow());
        if !caller.capable(cred::CAP_SYS_NICE) {
            if caller.euid != owner.euid && caller.euid != owner.uid {
                return Err(Errno::EPERM.into());
            }
            if nice < task.sched.nice.get() {
                return Err(Errno::EACCES.into());
            }
        }
        task.sched.nice.set(nice);
    }
    Ok(0)
}

/// getpriority(2) returns 20 - nice, so that no success looks like an error.
pub(super) fn getpriority(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let found = targets(cx, args.u32(0), args.i32(1))?;
    let least = found.iter().map(|task| task.sched.nice.get()).min().unwrap_or(0);
    Ok(u64::from((20 - least).unsigned_abs()))
}

// ---- prctl ----

pub(super) fn prctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (option, arg) = (args.u32(0), args.u64(1));
    let task = Rc::clone(&cx.task);
    let process = &task.process;
    match option {
        PR_SET_PDEATHSIG => {
            if arg > u64::from(NSIG) {
                return Err(Errno::EINVAL.into());
            }
            task.pdeathsig.set(arg as u32);
        }
        PR_GET_PDEATHSIG => cx.write_user(arg, &task.pdeathsig.get())?,
        PR_GET_DUMPABLE => return Ok(u64::from(process.dumpable.get())),
        PR_SET_DUMPABLE if arg > 1 => return Err(Errno::EINVAL.into()),
        PR_SET_DUMPABLE => process.dumpable.set(arg as u32),
        PR_GET_KEEPCAPS => return Ok(u64::from(task.keepcaps.get())),
        PR_SET_KEEPCAPS if arg > 1 => return Err(Errno::EINVAL.into()),
        PR_SET_KEEPCAPS => task.keepcaps.set(arg == 1),
        PR_SET_NAME => {
            let name = match cx.mm().read_cstr(arg, 16, Errno::ENAMETOOLONG) {
                Err(Errno::ENAMETOOLONG) => {
                    let mut bytes = [0; 15];
                    cx.mm().copy_in(arg, &mut bytes)?;
                    bytes.to_vec()
                }
                other => other?,
            };
            task.comm.replace(name);
        }
        PR_GET_NAME => {
            let mut name = [0; 16];
            let comm = task.comm.borrow();
            let len = comm.len().min(15);
            name[..len].copy_from_slice(&comm[..len]);
            cx.mm().copy_out(arg, &name)?;
        }
        PR_GET_SECCOMP => return Ok(0),
        PR_CAPBSET_READ | PR_CAPBSET_DROP | PR_CAP_AMBIENT => return super::sys_cred::prctl_caps(cx, args),
        PR_GET_SECUREBITS => return Ok(0),
        PR_SET_SECUREBITS if arg == 0 => {}
        PR_SET_SECUREBITS => return Err(Errno::EPERM.into()),
        PR_SET_TIMERSLACK => task.timerslack_ns.set(if arg == 0 { 50_000 } else { arg }),
        PR_GET_TIMERSLACK => return Ok(task.timerslack_ns.get()),
        PR_TASK_PERF_EVENTS_DISABLE | PR_TASK_PERF_EVENTS_ENABLE => {}
        PR_SET_CHILD_SUBREAPER => process.subreaper.set(arg != 0),
        PR_GET_CHILD_SUBREAPER => cx.write_user(arg, &u32::from(process.subreaper.get()))?,
        PR_SET_NO_NEW_PRIVS => {
            if arg != 1 || args.0[2..5] != [0; 3] {
                return Err(Errno::EINVAL.into());
            }
            task.no_new_privs.set(true);
        }
        PR_GET_NO_NEW_PRIVS => return Ok(u64::from(task.no_new_privs.get())),
        PR_GET_TID_ADDRESS => cx.write_user(arg, &task.clear_child_tid.get())?,
        PR_GET_THP_DISABLE | PR_GET_IO_FLUSHER | PR_GET_MDWE => return Ok(0),
        // Hints: huge pages, who may trace, names of mappings, instruction-fetch fences.
        PR_SET_THP_DISABLE | PR_SET_PTRACER | PR_RISCV_SET_ICACHE_FLUSH_CTX => {}
        PR_MCE_KILL_GET => return Ok(2),
        PR_GET_TIMING => return Ok(0),
        PR_SET_TIMING if arg == 0 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

pub(super) fn personality(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let old = cx.task.personality.get();
    if args.u32(0) != u32::MAX {
        cx.task.personality.set(args.u32(0));
    }
    Ok(u64::from(old))
}

/// unshare(2): what threads share can be given up; of new namespaces only UTS can be had.
pub(super) fn unshare(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    use crate::abi::sched::{
        CLONE_FILES, CLONE_FS, CLONE_NEWUTS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM,
    };
    let flags = args.u64(0);
    let known = crate::abi::sched::CLONE.iter().fold(0, |bits, flag| bits | flag.0);
    let simple = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_NEWUTS;
    if flags & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) != 0 {
        let alone = cx.task.process.live_threads().len() == 1;
        return if alone { Ok(0) } else { Err(Errno::EINVAL.into()) };
    }
    if flags & !simple != 0 {
        return Err(Errno::EPERM.into());
    }
    if flags & CLONE_NEWUTS != 0 {
        cx.new_uts(&cx.task)?;
    }
    if flags & CLONE_FS != 0 {
        let copy = cx.task.fs.borrow().duplicate();
        cx.task.fs.replace(Rc::new(copy));
    }
    if flags & CLONE_FILES != 0 {
        let copy = cx.task.files.borrow().duplicate();
        let old = cx.task.files.replace(Rc::new(copy));
        drop(old);
    }
    Ok(0)
}

/// setns(2).
pub(super) fn setns(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.i32(0))?;
    cx.enter_namespace(&file, u64::from(args.u32(1)))?;
    Ok(0)
}
