//! Path resolution: from a directory and a path to a dentry. See path_resolution(7), openat2(2).
//!
//! A [`Walk`] takes one component after the other from a stack of strings
//! (the path, and the targets of the symlinks met in it), so that nothing
//! recurses. It ends at a dentry ([`lookup`]) or before the last component
//! ([`parent`]), for calls that make, move or remove a name.

use std::rc::Rc;

use super::inotify;
use super::permission::{self, MAY_EXEC, MAY_WRITE};
use super::{Dentry, Make, NewInode, mode};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::kernel::{Cred, Ctx};

/// Longest component.
pub const NAME_MAX: usize = 255;
/// Longest path, with the NUL.
pub const PATH_MAX: usize = 4096;
/// Symlinks followed in one walk.
const LINKS_MAX: u32 = 40;

/// A resolution under way.
pub struct Walk {
    cred: Rc<Cred>,
    /// What `/` means, and where `..` ends.
    root: Rc<Dentry>,
    /// The directory from which a RESOLVE_BENEATH walk must not escape.
    start: Rc<Dentry>,
    /// Where the walk is.
    pub at: Rc<Dentry>,
    /// What is still to be walked, innermost symlink target last: bytes and position.
    pending: Vec<(Vec<u8>, usize)>,
    links: u32,
    resolve: u64,
    /// A slash follows the last component: it must be a directory.
    pub must_be_dir: bool,
}

/// What the last component of a path is.
pub struct Last {
    /// The directory it is in.
    pub parent: Rc<Dentry>,
    /// The name; empty, `.` and `..` when the path ends so.
    pub name: Vec<u8>,
    /// A slash follows it.
    pub slash: bool,
}

impl Walk {
    /// Begin at `dirfd` (or at the root, for absolute paths). ENOENT for an empty path, EBADF, ENOTDIR.
    pub fn new(cx: &Ctx<'_>, dirfd: i32, path: &[u8], resolve: u64) -> Result<Walk, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let scoped = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) != 0;
        let absolute = path[0] == b'/';
        let root = cx.task.fs.borrow().root.borrow().clone();
        let start = if absolute && !scoped { Rc::clone(&root) } else { directory(cx, dirfd)? };
        if absolute && resolve & RESOLVE_BENEATH != 0 {
            return Err(Errno::EXDEV);
        }
        if !start.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(Walk {
            cred: Rc::clone(&cx.task.cred.borrow()),
            root: if resolve & RESOLVE_IN_ROOT != 0 { Rc::clone(&start) } else { root },
            at: Rc::clone(&start),
            start,
            pending: vec![(path.to_vec(), 0)],
            links: 0,
            resolve,
            must_be_dir: false,
        })
    }

    /// The next component and whether it is the last.
    fn take(&mut self) -> Result<Option<(Vec<u8>, bool)>, Errno> {
        let name = loop {
            let Some((bytes, at)) = self.pending.last_mut() else { return Ok(None) };
            let rest = &bytes[*at..];
            let begin = rest.iter().position(|&b| b != b'/');
            let Some(begin) = begin else {
                self.pending.pop();
                continue;
            };
            let rest = &rest[begin..];
            let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let name = rest[..len].to_vec();
            *at += begin + len;
            break name;
        };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let last = self.pending.iter().all(|(bytes, at)| bytes[*at..].iter().all(|&b| b == b'/'));
        if last && self.pending.iter().any(|(bytes, at)| *at < bytes.len()) {
            self.must_be_dir = true;
        }
        Ok(Some((name, last)))
    }

    /// Walk up to the last component, which is returned and not looked at; none when the path is `/`.
    pub fn to_last(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        while let Some((name, last)) = self.take()? {
            if last {
                self.search()?;
                return Ok(Some(name));
            }
            self.enter(&name, true)?;
        }
        Ok(None)
    }

    /// Walk the whole path; `follow`: also a symlink at its end. ENOTDIR when a slash ends it and it is none.
    pub fn to_end(&mut self, follow: bool) -> Result<Rc<Dentry>, Errno> {
        while let Some((name, last)) = self.take()? {
            self.enter(&name, !last || follow || self.must_be_dir)?;
        }
        if self.must_be_dir && !self.at.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(Rc::clone(&self.at))
    }

    /// The walk is at a directory that may be searched. ENOTDIR, EACCES.
    fn search(&self) -> Result<(), Errno> {
        let stat = self.at.inode.stat();
        if stat.mode & mode::S_IFMT != mode::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        permission::check(&self.cred, &stat, MAY_EXEC)
    }

    /// Go on to `name`.
    fn enter(&mut self, name: &[u8], follow: bool) -> Result<(), Errno> {
        self.search()?;
        match name {
            b"." => Ok(()),
            b".." => self.up(),
            _ => {
                let child = self.child(name)?;
                self.go(child, follow)
            }
        }
    }

