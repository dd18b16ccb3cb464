//! The in-memory file system: the image's root (over a read-only [`Base`]) and every tmpfs (without one).
//!
//! Inodes of the base come into being when they are looked up and go again
//! when nobody holds them; the first change pins one. Contents are
//! copy-on-write by page (`data.rs`), directories are the base's entries plus
//! changes (`dir.rs`), so there are no whiteouts to see and a hard link is one
//! inode. `inode.rs` is what an inode can do, `file.rs` an open one.

mod base;
mod data;
mod dir;
mod file;
mod inode;

#[cfg(test)]
mod memfs_test;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

pub use base::Base;
use data::FileData;
use dir::DirData;
pub use inode::MemInode;
use inode::{Body, Meta};

use super::inotify::Notify;
use super::{InodeRef, NewInode, StatFs, Timespec, mode};
use crate::abi::Errno;
use crate::abi::stat::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC};
use crate::platform::Platform;

/// Host memory that the files of several file systems may take together.
#[derive(Debug)]
pub struct Quota {
    /// The limit in bytes.
    pub limit: u64,
    used: Cell<u64>,
}

impl Quota {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Rc<Quota> {
        Rc::new(Quota { limit, used: Cell::new(0) })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.get()
    }

    /// ENOSPC beyond the limit.
    fn take(&self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.get().saturating_add(bytes);
        if used > self.limit {
            return Err(Errno::ENOSPC);
        }
        self.used.set(used);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

/// What all file systems of a machine share.
#[derive(Clone)]
pub struct Shared {
    /// Memory for contents.
    pub quota: Rc<Quota>,
    /// Who watches files: told when an inode or a whole file system is gone.
    pub notify: Rc<Notify>,
    /// The clock, for files that change without a call.
    pub platform: Rc<dyn Platform>,
}

/// What an inode with its name takes from the quota.
const INODE_COST: u64 = 640;
/// The root's inode number, as on ext4.
const ROOT_INO: u64 = 2;

/// One file system.
pub struct MemFs {
    /// Device number.
    dev: u64,
    base: Option<Rc<Base>>,
    shared: Shared,
    next_ino: Cell<u64>,
    /// Inodes of the base that somebody holds.
    known: RefCell<BTreeMap<u32, Weak<MemInode>>>,
    /// Inodes of the base that were changed.
    pinned: RefCell<BTreeMap<u32, Rc<MemInode>>>,
    /// Inodes made here that exist.
    made: Cell<u64>,
}

impl MemFs {
    /// An empty file system (tmpfs); returns its root directory.
    pub fn tmpfs(dev: u64, shared: &Shared, root: NewInode) -> InodeRef {
        let fs = MemFs::with(dev, None, shared);
        let meta = Meta::new(NewInode { mode: root.mode & 0o7777 | mode::S_IFDIR, ..root }, 2, 0);
        MemInode::create(&fs, ROOT_INO, None, meta, Body::Dir(DirData::new(None)))
    }

    /// The image's file system; returns its root directory. EIO when the base has no root.
    pub fn over(dev: u64, shared: &Shared, base: Rc<Base>) -> Result<InodeRef, Errno> {
        let fs = MemFs::with(dev, Some(base), shared);
        let root = fs.base_inode(0)?;
        root.pin();
        Ok(root)
    }

    fn with(dev: u64, base: Option<Rc<Base>>, shared: &Shared) -> Rc<MemFs> {
        let used = base.as_ref().map_or(0, |base| u64::from(base.inode_count()));
        Rc::new(MemFs {
            dev,
            base,
            shared: shared.clone(),
            next_ino: Cell::new(used + ROOT_INO + 1),
            known: RefCell::default(),
            pinned: RefCell::default(),
            made: Cell::new(0),
        })
    }

    /// The inode number that user space sees for an inode of the base.
    fn public_ino(ino: u32) -> u64 {
        u64::from(ino) + ROOT_INO
    }

    /// The inode `ino` of the base.
    fn base_inode(self: &Rc<MemFs>, ino: u32) -> Result<Rc<MemInode>, Errno> {
        if let Some(known) = self.known.borrow().get(&ino).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let base = self.base.as_ref().ok_or(Errno::EIO)?;
        let found = base.inode(ino).ok_or(Errno::EIO)?;
        let body = match found.mode() & mode::S_IFMT {
            mode::S_IFDIR => Body::Dir(DirData::new(Some((Rc::clone(base), ino)))),
            mode::S_IFREG => Body::File(FileData::of_base(
                Rc::clone(&self.shared.quota),
                Rc::clone(base),
                ino,
                found.size(),
            )),
            mode::S_IFLNK => Body::Symlink(Cow::Borrowed(found.symlink().ok_or(Errno::EIO)?)),
            _ => Body::Node,
        };
        let (sec, nsec) = found.mtime();
        let owner =
            NewInode { mode: found.mode(), uid: found.uid(), gid: found.gid(), now: Timespec { sec, nsec } };
        let meta = Meta::new(owner, found.nlink(), found.rdev());
        let inode = MemInode::create(self, MemFs::public_ino(ino), Some(ino), meta, body);
        self.known.borrow_mut().insert(ino, Rc::downgrade(&inode));
        Ok(inode)
    }

    /// A new inode without a name. ENOSPC.
    fn new_inode(self: &Rc<MemFs>, new: NewInode, rdev: u64, body: Body) -> Result<Rc<MemInode>, Errno> {
        let cost = INODE_COST + if let Body::Symlink(target) = &body { target.len() as u64 } else { 0 };
        self.shared.quota.take(cost)?;
        self.made.set(self.made.get() + 1);
        let ino = self.next_ino.get();
        self.next_ino.set(ino + 1);
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        let mut meta = Meta::new(new, nlink, rdev);
        meta.cost = cost;
        Ok(MemInode::create(self, ino, None, meta, body))
    }

    fn stat_fs(&self) -> StatFs {
        let (limit, used) = (self.shared.quota.limit, self.shared.quota.used());
        let files = limit / INODE_COST;
        let base_inodes = self.base.as_ref().map_or(0, |b| u64::from(b.inode_count()));
        StatFs {
            magic: if self.base.is_some() { OVERLAYFS_SUPER_MAGIC } else { TMPFS_MAGIC },
            blocks: limit / 4096,
            free: limit.saturating_sub(used) / 4096,
            files: files + base_inodes,
            files_free: files.saturating_sub(self.made.get()),
        }
    }
}

impl Drop for MemFs {
    fn drop(&mut self) {
        self.shared.notify.unmounted(self.dev);
    }
}
