//! Futexes with an owner: FUTEX_LOCK_PI and its kin. See futex(2), "Priority-inheritance futexes".
//!
//! The word holds the owner's tid, so the kernel knows whom a waiter waits for and passes the lock on itself: to the
//! waiter of the highest priority, of equals the first. There is nothing to inherit: policies and priorities are kept,
//! but one hart that is shared by weight runs everybody, so that no owner is kept from running by its waiters.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::futex::read_word;
use super::task::Task;
use super::wait::WaitQueue;
use super::{Ctx, Kernel};
use crate::abi::Errno;
use crate::abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use crate::mm::{Access, FutexKey, Mm};
use crate::syscall::{Block, Flow, Interrupt};

/// One waiting FUTEX_LOCK_PI; the call keeps it, the table holds it weakly.
struct Waiter {
    task: Weak<Task>,
    mm: Rc<Mm>,
    addr: u64,
    owns: Cell<bool>,
    queue: WaitQueue,
}

/// Who waits for whom.
#[derive(Default)]
pub struct PiTable(BTreeMap<FutexKey, Wanted>);

/// A lock that somebody waits for.
struct Wanted {
    owner: u32,
    waiters: VecDeque<Weak<Waiter>>,
}

impl Wanted {
    /// The next owner and its task; it leaves the queue.
    fn next(&mut self) -> Option<(Rc<Waiter>, Rc<Task>)> {
        let alive = |weak: &Weak<Waiter>| {
            let waiter = weak.upgrade()?;
            let task = waiter.task.upgrade()?;
            Some((waiter, task))
        };
        self.waiters.retain(|weak| alive(weak).is_some());
        let priority = |weak: &Weak<Waiter>| alive(weak).map_or(0, |(_, task)| task.sched.priority.get());
        let highest = self.waiters.iter().map(priority).max()?;
        let at = self.waiters.iter().position(|weak| priority(weak) == highest)?;
        self.waiters.remove(at).as_ref().and_then(alive)
    }
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2, and with `only_try` FUTEX_TRYLOCK_PI. EDEADLK, EAGAIN (`only_try`), ESRCH,
/// ETIMEDOUT at `deadline_ns` (monotonic), EFAULT, EINVAL. Signals never end the wait: their handlers run within it.
pub fn lock(
    cx: &mut Ctx<'_>,
    addr: u64,
    private: bool,
    deadline_ns: Option<u64>,
    only_try: bool,
) -> Result<(), Flow> {
    let waiting = cx.task.progress.borrow_mut().extra.take();
    let waiter = match waiting.map(|any| any.downcast::<Rc<Waiter>>()) {
        Some(Ok(waiter)) => *waiter,
        _ => match acquire(cx, addr, private, only_try)? {
            Some(waiter) => waiter,
            None => return Ok(()),
        },
    };
    if waiter.owns.get() {
        return Ok(());
    }
    if deadline_ns.is_some_and(|at| cx.expired(at)) {
        return Err(Errno::ETIMEDOUT.into());
    }
    let queues = vec![waiter.queue.clone()];
    cx.task.progress.borrow_mut().extra = Some(Box::new(waiter));
    Err(Flow::Block(Block { queues, deadline_ns, interrupt: Interrupt::Again }))
}

/// Take the lock (none), or a place among those who wait for it.
fn acquire(cx: &mut Ctx<'_>, addr: u64, private: bool, only_try: bool) -> Result<Option<Rc<Waiter>>, Errno> {
    let (mm, tid) = (cx.mm(), cx.task.tid);
    let word = read_word(&mm, addr)?;
    mm.fault_in(addr, 4, Access::Write)?;
    let owner = word & FUTEX_TID_MASK;
    if owner == 0 {
        mm.copy_out(addr, &(word & !FUTEX_TID_MASK | tid).to_le_bytes())?;
        return Ok(None);
    }
    if owner == tid {
        return Err(Errno::EDEADLK);
    }
    if !cx.kernel.tasks.contains_key(&owner) {
        return Err(Errno::ESRCH);
    }
    if only_try {
        return Err(Errno::EAGAIN);
    }
    mm.copy_out(addr, &(word | FUTEX_WAITERS).to_le_bytes())?;
    let waiter = Rc::new(Waiter {
        task: Rc::downgrade(&cx.task),
        mm: Rc::clone(&mm),
        addr,
        owns: Cell::new(false),
        queue: WaitQueue::new(),
    });
    let new = || Wanted { owner, waiters: VecDeque::new() };
    let wanted = cx.kernel.pi_futexes.0.entry(mm.futex_key(addr, private)).or_insert_with(new);
    wanted.owner = owner;
    wanted.waiters.push_back(Rc::downgrade(&waiter));
    Ok(Some(waiter))
}

/// FUTEX_UNLOCK_PI. EPERM: somebody else's; EFAULT, EINVAL.
pub fn unlock(cx: &mut Ctx<'_>, addr: u64, private: bool) -> Result<(), Errno> {
    let mm = cx.mm();
    if read_word(&mm, addr)? & FUTEX_TID_MASK != cx.task.tid {
        return Err(Errno::EPERM);
    }
    mm.fault_in(addr, 4, Access::Write)?;
    let key = mm.futex_key(addr, private);
    if !cx.kernel.pi_futexes.pass_on(key, 0) {
        mm.copy_out(addr, &0u32.to_le_bytes())?;
    }
    Ok(())
}

impl PiTable {
    /// Give the lock to who waits for it, with `flags` in its word; whether anybody does.
    fn pass_on(&mut self, key: FutexKey, flags: u32) -> bool {
        while let Some(wanted) = self.0.get_mut(&key) {
            let Some((waiter, task)) = wanted.next() else {
                self.0.remove(&key);
                break;
            };
            let word = task.tid | FUTEX_WAITERS | flags;
            // A waiter that took its word away has lost its turn.
            if waiter.mm.copy_out(waiter.addr, &word.to_le_bytes()).is_err() {
                continue;
            }
            wanted.owner = task.tid;
            waiter.owns.set(true);
            waiter.queue.wake_all();
            return true;
        }
        false
    }
}

impl Kernel {
    /// Locks of a thread that ended, and that somebody waits for, pass on with FUTEX_OWNER_DIED.
    pub(super) fn release_pi_futexes(&mut self, tid: u32) {
        let table = &mut self.pi_futexes;
        let owned: Vec<FutexKey> =
            table.0.iter().filter(|(_, wanted)| wanted.owner == tid).map(|(&key, _)| key).collect();
        for key in owned {
            table.pass_on(key, FUTEX_OWNER_DIED);
        }
    }
}
