//! Signal-driven input: O_ASYNC, F_SETOWN and F_SETSIG. See fcntl(2), "Managing signals".
//!
//! A description with O_ASYNC has a ticket on the queue that its input wakes, as a task has that waits for it. When the
//! ticket is woken the owner gets the signal, and the next one waits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::Kernel;
use super::outbox::Target;
use super::task::Process;
use super::wait::{WaitQueue, Waiter};
use crate::abi::fcntl::O_ASYNC;
use crate::abi::signal::{POLL_ERR, POLL_HUP, POLL_IN, POLL_PRI, SIGIO, SigInfo};
use crate::fs::inotify::Inotify;
use crate::fs::{FileRef, OpenFile, mode, poll};

/// Who is told of a description's input, and with which signal.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileOwner {
    /// F_SETOWN, F_SETOWN_EX.
    pub target: Option<Target>,
    /// User ID and effective user ID of who set it: they decide whether it may be told.
    pub ids: (u32, u32),
    /// F_SETSIG; 0: SIGIO without more to say.
    pub signal: u32,
}

/// The descriptions that have O_ASYNC.
#[derive(Default)]
pub struct AsyncFiles {
    /// Numbers of those whose tickets were woken.
    woken: Rc<RefCell<Vec<u32>>>,
    watched: BTreeMap<u32, Watched>,
    last: u32,
}

struct Watched {
    file: Weak<OpenFile>,
    /// The descriptor by which it was asked for: si_fd.
    fd: i32,
    ticket: Rc<Waiter>,
}

impl AsyncFiles {
    /// O_ASYNC was set. Nothing happens to a file whose input nobody waits for.
    pub fn watch(&mut self, fd: i32, file: &FileRef) {
        self.watched.retain(|_, it| it.file.strong_count() > 0);
        let known = |it: &Watched| std::ptr::eq(it.file.as_ptr(), Rc::as_ptr(file));
        if !supports(file) || self.watched.values().any(known) {
            return;
        }
        self.last = self.last.wrapping_add(1);
        let ticket = self.ticket(self.last, file);
        self.watched.insert(self.last, Watched { file: Rc::downgrade(file), fd, ticket });
    }

    /// A ticket on the first of the file's queues, which is the one of its input.
    fn ticket(&self, number: u32, file: &OpenFile) -> Rc<Waiter> {
        let ticket = Waiter::new(number, Rc::clone(&self.woken));
        let mut input: Option<WaitQueue> = None;
        file.ops.queues(&mut |queue| {
            input.get_or_insert_with(|| queue.clone());
        });
        if let Some(queue) = input {
            queue.add(&ticket);
        }
        ticket
    }
}

/// Files that send signals: sockets, terminals, what can be read of a pipe, inotify.
pub fn supports(file: &OpenFile) -> bool {
    match file.dentry.inode.stat().mode & mode::S_IFMT {
        mode::S_IFSOCK | mode::S_IFCHR => true,
        mode::S_IFIFO => file.readable(),
        _ => file.ops.as_any().is::<Inotify>(),
    }
}

/// si_code and si_band for what can be had now.
fn reason(file: &OpenFile) -> Option<(i32, u32)> {
    let bits = file.ops.poll(file);
    let socket = file.dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFSOCK;
    if bits & poll::PRI != 0 {
        Some((POLL_PRI, poll::PRI))
    } else if bits & poll::HUP != 0 && socket {
        Some((POLL_HUP, poll::HUP | poll::ERR))
    } else if bits & (poll::IN | poll::HUP) != 0 {
        Some((POLL_IN, poll::IN | poll::RDNORM))
    } else if bits & poll::ERR != 0 {
        Some((POLL_ERR, poll::ERR))
    } else {
        None
    }
}

impl Kernel {
    /// Tell the owners of descriptions whose input was woken.
    pub(super) fn tell_owners(&mut self) {
        if self.async_files.woken.borrow().is_empty() {
            return;
        }
        for number in self.async_files.woken.take() {
            let watched = self.async_files.watched.get(&number);
            let woken = watched.filter(|it| it.ticket.woken());
            let Some((file, fd)) = woken.and_then(|it| Some((it.file.upgrade()?, it.fd))) else { continue };
            if file.flags.get() & O_ASYNC == 0 {
                self.async_files.watched.remove(&number);
                continue;
            }
            let ticket = self.async_files.ticket(number, &file);
            if let Some(watched) = self.async_files.watched.get_mut(&number) {
                watched.ticket = ticket;
            }
            if let Some((code, band)) = reason(&file) {
                self.signal_owner(file.owner.get(), code, band, fd);
            }
        }
    }

    fn signal_owner(&mut self, owner: FileOwner, code: i32, band: u32, fd: i32) {
        let mut info = SigInfo::kernel(SIGIO);
        if owner.signal != 0 {
            info = SigInfo::new(owner.signal, code);
            info.fields[0] = u64::from(band);
            info.fields[1] = u64::from(fd.cast_unsigned());
        }
        let processes: Vec<Rc<Process>> = match owner.target {
            None => Vec::new(),
            Some(Target::Task(tid)) => {
                if let Some(task) =
                    self.tasks.get(&tid).cloned().filter(|task| may_tell(owner, &task.process))
                {
                    // A full queue is nobody's failure.
                    let _ = self.signal_task(&task, info);
                }
                return;
            }
            Some(Target::Process(tgid)) => self.process(tgid).into_iter().collect(),
            Some(Target::Group(pgid)) => self.processes(|process| process.pgid.get() == pgid),
        };
        for process in processes.iter().filter(|process| may_tell(owner, process)) {
            let _ = self.signal_process(process, info);
        }
    }
}

/// As for kill(2), by who set the owner.
fn may_tell(owner: FileOwner, process: &Process) -> bool {
    let (uid, euid) = owner.ids;
    let target = process.live_threads().first().map(|task| {
        let cred = task.cred.borrow();
        [cred.uid, cred.suid]
    });
    target.is_some_and(|ids| euid == 0 || ids.contains(&uid) || ids.contains(&euid))
}
