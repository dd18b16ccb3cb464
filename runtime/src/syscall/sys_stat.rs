//! What an inode is and who may use it: stat(2), statx(2), statfs(2), access(2), chmod(2), chown(2), utimensat(2).

use std::rc::Rc;

use super::sys_rw::{io_file, set_size};
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::event::{IN_ACCESS, IN_ATTRIB, IN_MODIFY};
use crate::abi::fcntl::*;
use crate::abi::mount::{MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_RELATIME};
use crate::abi::stat::*;
use crate::fs::permission::{self, CAP_CHOWN, CAP_FSETID, MAY_EXEC, MAY_WRITE};
use crate::fs::{Dentry, SetAttr, Stat, Timespec, inotify, mode, namei};
use crate::kernel::{Cred, Ctx};

fn kernel_stat(stat: &Stat) -> KernelStat {
    KernelStat {
        st_dev: stat.dev,
        st_ino: stat.ino,
        st_mode: stat.mode,
        st_nlink: stat.nlink,
        st_uid: stat.uid,
        st_gid: stat.gid,
        st_rdev: stat.rdev,
        st_size: stat.size as i64,
        st_blksize: stat.blksize as i32,
        st_blocks: stat.blocks as i64,
        st_atime: stat.atime.sec,
        st_atime_nsec: u64::from(stat.atime.nsec),
        st_mtime: stat.mtime.sec,
        st_mtime_nsec: u64::from(stat.mtime.nsec),
        st_ctime: stat.ctime.sec,
        st_ctime_nsec: u64::from(stat.ctime.nsec),
        ..KernelStat::default()
    }
}

/// fstat(2).
pub(super) fn fstat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    cx.write_user(args.u64(1), &kernel_stat(&file.dentry.inode.stat()))?;
    Ok(0)
}

/// A path argument that may be NULL where AT_EMPTY_PATH says that it does not matter.
fn path_or_empty(cx: &Ctx<'_>, addr: u64, flags: u32) -> Result<Vec<u8>, super::Flow> {
    if addr == 0 && flags & AT_EMPTY_PATH != 0 { Ok(Vec::new()) } else { cx.read_path(addr) }
}

/// newfstatat(2).
pub(super) fn newfstatat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = path_or_empty(cx, args.u64(1), flags)?;
    let dentry = namei::lookup(cx, args.fd(0), &path, flags)?;
    cx.write_user(args.u64(2), &kernel_stat(&dentry.inode.stat()))?;
    Ok(0)
}

/// statx(2).
pub(super) fn statx(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (flags, mask) = (args.u32(2), args.u32(3));
    let sync = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | sync;
    if flags & !known != 0 || flags & sync == sync || mask & STATX_RESERVED != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = path_or_empty(cx, args.u64(1), flags)?;
    let dentry = namei::lookup(cx, args.fd(0), &path, flags)?;
    let stat = dentry.inode.stat();
    let time = |t: Timespec| StatxTimestamp { sec: t.sec, nsec: t.nsec, pad: 0 };
    let is_root = dentry.parent.borrow().is_none() && dentry.mount.id != 0;
    let answer = Statx {
        stx_mask: STATX_BASIC_STATS | mask & (STATX_BTIME | STATX_MNT_ID),
        stx_blksize: stat.blksize,
        stx_attributes: if is_root { STATX_ATTR_MOUNT_ROOT } else { 0 },
        stx_attributes_mask: STATX_ATTR_MOUNT_ROOT,
        stx_nlink: stat.nlink,
        stx_uid: stat.uid,
        stx_gid: stat.gid,
        stx_mode: stat.mode as u16,
        stx_ino: stat.ino,
        stx_size: stat.size,
        stx_blocks: stat.blocks,
        stx_atime: time(stat.atime),
        stx_btime: time(stat.btime),
        stx_ctime: time(stat.ctime),
        stx_mtime: time(stat.mtime),
        stx_rdev_major: major(stat.rdev),
        stx_rdev_minor: minor(stat.rdev),
        stx_dev_major: major(stat.dev),
        stx_dev_minor: minor(stat.dev),
        stx_mnt_id: u64::from(dentry.mount.id),
        ..Statx::default()
    };
    cx.write_user(args.u64(4), &answer)?;
    Ok(0)
}

