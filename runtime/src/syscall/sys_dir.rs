//! Names: directories, links, renames, and where a process stands in the tree.

use std::rc::Rc;

use super::sys_rw::io_file;
use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::event::IN_ACCESS;
use crate::abi::fcntl::*;
use crate::fs::namei::{self, Last};
use crate::fs::open::DirFile;
use crate::fs::permission::{
    self, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_MKNOD, CAP_SYS_CHROOT, MAY_EXEC, MAY_READ, MAY_WRITE,
};
use crate::fs::{Dentry, Make, Stat, inotify, mode};
use crate::kernel::Ctx;

/// Bytes of directory entries produced in one call at most.
const LISTING: u64 = 64 << 10;
/// Longest symlink target.
const TARGET_MAX: usize = 4095;

/// getdents64(2).
pub(super) fn getdents64(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let ops = Rc::clone(&file.ops);
    let Some(dir) = ops.as_any().downcast_ref::<DirFile>() else { return Err(Errno::ENOTDIR.into()) };
    let dentry = &file.dentry;
    if dentry.deleted.get() {
        return Err(Errno::ENOENT.into());
    }
    let room = args.u64(2).min(LISTING) as usize;
    let mut out = Vec::new();
    inotify::file_happened(&file, IN_ACCESS);
    let mut position = file.pos.get();
    if position == 0 {
        dir.end.set(dentry.inode.read_dir_end());
    }
    let mut full = false;
    if position == 0 {
        full = !put_entry(&mut out, room, dentry.inode.stat().ino, 1, mode::S_IFDIR, b".");
        position = if full { 0 } else { 1 };
    }
    if position == 1 && !full {
        full = !put_entry(&mut out, room, parent_ino(cx, dentry), 2, mode::S_IFDIR, b"..");
        position = if full { 1 } else { 2 };
    }
    if position >= 2 && !full {
        let end = dir.end.get();
        dentry.inode.read_dir(position - 2, &mut |entry| {
            if entry.next > end {
                return false;
            }
            let next = entry.next.saturating_add(2);
            full = !put_entry(&mut out, room, entry.ino, next, entry.kind, &entry.name);
            if !full {
                position = next;
            }
            !full
        })?;
    }
    if out.is_empty() && full {
        return Err(Errno::EINVAL.into());
    }
    cx.mm().copy_out(args.u64(1), &out)?;
    file.pos.set(position);
    Ok(out.len() as u64)
}

/// Append a `struct linux_dirent64`; false when there is no room for it.
fn put_entry(out: &mut Vec<u8>, room: usize, ino: u64, next: u64, kind: u32, name: &[u8]) -> bool {
    let len = (19 + name.len() + 1).next_multiple_of(8);
    if out.len() + len > room {
        return false;
    }
    let end = out.len() + len;
    out.extend_from_slice(&ino.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.push((kind >> 12) as u8);
    out.extend_from_slice(name);
    out.resize(end, 0);
    true
}

fn parent_ino(cx: &Ctx<'_>, dentry: &Rc<Dentry>) -> u64 {
    let root = cx.task.fs.borrow().root.borrow().clone();
    let mut at = Rc::clone(dentry);
    while !Rc::ptr_eq(&at, &root) {
        let parent = at.parent.borrow().clone();
        if let Some(parent) = parent {
            return parent.inode.stat().ino;
        }
        let covers = at.mount.covers.borrow().clone();
        match covers {
            Some(covered) => at = covered,
            None => break,
        }
    }
    at.inode.stat().ino
}

/// A directory that the caller may search, to stand in. ENOTDIR, EACCES.
fn enterable(cx: &Ctx<'_>, dentry: Rc<Dentry>) -> Result<Rc<Dentry>, Errno> {
    if !dentry.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    permission::may(cx, &*dentry.inode, MAY_EXEC)?;
    Ok(dentry)
}

/// chdir(2).
pub(super) fn chdir(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(0))?;
    let dir = enterable(cx, namei::lookup(cx, AT_FDCWD, &path, 0)?)?;
    let old = cx.task.fs.borrow().cwd.replace(dir);
    drop(old);
    Ok(0)
}

