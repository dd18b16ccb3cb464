//! Files: inodes, mounts, open file descriptions, and the kinds of each.
//!
//! Objects never block and never see a task's scheduling: an operation that
//! cannot go on returns EAGAIN, and the system call layer parks the task on the
//! object's wait queues. Contents that are not here yet are `Errno::PENDING`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::abi::Errno;
use crate::abi::event::{IN_CLOSE_NOWRITE, IN_CLOSE_WRITE};
use crate::abi::fcntl::{O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY};
use crate::kernel::fasync::FileOwner;
use crate::kernel::wait::WaitQueue;

pub mod anon;
pub mod chunks;
pub mod console;
pub mod dentry;
pub mod dev;
pub mod epoll;
pub mod eventfd;
pub mod inotify;
pub mod io;
pub mod locks;
pub mod memfs;
pub mod mount;
pub mod mqueue;
pub mod namei;
pub mod open;
pub mod permission;
pub mod pipe;
pub mod proc;
pub mod pseudo;
pub mod signalfd;
pub mod sysfs;
#[cfg(test)]
pub(crate) mod testing;
pub mod timerfd;
pub mod tty;

pub use dentry::Dentry;
pub use io::Io;
pub use mount::Vfs;
pub use open::open_path;

/// An inode of any file system.
pub type InodeRef = Rc<dyn Inode>;
/// An open file description (open(2)): what `dup` and `fork` share.
pub type FileRef = Rc<OpenFile>;

/// File kinds and mode bits, see inode(7).
pub mod mode {
    #![allow(missing_docs, reason = "the names are Linux's; inode(7) says what they mean")]
    pub const S_IFMT: u32 = 0o170000;
    pub const S_IFSOCK: u32 = 0o140000;
    pub const S_IFLNK: u32 = 0o120000;
    pub const S_IFREG: u32 = 0o100000;
    pub const S_IFBLK: u32 = 0o060000;
    pub const S_IFDIR: u32 = 0o040000;
    pub const S_IFCHR: u32 = 0o020000;
    pub const S_IFIFO: u32 = 0o010000;
    pub const S_ISUID: u32 = 0o4000;
    pub const S_ISGID: u32 = 0o2000;
    pub const S_ISVTX: u32 = 0o1000;
}

/// Poll bits, see poll(2). Same numbers as EPOLL*.
pub mod poll {
    #![allow(missing_docs, reason = "the names are Linux's; poll(2) says what they mean")]
    pub const IN: u32 = 0x001;
    pub const PRI: u32 = 0x002;
    pub const OUT: u32 = 0x004;
    pub const ERR: u32 = 0x008;
    pub const HUP: u32 = 0x010;
    pub const NVAL: u32 = 0x020;
    pub const RDNORM: u32 = 0x040;
    pub const RDBAND: u32 = 0x080;
    pub const WRNORM: u32 = 0x100;
    pub const WRBAND: u32 = 0x200;
    pub const RDHUP: u32 = 0x2000;
}

/// Seconds and nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timespec {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// 0..1_000_000_000.
    pub nsec: u32,
}

impl Timespec {
    /// Of nanoseconds since the epoch.
    pub fn from_nanos(ns: u64) -> Timespec {
        Timespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// What stat(2) tells of an inode.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stat {
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Kind and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number that a device node stands for (Linux's huge encoding, as in `makedev`).
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Preferred I/O size.
    pub blksize: u32,
    /// 512-byte units in use.
    pub blocks: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of contents.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
    /// Creation.
    pub btime: Timespec,
}

/// What statfs(2) tells of a file system.
#[derive(Debug, Clone, Copy)]
pub struct StatFs {
    /// Magic number, see statfs(2).
    pub magic: u64,
    /// Blocks of 4096 bytes.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Inodes; 0 when there is no limit.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
}

impl Default for StatFs {
    /// A pseudo file system that nobody named.
    fn default() -> StatFs {
        StatFs { magic: crate::abi::stat::ANON_INODE_FS_MAGIC, blocks: 0, free: 0, files: 0, files_free: 0 }
    }
}

/// Which attributes to change; `None` leaves one as it is. Permission checks are the caller's (`namei`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr {
    /// Permission bits (07777), without the kind.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Truncate or extend.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<Timespec>,
    /// Modification time.
    pub mtime: Option<Timespec>,
    /// Now, for ctime (and for what the call implies).
    pub now: Timespec,
}

/// What to make in a directory.
#[derive(Debug, Clone)]
pub enum Make<'a> {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// A device node, fifo or socket: kind from the mode, device number.
    Node(u64),
}

/// Owner and mode of something new.
#[derive(Debug, Clone, Copy)]
pub struct NewInode {
    /// Kind and permission bits, umask already applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Now.
    pub now: Timespec,
}

