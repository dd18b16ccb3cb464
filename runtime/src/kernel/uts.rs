//! UTS namespaces: the names that uname(2) gives, and who shares them. See uts_namespaces(7), setns(2).
//!
//! A task without one of its own is in the machine's, which the host names.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Ctx;
use super::cred::CAP_SYS_ADMIN;
use super::pidfd;
use super::task::Task;
use crate::abi::Errno;
use crate::abi::sched::CLONE_NEWUTS;
use crate::fs::mount::Mount;
use crate::fs::{Dentry, FileOps, FileRef, Inode, Stat, mode};

/// Device number of nsfs.
const DEV: u64 = 4;
/// Inode number of the machine's own namespace (PROC_UTS_INIT_INO).
const FIRST: u64 = 0xefff_fffe;
/// Inode number of the next one.
const SECOND: u64 = 0xf000_0000;

/// One namespace.
pub struct Uts {
    /// gethostname(2).
    pub hostname: RefCell<Vec<u8>>,
    /// getdomainname(2).
    pub domainname: RefCell<Vec<u8>>,
    ino: u64,
    /// How many there were, of all.
    made: Rc<Cell<u64>>,
}

impl Default for Uts {
    /// The machine's own.
    fn default() -> Uts {
        Uts {
            hostname: RefCell::new(b"friscy".to_vec()),
            domainname: RefCell::new(b"(none)".to_vec()),
            ino: FIRST,
            made: Rc::default(),
        }
    }
}

impl Uts {
    /// Another one with the same names.
    fn duplicate(&self) -> Rc<Uts> {
        let number = self.made.replace(self.made.get() + 1);
        Rc::new(Uts {
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            ino: SECOND + number,
            made: Rc::clone(&self.made),
        })
    }

    /// What /proc/PID/ns/uts leads to.
    pub(crate) fn dentry(self: &Rc<Uts>) -> Rc<Dentry> {
        let name = format!("uts:[{}]", self.ino);
        let inode = Rc::new(Handle(Rc::clone(self)));
        Dentry::root(name.as_bytes(), inode.clone(), Mount::hidden("nsfs", inode))
    }
}

/// A namespace as a file: keeps it, and can be given to setns(2).
struct Handle(Rc<Uts>);

impl Inode for Handle {
    fn stat(&self) -> Stat {
        Stat {
            dev: DEV,
            ino: self.0.ino,
            mode: mode::S_IFREG | 0o444,
            nlink: 1,
            blksize: 4096,
            ..Stat::default()
        }
    }

    fn open(&self, _: &mut Ctx<'_>, _: u32) -> Result<Rc<dyn FileOps>, Errno> {
        Ok(Rc::new(Handle(Rc::clone(&self.0))))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FileOps for Handle {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Ctx<'_> {
    /// The caller's UTS namespace.
    pub(crate) fn uts(&self) -> Rc<Uts> {
        let own = self.task.uts.borrow().clone();
        own.unwrap_or_else(|| Rc::clone(&self.kernel.world.uts))
    }

    /// Give `task` a UTS namespace of its own that begins as the caller's. EPERM.
    pub(crate) fn new_uts(&self, task: &Task) -> Result<(), Errno> {
        self.may_change_namespaces()?;
        task.uts.replace(Some(self.uts().duplicate()));
        Ok(())
    }

    /// EPERM.
    pub(crate) fn may_change_namespaces(&self) -> Result<(), Errno> {
        if self.task.cred.borrow().capable(CAP_SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// setns(2): the caller enters the namespaces `kinds` (CLONE_NEW*, 0 for any) that `file` stands for: one of
    /// /proc/PID/ns, or a process. EINVAL, EPERM.
    pub(crate) fn enter_namespace(&self, file: &FileRef, kinds: u64) -> Result<(), Errno> {
        let uts = match file.dentry.inode.as_any().downcast_ref::<Handle>() {
            Some(handle) if kinds == 0 || kinds == CLONE_NEWUTS => Some(Rc::clone(&handle.0)),
            Some(_) => return Err(Errno::EINVAL),
            None => {
                let process = pidfd::process_of(file).map_err(|_| Errno::EINVAL)?;
                if kinds == 0 {
                    return Err(Errno::EINVAL);
                }
                if kinds != CLONE_NEWUTS {
                    return Err(Errno::EPERM);
                }
                let task = process.live_threads().first().cloned().ok_or(Errno::ESRCH)?;
                task.uts.borrow().clone()
            }
        };
        self.may_change_namespaces()?;
        self.task.uts.replace(uts);
        Ok(())
    }
}
