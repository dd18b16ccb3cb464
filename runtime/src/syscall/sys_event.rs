//! eventfd2(2), timerfd_create(2) and its settings, signalfd4(2), inotify(7).

use std::rc::Rc;

use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::event::*;
use crate::abi::fcntl::{AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR};
use crate::abi::time::*;
use crate::fs::eventfd::EventFd;
use crate::fs::inotify::Inotify;
use crate::fs::permission::{self, MAY_READ};
use crate::fs::signalfd::SignalFd;
use crate::fs::timerfd::TimerFd;
use crate::fs::{FileOps, FileRef, anon, namei};
use crate::kernel::Ctx;

/// A new anonymous file of `kind`; `flags` hold O_CLOEXEC and O_NONBLOCK.
fn install(cx: &Ctx<'_>, kind: &str, ops: Rc<dyn FileOps>, flags: u32) -> SysResult {
    let file = anon::open_kind(cx, kind, ops, O_RDWR | flags & O_NONBLOCK);
    Ok(cx.task.files.borrow().install(file, flags & O_CLOEXEC != 0, 0)? as u64)
}

fn only(flags: u32, known: u32) -> Result<(), Flow> {
    if flags & !known != 0 { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// eventfd2(initval, flags).
pub(super) fn eventfd2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(1);
    only(flags, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)?;
    let counter = EventFd::new(u64::from(args.u32(0)), flags & EFD_SEMAPHORE != 0);
    install(cx, "[eventfd]", Rc::new(counter), flags)
}

/// timerfd_create(clockid, flags).
pub(super) fn timerfd_create(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (clock, flags) = (args.u32(0), args.u32(1));
    only(flags, TFD_CLOEXEC | TFD_NONBLOCK)?;
    match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME => {}
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM if cx.task.cred.borrow().euid == 0 => {}
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let timer = Rc::new(TimerFd::new(clock));
    let known = &mut cx.kernel.timer_fds;
    known.retain(|timer| timer.strong_count() > 0);
    known.push(Rc::downgrade(&timer));
    install(cx, "[timerfd]", timer, flags)
}

fn timer_of(file: &FileRef) -> Result<&TimerFd, Errno> {
    file.ops.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

/// timerfd_settime(fd, flags, new, old).
pub(super) fn timerfd_settime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(1);
    only(flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)?;
    let new: Itimerspec = cx.read_user(args.u64(2))?;
    let (value, interval) = (new.value.to_ns()?, new.interval.to_ns()?);
    let file = cx.file(args.fd(0))?;
    let timer = timer_of(&file)?;
    if let Some(addr) = args.ptr(3) {
        let old = timer.get(cx.kernel);
        cx.write_user(addr, &old)?;
    }
    let wall = matches!(timer.clock, CLOCK_REALTIME | CLOCK_REALTIME_ALARM);
    let absolute = flags & TFD_TIMER_ABSTIME != 0;
    let date = (wall && absolute && value != 0).then_some((value, flags & TFD_TIMER_CANCEL_ON_SET != 0));
    let next = match (value, absolute) {
        (0, _) => None,
        (at, true) if wall => Some(cx.kernel.wall_to_monotonic(at)),
        (at, true) => Some(at),
        (after, false) => Some(cx.kernel.monotonic_ns().saturating_add(after)),
    };
    timer.set(cx.kernel, next, interval, date);
    Ok(0)
}

/// timerfd_gettime(fd, current).
pub(super) fn timerfd_gettime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let setting = timer_of(&file)?.get(cx.kernel);
    cx.write_user(args.u64(1), &setting)?;
    Ok(0)
}

/// signalfd4(fd, mask, sizemask, flags).
pub(super) fn signalfd4(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (fd, flags) = (args.fd(0), args.u32(3));
    only(flags, SFD_CLOEXEC | SFD_NONBLOCK)?;
    if args.u64(2) != 8 {
        return Err(Errno::EINVAL.into());
    }
    let mask: u64 = cx.read_user(args.u64(1))?;
    if fd != -1 {
        let file = cx.file(fd)?;
        let existing: &SignalFd = file.ops.as_any().downcast_ref().ok_or(Errno::EINVAL)?;
        existing.set_mask(mask);
        return Ok(fd as u64);
    }
    let ops = Rc::new(SignalFd::new(&cx.task, mask));
    install(cx, "[signalfd]", ops, flags)
}

/// inotify_init1(flags).
pub(super) fn inotify_init1(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(0);
    only(flags, IN_CLOEXEC | IN_NONBLOCK)?;
    let instance = Inotify::new(cx.kernel.vfs.notify())?;
    let file = anon::open_kind(cx, "inotify", instance, O_RDONLY | flags & O_NONBLOCK);
    Ok(cx.task.files.borrow().install(file, flags & O_CLOEXEC != 0, 0)? as u64)
}

fn inotify_of(file: &FileRef) -> Result<&Inotify, Errno> {
    file.ops.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

/// inotify_add_watch(fd, path, mask).
pub(super) fn inotify_add_watch(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let mask = args.u32(2);
    only(mask, INOTIFY.iter().fold(0, |all, &(bit, _)| all | bit as u32))?;
    let file = cx.file(args.fd(0))?;
    let instance = inotify_of(&file)?;
    let path = cx.read_path(args.u64(1))?;
    let nofollow = if mask & IN_DONT_FOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let dentry = namei::lookup(cx, AT_FDCWD, &path, nofollow)?;
    if mask & IN_ONLYDIR != 0 && !dentry.is_dir() {
        return Err(Errno::ENOTDIR.into());
    }
    permission::may(cx, &*dentry.inode, MAY_READ)?;
    Ok(instance.watch(&*dentry.inode, mask)? as u64)
}

/// inotify_rm_watch(fd, wd).
pub(super) fn inotify_rm_watch(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    inotify_of(&file)?.unwatch(args.i32(1))?;
    Ok(0)
}
