//! epoll(7): a set of files and what is wanted of each.
//!
//! Nothing is registered with the files. A wait looks at all of them and parks
//! on all their queues; edge-triggering compares the queues' generations with
//! those seen when the file was last reported.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::{FileOps, FileRef, OpenFile, console, dev, mode, poll};
use crate::abi::Errno;
use crate::abi::event::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP, EpollEvent};
use crate::kernel::wait::WaitQueue;

/// Bits of an interest that are not events.
const PRIVATE: u32 = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
/// What may stand beside EPOLLEXCLUSIVE.
const WITH_EXCLUSIVE: u32 =
    poll::IN | poll::OUT | poll::ERR | poll::HUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
/// How deep epolls may watch epolls.
const MAX_NESTING: usize = 5;

/// A description is watched under the descriptor it was added by: both make the key.
type Key = (i32, usize);

/// The set behind an epoll descriptor.
#[derive(Default)]
pub struct Epoll {
    items: RefCell<BTreeMap<Key, Item>>,
    /// Reported last: the next wait begins after it, so that everyone has a turn.
    last: Cell<Key>,
    /// Woken when the set changes.
    changed: WaitQueue,
}

struct Item {
    file: Weak<OpenFile>,
    events: u32,
    data: u64,
    /// Sum of the generations of the file's queues when it was reported last; none: never since added or modified.
    seen: Option<u64>,
    /// EPOLLONESHOT has fired.
    spent: bool,
}

impl Item {
    /// The bits to report now, and the file's generation.
    fn ready(&self) -> Option<(u32, u64)> {
        let file = self.file.upgrade().filter(|_| !self.spent)?;
        let bits = file.ops.poll(&file) & (self.events & !PRIVATE | poll::ERR | poll::HUP);
        let generation = generation(&file);
        let stale = self.events & EPOLLET != 0 && self.seen == Some(generation);
        (bits != 0 && !stale).then_some((bits, generation))
    }
}

fn generation(file: &FileRef) -> u64 {
    let mut sum = 0u64;
    file.ops.queues(&mut |queue| sum = sum.wrapping_add(queue.generation()));
    sum
}

fn key(fd: i32, file: &FileRef) -> Key {
    (fd, Rc::as_ptr(file).addr())
}

/// The epoll that `file` is, if it is one.
fn nested(file: &OpenFile) -> Option<&Epoll> {
    file.ops.as_any().downcast_ref()
}

/// Files whose state never changes cannot be watched.
fn watchable(file: &OpenFile) -> bool {
    let kind = file.dentry.inode.stat().mode & mode::S_IFMT;
    kind != mode::S_IFREG && kind != mode::S_IFDIR && !dev::always_ready(file)
}

impl Epoll {
    /// Files watched, those closed since included.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// EPOLL_CTL_ADD. EEXIST, EPERM, ELOOP, EINVAL.
    pub fn add(&self, fd: i32, file: &FileRef, event: EpollEvent) -> Result<(), Errno> {
        if !watchable(file) {
            return Err(Errno::EPERM);
        }
        let exclusive = event.events & EPOLLEXCLUSIVE != 0;
        if exclusive && (event.events & !WITH_EXCLUSIVE != 0 || nested(file).is_some()) {
            return Err(Errno::EINVAL);
        }
        if let Some(inner) = nested(file)
            && !inner.nesting_allows(self, MAX_NESTING - 1)
        {
            return Err(Errno::ELOOP);
        }
        let mut items = self.items.borrow_mut();
        items.retain(|_, item| item.file.strong_count() > 0);
        let item = Item {
            file: Rc::downgrade(file),
            events: event.events,
            data: event.data,
            seen: None,
            spent: false,
        };
        if items.contains_key(&key(fd, file)) {
            return Err(Errno::EEXIST);
        }
        items.insert(key(fd, file), item);
        drop(items);
        self.changed.wake_all();
        Ok(())
    }

    /// Watching this from `outer` makes neither a loop nor too deep a chain.
    fn nesting_allows(&self, outer: &Epoll, depth: usize) -> bool {
        if std::ptr::eq(self, outer) {
            return false;
        }
        self.items
            .borrow()
            .values()
            .filter_map(|item| item.file.upgrade())
            .all(|file| nested(&file).is_none_or(|inner| depth > 0 && inner.nesting_allows(outer, depth - 1)))
    }

