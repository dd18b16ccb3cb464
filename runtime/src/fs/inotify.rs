//! inotify(7): who wants to know what happens to which file.
//!
//! A watch names an inode by device and number and holds nothing, so a watched
//! file lives and dies as any other. [`Notify`] is the register of all watches;
//! every mount leads to it. The functions here are what the rest of the kernel
//! reports with; without a watch anywhere they return at once.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::{Dentry, FileOps, Inode, Io, OpenFile, mode, poll};
use crate::abi::Errno;
use crate::abi::event::*;
use crate::abi::fcntl::O_PATH;
use crate::kernel::Ctx;
use crate::kernel::wait::WaitQueue;
use crate::syscall::SysResult;

/// Events that a watch can ask for.
const ALL_EVENTS: u32 = 0xfff;
/// fs.inotify.max_queued_events.
const QUEUE_MAX: usize = 16384;
/// fs.inotify.max_user_watches.
const WATCHES_MAX: usize = 1 << 20;
/// fs.inotify.max_user_instances.
const INSTANCES_MAX: usize = 128;
/// Bytes of `struct inotify_event` without the name.
const HEADER: usize = size_of::<InotifyEvent>();

/// What a watch is on: device and inode number.
type Key = (u64, u64);

/// All watches of a machine.
#[derive(Default)]
pub struct Notify {
    watches: RefCell<BTreeMap<Key, Vec<(Weak<Inotify>, i32)>>>,
    count: Cell<usize>,
    instances: Cell<usize>,
    cookie: Cell<u32>,
}

/// Something that happened.
#[derive(Clone, Copy)]
struct Happening<'a> {
    mask: u32,
    name: &'a [u8],
    cookie: u32,
    /// It was done through a name that is gone (IN_EXCL_UNLINK).
    unlinked: bool,
}

impl Notify {
    fn idle(&self) -> bool {
        self.count.get() == 0
    }

    /// Joins the two events of one rename.
    fn next_cookie(&self) -> u32 {
        self.cookie.set(self.cookie.get().wrapping_add(1).max(1));
        self.cookie.get()
    }

    fn send(&self, key: Key, happening: Happening<'_>) {
        let watching: Vec<(Rc<Inotify>, i32)> = {
            let watches = self.watches.borrow();
            let found = watches.get(&key).into_iter().flatten();
            found.filter_map(|(instance, wd)| Some((instance.upgrade()?, *wd))).collect()
        };
        for (instance, wd) in watching {
            instance.happened(wd, happening);
        }
    }

    fn add(&self, key: Key, instance: Weak<Inotify>, wd: i32) {
        self.watches.borrow_mut().entry(key).or_default().push((instance, wd));
        self.count.set(self.count.get() + 1);
    }

    fn forget(&self, key: Key, instance: &Weak<Inotify>, wd: i32) {
        let mut watches = self.watches.borrow_mut();
        let Some(list) = watches.get_mut(&key) else { return };
        let before = list.len();
        list.retain(|(other, number)| *number != wd || !Weak::ptr_eq(other, instance));
        self.count.set(self.count.get() - (before - list.len()));
        if list.is_empty() {
            watches.remove(&key);
        }
    }

    /// The last name and the last user of an inode are gone.
    pub(super) fn inode_gone(&self, dev: u64, ino: u64) {
        if !self.idle() {
            self.end(|key| key == (dev, ino), IN_DELETE_SELF);
        }
    }

    /// A file system is gone with all that was in it.
    pub(super) fn unmounted(&self, dev: u64) {
        if !self.idle() {
            self.end(|key| key.0 == dev, IN_UNMOUNT);
        }
    }

    /// The watches on what `gone` names end after a last event.
    fn end(&self, gone: impl Fn(Key) -> bool, mask: u32) {
        let keys: Vec<Key> = self.watches.borrow().keys().copied().filter(|&key| gone(key)).collect();
        for key in keys {
            let ended = self.watches.borrow().get(&key).cloned().unwrap_or_default();
            for (instance, wd) in ended {
                if let Some(instance) = instance.upgrade() {
                    instance.happened(wd, Happening { mask, name: b"", cookie: 0, unlinked: false });
                    instance.end(wd);
                }
            }
        }
    }
}

fn key(inode: &dyn Inode) -> Key {
    let stat = inode.stat();
    (stat.dev, stat.ino)
}

