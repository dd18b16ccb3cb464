//! Wait queues: how a blocked task learns that it should try again.
//!
//! A system call that cannot go on does not suspend in the middle: its handler
//! returns, the task is parked on wait queues, and when one of them is woken
//! the handler runs again from its start (`syscall::Flow::Block`). So a queue
//! carries no data, only "something changed here". All state of a blocked task
//! is plain data, which is what lets a machine be frozen at any moment.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// One parked task's ticket. Queues hold weak references: a task that stopped waiting costs nothing.
#[derive(Debug)]
pub struct Waiter {
    tid: u32,
    woken: Cell<bool>,
    ready: Rc<RefCell<Vec<u32>>>,
}

impl Waiter {
    /// A ticket for task `tid`; waking appends the tid to `ready`, which the scheduler drains.
    pub fn new(tid: u32, ready: Rc<RefCell<Vec<u32>>>) -> Rc<Waiter> {
        Rc::new(Waiter { tid, woken: Cell::new(false), ready })
    }

    /// It was woken.
    pub fn woken(&self) -> bool {
        self.woken.get()
    }

    /// Wake the task. Only the first call counts.
    pub fn wake(&self) {
        if !self.woken.replace(true) {
            self.ready.borrow_mut().push(self.tid);
        }
    }
}

/// A place to wait for an object to change. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct WaitQueue(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: RefCell<Vec<Weak<Waiter>>>,
    generation: Cell<u64>,
}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> WaitQueue {
        WaitQueue::default()
    }

    /// Park a ticket here.
    pub fn add(&self, waiter: &Rc<Waiter>) {
        let mut waiters = self.0.waiters.borrow_mut();
        waiters.retain(|w| w.upgrade().is_some_and(|w| !w.woken.get()));
        waiters.push(Rc::downgrade(waiter));
    }

    /// Something changed: everyone parked here tries again.
    pub fn wake_all(&self) {
        self.0.generation.set(self.0.generation.get() + 1);
        for waiter in self.0.waiters.take() {
            if let Some(waiter) = waiter.upgrade() {
                waiter.wake();
            }
        }
    }

    /// Somebody is parked here.
    pub fn waited(&self) -> bool {
        self.0.waiters.borrow().iter().any(|w| w.upgrade().is_some_and(|w| !w.woken.get()))
    }

    /// Counts the calls of [`wake_all`](Self::wake_all): edge-triggered epoll compares it with what it saw last.
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }

    /// The same queue, not merely an equal one.
    pub fn same(&self, other: &WaitQueue) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