    /// The entry `name` of the present directory, with what is mounted on it.
    pub fn child(&self, name: &[u8]) -> Result<Rc<Dentry>, Errno> {
        let child = topmost(self.at.child(name)?);
        if self.resolve & RESOLVE_NO_XDEV != 0 && !Rc::ptr_eq(&child.mount, &self.at.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(child)
    }

    /// Continue at `child`, through it when it is a symlink and `follow` says so.
    pub fn go(&mut self, child: Rc<Dentry>, follow: bool) -> Result<(), Errno> {
        if !follow || !is_symlink(&child) {
            self.at = child;
            return Ok(());
        }
        self.links += 1;
        if self.links > LINKS_MAX || self.resolve & RESOLVE_NO_SYMLINKS != 0 {
            return Err(Errno::ELOOP);
        }
        if let Some(target) = child.inode.follow() {
            if self.resolve & RESOLVE_NO_MAGICLINKS != 0 {
                return Err(Errno::ELOOP);
            }
            let crossing = !Rc::ptr_eq(&target.mount, &self.at.mount) && self.resolve & RESOLVE_NO_XDEV != 0;
            if crossing || self.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) != 0 {
                return Err(Errno::EXDEV);
            }
            self.at = target;
            return Ok(());
        }
        let target = child.inode.read_link()?;
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => self.jump_to_root()?,
            Some(_) => {}
        }
        self.pending.push((target, 0));
        Ok(())
    }

    fn jump_to_root(&mut self) -> Result<(), Errno> {
        let crossing = !Rc::ptr_eq(&self.root.mount, &self.at.mount) && self.resolve & RESOLVE_NO_XDEV != 0;
        if crossing || self.resolve & RESOLVE_BENEATH != 0 {
            return Err(Errno::EXDEV);
        }
        self.at = Rc::clone(&self.root);
        Ok(())
    }

    fn up(&mut self) -> Result<(), Errno> {
        if self.resolve & RESOLVE_BENEATH != 0 && Rc::ptr_eq(&self.at, &self.start) {
            return Err(Errno::EXDEV);
        }
        let mut at = Rc::clone(&self.at);
        loop {
            if Rc::ptr_eq(&at, &self.root) {
                break;
            }
            let parent = at.parent.borrow().clone();
            if let Some(parent) = parent {
                at = parent;
                break;
            }
            let covers = at.mount.covers.borrow().clone();
            match covers {
                Some(covered) => at = covered,
                None => break,
            }
        }
        let at = if Rc::ptr_eq(&at, &self.root) { at } else { topmost(at) };
        if self.resolve & RESOLVE_NO_XDEV != 0 && !Rc::ptr_eq(&at.mount, &self.at.mount) {
            return Err(Errno::EXDEV);
        }
        self.at = at;
        Ok(())
    }
}

/// What is mounted on `dentry`, or itself.
pub fn topmost(dentry: Rc<Dentry>) -> Rc<Dentry> {
    let mut at = dentry;
    loop {
        let above = at.covered_by.borrow().clone();
        match above {
            Some(root) => at = root,
            None => return at,
        }
    }
}

fn is_symlink(dentry: &Dentry) -> bool {
    dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFLNK
}

/// What `dirfd` stands for; AT_FDCWD is the working directory. EBADF.
pub fn directory(cx: &Ctx<'_>, dirfd: i32) -> Result<Rc<Dentry>, Errno> {
    if dirfd == AT_FDCWD {
        return Ok(cx.task.fs.borrow().cwd.borrow().clone());
    }
    Ok(Rc::clone(&cx.file(dirfd)?.dentry))
}

/// The dentry of `path` from `dirfd` on. `flags`: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
pub fn lookup(cx: &Ctx<'_>, dirfd: i32, path: &[u8], flags: u32) -> Result<Rc<Dentry>, Errno> {
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        return directory(cx, dirfd);
    }
    Walk::new(cx, dirfd, path, 0)?.to_end(flags & AT_SYMLINK_NOFOLLOW == 0)
}

/// The directory of `path`'s last component, which may be missing; the caller may search it.
pub fn parent(cx: &Ctx<'_>, dirfd: i32, path: &[u8]) -> Result<Last, Errno> {
    let mut walk = Walk::new(cx, dirfd, path, 0)?;
    let name = walk.to_last()?.unwrap_or_default();
    Ok(Last { parent: walk.at, name, slash: walk.must_be_dir })
}

impl Last {
    /// The last component is a name, and not `/`, `.` or `..`.
    pub fn is_name(&self) -> bool {
        !matches!(self.name.as_slice(), b"" | b"." | b"..")
    }
}

/// Make `name` in `parent`: permissions, umask, and what a set-group-ID directory hands down.
/// `bits`: kind and permission bits as the caller asked for them.
pub fn create(
    cx: &Ctx<'_>,
    parent: &Rc<Dentry>,
    name: &[u8],
    what: Make<'_>,
    bits: u32,
) -> Result<Rc<Dentry>, Errno> {
    if parent.deleted.get() {
        return Err(Errno::ENOENT);
    }
    permission::writable(&parent.mount)?;
    let dir = parent.inode.stat();
    permission::check(&cx.task.cred.borrow(), &dir, MAY_WRITE | MAY_EXEC)?;
    let is_dir = matches!(what, Make::Directory);
    let umask = if matches!(what, Make::Symlink(_)) { 0 } else { cx.task.fs.borrow().umask.get() };
    let inode = parent.inode.make(name, what, new_inode(cx, &dir, bits & !umask, is_dir))?;
    let dentry = parent.adopt(name, inode);
    inotify::created(parent, name, &*dentry.inode);
    Ok(dentry)
}

/// Owner, group and mode of something new in directory `dir`, see inode(7) on set-group-ID directories.
pub fn new_inode(cx: &Ctx<'_>, dir: &super::Stat, bits: u32, is_dir: bool) -> NewInode {
    let cred = cx.task.cred.borrow();
    let (mut bits, mut gid) = (bits, cred.fsgid);
    if dir.mode & mode::S_ISGID != 0 {
        gid = dir.gid;
        if is_dir {
            bits |= mode::S_ISGID;
        } else if bits & (mode::S_ISGID | 0o010) == mode::S_ISGID | 0o010
            && !permission::in_group(&cred, gid)
            && !permission::has_cap(&cred, permission::CAP_FSETID)
        {
            bits &= !mode::S_ISGID;
        }
    }
    NewInode { mode: bits, uid: cred.fsuid, gid, now: cx.now() }
}