/// IN_ISDIR where it belongs.
fn with_kind(inode: &dyn Inode, mask: u32) -> u32 {
    if inode.stat().mode & mode::S_IFMT == mode::S_IFDIR { mask | IN_ISDIR } else { mask }
}

/// `mask` happened to what `dentry` names: who watches its directory learns the name, who watches it does not.
pub fn happened(dentry: &Dentry, mask: u32) {
    let notify = &dentry.mount.notify;
    if notify.idle() {
        return;
    }
    let mask = with_kind(&*dentry.inode, mask);
    let unlinked = dentry.deleted.get();
    if let Some(parent) = dentry.parent.borrow().as_ref() {
        let name = dentry.name.borrow().clone();
        notify.send(key(&*parent.inode), Happening { mask, name: &name, cookie: 0, unlinked });
    }
    notify.send(key(&*dentry.inode), Happening { mask, name: b"", cookie: 0, unlinked: false });
}

/// The same for an open file.
pub fn file_happened(file: &OpenFile, mask: u32) {
    if file.flags.get() & O_PATH == 0 {
        happened(&file.dentry, mask);
    }
}

/// `name` was made in `dir` and stands for `child`.
pub fn created(dir: &Dentry, name: &[u8], child: &dyn Inode) {
    entry(dir, name, child, IN_CREATE, 0);
}

/// `name`, which stood for `child`, was removed from `dir`. Say [`links_changed`] first.
pub fn deleted(dir: &Dentry, name: &[u8], child: &dyn Inode) {
    entry(dir, name, child, IN_DELETE, 0);
}

fn entry(dir: &Dentry, name: &[u8], child: &dyn Inode, mask: u32, cookie: u32) {
    let notify = &dir.mount.notify;
    if !notify.idle() {
        let mask = with_kind(child, mask);
        notify.send(key(&*dir.inode), Happening { mask, name, cookie, unlinked: false });
    }
}

/// The number of names of `inode` changed, by something done in `dir`.
pub fn links_changed(dir: &Dentry, inode: &dyn Inode) {
    let notify = &dir.mount.notify;
    if !notify.idle() {
        notify.send(key(inode), Happening { mask: IN_ATTRIB, name: b"", cookie: 0, unlinked: false });
    }
}

/// `moved` went from `from` (directory, name) to `to`, where `replaced` was.
pub fn renamed(
    from: (&Dentry, &[u8]),
    to: (&Dentry, &[u8]),
    moved: &dyn Inode,
    replaced: Option<&dyn Inode>,
) {
    let notify = &from.0.mount.notify;
    if notify.idle() {
        return;
    }
    let cookie = notify.next_cookie();
    entry(from.0, from.1, moved, IN_MOVED_FROM, cookie);
    entry(to.0, to.1, moved, IN_MOVED_TO, cookie);
    if let Some(replaced) = replaced {
        links_changed(to.0, replaced);
    }
    notify.send(key(moved), Happening { mask: IN_MOVE_SELF, name: b"", cookie: 0, unlinked: false });
}

/// One inotify instance: watches, and events not yet read.
pub struct Inotify {
    this: Weak<Inotify>,
    notify: Rc<Notify>,
    watches: RefCell<BTreeMap<i32, Watch>>,
    last_wd: Cell<i32>,
    events: RefCell<VecDeque<Event>>,
    queue: WaitQueue,
}

#[derive(Clone, Copy)]
struct Watch {
    key: Key,
    mask: u32,
}

#[derive(Clone, PartialEq, Eq)]
struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    /// The name as it is given: NUL-terminated, filled up to whole headers.
    fn name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER) }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = self.name_len();
        let mut bytes = Vec::with_capacity(HEADER + len);
        for word in [self.wd.cast_unsigned(), self.mask, self.cookie, len as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEADER + len, 0);
        bytes
    }
}

impl Inotify {
    /// An instance without watches. EMFILE.
    pub fn new(notify: &Rc<Notify>) -> Result<Rc<Inotify>, Errno> {
        if notify.instances.get() >= INSTANCES_MAX {
            return Err(Errno::EMFILE);
        }
        notify.instances.set(notify.instances.get() + 1);
        Ok(Rc::new_cyclic(|this| Inotify {
            this: Weak::clone(this),
            notify: Rc::clone(notify),
            watches: RefCell::default(),
            last_wd: Cell::new(0),
            events: RefCell::default(),
            queue: WaitQueue::new(),
        }))
    }

