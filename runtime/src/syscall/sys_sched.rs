//! Scheduling parameters. All policies share one fair queue on one hart: they are kept and reported.

use std::rc::Rc;

use super::sys_process::find_task;
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::sched::*;
use crate::abi::time::Timespec;
use crate::kernel::cred::CAP_SYS_NICE;
use crate::kernel::{Ctx, Task};
use crate::mm::Access;

/// CPUs in the affinity mask that we know: one.
const CPUS: u64 = 1;

/// Priorities of a policy; EINVAL for none.
fn priorities(policy: u32) -> Result<(i32, i32), Errno> {
    match policy {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn sched_yield(cx: &mut Ctx<'_>, _: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    cx.kernel.yield_task(&task);
    Ok(0)
}

pub(super) fn sched_get_priority_max(_: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(u64::from(priorities(args.u32(0))?.1.unsigned_abs()))
}

pub(super) fn sched_get_priority_min(_: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(u64::from(priorities(args.u32(0))?.0.unsigned_abs()))
}

fn target(cx: &Ctx<'_>, pid: i32) -> Result<Rc<Task>, Errno> {
    if pid < 0 { Err(Errno::EINVAL) } else { find_task(cx, pid) }
}

fn may_change(cx: &Ctx<'_>, task: &Task) -> bool {
    let (caller, owner) = (cx.task.cred.borrow(), task.cred.borrow());
    caller.capable(CAP_SYS_NICE) || caller.euid == owner.euid || caller.euid == owner.uid
}

fn set_policy(cx: &Ctx<'_>, task: &Task, policy: u32, priority: i32) -> Result<(), Errno> {
    let (least, most) = priorities(policy & !SCHED_RESET_ON_FORK)?;
    if policy & !SCHED_RESET_ON_FORK == SCHED_DEADLINE || !(least..=most).contains(&priority) {
        return Err(Errno::EINVAL);
    }
    let real_time = most > 0;
    let privileged = cx.task.cred.borrow().capable(CAP_SYS_NICE);
    if !may_change(cx, task) || (real_time && !privileged) {
        return Err(Errno::EPERM);
    }
    task.sched.policy.set(policy & !SCHED_RESET_ON_FORK);
    task.sched.priority.set(priority);
    task.sched.reset_on_fork.set(policy & SCHED_RESET_ON_FORK != 0);
    Ok(())
}

pub(super) fn sched_setscheduler(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let priority = cx.read_user::<i32>(args.ptr(2).ok_or(Errno::EINVAL)?)?;
    if args.i32(1) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let task = target(cx, args.i32(0))?;
    set_policy(cx, &task, args.u32(1), priority)?;
    Ok(0)
}

pub(super) fn sched_getscheduler(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let sched = &target(cx, args.i32(0))?.sched;
    let reset = if sched.reset_on_fork.get() { SCHED_RESET_ON_FORK } else { 0 };
    Ok(u64::from(sched.policy.get() | reset))
}

pub(super) fn sched_setparam(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let priority = cx.read_user::<i32>(args.ptr(1).ok_or(Errno::EINVAL)?)?;
    let task = target(cx, args.i32(0))?;
    set_policy(cx, &task, task.sched.policy.get(), priority)?;
    Ok(0)
}

pub(super) fn sched_getparam(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let addr = args.ptr(1).ok_or(Errno::EINVAL)?;
    let priority = target(cx, args.i32(0))?.sched.priority.get();
    cx.write_user(addr, &priority)?;
    Ok(0)
}

/// sizeof(struct sched_attr) of the first version, all that is kept.
const ATTR_BYTES: u32 = 48;

pub(super) fn sched_setattr(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let addr = args.ptr(1).ok_or(Errno::EINVAL)?;
    if args.u32(2) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let size = cx.read_user::<u32>(addr)?;
    if size != 0 && size < ATTR_BYTES {
        cx.write_user(addr, &ATTR_BYTES)?;
        return Err(Errno::E2BIG.into());
    }
    // size, policy, flags (64 bits), nice, priority, then SCHED_DEADLINE's.
    let attr = cx.read_user::<[u32; 12]>(addr)?;
    let task = target(cx, args.i32(0))?;
    let reset = if attr[2] & 1 != 0 { SCHED_RESET_ON_FORK } else { 0 };
    set_policy(cx, &task, attr[1] | reset, attr[5] as i32)?;
    if matches!(attr[1], SCHED_OTHER | SCHED_BATCH) {
        let nice = (attr[4] as i32).clamp(-20, 19);
        if nice < task.sched.nice.get() && !cx.task.cred.borrow().capable(CAP_SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        task.sched.nice.set(nice);
    }
    Ok(0)
}

pub(super) fn sched_getattr(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let addr = args.ptr(1).ok_or(Errno::EINVAL)?;
    if args.u32(2) < ATTR_BYTES || args.u32(2) > 4096 || args.u32(3) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let task = target(cx, args.i32(0))?;
    let sched = &task.sched;
    let mut attr = [0u32; 12];
    attr[0] = ATTR_BYTES;
    attr[1] = sched.policy.get();
    attr[2] = u32::from(sched.reset_on_fork.get());
    attr[4] = sched.nice.get() as u32;
    attr[5] = sched.priority.get() as u32;
    cx.write_user(addr, &attr)?;
    Ok(0)
}

pub(super) fn sched_setaffinity(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    // Unlike the calls about policies, the two about processors know no bad pid: ESRCH.
    let task = find_task(cx, args.i32(0))?;
    let mut mask = [0; 8];
    let len = args.u64(1).min(8) as usize;
    cx.mm().copy_in(args.u64(2), &mut mask[..len])?;
    if !may_change(cx, &task) {
        return Err(Errno::EPERM.into());
    }
    // No CPU that exists is left: EINVAL.
    if u64::from_le_bytes(mask) & CPUS == 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

pub(super) fn sched_getaffinity(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const MASK_BYTES: u64 = 8;
    if args.u64(1) < MASK_BYTES || !args.u64(1).is_multiple_of(MASK_BYTES) {
        return Err(Errno::EINVAL.into());
    }
    find_task(cx, args.i32(0))?;
    cx.write_user(args.u64(2), &CPUS)?;
    Ok(MASK_BYTES)
}

pub(super) fn sched_rr_get_interval(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const RR_NS: u64 = 100_000_000;
    const FAIR_NS: u64 = 4_000_000;
    let policy = target(cx, args.i32(0))?.sched.policy.get();
    let interval = match policy {
        SCHED_FIFO => 0,
        SCHED_RR => RR_NS,
        _ => FAIR_NS,
    };
    cx.write_user(args.u64(1), &Timespec::from_ns(interval))?;
    Ok(0)
}

pub(super) fn getcpu(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    for addr in [args.ptr(0), args.ptr(1)].into_iter().flatten() {
        cx.mm().fault_in(addr, 4, Access::Write)?;
    }
    for addr in [args.ptr(0), args.ptr(1)].into_iter().flatten() {
        cx.write_user(addr, &0u32)?;
    }
    Ok(0)
}

/// membarrier(2): with one hart, every switch is a barrier. Registrations are checked, as Linux does.
pub(super) fn membarrier(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const REGISTER: [(u32, u32); 4] = [
        (MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0),
        (MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED),
        (MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE),
        (MEMBARRIER_CMD_GLOBAL, 0),
    ];
    let (command, flags) = (args.u32(0), args.u32(1));
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let registered = &cx.task.process.membarrier;
    match command {
        MEMBARRIER_CMD_QUERY => {
            let all = REGISTER.iter().fold(MEMBARRIER_CMD_GLOBAL_EXPEDITED, |bits, (r, c)| bits | r | c);
            Ok(u64::from(all))
        }
        MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED => Ok(0),
        MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE => {
            if registered.get() & command != 0 { Ok(0) } else { Err(Errno::EPERM.into()) }
        }
        _ => match REGISTER.iter().find(|known| known.0 == command) {
            Some((_, allows)) => {
                registered.set(registered.get() | allows);
                Ok(0)
            }
            None => Err(Errno::EINVAL.into()),
        },
    }
}

/// ioprio_set(2), ioprio_get(2): there is no disk queue; the class "none" holds.
pub(super) fn ioprio_set(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if !(1..=3).contains(&args.i32(0)) || args.u32(2) >> 13 > 3 {
        return Err(Errno::EINVAL.into());
    }
    if args.i32(0) == 1 {
        target(cx, args.i32(1))?;
    }
    Ok(0)
}

pub(super) fn ioprio_get(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if !(1..=3).contains(&args.i32(0)) {
        return Err(Errno::EINVAL.into());
    }
    if args.i32(0) == 1 {
        target(cx, args.i32(1))?;
    }
    Ok(0)
}