    /// EPOLL_CTL_MOD. ENOENT, EINVAL.
    pub fn modify(&self, fd: i32, file: &FileRef, event: EpollEvent) -> Result<(), Errno> {
        let mut items = self.items.borrow_mut();
        let item = items.get_mut(&key(fd, file)).ok_or(Errno::ENOENT)?;
        if (event.events | item.events) & EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        (item.events, item.data, item.seen, item.spent) = (event.events, event.data, None, false);
        drop(items);
        self.changed.wake_all();
        Ok(())
    }

    /// EPOLL_CTL_DEL. ENOENT.
    pub fn remove(&self, fd: i32, file: &FileRef) -> Result<(), Errno> {
        self.items.borrow_mut().remove(&key(fd, file)).map(|_| ()).ok_or(Errno::ENOENT)
    }

    /// Up to `max` events; they count as reported.
    pub fn take_ready(&self, max: usize) -> Vec<EpollEvent> {
        let mut items = self.items.borrow_mut();
        items.retain(|_, item| item.file.strong_count() > 0);
        let last = self.last.get();
        let (before, after): (Vec<Key>, Vec<Key>) = items.keys().partition(|k| **k <= last);
        let mut events = Vec::new();
        for key in after.into_iter().chain(before) {
            if events.len() == max {
                break;
            }
            let Some(item) = items.get_mut(&key) else { continue };
            let Some((bits, generation)) = item.ready() else { continue };
            item.seen = Some(generation);
            item.spent = item.events & EPOLLONESHOT != 0;
            events.push(EpollEvent { events: bits, pad: 0, data: item.data });
            self.last.set(key);
        }
        events
    }

    /// A wait is about to begin: input from outside may be wanted.
    pub fn note_interest(&self) {
        for item in self.items.borrow().values() {
            if let Some(file) = item.file.upgrade() {
                console::note_interest(&file, item.events);
                if let Some(inner) = nested(&file) {
                    inner.note_interest();
                }
            }
        }
    }

    /// One line per file, as /proc/PID/fdinfo shows them.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for ((fd, _), item) in self.items.borrow().iter() {
            let Some(file) = item.file.upgrade() else { continue };
            let (ino, pos) = (file.dentry.inode.stat().ino, file.pos.get());
            let (events, data) = (item.events, item.data);
            text +=
                &format!("tfd: {fd:8} events: {events:8x} data: {data:16x}  pos:{pos} ino:{ino:x} sdev:0\n");
        }
        text
    }
}

