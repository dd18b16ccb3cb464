//! Files without a name in any directory: pipes, sockets, event descriptors.
//! They live on a mount of their own that nobody can reach, as on Linux.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::{FileOps, FileRef, Inode, InodeRef, OpenFile, SetAttr, Stat, Timespec, mode};
use crate::abi::Errno;
use crate::kernel::Ctx;

/// Device number of the anonymous file systems.
const DEV: u64 = 0x0e;

/// Attributes of a new anonymous inode: a number of its own, the caller as owner, now. The kind is the caller's to set.
pub fn stat(cx: &Ctx<'_>) -> Stat {
    let now = cx.now();
    let cred = cx.task.cred.borrow();
    let (ino, uid, gid) = (cx.kernel.vfs.new_ino(), cred.fsuid, cred.fsgid);
    let times = Stat { atime: now, mtime: now, ctime: now, btime: now, ..Stat::default() };
    Stat { dev: DEV, ino, nlink: 1, uid, gid, blksize: 4096, ..times }
}

/// An open description of `ops`, shown by /proc/PID/fd as `name`.
pub fn open(cx: &Ctx<'_>, name: &str, inode: InodeRef, ops: Rc<dyn FileOps>, flags: u32) -> FileRef {
    OpenFile::new(ops, flags, cx.kernel.vfs.anonymous(name, inode))
}

/// The same for kinds that have no inode of their own: eventfd, epoll, inotify…
pub fn open_kind(cx: &Ctx<'_>, kind: &str, ops: Rc<dyn FileOps>, flags: u32) -> FileRef {
    let inode = Node::new(Stat { mode: 0o600, ..stat(cx) });
    open(cx, &format!("anon_inode:{kind}"), inode, ops, flags)
}

/// An inode that only has attributes.
pub struct Node {
    stat: Cell<Stat>,
}

impl Node {
    /// With these attributes, kind included.
    pub fn new(stat: Stat) -> InodeRef {
        Rc::new(Node { stat: Cell::new(stat) })
    }
}

impl Inode for Node {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `stat` with the changes `attr` asks for; size excepted.
pub fn with_attr(stat: Stat, attr: &SetAttr) -> Stat {
    Stat {
        mode: attr.mode.map_or(stat.mode, |m| stat.mode & mode::S_IFMT | m & 0o7777),
        uid: attr.uid.unwrap_or(stat.uid),
        gid: attr.gid.unwrap_or(stat.gid),
        atime: attr.atime.unwrap_or(stat.atime),
        mtime: attr.mtime.unwrap_or(stat.mtime),
        ctime: if attr.now == Timespec::default() { stat.ctime } else { attr.now },
        ..stat
    }
}
