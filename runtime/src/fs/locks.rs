//! Advisory locks: fcntl(2) record locks, open file description locks, flock(2).
//!
//! The locks of one inode are one [`FileLocks`]. Record locks belong to a
//! descriptor table (Linux's files_struct) and go when it closes any
//! descriptor of the file; the others belong to an open file description.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::OpenFile;
use crate::abi::Errno;
use crate::kernel::wait::WaitQueue;

/// Most record locks on one file.
const RANGES_MAX: usize = 10_000;

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A descriptor table, by its number.
    Table(u64),
    /// An open file description, by its address (compared only).
    Description(usize),
}

impl Owner {
    /// The description behind `file`.
    pub fn description(file: &OpenFile) -> Owner {
        Owner::Description(std::ptr::from_ref(file).addr())
    }
}

/// A record lock: bytes `start..=end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Last byte; `i64::MAX` for "to the end".
    pub end: u64,
    /// A write lock.
    pub exclusive: bool,
    /// Who holds it.
    pub owner: Owner,
    /// For F_GETLK: the process, or -1.
    pub pid: i32,
}

impl Range {
    fn conflicts(&self, other: &Range) -> bool {
        let overlap = self.start <= other.end && other.start <= self.end;
        overlap && self.owner != other.owner && (self.exclusive || other.exclusive)
    }
}

/// The locks of one file.
pub struct FileLocks {
    key: (u64, u64),
    ranges: RefCell<Vec<Range>>,
    whole: RefCell<Vec<(Owner, bool)>>,
    queue: WaitQueue,
}

impl FileLocks {
    /// Woken when a lock goes.
    pub fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// The first lock that stands in the way of `wanted`.
    pub fn conflict(&self, wanted: &Range) -> Option<Range> {
        self.ranges.borrow().iter().find(|held| held.conflicts(wanted)).copied()
    }

    /// Hold `lock`, which nothing stands in the way of, instead of what its owner had in its range. ENOLCK.
    pub fn set(&self, lock: Range) -> Result<(), Errno> {
        if self.ranges.borrow().len() >= RANGES_MAX {
            return Err(Errno::ENOLCK);
        }
        self.clear(lock.owner, lock.start, lock.end);
        let mut ranges = self.ranges.borrow_mut();
        let mut lock = lock;
        // Neighbours of the same kind become one.
        ranges.retain(|held| {
            let joins = held.owner == lock.owner
                && held.exclusive == lock.exclusive
                && held.start <= lock.end.saturating_add(1)
                && lock.start <= held.end.saturating_add(1);
            if joins {
                lock.start = lock.start.min(held.start);
                lock.end = lock.end.max(held.end);
            }
            !joins
        });
        let at = ranges.partition_point(|held| held.start < lock.start);
        ranges.insert(at, lock);
        Ok(())
    }

    /// `owner` holds nothing in `start..=end` any more.
    pub fn clear(&self, owner: Owner, start: u64, end: u64) {
        let mut ranges = self.ranges.borrow_mut();
        let mut kept = Vec::with_capacity(ranges.len() + 1);
        for held in ranges.drain(..) {
            if held.owner != owner || held.end < start || end < held.start {
                kept.push(held);
                continue;
            }
            if held.start < start {
                kept.push(Range { end: start - 1, ..held });
            }
            if held.end > end {
                kept.push(Range { start: end + 1, ..held });
            }
        }
        kept.sort_by_key(|held| held.start);
        *ranges = kept;
        drop(ranges);
        self.queue.wake_all();
    }

    /// flock(2): hold the whole file. EAGAIN when somebody else does.
    pub fn lock_whole(&self, owner: Owner, exclusive: bool) -> Result<(), Errno> {
        let mut whole = self.whole.borrow_mut();
        let before = whole.len();
        // Converting is not atomic, see flock(2): the old lock is gone first.
        whole.retain(|(held, _)| *held != owner);
        let changed = whole.len() != before;
        let blocked = whole.iter().any(|(_, held)| exclusive || *held);
        if !blocked {
            whole.push((owner, exclusive));
        }
        drop(whole);
        if changed {
            self.queue.wake_all();
        }
        if blocked { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// flock(2) LOCK_UN.
    pub fn unlock_whole(&self, owner: Owner) {
        self.whole.borrow_mut().retain(|(held, _)| *held != owner);
        self.queue.wake_all();
    }

    /// The description is closed.
    pub fn release_description(&self, file: &OpenFile) {
        self.release(Owner::description(file));
    }

    /// Everything that `owner` holds.
    pub fn release(&self, owner: Owner) {
        self.whole.borrow_mut().retain(|(held, _)| *held != owner);
        self.clear(owner, 0, i64::MAX as u64);
    }

    /// These are the locks of the inode of `file`.
    pub fn is_of(&self, file: &OpenFile) -> bool {
        let stat = file.dentry.inode.stat();
        self.key == (stat.dev, stat.ino)
    }

    /// All record locks and whole-file locks, for /proc/locks.
    pub fn held(&self) -> (Vec<Range>, usize) {
        (self.ranges.borrow().clone(), self.whole.borrow().len())
    }
}

/// All locks of the machine. Clones are the same table.
#[derive(Clone, Default)]
pub struct LockTable(Rc<Inner>);

#[derive(Default)]
struct Inner {
    files: RefCell<BTreeMap<(u64, u64), Weak<FileLocks>>>,
    /// Descriptor tables that wait for a record lock, and for whose.
    waiting: RefCell<BTreeMap<u64, u64>>,
}

/// A wait for a record lock under way; dropping it ends the wait.
pub struct Waiting {
    table: LockTable,
    who: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.table.0.waiting.borrow_mut().remove(&self.who);
    }
}

impl LockTable {
    /// The locks of the inode of `file`.
    pub fn of(&self, file: &OpenFile) -> Rc<FileLocks> {
        let stat = file.dentry.inode.stat();
        let key = (stat.dev, stat.ino);
        let mut files = self.0.files.borrow_mut();
        if let Some(locks) = files.get(&key).and_then(Weak::upgrade) {
            return locks;
        }
        files.retain(|_, locks| locks.strong_count() > 0);
        let locks = Rc::new(FileLocks {
            key,
            ranges: RefCell::default(),
            whole: RefCell::default(),
            queue: WaitQueue::new(),
        });
        files.insert(key, Rc::downgrade(&locks));
        locks
    }

    /// Descriptor table `who` begins to wait for a lock of `whom`. EDEADLK when that one waits for us.
    pub fn wait(&self, who: u64, whom: u64) -> Result<Box<dyn Any>, Errno> {
        let mut waiting = self.0.waiting.borrow_mut();
        let mut at = whom;
        for _ in 0..=waiting.len() {
            if at == who {
                return Err(Errno::EDEADLK);
            }
            match waiting.get(&at) {
                Some(&next) => at = next,
                None => break,
            }
        }
        waiting.insert(who, whom);
        Ok(Box::new(Waiting { table: self.clone(), who }))
    }
}

/// Numbers for descriptor tables.
#[derive(Debug)]
pub struct TableId(Cell<u64>);

impl TableId {
    /// A number that no other table has.
    pub fn new() -> TableId {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        TableId(Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Default for TableId {
    fn default() -> TableId {
        TableId::new()
    }
}