    /// Watch `inode`, or change what an existing watch asks for; its descriptor. EINVAL, EEXIST, ENOSPC.
    pub fn watch(&self, inode: &dyn Inode, mask: u32) -> Result<i32, Errno> {
        if mask & ALL_EVENTS == 0 || mask & IN_MASK_ADD != 0 && mask & IN_MASK_CREATE != 0 {
            return Err(Errno::EINVAL);
        }
        let key = key(inode);
        let kept = mask & (ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let mut watches = self.watches.borrow_mut();
        if let Some((&wd, watch)) = watches.iter_mut().find(|(_, watch)| watch.key == key) {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            watch.mask = if mask & IN_MASK_ADD != 0 { watch.mask | kept } else { kept };
            return Ok(wd);
        }
        if self.notify.count.get() >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let wd = self.last_wd.get().checked_add(1).ok_or(Errno::ENOSPC)?;
        self.last_wd.set(wd);
        watches.insert(wd, Watch { key, mask: kept });
        self.notify.add(key, Weak::clone(&self.this), wd);
        Ok(wd)
    }

    /// Watch no more. EINVAL: no such watch.
    pub fn unwatch(&self, wd: i32) -> Result<(), Errno> {
        if self.end(wd) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// The watch is over, and its last event says so. False when there was none.
    fn end(&self, wd: i32) -> bool {
        let Some(watch) = self.watches.borrow_mut().remove(&wd) else { return false };
        self.notify.forget(watch.key, &self.this, wd);
        self.push(Event { wd, mask: IN_IGNORED, cookie: 0, name: Vec::new() });
        true
    }

    fn happened(&self, wd: i32, what: Happening<'_>) {
        let Some(watch) = self.watches.borrow().get(&wd).copied() else { return };
        let wanted = what.mask & (watch.mask | IN_UNMOUNT);
        if wanted & (ALL_EVENTS | IN_UNMOUNT) == 0 || what.unlinked && watch.mask & IN_EXCL_UNLINK != 0 {
            return;
        }
        // Of what happened to the watched inode itself, Linux does not say that it is a directory.
        let of_self = wanted & (IN_DELETE_SELF | IN_MOVE_SELF) != 0;
        let mask = if of_self { wanted } else { wanted | what.mask & IN_ISDIR };
        self.push(Event { wd, mask, cookie: what.cookie, name: what.name.to_vec() });
        if watch.mask & IN_ONESHOT != 0 {
            self.end(wd);
        }
    }

    fn push(&self, event: Event) {
        let mut events = self.events.borrow_mut();
        // Successive equal events are one, see inotify(7).
        if events.back() == Some(&event) {
            return;
        }
        let overflow = Event { wd: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: Vec::new() };
        match events.len() {
            QUEUE_MAX.. if events.back() == Some(&overflow) => return,
            QUEUE_MAX.. => events.push_back(overflow),
            _ => events.push_back(event),
        }
        drop(events);
        self.queue.wake_all();
    }

    /// What fdinfo shows of the watches.
    pub fn describe(&self) -> String {
        let watches = self.watches.borrow();
        let line = |(wd, watch): (&i32, &Watch)| {
            let (dev, ino) = watch.key;
            format!("inotify wd:{wd:x} ino:{ino:x} sdev:{dev:x} mask:{:x} ignored_mask:0 \n", watch.mask)
        };
        watches.iter().map(line).collect()
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        for (wd, watch) in std::mem::take(self.watches.get_mut()) {
            self.notify.forget(watch.key, &self.this, wd);
        }
        self.notify.instances.set(self.notify.instances.get() - 1);
    }
}

impl FileOps for Inotify {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        let mut events = self.events.borrow_mut();
        let mut done = 0;
        while let Some(event) = events.front() {
            let bytes = event.bytes();
            if bytes.len() > dst.remaining() {
                // Not even the first fits.
                return if done == 0 { Err(Errno::EINVAL) } else { Ok(done) };
            }
            done += dst.put(&bytes);
            events.pop_front();
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        if self.events.borrow().is_empty() { 0 } else { poll::IN | poll::RDNORM }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.queue);
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        const FIONREAD: u32 = 0x541b;
        if cmd != FIONREAD {
            return Err(Errno::ENOTTY.into());
        }
        let bytes: usize = self.events.borrow().iter().map(|event| HEADER + event.name_len()).sum();
        cx.write_user(arg, &(bytes as u32))?;
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