/// One directory entry for getdents64(2).
#[derive(Debug, Clone)]
pub struct Dirent {
    /// Inode number.
    pub ino: u64,
    /// `S_IFMT` bits of the entry's mode.
    pub kind: u32,
    /// The name, without a slash.
    pub name: Vec<u8>,
    /// Position to continue after this entry (d_off); stable while the directory changes.
    pub next: u64,
}

/// An inode: what it holds and what can be done to it by name. A method a kind
/// of inode does not have fails as Linux does for that kind.
///
/// Names are single components. Permissions, mounts, `.`/`..`, symlink
/// following and read-only mounts are `namei`'s business.
pub trait Inode: Any {
    /// All attributes.
    fn stat(&self) -> Stat;

    /// Change attributes.
    fn set_attr(&self, _attr: &SetAttr) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// It was read in a way that no [`FileOps`] sees: mapped.
    fn accessed(&self, _now: Timespec) {}

    /// The entry `name` of this directory.
    fn lookup(&self, _name: &[u8]) -> Result<InodeRef, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Make `name`. EEXIST when it is there.
    fn make(&self, _name: &[u8], _what: Make<'_>, _new: NewInode) -> Result<InodeRef, Errno> {
        Err(Errno::EPERM)
    }

    /// Hard link `target` (same file system) as `name`.
    fn link(&self, _name: &[u8], _target: &InodeRef, _now: Timespec) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Remove a non-directory.
    fn unlink(&self, _name: &[u8], _now: Timespec) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Remove an empty directory.
    fn rmdir(&self, _name: &[u8], _now: Timespec) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Move `name` to `to_name` in `to` (same file system). `flags`: renameat2(2).
    fn rename(
        &self,
        _name: &[u8],
        _to: &InodeRef,
        _to_name: &[u8],
        _flags: u32,
        _now: Timespec,
    ) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Entries from position `from` (0 = start; `.` and `..` are added by the
    /// caller), until `each` returns false.
    fn read_dir(&self, _from: u64, _each: &mut dyn FnMut(Dirent) -> bool) -> Result<(), Errno> {
        Err(Errno::ENOTDIR)
    }

    /// A position past every entry that exists now. A listing ends here at the latest, so that one that
    /// renames what it reads comes to an end.
    fn read_dir_end(&self) -> u64 {
        u64::MAX
    }

    /// Target of a symbolic link.
    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// A "magic" link (/proc/PID/fd/N, exe, cwd, root): where following it really leads.
    fn follow(&self) -> Option<Rc<Dentry>> {
        None
    }

    /// Open: the operations of a new open file description. Directories and
    /// O_PATH never come here.
    fn open(&self, _cx: &mut crate::kernel::Ctx<'_>, _flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        Err(Errno::ENXIO)
    }

    /// Contents by page, for mmap(2) and execve(2). None: cannot be mapped (ENODEV).
    fn pages(&self) -> Option<Rc<dyn Pages>> {
        None
    }

    /// An extended attribute.
    fn xattr(&self, _name: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENODATA)
    }