impl FileOps for Epoll {
    fn poll(&self, _: &OpenFile) -> u32 {
        let ready = self.items.borrow().values().any(|item| item.ready().is_some());
        if ready { poll::IN | poll::RDNORM } else { 0 }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.changed);
        for item in self.items.borrow().values().filter(|item| !item.spent) {
            if let Some(file) = item.file.upgrade() {
                file.ops.queues(visit);
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::fcntl::{O_RDONLY, O_WRONLY};
    use crate::fs::Io;
    use crate::fs::pipe::{Pipe, PipeEnd};
    use crate::fs::testing::anonymous;

    fn pipe() -> (Rc<Pipe>, FileRef, FileRef) {
        let pipe = Rc::new(Pipe::default());
        let end = |access| anonymous(PipeEnd::new(&pipe, access), access);
        let (read, write) = (end(O_RDONLY), end(O_WRONLY));
        (pipe, read, write)
    }

    fn event(events: u32, data: u64) -> EpollEvent {
        EpollEvent { events, pad: 0, data }
    }

    fn take(epoll: &Epoll) -> Vec<(u32, u64)> {
        epoll.take_ready(10).iter().map(|e| (e.events, e.data)).collect()
    }

    #[test]
    fn level_reports_as_long_as_it_holds() {
        let (pipe, read, _write) = pipe();
        let epoll = Epoll::default();
        epoll.add(3, &read, event(poll::IN, 7)).unwrap();
        assert_eq!(take(&epoll), []);
        pipe.write(&mut Io::bytes(b"x"), false).unwrap();
        assert_eq!(take(&epoll), [(poll::IN, 7)]);
        assert_eq!(take(&epoll), [(poll::IN, 7)]);
        pipe.read(&mut Io::kernel(&mut [0; 4])).unwrap();
        assert_eq!(take(&epoll), []);
    }

    #[test]
    fn edge_reports_each_change_once() {
        let (pipe, read, _write) = pipe();
        let epoll = Epoll::default();
        epoll.add(3, &read, event(poll::IN | EPOLLET, 7)).unwrap();
        pipe.write(&mut Io::bytes(b"x"), false).unwrap();
        assert_eq!(take(&epoll), [(poll::IN, 7)]);
        assert_eq!(take(&epoll), []);
        // More arrives though the first byte was not read.
        pipe.write(&mut Io::bytes(b"y"), false).unwrap();
        assert_eq!(take(&epoll), [(poll::IN, 7)]);
        assert_eq!(take(&epoll), []);
        // Modifying reports again.
        epoll.modify(3, &read, event(poll::IN | EPOLLET, 8)).unwrap();
        assert_eq!(take(&epoll), [(poll::IN, 8)]);
    }

    #[test]
    fn one_shot_waits_for_modify() {
        let (pipe, read, write) = pipe();
        let epoll = Epoll::default();
        epoll.add(3, &read, event(poll::IN | EPOLLONESHOT, 7)).unwrap();
        pipe.write(&mut Io::bytes(b"x"), false).unwrap();
        assert_eq!(take(&epoll).len(), 1);
        drop(write);
        assert_eq!(take(&epoll), [], "not even the hangup");
        epoll.modify(3, &read, event(poll::IN | EPOLLONESHOT, 7)).unwrap();
        assert_eq!(take(&epoll), [(poll::IN | poll::HUP, 7)]);
    }

    #[test]
    fn nesting_loops_are_refused_and_inner_readiness_shows() {
        let (pipe, read, _write) = pipe();
        let chain: Vec<FileRef> = (0..7).map(|_| anonymous(Rc::new(Epoll::default()), 0)).collect();
        let of = |file: &FileRef| -> *const Epoll { nested(file).unwrap() };
        let add = |outer: usize, inner: usize| {
            nested(&chain[outer]).unwrap().add(9, &chain[inner], event(poll::IN, 1))
        };
        assert_ne!(of(&chain[0]), of(&chain[1]));
        add(0, 1).unwrap();
        assert_eq!(add(1, 0), Err(Errno::ELOOP));
        nested(&chain[1]).unwrap().add(3, &read, event(poll::IN, 2)).unwrap();
        assert_eq!(take(nested(&chain[0]).unwrap()), []);
        pipe.write(&mut Io::bytes(b"x"), false).unwrap();
        assert_eq!(take(nested(&chain[0]).unwrap()), [(poll::IN, 1)]);
    }

    #[test]
    fn closed_files_leave_by_themselves() {
        let (_pipe, read, _write) = pipe();
        let epoll = Epoll::default();
        epoll.add(3, &read, event(poll::IN, 7)).unwrap();
        assert_eq!(epoll.add(3, &read, event(poll::IN, 7)), Err(Errno::EEXIST));
        epoll.add(4, &read, event(poll::IN, 8)).unwrap();
        drop(read);
        assert_eq!(take(&epoll), []);
        assert!(epoll.is_empty());
    }

    #[test]
    fn everyone_has_a_turn() {
        let pipes: Vec<_> = (0..3).map(|_| pipe()).collect();
        let epoll = Epoll::default();
        for (fd, (pipe, read, _)) in pipes.iter().enumerate() {
            epoll.add(fd as i32, read, event(poll::IN, fd as u64)).unwrap();
            pipe.write(&mut Io::bytes(b"x"), false).unwrap();
        }
        let mut turns: Vec<u64> = (0..3).map(|_| epoll.take_ready(1)[0].data).collect();
        turns.sort_unstable();
        assert_eq!(turns, [0, 1, 2]);
    }
}
