//! File descriptors: small numbers for open file descriptions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::abi::Errno;
use crate::fs::locks::{FileLocks, Owner, TableId};
use crate::fs::{FileRef, OpenFile};

/// A descriptor table; CLONE_FILES shares one.
#[derive(Default)]
pub struct FdTable {
    slots: RefCell<Vec<Option<Slot>>>,
    /// Every slot below this one is in use.
    lowest: Cell<usize>,
    /// RLIMIT_NOFILE.
    pub limit: Cell<u32>,
    /// Whose record locks these are.
    id: TableId,
    /// Files on which this table holds record locks.
    locked: RefCell<Vec<Rc<FileLocks>>>,
}

#[derive(Clone)]
struct Slot {
    file: FileRef,
    cloexec: bool,
}

impl FdTable {
    /// The description behind `fd`; EBADF.
    pub fn get(&self, fd: i32) -> Result<FileRef, Errno> {
        let slots = self.slots.borrow();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get(fd)?.as_ref());
        slot.map(|s| s.file.clone()).ok_or(Errno::EBADF)
    }

    /// Put `file` in the lowest free slot from `from` on. EMFILE.
    pub fn install(&self, file: FileRef, cloexec: bool, from: i32) -> Result<i32, Errno> {
        let mut slots = self.slots.borrow_mut();
        let from = (from as usize).max(self.lowest.get());
        let fd = (from..).find(|&fd| slots.get(fd).is_none_or(Option::is_none)).unwrap_or(from);
        if fd >= self.limit.get() as usize {
            return Err(Errno::EMFILE);
        }
        if fd >= slots.len() {
            slots.resize(fd + 1, None);
        }
        slots[fd] = Some(Slot { file, cloexec });
        if from == self.lowest.get() {
            self.lowest.set(fd + 1);
        }
        Ok(fd as i32)
    }

    /// Put `file` at `fd` (dup3), replacing what is there. EBADF beyond the limit.
    pub fn replace(&self, fd: i32, file: FileRef, cloexec: bool) -> Result<Option<FileRef>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index >= self.limit.get() as usize {
            return Err(Errno::EBADF);
        }
        let mut slots = self.slots.borrow_mut();
        if index >= slots.len() {
            slots.resize(index + 1, None);
        }
        let old = slots[index].replace(Slot { file, cloexec }).map(|s| s.file);
        drop(slots);
        if let Some(old) = &old {
            self.unlock(old);
        }
        Ok(old)
    }

    /// Close `fd`; EBADF. The description is returned so that the caller drops it outside any borrow.
    pub fn remove(&self, fd: i32) -> Result<FileRef, Errno> {
        let mut slots = self.slots.borrow_mut();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get_mut(fd)?.take());
        drop(slots);
        let file = slot.map(|s| s.file).ok_or(Errno::EBADF)?;
        self.lowest.set(self.lowest.get().min(fd as usize));
        self.unlock(&file);
        Ok(file)
    }

    /// FD_CLOEXEC of `fd`; EBADF.
    pub fn cloexec(&self, fd: i32) -> Result<bool, Errno> {
        let slots = self.slots.borrow();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get(fd)?.as_ref());
        slot.map(|s| s.cloexec).ok_or(Errno::EBADF)
    }

    /// Set FD_CLOEXEC of `fd`; EBADF.
    pub fn set_cloexec(&self, fd: i32, on: bool) -> Result<(), Errno> {
        let mut slots = self.slots.borrow_mut();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get_mut(fd)?.as_mut());
        slot.map(|s| s.cloexec = on).ok_or(Errno::EBADF)
    }

    /// Some open file is like that.
    pub fn any(&self, mut like: impl FnMut(&OpenFile) -> bool) -> bool {
        self.slots.borrow().iter().flatten().any(|slot| like(&slot.file))
    }

    /// Open descriptors, ascending (/proc/PID/fd, close_range).
    pub fn list(&self) -> Vec<i32> {
        let slots = self.slots.borrow();
        (0..slots.len()).filter(|&fd| slots[fd].is_some()).map(|fd| fd as i32).collect()
    }

    /// A copy for fork(2).
    pub fn duplicate(&self) -> FdTable {
        FdTable {
            slots: RefCell::new(self.slots.borrow().clone()),
            lowest: self.lowest.clone(),
            limit: self.limit.clone(),
            id: TableId::new(),
            locked: RefCell::default(),
        }
    }

    /// Close what execve(2) closes.
    pub fn close_on_exec(&self) -> Vec<FileRef> {
        let mut slots = self.slots.borrow_mut();
        let closing = slots.iter_mut().filter(|s| s.as_ref().is_some_and(|s| s.cloexec));
        let closing: Vec<FileRef> = closing.filter_map(Option::take).map(|s| s.file).collect();
        drop(slots);
        self.lowest.set(0);
        for file in &closing {
            self.unlock(file);
        }
        closing
    }

    /// The number under which this table holds record locks.
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// This table holds a record lock there: closing the file must release it.
    pub fn remember_locks(&self, locks: &Rc<FileLocks>) {
        let mut locked = self.locked.borrow_mut();
        if !locked.iter().any(|l| Rc::ptr_eq(l, locks)) {
            locked.push(Rc::clone(locks));
        }
    }

    /// A descriptor of `file` was closed: record locks on it go, whatever other descriptors there are (fcntl(2)).
    fn unlock(&self, file: &FileRef) {
        let mut locked = self.locked.borrow_mut();
        if let Some(index) = locked.iter().position(|l| l.is_of(file)) {
            let locks = locked.swap_remove(index);
            drop(locked);
            locks.release(Owner::Table(self.id()));
        }
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        for locks in self.locked.take() {
            locks.release(Owner::Table(self.id()));
        }
    }
}
