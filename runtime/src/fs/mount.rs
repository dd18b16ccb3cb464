//! Mounts: which file system lies where.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use friscy_formats::vfs::ArchivedVfs;

use super::chunks::Chunks;
use super::inotify::Notify;
use super::memfs::{Base, MemFs, Quota, Shared};
use super::tty::devpts;
use super::{Dentry, Inode, InodeRef, Make, NewInode, Stat, Timespec, dev, mode, mqueue, namei, proc, sysfs};
use crate::abi::Errno;
use crate::abi::mount::*;
use crate::kernel::Kernel;
use crate::kernel::wait::WaitQueue;
use crate::platform::Platform;

/// Bytes that files written by the guest may take, all in-memory file systems together.
const FILES_BYTES: u64 = 1 << 30;
/// Most mounts at a time.
const MOUNTS_MAX: usize = 1000;

/// One mounted file system (mount(2), /proc/self/mountinfo).
pub struct Mount {
    /// Mount ID.
    pub id: u32,
    /// Type name, as in /proc/filesystems.
    pub fstype: &'static str,
    /// What was mounted, as /proc/self/mounts shows it ("proc", "overlay", "/dev/sda1").
    pub source: Vec<u8>,
    /// Root of the mounted tree.
    pub root: InodeRef,
    /// Path of `root` within its file system: "/" but for bind mounts.
    pub root_path: Vec<u8>,
    /// The dentry it covers; none for the root mount.
    pub covers: RefCell<Option<Rc<Dentry>>>,
    /// MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_RELATIME.
    pub flags: Cell<u32>,
    /// Who watches files.
    pub notify: Rc<Notify>,
}

/// All mounts of the machine (one mount namespace), and what file systems share.
pub struct Vfs {
    mounts: RefCell<Vec<(Rc<Mount>, Rc<Dentry>)>>,
    root: Rc<Dentry>,
    /// Where files without a path live: pipes, sockets, epoll…
    anonymous: Rc<Mount>,
    shared: Shared,
    /// All message queues, and their directory on a mount that is always there.
    mqueue: Rc<mqueue::Directory>,
    queues: Rc<Dentry>,
    chunks: Option<Rc<Chunks>>,
    /// Woken when a chunk arrived.
    pub chunk_queue: WaitQueue,
    next_mount: Cell<u32>,
    next_dev: Cell<u64>,
    next_ino: Cell<u64>,
}

/// An inode without a file system, for files without a path that need nothing of their own.
struct Nothing;