/// fchdir(2).
pub(super) fn fchdir(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let dir = enterable(cx, Rc::clone(&file.dentry))?;
    let old = cx.task.fs.borrow().cwd.replace(dir);
    drop(old);
    Ok(0)
}

/// chroot(2).
pub(super) fn chroot(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(0))?;
    let dir = enterable(cx, namei::lookup(cx, AT_FDCWD, &path, 0)?)?;
    if !permission::capable(cx, CAP_SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    let old = cx.task.fs.borrow().root.replace(dir);
    drop(old);
    Ok(0)
}

/// getcwd(2): the system call, which returns the length with the NUL.
pub(super) fn getcwd(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let fs = Rc::clone(&cx.task.fs.borrow());
    let (root, cwd) = (fs.root.borrow().clone(), fs.cwd.borrow().clone());
    if cwd.deleted.get() {
        return Err(Errno::ENOENT.into());
    }
    let (mut path, below_root) = cx.kernel.vfs.path_from(&cwd, &root);
    if !below_root {
        path.splice(0..0, *b"(unreachable)");
    }
    path.push(0);
    if path.len() > namei::PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if path.len() as u64 > args.u64(1) {
        return Err(Errno::ERANGE.into());
    }
    cx.mm().copy_out(args.u64(0), &path)?;
    Ok(path.len() as u64)
}

/// umask(2).
pub(super) fn umask(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(u64::from(cx.task.fs.borrow().umask.replace(args.u32(0) & 0o777)))
}

/// Where a new name is to be made. EEXIST when it is there; ENOENT when a slash follows a name that is no directory's.
fn new_name(cx: &Ctx<'_>, dirfd: i32, path: &[u8], is_dir: bool) -> Result<Last, Errno> {
    let last = namei::parent(cx, dirfd, path)?;
    if !last.is_name() {
        return Err(Errno::EEXIST);
    }
    match last.parent.child(&last.name) {
        Ok(_) => Err(Errno::EEXIST),
        Err(Errno::ENOENT) if last.slash && !is_dir => Err(Errno::ENOENT),
        Err(Errno::ENOENT) => Ok(last),
        Err(errno) => Err(errno),
    }
}

/// mkdirat(2).
pub(super) fn mkdirat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(1))?;
    let last = new_name(cx, args.fd(0), &path, true)?;
    let bits = mode::S_IFDIR | args.u32(2) & 0o1777;
    namei::create(cx, &last.parent, &last.name, Make::Directory, bits)?;
    Ok(0)
}

/// mknodat(2).
pub(super) fn mknodat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let path = cx.read_path(args.u64(1))?;
    let bits = args.u32(2);
    let kind = bits & mode::S_IFMT;
    let dev = args.u64(3);
    let what = match kind {
        0 | mode::S_IFREG => Make::File,
        mode::S_IFIFO | mode::S_IFSOCK => Make::Node(0),
        mode::S_IFCHR | mode::S_IFBLK => Make::Node(dev),
        mode::S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let last = new_name(cx, args.fd(0), &path, false)?;
    if matches!(kind, mode::S_IFCHR | mode::S_IFBLK) && !permission::capable(cx, CAP_MKNOD) {
        return Err(Errno::EPERM.into());
    }
    let kind = if kind == 0 { mode::S_IFREG } else { kind };
    namei::create(cx, &last.parent, &last.name, what, kind | bits & 0o7777)?;
    Ok(0)
}

/// symlinkat(2).
pub(super) fn symlinkat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let target = cx.read_path(args.u64(0))?;
    let path = cx.read_path(args.u64(2))?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if target.len() > TARGET_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let last = new_name(cx, args.fd(1), &path, false)?;
    namei::create(cx, &last.parent, &last.name, Make::Symlink(&target), mode::S_IFLNK | 0o777)?;
    Ok(0)
}