fn write_statfs(cx: &Ctx<'_>, dentry: &Dentry, addr: u64) -> SysResult {
    let fs = dentry.inode.stat_fs();
    let dev = dentry.inode.stat().dev;
    let flags = dentry.mount.flags.get();
    let has = |ms: u64, st: u64| if flags & ms as u32 != 0 { st } else { 0 };
    let answer = KernelStatFs {
        f_type: fs.magic,
        f_bsize: 4096,
        f_blocks: fs.blocks,
        f_bfree: fs.free,
        f_bavail: fs.free,
        f_files: fs.files,
        f_ffree: fs.files_free,
        f_fsid: [dev as u32, (dev >> 32) as u32],
        f_namelen: namei::NAME_MAX as u64,
        f_frsize: 4096,
        f_flags: ST_VALID
            | has(MS_RDONLY, ST_RDONLY)
            | has(MS_NOSUID, ST_NOSUID)
            | has(MS_NODEV, ST_NODEV)
            | has(MS_NOEXEC, ST_NOEXEC)
            | has(MS_NOATIME, ST_NOATIME)
            | has(MS_RELATIME, ST_RELATIME),
        f_spare: [0; 4],
    };
    cx.write_user(addr, &answer)?;
    Ok(0)
}

/// statfs(2).
pub(super) fn statfs(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(0))?;
    let dentry = namei::lookup(cx, AT_FDCWD, &path, 0)?;
    write_statfs(cx, &dentry, args.u64(1))
}

/// fstatfs(2).
pub(super) fn fstatfs(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    write_statfs(cx, &file.dentry, args.u64(1))
}

/// truncate(2).
pub(super) fn truncate(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(0))?;
    if args.i64(1) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let dentry = namei::lookup(cx, AT_FDCWD, &path, 0)?;
    match dentry.inode.stat().mode & mode::S_IFMT {
        mode::S_IFREG => {}
        mode::S_IFDIR => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    permission::may(cx, &*dentry.inode, MAY_WRITE)?;
    permission::writable(&dentry.mount)?;
    permission::not_running(cx, &dentry, &dentry.inode.stat())?;
    set_size(cx, &dentry, args.i64(1))
}

/// faccessat(2).
pub(super) fn faccessat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    access(cx, args, 0)
}

/// faccessat2(2).
pub(super) fn faccessat2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    access(cx, args, args.u32(3))
}

fn access(cx: &mut Ctx<'_>, args: Args, flags: u32) -> SysResult {
    let wanted = args.u32(2);
    if wanted & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = path_or_empty(cx, args.u64(1), flags)?;
    if flags & AT_EACCESS != 0 {
        return check_access(cx, args.fd(0), &path, wanted, flags);
    }
    // The question is about the real user; the walk to the file is part of it.
    let real = as_real_user(&cx.task.cred.borrow());
    let effective = cx.task.cred.replace(Rc::new(real));
    let answer = check_access(cx, args.fd(0), &path, wanted, flags);
    cx.task.cred.replace(effective);
    answer
}

fn as_real_user(cred: &Cred) -> Cred {
    let capabilities = if cred.uid == 0 { cred.cap_permitted } else { 0 };
    Cred { fsuid: cred.uid, fsgid: cred.gid, cap_effective: capabilities, ..cred.clone() }
}

fn check_access(cx: &Ctx<'_>, dirfd: i32, path: &[u8], wanted: u32, flags: u32) -> SysResult {
    let dentry = namei::lookup(cx, dirfd, path, flags)?;
    let stat = dentry.inode.stat();
    let kind = stat.mode & mode::S_IFMT;
    let noexec = dentry.mount.flags.get() & MS_NOEXEC as u32 != 0;
    if wanted & MAY_EXEC != 0 && kind == mode::S_IFREG && noexec {
        return Err(Errno::EACCES.into());
    }
    permission::check(&cx.task.cred.borrow(), &stat, wanted)?;
    if wanted & MAY_WRITE != 0 && matches!(kind, mode::S_IFREG | mode::S_IFDIR | mode::S_IFLNK) {
        permission::writable(&dentry.mount)?;
    }
    Ok(0)
}

fn change_mode(cx: &Ctx<'_>, dentry: &Dentry, bits: u32) -> SysResult {
    permission::writable(&dentry.mount)?;
    let stat = dentry.inode.stat();
    permission::owner(cx, &stat)?;
    if stat.mode & mode::S_IFMT == mode::S_IFLNK {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let mut bits = bits & 0o7777;
    let cred = cx.task.cred.borrow();
    if !permission::in_group(&cred, stat.gid) && !permission::has_cap(&cred, CAP_FSETID) {
        bits &= !mode::S_ISGID;
    }
    dentry.inode.set_attr(&SetAttr { mode: Some(bits), now: cx.now(), ..SetAttr::default() })?;
    inotify::happened(dentry, IN_ATTRIB);
    Ok(0)
}

/// fchmod(2).
pub(super) fn fchmod(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    change_mode(cx, &file.dentry, args.u32(1))
}

/// fchmodat(2).
pub(super) fn fchmodat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(1))?;
    let dentry = namei::lookup(cx, args.fd(0), &path, 0)?;
    change_mode(cx, &dentry, args.u32(2))
}