    /// Set an extended attribute; `flags`: setxattr(2).
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Remove an extended attribute.
    fn remove_xattr(&self, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Names of all extended attributes.
    fn xattrs(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// A regular file in this directory's file system that has no name yet (O_TMPFILE).
    fn make_unnamed(&self, _new: NewInode) -> Result<InodeRef, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Seals of a memory file (F_GET_SEALS); EINVAL for what cannot be sealed.
    fn seals(&self) -> Result<u32, Errno> {
        Err(Errno::EINVAL)
    }

    /// Add seals (F_ADD_SEALS). EPERM after F_SEAL_SEAL, EBUSY.
    fn add_seals(&self, _seals: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// What statfs(2) tells of the file system this inode is in.
    fn stat_fs(&self) -> StatFs {
        StatFs::default()
    }

    /// Where the kernel object behind a fifo or a bound socket hangs; none for kinds that have no such object.
    fn attachment(&self) -> Option<&RefCell<Option<Rc<dyn Any>>>> {
        None
    }

    /// For downcasts between inodes of one file system (rename, link) and by /proc.
    fn as_any(&self) -> &dyn Any;
}

/// Contents of a mappable file, by page. One object per inode (or memfd, or
/// shared-memory segment): pointer equality is identity for shared mappings and futexes.
pub trait Pages {
    /// Size in bytes (a page beyond it is SIGBUS).
    fn size(&self) -> u64;
    /// Copy the page at byte offset `offset` (page-aligned) to `page`; zeros past the end.
    fn read_page(&self, offset: u64, page: &mut [u8; 4096]) -> Result<(), Errno>;
    /// The same of a page that nobody asked for, if that costs no more than a copy; else false.
    fn read_near(&self, offset: u64, page: &mut [u8; 4096]) -> bool {
        self.read_page(offset, page).is_ok()
    }
    /// Write a page back (MAP_SHARED). Never extends the file.
    fn write_page(&self, offset: u64, page: &[u8; 4096]) -> Result<(), Errno>;
    /// A store through a MAP_SHARED mapping is about to change a page: the moment that mtime remembers.
    fn about_to_change(&self) {}
    /// Who may hold newer copies of pages than this object (MAP_SHARED). `mm::shared` keeps it; read(2) and write(2) of the same inode go through it first.
    fn sharers(&self) -> &crate::mm::shared::Sharers;
}

/// What can be done to an open file.
pub trait FileOps: Any {
    /// Read at `at`, or at the file's position (`None`: streams, and the caller
    /// advances `file.pos` for files with positions itself by passing `Some`).
    /// 0 = end of file; EAGAIN = would block.
    fn read(
        &self,
        _cx: &mut crate::kernel::Ctx<'_>,
        _file: &OpenFile,
        _dst: &mut Io<'_>,
        _at: Option<u64>,
    ) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Write; short counts are progress, EAGAIN = would block with nothing written.
    fn write(
        &self,
        _cx: &mut crate::kernel::Ctx<'_>,
        _file: &OpenFile,
        _src: &mut Io<'_>,
        _at: Option<u64>,
    ) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Has a position (lseek, pread); else ESPIPE.
    fn seekable(&self) -> bool {
        false
    }

    /// Which of the [`poll`] bits hold now.
    fn poll(&self, _file: &OpenFile) -> u32 {
        poll::IN | poll::OUT | poll::RDNORM | poll::WRNORM
    }

    /// The queues that are woken when [`poll`](Self::poll) may have changed.
    fn queues(&self, _visit: &mut dyn FnMut(&WaitQueue)) {}

    /// open(2) may return. A fifo is not ready until its other end is open; woken through [`queues`](Self::queues).
    fn open_ready(&self, _file: &OpenFile) -> bool {
        true
    }

    /// fallocate(2): `mode` holds FALLOC_FL_* bits, the range is not empty and does not overflow.
    fn allocate(
        &self,
        _file: &OpenFile,
        _mode: u32,
        _offset: u64,
        _len: u64,
        _now: Timespec,
    ) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    /// SEEK_DATA (`data`) or SEEK_HOLE from `offset`, see lseek(2). ENXIO past the end.
    fn seek_data(&self, file: &OpenFile, offset: u64, data: bool) -> Result<u64, Errno> {
        let size = file.dentry.inode.stat().size;
        if offset >= size { Err(Errno::ENXIO) } else { Ok(if data { offset } else { size }) }
    }

    /// ioctl(2).
    fn ioctl(
        &self,
        _cx: &mut crate::kernel::Ctx<'_>,
        _file: &OpenFile,
        _cmd: u32,
        _arg: u64,
    ) -> crate::syscall::SysResult {
        Err(Errno::ENOTTY.into())
    }

    /// The last descriptor is closed.
    fn release(&self, _file: &OpenFile) {}

    /// Contents by page, when this is mappable and is not its inode's business (memfd, shm).
    fn pages(&self) -> Option<Rc<dyn Pages>> {
        None
    }

    /// For socket calls, epoll_ctl, /proc and the like to reach the concrete kind.
    fn as_any(&self) -> &dyn Any;
}

/// An open file description.
pub struct OpenFile {
    /// What it does.
    pub ops: Rc<dyn FileOps>,
    /// Status flags (O_APPEND, O_NONBLOCK…, fcntl F_SETFL) and access mode.
    pub flags: Cell<u32>,
    /// File offset.
    pub pos: Cell<u64>,
    /// Where it was opened (anonymous files have a dentry of their own, `pipe:[N]`).
    pub dentry: Rc<Dentry>,
    /// Who is told of input.
    pub owner: Cell<FileOwner>,
    /// flock(2) and OFD locks that this description holds.
    pub locks: RefCell<Option<Rc<locks::FileLocks>>>,
}

impl OpenFile {
    /// A description with position 0 and no owner.
    pub fn new(ops: Rc<dyn FileOps>, flags: u32, dentry: Rc<Dentry>) -> FileRef {
        Rc::new(OpenFile {
            ops,
            flags: Cell::new(flags),
            pos: Cell::new(0),
            dentry,
            owner: Cell::default(),
            locks: RefCell::new(None),
        })
    }

    /// Opened for reading.
    pub fn readable(&self) -> bool {
        self.flags.get() & O_ACCMODE != O_WRONLY && self.flags.get() & O_PATH == 0
    }

    /// Opened for writing.
    pub fn writable(&self) -> bool {
        self.flags.get() & O_ACCMODE != O_RDONLY && self.flags.get() & O_PATH == 0
    }

    /// O_NONBLOCK is set.
    pub fn nonblocking(&self) -> bool {
        self.flags.get() & O_NONBLOCK != 0
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(locks) = self.locks.take() {
            locks.release_description(self);
        }
        inotify::file_happened(self, if self.writable() { IN_CLOSE_WRITE } else { IN_CLOSE_NOWRITE });
        let ops = Rc::clone(&self.ops);
        ops.release(self);
    }
}