/// readlinkat(2).
pub(super) fn readlinkat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let size = args.i32(3);
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(args.u64(1))?;
    let dentry = namei::lookup(cx, args.fd(0), &path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    if dentry.inode.stat().mode & mode::S_IFMT != mode::S_IFLNK {
        let errno = if path.is_empty() { Errno::ENOENT } else { Errno::EINVAL };
        return Err(errno.into());
    }
    let mut target = dentry.inode.read_link()?;
    target.truncate(size as usize);
    cx.mm().copy_out(args.u64(2), &target)?;
    Ok(target.len() as u64)
}

/// linkat(2).
pub(super) fn linkat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(4);
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let old = cx.read_path(args.u64(1))?;
    let new = cx.read_path(args.u64(3))?;
    if old.is_empty() && flags & AT_EMPTY_PATH != 0 && !permission::capable(cx, CAP_DAC_READ_SEARCH) {
        return Err(Errno::ENOENT.into());
    }
    let nofollow = if flags & AT_SYMLINK_FOLLOW != 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    let source = namei::lookup(cx, args.fd(0), &old, flags & AT_EMPTY_PATH | nofollow)?;
    let last = new_name(cx, args.fd(2), &new, false)?;
    if !Rc::ptr_eq(&source.mount, &last.parent.mount) {
        return Err(Errno::EXDEV.into());
    }
    let stat = source.inode.stat();
    may_hard_link(cx, &stat)?;
    permission::writable(&last.parent.mount)?;
    permission::may(cx, &*last.parent.inode, MAY_WRITE | MAY_EXEC)?;
    if stat.mode & mode::S_IFMT == mode::S_IFDIR {
        return Err(Errno::EPERM.into());
    }
    // Only a file that never had a name may get its first one now (O_TMPFILE).
    if stat.nlink == 0 && !source.name.borrow().starts_with(b"#") {
        return Err(Errno::ENOENT.into());
    }
    last.parent.inode.link(&last.name, &source.inode, cx.now())?;
    inotify::links_changed(&last.parent, &*source.inode);
    inotify::created(&last.parent, &last.name, &*source.inode);
    Ok(0)
}

/// fs.protected_hardlinks, see proc(5): files of others only when the caller may read and write them.
fn may_hard_link(cx: &Ctx<'_>, stat: &Stat) -> Result<(), Errno> {
    let cred = cx.task.cred.borrow();
    if cred.fsuid == stat.uid || permission::has_cap(&cred, CAP_FOWNER) {
        return Ok(());
    }
    let regular = stat.mode & mode::S_IFMT == mode::S_IFREG;
    let special = permission::without_set_id(stat.mode) != stat.mode;
    let allowed = permission::check(&cred, stat, MAY_READ | MAY_WRITE).is_ok();
    if regular && !special && allowed { Ok(()) } else { Err(Errno::EPERM) }
}

/// unlinkat(2).
pub(super) fn unlinkat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(2);
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(args.u64(1))?;
    let rmdir = flags & AT_REMOVEDIR != 0;
    let last = namei::parent(cx, args.fd(0), &path)?;
    if !last.is_name() {
        return Err(match last.name.as_slice() {
            _ if !rmdir => Errno::EISDIR,
            b"." => Errno::EINVAL,
            b".." => Errno::ENOTEMPTY,
            _ => Errno::EBUSY,
        }
        .into());
    }
    let victim = last.parent.child(&last.name)?;
    permission::writable(&last.parent.mount)?;
    let stat = victim.inode.stat();
    permission::may_delete(cx, &last.parent.inode.stat(), &stat)?;
    let is_dir = stat.mode & mode::S_IFMT == mode::S_IFDIR;
    match (rmdir, is_dir) {
        (true, false) => return Err(Errno::ENOTDIR.into()),
        (false, true) => return Err(Errno::EISDIR.into()),
        (false, false) if last.slash => return Err(Errno::ENOTDIR.into()),
        _ => {}
    }
    if victim.covered_by.borrow().is_some() {
        return Err(Errno::EBUSY.into());
    }
    let now = cx.now();
    if rmdir {
        last.parent.inode.rmdir(&last.name, now)?;
    } else {
        last.parent.inode.unlink(&last.name, now)?;
        inotify::links_changed(&last.parent, &*victim.inode);
    }
    last.parent.forget(&last.name);
    inotify::deleted(&last.parent, &last.name, &*victim.inode);
    Ok(0)
}

