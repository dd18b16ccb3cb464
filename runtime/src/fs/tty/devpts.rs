//! devpts: the directory of terminals (/dev/pts), and the machine's list of them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::pty::Master;
use super::{Driver, Tty, job};
use crate::abi::Errno;
use crate::abi::fcntl::{O_CLOEXEC, O_NOCTTY};
use crate::fs::anon::{self, with_attr};
use crate::fs::dev::{self, makedev};
use crate::fs::{Dirent, FileOps, Inode, InodeRef, OpenFile, SetAttr, Stat, mode};
use crate::kernel::{Ctx, Outbox};
use crate::syscall::SysResult;

/// Major number of slaves.
const PTS_MAJOR: u32 = 136;
/// Device number of the file system.
const DEV: u64 = 0x18;
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
/// Inode number of slave 0.
const FIRST_INO: u64 = 3;
/// Group `tty`, which slaves belong to.
const TTY_GID: u32 = 5;
/// Terminals at a time (/proc/sys/kernel/pty/max).
pub const MAX_TERMINALS: u32 = 4096;

/// All terminals of the machine.
pub struct Terminals {
    entries: RefCell<BTreeMap<u32, Rc<Slave>>>,
    /// Foreground groups of sessions whose terminal hung up, until their leader exits.
    orphaned: RefCell<BTreeMap<u32, u32>>,
    outbox: Outbox,
}

impl Terminals {
    /// None yet. Their signals go to `outbox`.
    pub fn new(outbox: Outbox) -> Rc<Terminals> {
        Rc::new(Terminals { entries: RefCell::default(), orphaned: RefCell::default(), outbox })
    }

    /// The terminal that controls session `sid`.
    pub fn of_session(&self, sid: u32) -> Option<Rc<Tty>> {
        let entries = self.entries.borrow();
        entries.values().find(|e| sid != 0 && e.tty.session() == sid).map(|e| Rc::clone(&e.tty))
    }

    /// The terminal with this number.
    pub fn get(&self, index: u32) -> Option<Rc<Tty>> {
        self.entries.borrow().get(&index).map(|e| Rc::clone(&e.tty))
    }

    /// How many there are (/proc/sys/kernel/pty/nr).
    pub fn count(&self) -> usize {
        self.entries.borrow().len()
    }

    /// The foreground group that session `sid` had when its terminal hung up.
    pub(super) fn take_orphaned_foreground(&self, sid: u32) -> Option<u32> {
        self.orphaned.borrow_mut().remove(&sid)
    }

    /// A terminal that is not a pty: the console, which becomes the first free number.
    pub fn add_console(&self, driver: Rc<dyn Driver>, stat: Stat) -> (u32, Rc<Tty>) {
        let index = self.free_index().unwrap_or(0);
        let tty = Tty::new(format!("pts/{index}"), makedev(PTS_MAJOR, index), driver, self.outbox.clone());
        self.insert(index, &tty, None, stat);
        (index, tty)
    }

    fn free_index(&self) -> Option<u32> {
        let entries = self.entries.borrow();
        (0..MAX_TERMINALS).find(|i| !entries.contains_key(i))
    }

    fn insert(&self, index: u32, tty: &Rc<Tty>, locked: Option<Rc<Cell<bool>>>, stat: Stat) {
        let (ino, rdev) = (FIRST_INO + u64::from(index), tty.rdev);
        let stat =
            Stat { mode: mode::S_IFCHR | 0o620, dev: DEV, ino, rdev, gid: TTY_GID, blksize: 1024, ..stat };
        let slave = Rc::new(Slave { tty: Rc::clone(tty), locked, stat: Cell::new(stat) });
        self.entries.borrow_mut().insert(index, slave);
    }

    /// A new pair (opening /dev/ptmx). ENOSPC when there are too many.
    fn allocate(self: &Rc<Terminals>, stat: Stat) -> Result<Rc<Master>, Errno> {
        let index = self.free_index().ok_or(Errno::ENOSPC)?;
        let all = Rc::downgrade(self);
        let on_close = move |index, (session, foreground)| {
            let Some(all) = all.upgrade() else { return };
            let gone = all.entries.borrow_mut().remove(&index);
            if session != 0 && foreground != 0 {
                all.orphaned.borrow_mut().insert(session, foreground);
            }
            drop(gone);
        };
        let master = Master::new(index, makedev(PTS_MAJOR, index), self.outbox.clone(), Box::new(on_close));
        self.insert(index, &master.slave, Some(Rc::clone(&master.locked)), stat);
        Ok(master)
    }
}

