//! Names in the tree: Linux's dentry and vfsmount in one.
//!
//! A dentry exists while somebody holds it (a cwd, an open file, a child). The
//! parent remembers living children weakly, so that a name has one dentry at a
//! time and a rename is seen by everyone who holds it (getcwd(2), /proc/PID/fd).
//! Nothing is cached here: a lookup always asks the file system.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::{InodeRef, mode, mount::Mount};
use crate::abi::Errno;

/// A name in the tree. `..` is `parent`; crossing mounts is `namei`'s business.
pub struct Dentry {
    /// Last component; empty for a root.
    pub name: RefCell<Vec<u8>>,
    /// The directory this is in; none for a root.
    pub parent: RefCell<Option<Rc<Dentry>>>,
    /// What the name stands for.
    pub inode: InodeRef,
    /// The mount this lies in.
    pub mount: Rc<Mount>,
    /// The name was unlinked (`/proc/self/fd` shows " (deleted)").
    pub deleted: Cell<bool>,
    /// Root of the topmost mount that covers this directory.
    pub covered_by: RefCell<Option<Rc<Dentry>>>,
    /// Living children by name.
    children: RefCell<BTreeMap<Vec<u8>, Weak<Dentry>>>,
}

impl Dentry {
    /// A dentry without a parent: the root of a mount, or an anonymous file.
    pub fn root(name: &[u8], inode: InodeRef, mount: Rc<Mount>) -> Rc<Dentry> {
        Rc::new(Dentry {
            name: RefCell::new(name.to_vec()),
            parent: RefCell::new(None),
            inode,
            mount,
            deleted: Cell::new(false),
            covered_by: RefCell::new(None),
            children: RefCell::default(),
        })
    }

    /// A dentry for an inode that has no name in directory `parent` (O_TMPFILE).
    pub fn unnamed(name: &[u8], inode: InodeRef, parent: &Rc<Dentry>) -> Rc<Dentry> {
        let mut dentry = Dentry::root(name, inode, Rc::clone(&parent.mount));
        if let Some(dentry) = Rc::get_mut(&mut dentry) {
            dentry.parent = RefCell::new(Some(Rc::clone(parent)));
            dentry.deleted = Cell::new(true);
        }
        dentry
    }

    /// The entry `name` of this directory, mounts not crossed. ENOENT, and what the file system says.
    pub fn child(self: &Rc<Dentry>, name: &[u8]) -> Result<Rc<Dentry>, Errno> {
        if self.deleted.get() {
            return Err(Errno::ENOENT);
        }
        Ok(self.adopt(name, self.inode.lookup(name)?))
    }

    /// The dentry of `name`, which the file system says is `inode`.
    pub fn adopt(self: &Rc<Dentry>, name: &[u8], inode: InodeRef) -> Rc<Dentry> {
        if let Some(known) = self.known(name)
            && (Rc::ptr_eq(&known.inode, &inode) || known.covered_by.borrow().is_some())
        {
            return known;
        }
        let dentry = Rc::new(Dentry {
            name: RefCell::new(name.to_vec()),
            parent: RefCell::new(Some(Rc::clone(self))),
            inode,
            mount: Rc::clone(&self.mount),
            deleted: Cell::new(false),
            covered_by: RefCell::new(None),
            children: RefCell::default(),
        });
        self.children.borrow_mut().insert(name.to_vec(), Rc::downgrade(&dentry));
        dentry
    }

    /// The living dentry of `name`, if anybody holds one.
    pub fn known(&self, name: &[u8]) -> Option<Rc<Dentry>> {
        self.children.borrow().get(name)?.upgrade()
    }

    /// The name `name` is gone: whoever holds its dentry sees that.
    pub fn forget(&self, name: &[u8]) {
        let child = self.children.borrow_mut().remove(name);
        if let Some(child) = child.and_then(|c| c.upgrade()) {
            child.deleted.set(true);
        }
    }

    /// The file system renamed `name` here to `to_name` in `to`; with `exchange`, also the other way round.
    pub fn renamed(self: &Rc<Dentry>, name: &[u8], to: &Rc<Dentry>, to_name: &[u8], exchange: bool) {
        let moved = self.children.borrow_mut().remove(name).and_then(|c| c.upgrade());
        let target = to.children.borrow_mut().remove(to_name).and_then(|c| c.upgrade());
        if let Some(target) = target {
            if exchange {
                target.attach(self, name);
            } else {
                target.deleted.set(true);
            }
        }
        if let Some(moved) = moved {
            moved.attach(to, to_name);
        }
    }

    fn attach(self: Rc<Dentry>, parent: &Rc<Dentry>, name: &[u8]) {
        *self.name.borrow_mut() = name.to_vec();
        let old = self.parent.borrow_mut().replace(Rc::clone(parent));
        parent.children.borrow_mut().insert(name.to_vec(), Rc::downgrade(&self));
        drop(old);
    }

    /// This or one of its parents in the same mount is `ancestor`.
    pub fn is_below(self: &Rc<Dentry>, ancestor: &Rc<Dentry>) -> bool {
        let mut at = Rc::clone(self);
        loop {
            if Rc::ptr_eq(&at, ancestor) {
                return true;
            }
            let parent = at.parent.borrow().clone();
            match parent {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    /// Is a directory.
    pub fn is_dir(&self) -> bool {
        self.inode.stat().mode & mode::S_IFMT == mode::S_IFDIR
    }

    /// Take this out of its parent's map and return the parent, for a drop without recursion.
    fn detach(&mut self) -> Option<Rc<Dentry>> {
        let parent = self.parent.get_mut().take()?;
        let name = self.name.get_mut();
        let mut children = parent.children.borrow_mut();
        if children.get(name).is_some_and(|c| c.strong_count() == 0) {
            children.remove(name);
        }
        drop(children);
        Some(parent)
    }
}

impl Drop for Dentry {
    /// A path may be very deep, so parents are let go in a loop.
    fn drop(&mut self) {
        let mut parent = self.detach();
        while let Some(dentry) = parent {
            parent = Rc::into_inner(dentry).and_then(|mut dentry| dentry.detach());
        }
    }
}

impl std::fmt::Debug for Dentry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dentry({})", String::from_utf8_lossy(&self.name.borrow()))
    }
}
