//! Signals: actions, masks, sending, waiting. What a signal does is in `kernel::signal` and `kernel::deliver`.

use std::rc::Rc;

use super::sys_process::find_process;
use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::signal::{
    NSIG, SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_RESTORER,
    SA_SIGINFO, SI_TKILL, SI_USER, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SIGKILL, SIGSTOP,
    SigAction, SigInfo, StackT,
};
use crate::abi::time::Timespec;
use crate::kernel::signal::{IGNORED, UNBLOCKABLE, bit, may_forge, may_signal};
use crate::kernel::task::{Process, TaskState};
use crate::kernel::{Ctx, Task, deliver, pidfd};
use crate::mm::Access;

/// sizeof(sigset_t) in the kernel: every call that takes a set is told it.
const SIGSET_BYTES: u64 = 8;

fn check_set_size(size: u64) -> Result<(), Errno> {
    if size == SIGSET_BYTES { Ok(()) } else { Err(Errno::EINVAL) }
}

fn check_number(number: i32) -> Result<u32, Errno> {
    u32::try_from(number).ok().filter(|&number| number <= NSIG).ok_or(Errno::EINVAL)
}

pub(super) fn rt_sigaction(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const KNOWN: u64 = SA_NOCLDSTOP
        | SA_NOCLDWAIT
        | SA_SIGINFO
        | SA_RESTORER
        | SA_ONSTACK
        | SA_RESTART
        | SA_NODEFER
        | SA_RESETHAND
        | 0x800; // SA_EXPOSE_TAGBITS
    check_set_size(args.u64(3))?;
    let number = check_number(args.i32(0)).ok().filter(|&n| n != 0).ok_or(Errno::EINVAL)?;
    let new = match args.ptr(1) {
        Some(addr) => Some(cx.read_user::<SigAction>(addr)?),
        None => None,
    };
    if new.is_some() && UNBLOCKABLE & bit(number) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let sighand = Rc::clone(&cx.task.sighand.borrow());
    if let Some(addr) = args.ptr(2) {
        cx.write_user(addr, &sighand.get(number))?;
    }
    if let Some(new) = new {
        let action = SigAction { flags: new.flags & KNOWN, mask: new.mask & !UNBLOCKABLE, ..new };
        sighand.set(number, action);
        // POSIX: what is pending and would be ignored is forgotten, even if blocked.
        if new.handler == SIG_IGN || (new.handler == SIG_DFL && IGNORED & bit(number) != 0) {
            cx.task.process.pending.borrow_mut().discard(bit(number));
            for task in cx.task.process.live_threads() {
                task.pending.borrow_mut().discard(bit(number));
            }
        }
    }
    Ok(0)
}

pub(super) fn rt_sigprocmask(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    check_set_size(args.u64(3))?;
    let old = cx.task.sigmask.get();
    let new = match args.ptr(1) {
        Some(addr) => {
            let set = cx.read_user::<u64>(addr)?;
            match args.u32(0) {
                SIG_BLOCK => old | set,
                SIG_UNBLOCK => old & !set,
                SIG_SETMASK => set,
                _ => return Err(Errno::EINVAL.into()),
            }
        }
        None => old,
    };
    if let Some(addr) = args.ptr(2) {
        cx.mm().fault_in(addr, SIGSET_BYTES, Access::Write)?;
    }
    cx.task.sigmask.set(new & !UNBLOCKABLE);
    if let Some(addr) = args.ptr(2) {
        cx.write_user(addr, &old)?;
    }
    Ok(0)
}

pub(super) fn rt_sigpending(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if args.u64(1) > SIGSET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let pending = cx.task.pending.borrow().set() | cx.task.process.pending.borrow().set();
    let set = pending & cx.task.sigmask.get();
    cx.mm().copy_out(args.u64(0), &set.to_le_bytes()[..args.u64(1) as usize])?;
    Ok(0)
}

pub(super) fn rt_sigsuspend(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    check_set_size(args.u64(1))?;
    let mask = cx.read_user::<u64>(args.u64(0))?;
    cx.task.set_temporary_mask(mask);
    Err(Block::on(Vec::new(), Interrupt::NoHandler))
}

pub(super) fn rt_sigtimedwait(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    check_set_size(args.u64(3))?;
    let wanted = cx.read_user::<u64>(args.u64(0))? & !UNBLOCKABLE;
    let deadline = match args.ptr(2) {
        Some(addr) => Some(cx.deadline(cx.read_user::<Timespec>(addr)?.to_ns()?)),
        None => None,
    };
    if let Some(addr) = args.ptr(1) {
        cx.mm().fault_in(addr, size_of::<SigInfo>() as u64, Access::Write)?;
    }
    let task = Rc::clone(&cx.task);
    if let Some(info) = task.take_signal(wanted) {
        task.park.borrow_mut().awaits = 0;
        let info = cx.kernel.complete_siginfo(&task.process, info);
        if let Some(addr) = args.ptr(1) {
            cx.write_user(addr, &info)?;
        }
        return Ok(u64::from(info.signo.unsigned_abs()));
    }
    if deadline.is_some_and(|at| cx.expired(at)) {
        return Err(Errno::EAGAIN.into());
    }
    task.park.borrow_mut().awaits = wanted;
    Err(Flow::Block(Block { queues: Vec::new(), deadline_ns: deadline, interrupt: Interrupt::Fail }))
}

pub(super) fn rt_sigreturn(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    deliver::sigreturn(cx)
}

pub(super) fn sigaltstack(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let new = match args.ptr(0) {
        Some(addr) => Some(cx.read_user::<StackT>(addr)?),
        None => None,
    };
    if let Some(addr) = args.ptr(1) {
        cx.mm().fault_in(addr, size_of::<StackT>() as u64, Access::Write)?;
    }
    let old = deliver::swap_altstack(&cx.task, new)?;
    if let Some(addr) = args.ptr(1) {
        cx.write_user(addr, &old)?;
    }
    Ok(0)
}

