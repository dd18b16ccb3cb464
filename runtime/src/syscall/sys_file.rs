//! Descriptors: openat(2), close(2), dup(2), fcntl(2), and the ioctl(2)s every file has.

use std::rc::Rc;

use super::sys_rw::io_file;
use super::{Args, SysResult, sys_lock};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::file::{F_DUPFD_QUERY, F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, O_TMPFILE_BIT, O_VALID};
use crate::abi::file::{OpenHow, OwnerEx};
use crate::abi::signal::NSIG;
use crate::fs::open::{DirFile, open_at};
use crate::fs::permission::{self, CAP_SYS_RESOURCE};
use crate::fs::pipe::{Pipe, PipeEnd};
use crate::fs::{FileRef, OpenFile, mode};
use crate::kernel::fasync::{self, FileOwner};
use crate::kernel::outbox::Target;
use crate::kernel::{Ctx, FdTable};

/// Flags that F_SETFL changes.
const SETFL: u32 = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

/// openat(2).
pub(super) fn openat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(1))?;
    let flags = args.u32(2) & O_VALID;
    open(cx, args.fd(0), &path, flags, args.u32(3), 0)
}

/// openat2(2).
pub(super) fn openat2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let size = args.u64(3);
    if size < size_of::<OpenHow>() as u64 {
        return Err(Errno::EINVAL.into());
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let how: OpenHow = cx.read_user(args.u64(2))?;
    let mut rest = vec![0; size as usize - size_of::<OpenHow>()];
    cx.mm().copy_in(args.u64(2).wrapping_add(size_of::<OpenHow>() as u64), &mut rest)?;
    if rest.iter().any(|&b| b != 0) {
        return Err(Errno::E2BIG.into());
    }
    let known = RESOLVE_NO_XDEV
        | RESOLVE_NO_MAGICLINKS
        | RESOLVE_NO_SYMLINKS
        | RESOLVE_BENEATH
        | RESOLVE_IN_ROOT
        | RESOLVE_CACHED;
    let both = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
    let creates = how.flags & u64::from(O_CREAT | O_TMPFILE_BIT) != 0;
    let path_only = u64::from(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if how.flags & !u64::from(O_VALID) != 0
        || how.resolve & !known != 0
        || how.resolve & both == both
        || how.mode & !0o7777 != 0
        || how.mode != 0 && !creates
        || how.flags & u64::from(O_PATH) != 0 && how.flags & !path_only != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(args.u64(1))?;
    open(cx, args.fd(0), &path, how.flags as u32, how.mode as u32, how.resolve)
}

/// Open and install. A fifo whose other end is missing is opened, kept, and looked at again when it wakes.
fn open(cx: &mut Ctx<'_>, dirfd: i32, path: &[u8], flags: u32, permissions: u32, resolve: u64) -> SysResult {
    let kept = cx.task.progress.borrow_mut().extra.take();
    let file = match kept.and_then(|kept| kept.downcast::<FileRef>().ok()) {
        Some(file) => *file,
        None => open_at(cx, dirfd, path, flags, permissions, resolve)?,
    };
    if !file.ops.open_ready(&file) && !file.nonblocking() {
        let flow = super::sys_rw::block_on(&[&file]);
        cx.task.progress.borrow_mut().extra = Some(Box::new(file));
        return Err(flow);
    }
    let fd = cx.task.files.borrow().install(file, flags & O_CLOEXEC != 0, 0)?;
    Ok(fd as u64)
}

/// close(2).
pub(super) fn close(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.task.files.borrow().remove(args.fd(0))?;
    drop(file);
    Ok(0)
}

/// close_range(2).
pub(super) fn close_range(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (first, last, flags) = (args.u32(0), args.u32(1), args.u32(2));
    if flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        unshare_files(cx);
    }
    let files = Rc::clone(&cx.task.files.borrow());
    let inside = files.list().into_iter().filter(|&fd| (first..=last).contains(&fd.cast_unsigned()));
    for fd in inside {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            files.set_cloexec(fd, true)?;
        } else {
            drop(files.remove(fd)?);
        }
    }
    Ok(0)
}

/// The caller gets a descriptor table of its own (CLONE_FILES undone).
fn unshare_files(cx: &Ctx<'_>) {
    let mut files = cx.task.files.borrow_mut();
    if Rc::strong_count(&files) > 1 {
        let own = files.duplicate();
        *files = Rc::new(own);
    }
}