/// Open /dev/ptmx.
pub fn open_master(cx: &mut Ctx<'_>) -> Result<Rc<dyn FileOps>, Errno> {
    let stat = anon::stat(cx);
    Ok(cx.kernel.terminals.allocate(stat)?)
}

/// Open a terminal, which may become the caller's controlling one.
pub fn open_terminal(cx: &mut Ctx<'_>, tty: &Rc<Tty>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
    let privileged = cx.task.cred.borrow().euid == 0;
    let file = tty.open(privileged)?;
    job::acquire_on_open(cx, tty, flags);
    Ok(file)
}

/// TIOCGPTPEER: the slave, opened without its name.
pub(super) fn open_peer(cx: &mut Ctx<'_>, master: &Master, _: &OpenFile, flags: u64) -> SysResult {
    let flags = flags as u32;
    let slave = cx.kernel.terminals.entries.borrow().get(&master.index).map(Rc::clone).ok_or(Errno::EIO)?;
    let ops = open_terminal(cx, &master.slave, flags | O_NOCTTY)?;
    let name = format!("/dev/pts/{}", master.index);
    let file = anon::open(cx, &name, slave, ops, flags & !(O_CLOEXEC | O_NOCTTY));
    let fd = cx.task.files.borrow().install(file, flags & O_CLOEXEC != 0, 0)?;
    Ok(fd as u64)
}

/// The inode of terminal `index`, for descriptors made at boot.
pub fn inode_of(terminals: &Terminals, index: u32) -> Option<InodeRef> {
    terminals.entries.borrow().get(&index).map(|slave| Rc::clone(slave) as InodeRef)
}

/// One entry of the directory.
struct Slave {
    tty: Rc<Tty>,
    /// TIOCSPTLCK; none for the console.
    locked: Option<Rc<Cell<bool>>>,
    stat: Cell<Stat>,
}

impl Inode for Slave {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn open(&self, cx: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        if self.locked.as_ref().is_some_and(|l| l.get()) {
            return Err(Errno::EIO);
        }
        open_terminal(cx, &self.tty, flags)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The root of devpts.
pub struct Directory {
    terminals: Rc<Terminals>,
    stat: Cell<Stat>,
}

impl Directory {
    /// The file system that shows `terminals`. Owner and times from `stat`.
    pub fn new(terminals: &Rc<Terminals>, stat: Stat) -> InodeRef {
        let stat =
            Stat { mode: mode::S_IFDIR | 0o755, dev: DEV, ino: ROOT_INO, nlink: 2, blksize: 1024, ..stat };
        Rc::new(Directory { terminals: Rc::clone(terminals), stat: Cell::new(stat) })
    }

    fn ptmx(&self) -> InodeRef {
        let rdev = dev::PTMX;
        let stat = Stat { mode: mode::S_IFCHR | 0o666, ino: PTMX_INO, nlink: 1, rdev, ..self.stat.get() };
        dev::node(stat)
    }
}

impl Inode for Directory {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        if name == b"ptmx" {
            return Ok(self.ptmx());
        }
        let index = std::str::from_utf8(name).ok().and_then(|n| n.parse().ok()).ok_or(Errno::ENOENT)?;
        let canonical = format!("{index}").as_bytes() == name;
        inode_of(&self.terminals, index).filter(|_| canonical).ok_or(Errno::ENOENT)
    }

    fn read_dir(&self, from: u64, each: &mut dyn FnMut(Dirent) -> bool) -> Result<(), Errno> {
        let entry =
            |ino, name: String, next| Dirent { ino, kind: mode::S_IFCHR, name: name.into_bytes(), next };
        if from == 0 && !each(entry(PTMX_INO, "ptmx".into(), 1)) {
            return Ok(());
        }
        let entries: Vec<u32> = self.terminals.entries.borrow().keys().copied().collect();
        for index in entries.into_iter().filter(|i| u64::from(*i) + 1 >= from) {
            let place = u64::from(index);
            if !each(entry(FIRST_INO + place, index.to_string(), place + 2)) {
                break;
            }
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