/// fchmodat2(2).
pub(super) fn fchmodat2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = path_or_empty(cx, args.u64(1), flags)?;
    let dentry = namei::lookup(cx, args.fd(0), &path, flags)?;
    change_mode(cx, &dentry, args.u32(2))
}

fn change_owner(cx: &Ctx<'_>, dentry: &Dentry, uid: u32, gid: u32) -> SysResult {
    permission::writable(&dentry.mount)?;
    let stat = dentry.inode.stat();
    let uid = Some(uid).filter(|&id| id != u32::MAX);
    let gid = Some(gid).filter(|&id| id != u32::MAX);
    let cred = cx.task.cred.borrow();
    let owns = cred.fsuid == stat.uid;
    let uid_allowed = uid.is_none_or(|id| owns && id == stat.uid);
    let gid_allowed = gid.is_none_or(|id| owns && (id == stat.gid || permission::in_group(&cred, id)));
    if !permission::has_cap(&cred, CAP_CHOWN) && !(uid_allowed && gid_allowed) {
        return Err(Errno::EPERM.into());
    }
    drop(cred);
    let is_dir = stat.mode & mode::S_IFMT == mode::S_IFDIR;
    let kept = permission::without_set_id(stat.mode) & 0o7777;
    let mode = (!is_dir && kept != stat.mode & 0o7777).then_some(kept);
    dentry.inode.set_attr(&SetAttr { mode, uid, gid, now: cx.now(), ..SetAttr::default() })?;
    inotify::happened(dentry, IN_ATTRIB);
    Ok(0)
}

/// fchown(2).
pub(super) fn fchown(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    change_owner(cx, &file.dentry, args.u32(1), args.u32(2))
}

/// fchownat(2).
pub(super) fn fchownat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(4);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = path_or_empty(cx, args.u64(1), flags)?;
    let dentry = namei::lookup(cx, args.fd(0), &path, flags)?;
    change_owner(cx, &dentry, args.u32(2), args.u32(3))
}

/// What one of the two times of utimensat(2) asks for.
enum NewTime {
    Now,
    Omit,
    At(Timespec),
}

fn new_times(cx: &Ctx<'_>, addr: u64) -> Result<[NewTime; 2], super::Flow> {
    if addr == 0 {
        return Ok([NewTime::Now, NewTime::Now]);
    }
    let raw: [i64; 4] = cx.read_user(addr)?;
    let parse = |sec: i64, nsec: i64| match nsec {
        UTIME_NOW => Ok(NewTime::Now),
        UTIME_OMIT => Ok(NewTime::Omit),
        0..1_000_000_000 => Ok(NewTime::At(Timespec { sec, nsec: nsec as u32 })),
        _ => Err(Errno::EINVAL),
    };
    Ok([parse(raw[0], raw[1])?, parse(raw[2], raw[3])?])
}

/// utimensat(2).
pub(super) fn utimensat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    let times = new_times(cx, args.u64(2))?;
    if matches!(times, [NewTime::Omit, NewTime::Omit]) {
        return Ok(0);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let dentry = match args.ptr(1) {
        None if args.fd(0) == AT_FDCWD => return Err(Errno::EFAULT.into()),
        None => Rc::clone(&io_file(cx, args.fd(0))?.dentry),
        Some(addr) => {
            let path = cx.read_path(addr)?;
            namei::lookup(cx, args.fd(0), &path, flags)?
        }
    };
    permission::writable(&dentry.mount)?;
    let stat = dentry.inode.stat();
    if matches!(times, [NewTime::Now, NewTime::Now]) {
        // Setting both to the present is what any writer could do by writing.
        if permission::owner(cx, &stat).is_err() {
            permission::check(&cx.task.cred.borrow(), &stat, MAY_WRITE)?;
        }
    } else {
        permission::owner(cx, &stat)?;
    }
    let now = cx.now();
    let value = |time: &NewTime| match time {
        NewTime::Now => Some(now),
        NewTime::Omit => None,
        NewTime::At(time) => Some(*time),
    };
    let (atime, mtime) = (value(&times[0]), value(&times[1]));
    dentry.inode.set_attr(&SetAttr { atime, mtime, now, ..SetAttr::default() })?;
    // Linux reports one time alone as what it stands for.
    let event = match (atime, mtime) {
        (Some(_), None) => IN_ACCESS,
        (None, _) => IN_MODIFY,
        _ => IN_ATTRIB,
    };
    inotify::happened(&dentry, event);
    Ok(0)
}
