//! Contents of a directory: the image's entries, and what was added and removed since.
//!
//! Every entry has a position that it keeps while it exists, so that readdir
//! goes on correctly however the directory changes meanwhile: entries of the
//! base have their index there, later ones a number that only grows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Base, MemInode};

/// The entries of one directory.
pub(super) struct DirData {
    /// The base's directory, as inode number.
    base: Option<(Rc<Base>, u32)>,
    /// What differs from the base, by name.
    changes: RefCell<BTreeMap<Rc<[u8]>, Change>>,
    /// Added entries by position.
    added: RefCell<BTreeMap<u64, Rc<[u8]>>>,
    next_position: Cell<u64>,
    live: Cell<usize>,
}

enum Change {
    Added {
        position: u64,
        inode: Rc<MemInode>,
    },
    /// An entry of the base that is gone.
    Removed,
}

/// An entry found: an inode that exists already, or one of the base.
pub(super) enum Found {
    Inode(Rc<MemInode>),
    Base(u32),
}

impl DirData {
    pub(super) fn new(base: Option<(Rc<Base>, u32)>) -> DirData {
        let count = base.as_ref().map_or(0, |(base, ino)| base.dir_len(*ino));
        DirData {
            base,
            changes: RefCell::default(),
            added: RefCell::default(),
            next_position: Cell::new(count as u64),
            live: Cell::new(count),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.get() == 0
    }

    /// One past the position of every entry.
    pub(super) fn end(&self) -> u64 {
        self.next_position.get()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Found> {
        match self.changes.borrow().get(name) {
            Some(Change::Added { inode, .. }) => Some(Found::Inode(Rc::clone(inode))),
            Some(Change::Removed) => None,
            None => self.find_base(name).map(Found::Base),
        }
    }

    fn find_base(&self, name: &[u8]) -> Option<u32> {
        let (base, ino) = self.base.as_ref()?;
        base.dir_find(*ino, name)
    }

    /// Add or replace `name`.
    pub(super) fn insert(&self, name: &[u8], inode: Rc<MemInode>) {
        let existed = self.find(name).is_some();
        let mut changes = self.changes.borrow_mut();
        if let Some(Change::Added { inode: old, .. }) = changes.get_mut(name) {
            let old = std::mem::replace(old, inode);
            drop(changes);
            drop(old);
            return;
        }
        let position = self.next_position.get();
        self.next_position.set(position + 1);
        let name: Rc<[u8]> = Rc::from(name);
        self.added.borrow_mut().insert(position, Rc::clone(&name));
        changes.insert(name, Change::Added { position, inode });
        if !existed {
            self.live.set(self.live.get() + 1);
        }
    }

    /// Remove `name`, which exists.
    pub(super) fn remove(&self, name: &[u8]) {
        let old = self.changes.borrow_mut().remove(name);
        if let Some(Change::Added { position, .. }) = &old {
            self.added.borrow_mut().remove(position);
        }
        if self.find_base(name).is_some() {
            self.changes.borrow_mut().insert(Rc::from(name), Change::Removed);
        }
        self.live.set(self.live.get().saturating_sub(1));
    }

    /// Entries whose position is `from` or more, in order: position, name, inode. `each` returns false to stop.
    /// It must not change this directory.
    pub(super) fn each(&self, from: u64, each: &mut dyn FnMut(u64, &[u8], Found) -> bool) {
        if let Some((base, ino)) = &self.base {
            let count = base.dir_len(*ino);
            let start = usize::try_from(from).map_or(count, |f| f.min(count));
            for index in start..count {
                let Some((name, child)) = base.dir_entry(*ino, index) else { break };
                if self.changes.borrow().contains_key(name) {
                    continue;
                }
                if !each(index as u64, name, Found::Base(child)) {
                    return;
                }
            }
        }
        let changes = self.changes.borrow();
        for (&position, name) in self.added.borrow().range(from..) {
            if let Some(Change::Added { inode, .. }) = changes.get(&**name)
                && !each(position, name, Found::Inode(Rc::clone(inode)))
            {
                return;
            }
        }
    }

    /// Take all added entries out, for a drop without recursion.
    pub(super) fn take(&self) -> Vec<Rc<MemInode>> {
        let changes = self.changes.take();
        let inodes = changes.into_values().filter_map(|c| match c {
            Change::Added { inode, .. } => Some(inode),
            Change::Removed => None,
        });
        inodes.collect()
    }
}