/// dup(2).
pub(super) fn dup(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    Ok(cx.task.files.borrow().install(file, false, 0)? as u64)
}

/// dup3(2).
pub(super) fn dup3(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (old, new, flags) = (args.fd(0), args.fd(1), args.u32(2));
    if flags & !O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(old)?;
    let files: Rc<FdTable> = Rc::clone(&cx.task.files.borrow());
    drop(files.replace(new, file, flags & O_CLOEXEC != 0)?);
    Ok(new as u64)
}

/// fcntl(2).
pub(super) fn fcntl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (fd, command, arg) = (args.fd(0), args.u32(1), args.u64(2));
    let file = cx.file(fd)?;
    let of_path = matches!(command, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL | F_DUPFD_QUERY);
    if file.flags.get() & O_PATH != 0 && !of_path {
        return Err(Errno::EBADF.into());
    }
    let files = Rc::clone(&cx.task.files.borrow());
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let from = i32::try_from(arg as u32).map_err(|_| Errno::EINVAL)?;
            if from.cast_unsigned() >= files.limit.get() {
                return Err(Errno::EINVAL.into());
            }
            Ok(files.install(file, command == F_DUPFD_CLOEXEC, from)? as u64)
        }
        F_GETFD => Ok(u64::from(files.cloexec(fd)?)),
        F_SETFD => {
            files.set_cloexec(fd, arg as u32 & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        F_GETFL => Ok(u64::from(file.flags.get())),
        F_SETFL => set_flags(cx, fd, &file, arg as u32),
        F_GETLK | F_SETLK | F_SETLKW | F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => {
            sys_lock::record_lock(cx, &file, command, arg)
        }
        F_DUPFD_QUERY => {
            let other = cx.file(arg as i32)?;
            Ok(u64::from(Rc::ptr_eq(&file, &other)))
        }
        F_SETOWN => set_owner(cx, &file, arg as i32),
        F_GETOWN => Ok(i64::from(owner(&file)).cast_unsigned()),
        F_SETOWN_EX => {
            let OwnerEx { kind, pid } = cx.read_user(arg)?;
            set_owner_ex(cx, &file, kind, pid)
        }
        F_GETOWN_EX => {
            let kind = match file.owner.get().target {
                None | Some(Target::Process(_)) => F_OWNER_PID,
                Some(Target::Task(_)) => F_OWNER_TID,
                Some(Target::Group(_)) => F_OWNER_PGRP,
            };
            cx.write_user(arg, &OwnerEx { kind, pid: owner(&file).saturating_abs() })?;
            Ok(0)
        }
        F_GETSIG => Ok(u64::from(file.owner.get().signal)),
        F_SETSIG => {
            let signal = u32::try_from(arg).ok().filter(|&signal| signal <= NSIG).ok_or(Errno::EINVAL)?;
            file.owner.set(FileOwner { signal, ..file.owner.get() });
            Ok(0)
        }
        F_GETPIPE_SZ => Ok(pipe(&file).ok_or(Errno::EBADF)?.capacity() as u64),
        F_SETPIPE_SZ => {
            let privileged = permission::capable(cx, CAP_SYS_RESOURCE);
            let pipe = pipe(&file).ok_or(Errno::EBADF)?;
            Ok(pipe.set_capacity(u64::from(arg as u32), privileged)? as u64)
        }
        F_ADD_SEALS => {
            if !file.writable() {
                return Err(Errno::EPERM.into());
            }
            file.dentry.inode.add_seals(arg as u32)?;
            Ok(0)
        }
        F_GET_SEALS => Ok(u64::from(file.dentry.inode.seals()?)),
        // Leases would have to break when another process opens the file; Linux too refuses them on many systems.
        F_SETLEASE | F_GETLEASE | F_NOTIFY => Err(Errno::EINVAL.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The pipe behind a pipe's or fifo's end.
pub(super) fn pipe(file: &OpenFile) -> Option<Rc<Pipe>> {
    file.ops.as_any().downcast_ref::<PipeEnd>().map(|end| Rc::clone(end.pipe()))
}

/// As F_SETOWN takes it: a process, or a process group as a negative number. EINVAL, ESRCH.
fn set_owner(cx: &Ctx<'_>, file: &OpenFile, owner: i32) -> SysResult {
    let kind = if owner < 0 { F_OWNER_PGRP } else { F_OWNER_PID };
    set_owner_ex(cx, file, kind, owner.checked_abs().ok_or(Errno::EINVAL)?)
}

fn set_owner_ex(cx: &Ctx<'_>, file: &OpenFile, kind: i32, pid: i32) -> SysResult {
    let id = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let (target, exists) = match kind {
        F_OWNER_TID => (Target::Task(id), cx.kernel.tasks.contains_key(&id)),
        F_OWNER_PID => (Target::Process(id), cx.kernel.tasks.contains_key(&id)),
        F_OWNER_PGRP => {
            (Target::Group(id), cx.kernel.tasks.values().any(|task| task.process.pgid.get() == id))
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if id != 0 && !exists {
        return Err(Errno::ESRCH.into());
    }
    let ids = {
        let cred = cx.task.cred.borrow();
        (cred.uid, cred.euid)
    };
    file.owner.set(FileOwner { target: (id != 0).then_some(target), ids, ..file.owner.get() });
    Ok(0)
}

/// As F_GETOWN gives it; 0 for none.
fn owner(file: &OpenFile) -> i32 {
    match file.owner.get().target {
        None => 0,
        Some(Target::Task(id) | Target::Process(id)) => id.cast_signed(),
        Some(Target::Group(id)) => id.cast_signed().wrapping_neg(),
    }
}

fn set_flags(cx: &mut Ctx<'_>, fd: i32, file: &FileRef, flags: u32) -> SysResult {
    let old = file.flags.get();
    if flags & O_NOATIME != 0 && old & O_NOATIME == 0 {
        permission::owner(cx, &file.dentry.inode.stat())?;
    }
    file.flags.set(old & !SETFL | flags & SETFL);
    if flags & !old & O_ASYNC != 0 {
        cx.kernel.async_files.watch(fd, file);
    }
    Ok(0)
}

const FIOCLEX: u32 = 0x5451;
const FIONCLEX: u32 = 0x5450;
const FIOASYNC: u32 = 0x5452;
const FIONBIO: u32 = 0x5421;
const FIONREAD: u32 = 0x541b;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
const FIOGETOWN: u32 = 0x8903;
const SIOCGPGRP: u32 = 0x8904;
const FIOQSIZE: u32 = 0x5460;
const FIGETBSZ: u32 = 2;
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;
const FS_IOC_FIEMAP: u32 = 0xc020_660b;

/// ioctl(2): what every file answers, then the file's own.
pub(super) fn ioctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (fd, command, arg) = (args.fd(0), args.u32(1), args.u64(2));
    let file = io_file(cx, fd)?;
    let files = Rc::clone(&cx.task.files.borrow());
    let stat = file.dentry.inode.stat();
    let regular = stat.mode & mode::S_IFMT == mode::S_IFREG;
    match command {
        FIOCLEX | FIONCLEX => {
            files.set_cloexec(fd, command == FIOCLEX)?;
            Ok(0)
        }
        FIONBIO | FIOASYNC => {
            let on: u32 = cx.read_user(arg)?;
            let bit = if command == FIONBIO { O_NONBLOCK } else { O_ASYNC };
            let flags = file.flags.get();
            if bit == O_ASYNC && (on != 0) != (flags & O_ASYNC != 0) && !fasync::supports(&file) {
                return Err(Errno::ENOTTY.into());
            }
            set_flags(cx, fd, &file, if on != 0 { flags | bit } else { flags & !bit })
        }
        FIOSETOWN | SIOCSPGRP if mode::S_IFMT & stat.mode == mode::S_IFSOCK => {
            let owner: i32 = cx.read_user(arg)?;
            set_owner(cx, &file, owner)
        }
        FIOGETOWN | SIOCGPGRP if mode::S_IFMT & stat.mode == mode::S_IFSOCK => {
            cx.write_user(arg, &owner(&file))?;
            Ok(0)
        }
        FIGETBSZ if regular || file.ops.as_any().is::<DirFile>() => {
            cx.write_user(arg, &4096u32)?;
            Ok(0)
        }
        FIONREAD if regular => {
            let left = stat.size.saturating_sub(file.pos.get());
            cx.write_user(arg, &(left as u32))?;
            Ok(0)
        }
        FIOQSIZE if regular => {
            cx.write_user(arg, &stat.size)?;
            Ok(0)
        }
        FICLONE | FICLONERANGE | FS_IOC_FIEMAP if regular => Err(Errno::EOPNOTSUPP.into()),
        _ => file.ops.ioctl(cx, &file, command, arg),
    }
}