// ---- Sending ----

fn leader_of(cx: &Ctx<'_>, process: &Process) -> Option<Rc<Task>> {
    cx.kernel.tasks.get(&process.tgid).cloned()
}

fn own_info(cx: &Ctx<'_>, number: u32, code: i32) -> SigInfo {
    let uid = cx.task.cred.borrow().uid;
    SigInfo::from_user(number.max(1), code, cx.task.process.tgid, uid)
}

/// EPERM, or send (number 0 only asks).
fn send_process(cx: &mut Ctx<'_>, process: &Rc<Process>, number: u32, info: SigInfo) -> Result<(), Errno> {
    let leader = leader_of(cx, process).ok_or(Errno::ESRCH)?;
    if !may_signal(&cx.task, &leader, number) {
        return Err(Errno::EPERM);
    }
    if number == 0 { Ok(()) } else { cx.kernel.signal_process(process, info) }
}

pub(super) fn kill(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (pid, number) = (args.i32(0), check_number(args.i32(1))?);
    let info = own_info(cx, number, SI_USER);
    if pid > 0 {
        let process = find_task_process(cx, pid)?;
        send_process(cx, &process, number, info)?;
        return Ok(0);
    }
    let caller = Rc::clone(&cx.task.process);
    let targets = match pid {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => cx.kernel.processes(|p| p.tgid != 1 && p.tgid != caller.tgid),
        0 => cx.kernel.processes(|p| p.pgid.get() == caller.pgid.get()),
        group => cx.kernel.processes(|p| p.pgid.get() == group.unsigned_abs()),
    };
    let mut result = Err(Errno::ESRCH);
    for process in targets {
        match send_process(cx, &process, number, info) {
            Ok(()) => result = Ok(0),
            Err(errno) if result.is_err() => result = Err(errno),
            Err(_) => {}
        }
    }
    Ok(result?)
}

/// kill(2) also takes a thread's number and means its process.
fn find_task_process(cx: &Ctx<'_>, pid: i32) -> Result<Rc<Process>, Errno> {
    let task = u32::try_from(pid).ok().and_then(|pid| cx.kernel.tasks.get(&pid)).ok_or(Errno::ESRCH)?;
    Ok(Rc::clone(&task.process))
}

fn send_thread(cx: &mut Ctx<'_>, tgid: Option<i32>, tid: i32, number: u32, info: SigInfo) -> SysResult {
    let tid = u32::try_from(tid).ok().filter(|&tid| tid != 0).ok_or(Errno::EINVAL)?;
    if tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Errno::EINVAL.into());
    }
    let task = cx.kernel.tasks.get(&tid).cloned().ok_or(Errno::ESRCH)?;
    let gone = task.state.get() == TaskState::Dead && task.process.zombie.get().is_none();
    if gone || tgid.is_some_and(|tgid| task.process.tgid != tgid as u32) {
        return Err(Errno::ESRCH.into());
    }
    if !may_signal(&cx.task, &task, number) {
        return Err(Errno::EPERM.into());
    }
    if number != 0 {
        cx.kernel.signal_task(&task, info)?;
    }
    Ok(0)
}

pub(super) fn tkill(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let number = check_number(args.i32(1))?;
    let info = own_info(cx, number, SI_TKILL);
    send_thread(cx, None, args.i32(0), number, info)
}

pub(super) fn tgkill(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let number = check_number(args.i32(2))?;
    let info = own_info(cx, number, SI_TKILL);
    send_thread(cx, Some(args.i32(0)), args.i32(1), number, info)
}

fn given_info(cx: &Ctx<'_>, number: u32, addr: u64, target: i32) -> Result<SigInfo, Flow> {
    let info = cx.read_user::<SigInfo>(addr)?;
    let to_self = target == cx.task.process.tgid as i32;
    if !may_forge(info.code) && !to_self {
        return Err(Errno::EPERM.into());
    }
    Ok(SigInfo { signo: number.max(1) as i32, ..info })
}

pub(super) fn rt_sigqueueinfo(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (pid, number) = (args.i32(0), check_number(args.i32(1))?);
    let info = given_info(cx, number, args.u64(2), pid)?;
    if pid <= 0 {
        return Err(Errno::ESRCH.into());
    }
    let process = find_process(cx, pid)?;
    send_process(cx, &process, number, info)?;
    Ok(0)
}

pub(super) fn rt_tgsigqueueinfo(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (tgid, number) = (args.i32(0), check_number(args.i32(2))?);
    let info = given_info(cx, number, args.u64(3), tgid)?;
    send_thread(cx, Some(tgid), args.i32(1), number, info)
}

pub(super) fn pidfd_send_signal(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (fd, number) = (args.fd(0), check_number(args.i32(1))?);
    if args.u32(3) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = pidfd::target_of(&cx.file(fd)?)?;
    if process.zombie.get().is_some() && cx.kernel.process(process.tgid).is_none() {
        return Err(Errno::ESRCH.into());
    }
    let info = match args.ptr(2) {
        Some(addr) => given_info(cx, number, addr, process.tgid as i32)?,
        None => own_info(cx, number, SI_USER),
    };
    send_process(cx, &process, number, info)?;
    Ok(0)
}

/// Only reached by a program that calls it itself: the kernel never sends anybody here.
pub(super) fn restart_syscall(_: &mut Ctx<'_>, _: Args) -> SysResult {
    Err(Errno::EINTR.into())
}

const _: () = assert!(UNBLOCKABLE == bit(SIGKILL) | bit(SIGSTOP));
