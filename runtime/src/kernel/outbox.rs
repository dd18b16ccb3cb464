//! Signals that objects ask for. An object (terminal, pipe, timer) has no
//! kernel at hand when it learns of something: it posts a notice here, and
//! the kernel sends the signals before any task runs on.

use std::cell::RefCell;
use std::rc::Rc;

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One thread, by tid.
    Task(u32),
    /// One process, by tgid.
    Process(u32),
    /// All processes of a process group.
    Group(u32),
}

/// Signals to be sent. Clones are the same box; `dispatch` drains it after
/// every system call, the machine after every completion.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Rc<RefCell<Vec<(Target, u32)>>>);

impl Outbox {
    /// Ask for `signal` to be sent.
    pub fn post(&self, target: Target, signal: u32) {
        self.0.borrow_mut().push((target, signal));
    }

    /// Everything asked for since the last call, oldest first.
    pub fn take(&self) -> Vec<(Target, u32)> {
        self.0.take()
    }
}