impl Inode for Nothing {
    fn stat(&self) -> super::Stat {
        super::Stat { mode: 0o600, nlink: 1, blksize: 4096, ..super::Stat::default() }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Vfs {
    /// A tree whose root is an image, or empty. EIO when the archive has no root directory.
    pub fn new(archive: Option<&'static ArchivedVfs>, platform: &Rc<dyn Platform>) -> Result<Vfs, Errno> {
        let notify: Rc<Notify> = Rc::default();
        let shared = Shared {
            quota: Quota::new(FILES_BYTES),
            notify: Rc::clone(&notify),
            platform: Rc::clone(platform),
        };
        let chunk_queue = WaitQueue::new();
        let chunks = archive.map(|a| Chunks::new(a, Rc::clone(platform), chunk_queue.clone()));
        let root_dev = 0x1e;
        let root = match archive.zip(chunks.clone()) {
            Some((archive, chunks)) => MemFs::over(root_dev, &shared, Base::new(archive, chunks))?,
            None => MemFs::tmpfs(root_dev, &shared, root_attributes(0o755, Timespec::default())),
        };
        let fstype = if archive.is_some() { "overlay" } else { "tmpfs" };
        let flags = MS_RELATIME as u32;
        let mount = Mount::new(1, fstype, fstype.as_bytes(), root, flags, &notify);
        let root = Dentry::root(b"", Rc::clone(&mount.root), Rc::clone(&mount));
        let mqueue = mqueue::Directory::new();
        let queues = Mount::new(0, "mqueue", b"mqueue", Rc::clone(&mqueue) as InodeRef, 0, &notify);
        Ok(Vfs {
            queues: Dentry::root(b"", Rc::clone(&queues.root), queues),
            mqueue,
            mounts: RefCell::new(vec![(mount, Rc::clone(&root))]),
            root,
            anonymous: Mount::new(0, "anon_inodefs", b"none", Rc::new(Nothing), 0, &notify),
            shared,
            chunks,
            chunk_queue,
            next_mount: Cell::new(2),
            next_dev: Cell::new(root_dev + 1),
            next_ino: Cell::new(1),
        })
    }

    /// The root directory of the root mount.
    pub fn root(&self) -> Rc<Dentry> {
        Rc::clone(&self.root)
    }

    /// The image's chunks, when there is an image.
    pub fn chunks(&self) -> Option<&Rc<Chunks>> {
        self.chunks.as_ref()
    }

    /// Who watches files (inotify(7)).
    pub fn notify(&self) -> &Rc<Notify> {
        &self.shared.notify
    }

    /// All message queues.
    pub fn mqueue(&self) -> &mqueue::Directory {
        &self.mqueue
    }

    /// The directory of all message queues, on the kernel's own mount.
    pub fn queues(&self) -> Rc<Dentry> {
        Rc::clone(&self.queues)
    }

    /// A device number for a new file system.
    pub fn new_dev(&self) -> u64 {
        self.next_dev.replace(self.next_dev.get() + 1)
    }

    /// An inode number for a file without a file system (pipe, socket…).
    pub fn new_ino(&self) -> u64 {
        self.next_ino.replace(self.next_ino.get() + 1)
    }

    /// A dentry for a file without a path; `name` is what /proc/PID/fd shows, `pipe:[7]`.
    pub fn anonymous(&self, name: &str, inode: InodeRef) -> Rc<Dentry> {
        Dentry::root(name.as_bytes(), inode, Rc::clone(&self.anonymous))
    }

    /// The root of a new, empty tmpfs.
    pub fn tmpfs(&self, permissions: u32, now: Timespec) -> InodeRef {
        MemFs::tmpfs(self.new_dev(), &self.shared, root_attributes(permissions, now))
    }

    /// All mounts, in the order in which they were made, each with its root.
    pub fn mounts(&self) -> Vec<(Rc<Mount>, Rc<Dentry>)> {
        self.mounts.borrow().clone()
    }

    /// Mount the tree at `root` over the directory `at` (the topmost mount there is covered). ENOTDIR, ENOSPC.
    pub fn mount(
        &self,
        fstype: &'static str,
        source: &[u8],
        root: InodeRef,
        at: Rc<Dentry>,
        flags: u32,
    ) -> Result<Rc<Mount>, Errno> {
        self.attach(Mount::new(self.next_mount.get(), fstype, source, root, flags, self.notify()), at)
    }

    /// Mount what `from` names over `at` (MS_BIND).
    pub fn bind(&self, from: &Rc<Dentry>, at: Rc<Dentry>) -> Result<Rc<Mount>, Errno> {
        let below = Mount {
            root_path: self.path_in_mount(from),
            covers: RefCell::new(None),
            flags: from.mount.flags.clone(),
            id: self.next_mount.get(),
            fstype: from.mount.fstype,
            source: from.mount.source.clone(),
            root: Rc::clone(&from.inode),
            notify: Rc::clone(self.notify()),
        };
        self.attach(Rc::new(below), at)
    }

    /// As `bind`, and what is mounted below `from` as well (MS_BIND | MS_REC).
    pub fn bind_all(&self, from: &Rc<Dentry>, at: Rc<Dentry>) -> Result<(), Errno> {
        let before = self.mounts();
        self.bind(from, Rc::clone(&at))?;
        let mut left = vec![(Rc::clone(from), namei::topmost(at))];
        while let Some((from, to)) = left.pop() {
            for (mount, root) in &before {
                let covered = mount.covers.borrow().clone();
                let Some(covered) = covered.filter(|covered| covered.is_below(&from)) else { continue };
                let Ok(at) = same_place(&covered, &from, &to) else { continue };
                self.bind(root, Rc::clone(&at))?;
                left.push((Rc::clone(root), namei::topmost(at)));
            }
        }
        Ok(())
    }

    /// Take the mount whose root is `root` to `at` (MS_MOVE). EINVAL: not a mount's root, the root mount, a directory
    /// to a file or the other way round; ELOOP: `at` lies within it.
    pub fn move_mount(&self, root: &Rc<Dentry>, at: Rc<Dentry>) -> Result<(), Errno> {
        let mount = &root.mount;
        let covered = mount.covers.borrow().clone().ok_or(Errno::EINVAL)?;
        if root.parent.borrow().is_some() {
            return Err(Errno::EINVAL);
        }
        if at.is_dir() != root.is_dir() {
            return Err(Errno::EINVAL);
        }
        let mut above = Some(Rc::clone(&at.mount));
        while let Some(one) = above {
            if Rc::ptr_eq(&one, mount) {
                return Err(Errno::ELOOP);
            }
            above = one.covers.borrow().as_ref().map(|covered| Rc::clone(&covered.mount));
        }
        *covered.covered_by.borrow_mut() = None;
        *at.covered_by.borrow_mut() = Some(Rc::clone(root));
        *mount.covers.borrow_mut() = Some(at);
        Ok(())
    }

    fn attach(&self, mount: Rc<Mount>, at: Rc<Dentry>) -> Result<Rc<Mount>, Errno> {
        let is_dir = mount.root.stat().mode & mode::S_IFMT == mode::S_IFDIR;
        if at.is_dir() != is_dir {
            return Err(Errno::ENOTDIR);
        }
        if self.mounts.borrow().len() >= MOUNTS_MAX {
            return Err(Errno::ENOSPC);
        }
        self.next_mount.set(self.next_mount.get() + 1);
        let root = Dentry::root(b"", Rc::clone(&mount.root), Rc::clone(&mount));
        *mount.covers.borrow_mut() = Some(Rc::clone(&at));
        *at.covered_by.borrow_mut() = Some(Rc::clone(&root));
        self.mounts.borrow_mut().push((Rc::clone(&mount), root));
        Ok(mount)
    }

    /// Take away the mount whose root is `root`. EINVAL: not a mount's root, or the root mount. EBUSY: something
    /// is mounted in it (unless `detach`), or `in_use` says so of its dentries.
    pub fn unmount(&self, root: &Rc<Dentry>, detach: bool, in_use: bool) -> Result<(), Errno> {
        let mount = Rc::clone(&root.mount);
        let covered = mount.covers.borrow().clone().ok_or(Errno::EINVAL)?;
        if root.parent.borrow().is_some() {
            return Err(Errno::EINVAL);
        }
        let mut mounts = self.mounts.borrow_mut();
        let on_it = |m: &Rc<Mount>| m.covers.borrow().as_ref().is_some_and(|c| Rc::ptr_eq(&c.mount, &mount));
        if !detach && (in_use || mounts.iter().any(|(m, _)| on_it(m))) {
            return Err(Errno::EBUSY);
        }
        *covered.covered_by.borrow_mut() = None;
        let index = mounts.iter().position(|(m, _)| Rc::ptr_eq(m, &mount)).ok_or(Errno::EINVAL)?;
        let gone = mounts.remove(index);
        drop(mounts);
        *mount.covers.borrow_mut() = None;
        drop(gone);
        Ok(())
    }

    /// The path of `dentry` as seen from `root`, and whether it is below that root at all.
    pub fn path_from(&self, dentry: &Rc<Dentry>, root: &Rc<Dentry>) -> (Vec<u8>, bool) {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = Rc::clone(dentry);
        let mut reached = true;
        while !Rc::ptr_eq(&at, root) {
            let parent = at.parent.borrow().clone();
            if let Some(parent) = parent {
                names.push(at.name.borrow().clone());
                at = parent;
                continue;
            }
            let covers = at.mount.covers.borrow().clone();
            match covers {
                Some(covered) => at = covered,
                None => {
                    reached = Rc::ptr_eq(&at, root);
                    break;
                }
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        (path, reached)
    }

    /// The path of `dentry` as /proc shows it to somebody with this root: " (deleted)" when its name is gone,
    /// the bare name of an anonymous file.
    pub fn path_of(&self, dentry: &Rc<Dentry>, root: &Rc<Dentry>) -> Vec<u8> {
        if Rc::ptr_eq(&dentry.mount, &self.anonymous) {
            return dentry.name.borrow().clone();
        }
        let (mut path, _) = self.path_from(dentry, root);
        if dentry.deleted.get() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    fn path_in_mount(&self, dentry: &Rc<Dentry>) -> Vec<u8> {
        let mut top = Rc::clone(dentry);
        loop {
            let parent = top.parent.borrow().clone();
            let Some(parent) = parent else { break };
            top = parent;
        }
        let (path, _) = self.path_from(dentry, &top);
        let above = &dentry.mount.root_path;
        if above.as_slice() == b"/" { path } else { [above.as_slice(), &path].concat() }
    }
}

/// The root of a new file system of this type, and the type's name. `data`: mount(8)'s `-o`. ENODEV.
pub fn filesystem(
    kernel: &Kernel,
    fstype: &[u8],
    data: &[u8],
    now: Timespec,
) -> Result<(&'static str, InodeRef), Errno> {
    let vfs = &kernel.vfs;
    Ok(match fstype {
        b"tmpfs" => ("tmpfs", vfs.tmpfs(mode_option(data)?.unwrap_or(0o1777), now)),
        b"ramfs" => ("ramfs", vfs.tmpfs(mode_option(data)?.unwrap_or(0o755), now)),
        b"devtmpfs" => {
            let root = vfs.tmpfs(mode_option(data)?.unwrap_or(0o755), now);
            dev::populate(&root, kernel.console.terminal().is_some(), now)?;
            ("devtmpfs", root)
        }
        b"devpts" => {
            let stat = Stat { atime: now, mtime: now, ctime: now, btime: now, ..Stat::default() };
            ("devpts", devpts::Directory::new(&kernel.terminals, stat))
        }
        b"proc" => ("proc", proc::mount(&kernel.world, vfs.new_dev(), now)),
        b"mqueue" => ("mqueue", Rc::clone(&vfs.mqueue) as InodeRef),
        b"sysfs" => ("sysfs", sysfs::mount(&kernel.world, vfs.new_dev())),
        _ => return Err(Errno::ENODEV),
    })
}

/// `mode=` of tmpfs(5). EINVAL when it is no octal number.
fn mode_option(data: &[u8]) -> Result<Option<u32>, Errno> {
    let mut options = data.split(|&b| b == b',');
    let Some(value) = options.find_map(|o| o.strip_prefix(b"mode=")) else { return Ok(None) };
    let value = std::str::from_utf8(value).map_err(|_| Errno::EINVAL)?;
    u32::from_str_radix(value, 8).map(|bits| Some(bits & 0o7777)).map_err(|_| Errno::EINVAL)
}

/// What a container runtime mounts: type, source, where, flags, options.
const BOOT_MOUNTS: &[(&str, &str, &str, u64, &str)] = &[
    ("proc", "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
    ("tmpfs", "tmpfs", "/dev", MS_NOSUID, "mode=755"),
    ("devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, ""),
    ("tmpfs", "shm", "/dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777"),
    ("mqueue", "mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
    ("sysfs", "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, ""),
];

/// Mount over the image what a program expects of a container. Missing directories are made.
/// `console`: there is a terminal.
pub fn mount_defaults(kernel: &Kernel, console: bool, now: Timespec) -> Result<(), Errno> {
    for &(fstype, source, path, flags, data) in BOOT_MOUNTS {
        let (name, root) = filesystem(kernel, fstype.as_bytes(), data.as_bytes(), now)?;
        if path == "/dev" {
            dev::populate(&root, console, now)?;
        }
        let at = directory(&kernel.vfs, path, now)?;
        kernel.vfs.mount(name, source.as_bytes(), root, at, flags as u32)?;
    }
    Ok(())
}

/// The directory at `path` from the root of the tree, made where it is missing. Symlinks are not followed. ENOTDIR.
fn directory(vfs: &Vfs, path: &str, now: Timespec) -> Result<Rc<Dentry>, Errno> {
    let mut at = vfs.root();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let next = match at.child(name.as_bytes()) {
            Err(Errno::ENOENT) => {
                let inode = at.inode.make(name.as_bytes(), Make::Directory, root_attributes(0o755, now))?;
                at.adopt(name.as_bytes(), inode)
            }
            found => found?,
        };
        if !next.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        at = namei::topmost(next);
    }
    Ok(at)
}

impl Mount {
    /// One that nobody can reach, for files that the kernel makes.
    pub(crate) fn hidden(fstype: &'static str, root: InodeRef) -> Rc<Mount> {
        Mount::new(0, fstype, b"none", root, 0, &Rc::default())
    }

    /// A mount of nothing anywhere, for tests of single files.
    #[cfg(test)]
    pub(super) fn detached(fstype: &'static str, root: InodeRef) -> Rc<Mount> {
        Mount::new(0, fstype, b"none", root, 0, &Rc::default())
    }

    fn new(
        id: u32,
        fstype: &'static str,
        source: &[u8],
        root: InodeRef,
        flags: u32,
        notify: &Rc<Notify>,
    ) -> Rc<Mount> {
        Rc::new(Mount {
            id,
            fstype,
            source: source.to_vec(),
            root,
            root_path: b"/".to_vec(),
            covers: RefCell::new(None),
            flags: Cell::new(flags),
            notify: Rc::clone(notify),
        })
    }
}

/// Where `dentry`, which lies below `from`, is below `to`, which shows the same tree. ENOENT.
fn same_place(dentry: &Rc<Dentry>, from: &Rc<Dentry>, to: &Rc<Dentry>) -> Result<Rc<Dentry>, Errno> {
    let mut names = Vec::new();
    let mut at = Rc::clone(dentry);
    while !Rc::ptr_eq(&at, from) {
        names.push(at.name.borrow().clone());
        let parent = at.parent.borrow().clone();
        at = parent.ok_or(Errno::ENOENT)?;
    }
    let down = |at: Rc<Dentry>, name: &Vec<u8>| namei::topmost(at).child(name);
    Ok(namei::topmost(names.iter().rev().try_fold(Rc::clone(to), down)?))
}

fn root_attributes(permissions: u32, now: Timespec) -> NewInode {
    NewInode { mode: permissions, uid: 0, gid: 0, now }
}
