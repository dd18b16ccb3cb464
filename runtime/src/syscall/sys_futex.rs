//! Futexes and robust lists: decoding. What a futex does is in `kernel::futex`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::sys_process::find_task;
use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_LOCK_PI, FUTEX_LOCK_PI2,
    FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET,
    FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP,
};
use crate::abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};
use crate::kernel::Ctx;
use crate::kernel::futex::{self, Pair, WaitOn};
use crate::kernel::futex_pi;

/// futex2's flags: 32-bit word, private.
const FUTEX2_SIZE_U32: u32 = 2;
const FUTEX2_SIZE_MASK: u32 = 3;
/// Most futexes of one futex_waitv(2).
const WAITV_MAX: u32 = 128;

/// An absolute time on `realtime` or the monotonic clock as a monotonic deadline.
fn absolute(cx: &Ctx<'_>, addr: u64, realtime: bool) -> Result<u64, Flow> {
    let at = cx.read_user::<Timespec>(addr)?.to_ns()?;
    Ok(if realtime { cx.wall_deadline(at) } else { at })
}

pub(super) fn futex(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, op, value) = (args.u64(0), args.u32(1), args.u32(2));
    let private = op & FUTEX_PRIVATE_FLAG != 0;
    let realtime = op & FUTEX_CLOCK_REALTIME != 0;
    let command = op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    if realtime && ![FUTEX_WAIT_BITSET, FUTEX_WAIT, FUTEX_LOCK_PI2].contains(&command) {
        return Err(Errno::ENOSYS.into());
    }
    let pair = Pair { from: addr, to: args.u64(4), private, wake: value, other: args.u32(3) };
    // These two counts are signed in Linux, and negative ones refused.
    let signed_ok = || if args.i32(2) < 0 || args.i32(3) < 0 { Err(Errno::EINVAL) } else { Ok(()) };
    match command {
        FUTEX_WAIT | FUTEX_WAIT_BITSET => {
            let bitset = if command == FUTEX_WAIT { FUTEX_BITSET_MATCH_ANY } else { args.u32(5) };
            if bitset == 0 {
                return Err(Errno::EINVAL.into());
            }
            let deadline = match args.ptr(3) {
                None => None,
                Some(addr) if command == FUTEX_WAIT => {
                    Some(cx.deadline(cx.read_user::<Timespec>(addr)?.to_ns()?))
                }
                Some(addr) => Some(absolute(cx, addr, realtime)?),
            };
            futex::wait(cx, &[WaitOn { addr, expected: value, private, bitset }], deadline)?;
            Ok(0)
        }
        FUTEX_WAKE => Ok(u64::from(futex::wake(cx, addr, private, value.max(1), FUTEX_BITSET_MATCH_ANY)?)),
        FUTEX_WAKE_BITSET => Ok(u64::from(futex::wake(cx, addr, private, value.max(1), args.u32(5))?)),
        FUTEX_REQUEUE => {
            signed_ok()?;
            let (woken, moved) = futex::requeue(cx, pair, None)?;
            Ok(u64::from(woken) + u64::from(moved))
        }
        FUTEX_CMP_REQUEUE => {
            signed_ok()?;
            let (woken, moved) = futex::requeue(cx, pair, Some(args.u32(5)))?;
            Ok(u64::from(woken) + u64::from(moved))
        }
        FUTEX_WAKE_OP => futex::wake_op(cx, pair, args.u32(5)),
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 | FUTEX_TRYLOCK_PI => {
            // FUTEX_LOCK_PI has always counted on the wall clock, and says so no better than by its number.
            let realtime = realtime || command == FUTEX_LOCK_PI;
            let deadline = match args.ptr(3).filter(|_| command != FUTEX_TRYLOCK_PI) {
                None => None,
                Some(at) => Some(absolute(cx, at, realtime)?),
            };
            futex_pi::lock(cx, addr, private, deadline, command == FUTEX_TRYLOCK_PI)?;
            Ok(0)
        }
        FUTEX_UNLOCK_PI => {
            futex_pi::unlock(cx, addr, private)?;
            Ok(0)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// One futex of futex_waitv(2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Waitv {
    value: u64,
    addr: u64,
    flags: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<Waitv>() == 24);

fn futex2_private(flags: u32) -> Result<bool, Errno> {
    let known = FUTEX2_SIZE_MASK | FUTEX_PRIVATE_FLAG;
    if flags & !known != 0 || flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32 {
        return Err(Errno::EINVAL);
    }
    Ok(flags & FUTEX_PRIVATE_FLAG != 0)
}

fn futex2_deadline(cx: &Ctx<'_>, addr: Option<u64>, clock: u32) -> Result<Option<u64>, Flow> {
    let Some(addr) = addr else { return Ok(None) };
    match clock {
        CLOCK_MONOTONIC | CLOCK_REALTIME => Ok(Some(absolute(cx, addr, clock == CLOCK_REALTIME)?)),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn futex_waitv(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, count, flags) = (args.u64(0), args.u32(1), args.u32(2));
    if flags != 0 || count == 0 || count > WAITV_MAX {
        return Err(Errno::EINVAL.into());
    }
    let deadline = futex2_deadline(cx, args.ptr(3), args.u32(4))?;
    let mut on = Vec::new();
    for i in 0..u64::from(count) {
        let one: Waitv = cx.read_user(addr.wrapping_add(i * size_of::<Waitv>() as u64))?;
        if one.reserved != 0 || one.value > u64::from(u32::MAX) {
            return Err(Errno::EINVAL.into());
        }
        let private = futex2_private(one.flags)?;
        on.push(WaitOn {
            addr: one.addr,
            expected: one.value as u32,
            private,
            bitset: FUTEX_BITSET_MATCH_ANY,
        });
    }
    Ok(futex::wait(cx, &on, deadline)? as u64)
}

pub(super) fn futex_wait(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, value, mask) = (args.u64(0), args.u64(1), args.u64(2));
    let private = futex2_private(args.u32(3))?;
    let (Ok(expected), Ok(bitset)) = (u32::try_from(value), u32::try_from(mask)) else {
        return Err(Errno::EINVAL.into());
    };
    if bitset == 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = futex2_deadline(cx, args.ptr(4), args.u32(5))?;
    futex::wait(cx, &[WaitOn { addr, expected, private, bitset }], deadline)?;
    Ok(0)
}

pub(super) fn futex_wake(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let private = futex2_private(args.u32(3))?;
    let bitset = u32::try_from(args.u64(1)).map_err(|_| Errno::EINVAL)?;
    let count = u32::try_from(args.i32(2)).map_err(|_| Errno::EINVAL)?;
    Ok(u64::from(futex::wake(cx, args.u64(0), private, count, bitset)?))
}

pub(super) fn futex_requeue(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if args.u32(1) != 0 || args.i32(2) < 0 || args.i32(3) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let from: Waitv = cx.read_user(args.u64(0))?;
    let to: Waitv = cx.read_user(args.u64(0).wrapping_add(size_of::<Waitv>() as u64))?;
    let (private, also) = (futex2_private(from.flags)?, futex2_private(to.flags)?);
    if private != also {
        return Err(Errno::EINVAL.into());
    }
    let pair = Pair { from: from.addr, to: to.addr, private, wake: args.u32(2), other: args.u32(3) };
    let (woken, moved) = futex::requeue(cx, pair, Some(from.value as u32))?;
    Ok(u64::from(woken) + u64::from(moved))
}

pub(super) fn set_robust_list(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    /// sizeof(struct robust_list_head).
    const HEAD_BYTES: u64 = 24;
    if args.u64(1) != HEAD_BYTES {
        return Err(Errno::EINVAL.into());
    }
    cx.task.robust_list.set(args.u64(0));
    Ok(0)
}

pub(super) fn get_robust_list(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = find_task(cx, args.i32(0))?;
    cx.write_user(args.u64(2), &24u64)?;
    cx.write_user(args.u64(1), &task.robust_list.get())?;
    Ok(0)
}