/// renameat2(2).
pub(super) fn renameat2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(4);
    let both = RENAME_NOREPLACE | RENAME_EXCHANGE;
    // RENAME_WHITEOUT is overlayfs's own; file systems without it answer so.
    if flags & !both != 0 || flags & both == both {
        return Err(Errno::EINVAL.into());
    }
    let old = cx.read_path(args.u64(1))?;
    let new = cx.read_path(args.u64(3))?;
    let from = namei::parent(cx, args.fd(0), &old)?;
    let to = namei::parent(cx, args.fd(2), &new)?;
    if !Rc::ptr_eq(&from.parent.mount, &to.parent.mount) {
        return Err(Errno::EXDEV.into());
    }
    if !from.is_name() || !to.is_name() {
        let exists = flags & RENAME_NOREPLACE != 0 && from.is_name();
        return Err(if exists { Errno::EEXIST } else { Errno::EBUSY }.into());
    }
    rename(cx, &from, &to, flags)
}

fn rename(cx: &Ctx<'_>, from: &Last, to: &Last, flags: u32) -> SysResult {
    let exchange = flags & RENAME_EXCHANGE != 0;
    let source = from.parent.child(&from.name)?;
    let target = match to.parent.child(&to.name) {
        Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST.into()),
        Ok(target) => Some(target),
        Err(Errno::ENOENT) if !exchange => None,
        Err(errno) => return Err(errno.into()),
    };
    let (moves_dir, target_dir) = (source.is_dir(), target.as_ref().is_some_and(|t| t.is_dir()));
    if from.slash && !moves_dir || to.slash && !moves_dir && !(exchange && target_dir) {
        return Err(Errno::ENOTDIR.into());
    }
    if to.parent.is_below(&source) {
        return Err(Errno::EINVAL.into());
    }
    if target.as_ref().is_some_and(|target| from.parent.is_below(target)) {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY }.into());
    }
    if target.as_ref().is_some_and(|target| Rc::ptr_eq(&target.inode, &source.inode)) {
        return Ok(0);
    }
    permission::writable(&from.parent.mount)?;
    may_rename(cx, from, to, &source, target.as_deref())?;
    if !exchange && target.is_some() && moves_dir != target_dir {
        return Err(if moves_dir { Errno::ENOTDIR } else { Errno::EISDIR }.into());
    }
    let mounted = |dentry: &Dentry| dentry.covered_by.borrow().is_some();
    if mounted(&source) || target.as_deref().is_some_and(mounted) {
        return Err(Errno::EBUSY.into());
    }
    from.parent.inode.rename(&from.name, &to.parent.inode, &to.name, flags, cx.now())?;
    from.parent.renamed(&from.name, &to.parent, &to.name, exchange);
    let (old, new) = ((&*from.parent, from.name.as_slice()), (&*to.parent, to.name.as_slice()));
    match &target {
        Some(target) if exchange => {
            inotify::renamed(old, new, &*source.inode, None);
            inotify::renamed(new, old, &*target.inode, None);
        }
        _ => inotify::renamed(old, new, &*source.inode, target.as_ref().map(|t| &*t.inode)),
    }
    Ok(0)
}

fn may_rename(
    cx: &Ctx<'_>,
    from: &Last,
    to: &Last,
    source: &Dentry,
    target: Option<&Dentry>,
) -> Result<(), Flow> {
    let (from_stat, to_stat, stat) = (from.parent.inode.stat(), to.parent.inode.stat(), source.inode.stat());
    permission::may_delete(cx, &from_stat, &stat)?;
    match target {
        Some(target) => permission::may_delete(cx, &to_stat, &target.inode.stat())?,
        None => permission::check(&cx.task.cred.borrow(), &to_stat, MAY_WRITE | MAY_EXEC)?,
    }
    // A directory that gets another parent has its `..` rewritten.
    let elsewhere = !Rc::ptr_eq(&from.parent, &to.parent);
    if elsewhere && source.is_dir() {
        permission::check(&cx.task.cred.borrow(), &stat, MAY_WRITE)?;
    }
    Ok(())
}
