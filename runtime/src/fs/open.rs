//! open(2): from a path and flags to an open file description. See open(2), openat2(2).

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::inotify;
use super::namei::{self, Walk};
use super::permission::{self, MAY_READ, MAY_WRITE};
use super::{Dentry, FileOps, FileRef, Io, Make, OpenFile, SetAttr, mode, poll};
use crate::abi::Errno;
use crate::abi::event::{IN_MODIFY, IN_OPEN};
use crate::abi::fcntl::*;
use crate::abi::file::O_TMPFILE_BIT;
use crate::abi::mount::MS_NODEV;
use crate::kernel::Ctx;

/// An open directory. Its contents are read through the inode.
pub struct DirFile {
    /// Listings end here: what the directory's end was when the listing began.
    pub end: Cell<u64>,
}

impl FileOps for DirFile {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, _: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What O_PATH gives: a place in the tree, not its contents. The system call layer answers EBADF.
pub struct PathFile;

impl FileOps for PathFile {
    fn poll(&self, _file: &OpenFile) -> u32 {
        poll::NVAL
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Open `path` from the working directory on, for exec and boot.
pub fn open_path(cx: &mut Ctx<'_>, path: &[u8], flags: u32, permissions: u32) -> Result<FileRef, Errno> {
    open_at(cx, AT_FDCWD, path, flags, permissions, 0)
}

/// Open `path` from `dirfd` on. `flags` have been checked for unknown bits; `resolve`: RESOLVE_*.
pub fn open_at(
    cx: &mut Ctx<'_>,
    dirfd: i32,
    path: &[u8],
    flags: u32,
    permissions: u32,
    resolve: u64,
) -> Result<FileRef, Errno> {
    let mut flags = flags;
    if flags & O_PATH != 0 {
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    } else if flags & O_TMPFILE_BIT != 0 {
        let writes = flags & O_ACCMODE != O_RDONLY;
        if flags & O_TMPFILE != O_TMPFILE || !writes || flags & O_CREAT != 0 {
            return Err(Errno::EINVAL);
        }
        return open_unnamed(cx, dirfd, path, flags, permissions, resolve);
    } else if flags & (O_CREAT | O_DIRECTORY) == O_CREAT | O_DIRECTORY {
        return Err(Errno::EINVAL);
    }
    let mut walk = Walk::new(cx, dirfd, path, resolve)?;
    let (dentry, created) = if flags & O_CREAT != 0 {
        find_or_create(cx, &mut walk, flags, permissions)?
    } else {
        (walk.to_end(flags & O_NOFOLLOW == 0)?, false)
    };
    open_dentry(cx, dentry, flags, created)
}

/// The file to open, made if it is missing; true when it was made.
fn find_or_create(
    cx: &Ctx<'_>,
    walk: &mut Walk,
    flags: u32,
    permissions: u32,
) -> Result<(Rc<Dentry>, bool), Errno> {
    let exists = if flags & O_EXCL != 0 { Errno::EEXIST } else { Errno::EISDIR };
    loop {
        let Some(name) = walk.to_last()? else {
            // `/`, or where a magic link led.
            return if walk.at.is_dir() || flags & O_EXCL != 0 {
                Err(exists)
            } else {
                Ok((Rc::clone(&walk.at), false))
            };
        };
        if matches!(name.as_slice(), b"." | b"..") {
            return Err(exists);
        }
        if walk.must_be_dir {
            return Err(Errno::EISDIR);
        }
        match walk.child(&name) {
            Ok(_) if flags & O_EXCL != 0 => return Err(Errno::EEXIST),
            Ok(child) if child.inode.stat().mode & mode::S_IFMT == mode::S_IFLNK => {
                if flags & O_NOFOLLOW != 0 {
                    return Err(Errno::ELOOP);
                }
                walk.go(child, true)?;
            }
            Ok(child) => return Ok((child, false)),
            Err(Errno::ENOENT) => {
                let bits = mode::S_IFREG | permissions & 0o7777;
                return Ok((namei::create(cx, &walk.at, &name, Make::File, bits)?, true));
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Open what was found, with the checks of permissions and kinds. `created`: just made by this call.
pub fn open_dentry(
    cx: &mut Ctx<'_>,
    dentry: Rc<Dentry>,
    flags: u32,
    created: bool,
) -> Result<FileRef, Errno> {
    let stat = dentry.inode.stat();
    let kind = stat.mode & mode::S_IFMT;
    if flags & O_DIRECTORY != 0 && kind != mode::S_IFDIR {
        return Err(Errno::ENOTDIR);
    }
    if flags & O_PATH != 0 {
        return Ok(OpenFile::new(Rc::new(PathFile), flags & !O_CLOEXEC, dentry));
    }
    let writes = flags & O_ACCMODE != O_RDONLY;
    let truncates = flags & O_TRUNC != 0;
    match kind {
        mode::S_IFLNK => return Err(Errno::ELOOP),
        mode::S_IFDIR if writes || truncates || flags & O_CREAT != 0 => return Err(Errno::EISDIR),
        mode::S_IFCHR | mode::S_IFBLK if dentry.mount.flags.get() & MS_NODEV as u32 != 0 => {
            return Err(Errno::EACCES);
        }
        mode::S_IFREG if writes || truncates => permission::writable(&dentry.mount)?,
        _ => {}
    }
    if !created {
        let mut want = if truncates { MAY_WRITE } else { 0 };
        want |= match flags & O_ACCMODE {
            O_RDONLY => MAY_READ,
            O_WRONLY => MAY_WRITE,
            _ => MAY_READ | MAY_WRITE,
        };
        permission::check(&cx.task.cred.borrow(), &stat, want)?;
    }
    if (writes || truncates) && kind == mode::S_IFREG && !created {
        permission::not_running(cx, &dentry, &stat)?;
    }
    if flags & O_NOATIME != 0 {
        permission::owner(cx, &stat)?;
    }
    let inode = Rc::clone(&dentry.inode);
    let ops: Rc<dyn FileOps> = match kind {
        mode::S_IFDIR => Rc::new(DirFile { end: Cell::new(u64::MAX) }),
        _ => inode.open(cx, flags)?,
    };
    let kept = flags & !(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC) | O_LARGEFILE;
    let file = OpenFile::new(ops, kept, dentry);
    inotify::file_happened(&file, IN_OPEN);
    if truncates && kind == mode::S_IFREG && !created {
        let mode = permission::mode_after_write(cx, stat.mode);
        inode.set_attr(&SetAttr { mode, size: Some(0), now: cx.now(), ..SetAttr::default() })?;
        inotify::file_happened(&file, IN_MODIFY);
    }
    Ok(file)
}

/// O_TMPFILE: a file without a name in the file system of the directory `path`.
fn open_unnamed(
    cx: &mut Ctx<'_>,
    dirfd: i32,
    path: &[u8],
    flags: u32,
    permissions: u32,
    resolve: u64,
) -> Result<FileRef, Errno> {
    let dir = Walk::new(cx, dirfd, path, resolve)?.to_end(flags & O_NOFOLLOW == 0)?;
    if !dir.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    permission::writable(&dir.mount)?;
    let stat = dir.inode.stat();
    permission::check(&cx.task.cred.borrow(), &stat, MAY_WRITE | permission::MAY_EXEC)?;
    let bits = permissions & 0o7777 & !cx.task.fs.borrow().umask.get();
    let inode = dir.inode.make_unnamed(namei::new_inode(cx, &stat, bits, false))?;
    let name = format!("#{}", inode.stat().ino);
    let dentry = Dentry::unnamed(name.as_bytes(), inode, &dir);
    open_dentry(cx, dentry, flags & !(O_TMPFILE | O_TRUNC), true)
}
