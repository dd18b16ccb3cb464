//! POSIX message queues as files: the directory of their names, and the queues. See mq_overview(7).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::{
    Dirent, FileOps, Inode, InodeRef, Io, Make, NewInode, OpenFile, SetAttr, Stat, StatFs, Timespec, anon,
    mode, poll,
};
use crate::abi::Errno;
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Process};
use crate::net::socket::Socket;

/// statfs(2) magic number.
const MAGIC: u64 = 0x1980_0202;
/// Device number.
const DEV: u64 = 0x14;
const ROOT_INO: u64 = 1;
/// Most queues (fs.mqueue.queues_max).
const QUEUES_MAX: usize = 256;
/// Messages and bytes of a message when nobody says (fs.mqueue.msg_default, msgsize_default).
pub const DEFAULT: (u64, u64) = (10, 8192);
/// What the kernel takes for each message beside its text.
const MESSAGE_COST: u64 = 96;
/// Bytes of the cookie that SIGEV_THREAD sends.
pub const COOKIE: usize = 32;

/// The directory of all queues. There is one, however often it is mounted.
pub struct Directory {
    stat: Cell<Stat>,
    entries: RefCell<BTreeMap<Vec<u8>, Rc<Queue>>>,
    /// Queues that exist, those without a name as well.
    living: RefCell<Vec<Weak<Queue>>>,
    next_ino: Cell<u64>,
}

/// One message queue.
pub struct Queue {
    this: Weak<Queue>,
    stat: Cell<Stat>,
    /// Most messages.
    pub max_messages: u64,
    /// Most bytes of a message.
    pub message_size: u64,
    /// By priority, the oldest first.
    messages: RefCell<BTreeMap<u32, VecDeque<Vec<u8>>>>,
    notification: RefCell<Option<Notification>>,
    /// Calls that wait for a message.
    receivers: RefCell<Vec<Weak<()>>>,
    queue: WaitQueue,
}

/// Who is told of the next message in an empty queue, once. See mq_notify(3).
pub struct Notification {
    /// The process.
    pub owner: Weak<Process>,
    /// How.
    pub how: Notify,
}

/// How a process is told of a message.
pub enum Notify {
    /// SIGEV_NONE.
    Nothing,
    /// SIGEV_SIGNAL: number and value.
    Signal(u32, u64),
    /// SIGEV_THREAD: the C library's thread reads this cookie from a netlink socket.
    Socket(Rc<Socket>, [u8; COOKIE]),
}

/// The last byte of the cookie: what happened.
const WOKEN_UP: u8 = 1;
const REMOVED: u8 = 2;

impl Directory {
    /// An empty one.
    pub fn new() -> Rc<Directory> {
        let stat =
            Stat { dev: DEV, ino: ROOT_INO, mode: mode::S_IFDIR | 0o1777, nlink: 2, ..Stat::default() };
        Rc::new(Directory {
            stat: Cell::new(Stat { blksize: 4096, ..stat }),
            entries: RefCell::default(),
            living: RefCell::default(),
            next_ino: Cell::new(ROOT_INO + 1),
        })
    }

    /// The queue `name`.
    pub fn find(&self, name: &[u8]) -> Option<Rc<Queue>> {
        self.entries.borrow().get(name).cloned()
    }

    /// A new queue. ENOSPC; EMFILE when the owner's queues would take more than `budget` bytes (RLIMIT_MSGQUEUE).
    pub fn create(
        &self,
        name: &[u8],
        new: NewInode,
        (max_messages, message_size): (u64, u64),
        budget: u64,
        privileged: bool,
    ) -> Result<Rc<Queue>, Errno> {
        let mut living = self.living.borrow_mut();
        living.retain(|queue| queue.strong_count() > 0);
        if living.len() >= QUEUES_MAX && !privileged {
            return Err(Errno::ENOSPC);
        }
        let cost = |messages: u64, size: u64| size.saturating_add(MESSAGE_COST).saturating_mul(messages);
        let theirs = living.iter().filter_map(Weak::upgrade).filter(|queue| queue.stat.get().uid == new.uid);
        let used: u64 = theirs.map(|queue| cost(queue.max_messages, queue.message_size)).sum();
        if used.saturating_add(cost(max_messages, message_size)) > budget {
            return Err(Errno::EMFILE);
        }
        let ino = self.next_ino.replace(self.next_ino.get() + 1);
        let times =
            Stat { atime: new.now, mtime: new.now, ctime: new.now, btime: new.now, ..Stat::default() };
        let stat = Stat { dev: DEV, ino, nlink: 1, uid: new.uid, gid: new.gid, size: 80, ..times };
        let queue = Rc::new_cyclic(|this| Queue {
            this: Weak::clone(this),
            stat: Cell::new(Stat { mode: mode::S_IFREG | new.mode & 0o7777, blksize: 4096, ..stat }),
            max_messages,
            message_size,
            messages: RefCell::default(),
            notification: RefCell::default(),
            receivers: RefCell::default(),
            queue: WaitQueue::new(),
        });
        living.push(Rc::downgrade(&queue));
        self.entries.borrow_mut().insert(name.to_vec(), Rc::clone(&queue));
        Ok(queue)
    }
}

impl Inode for Directory {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(anon::with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        Ok(self.find(name).ok_or(Errno::ENOENT)?)
    }

    /// open(2) with O_CREAT makes queues too, with the default attributes.
    fn make(&self, name: &[u8], what: Make<'_>, new: NewInode) -> Result<InodeRef, Errno> {
        match what {
            Make::File if self.find(name).is_some() => Err(Errno::EEXIST),
            Make::File => Ok(self.create(name, new, DEFAULT, u64::MAX, false)?),
            _ => Err(Errno::EPERM),
        }
    }

    fn unlink(&self, name: &[u8], now: Timespec) -> Result<(), Errno> {
        let queue = self.entries.borrow_mut().remove(name).ok_or(Errno::ENOENT)?;
        queue.stat.set(Stat { nlink: 0, ctime: now, ..queue.stat.get() });
        Ok(())
    }

    fn read_dir(&self, from: u64, each: &mut dyn FnMut(Dirent) -> bool) -> Result<(), Errno> {
        // The inode number grows with each queue, so positions stay while others come and go.
        let entries = self.entries.borrow();
        let mut all: Vec<(u64, &Vec<u8>)> =
            entries.iter().map(|(name, q)| (q.stat.get().ino, name)).collect();
        all.sort_unstable();
        for (ino, name) in all.into_iter().filter(|(ino, _)| *ino >= from) {
            if !each(Dirent { ino, kind: mode::S_IFREG, name: name.clone(), next: ino + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn stat_fs(&self) -> StatFs {
        StatFs { magic: MAGIC, ..StatFs::default() }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Queue {
    /// Messages in it.
    pub fn len(&self) -> u64 {
        self.messages.borrow().values().map(|list| list.len() as u64).sum()
    }

    /// There is no message.
    pub fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }

    /// Woken when messages come and go.
    pub fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// A call begins to wait for a message; it does so while it holds the ticket.
    pub fn wait_for_message(&self) -> Rc<()> {
        let ticket = Rc::new(());
        self.receivers.borrow_mut().push(Rc::downgrade(&ticket));
        ticket
    }

    /// Add a message. EAGAIN: the queue is full. EMSGSIZE.
    pub fn send(&self, cx: &mut Ctx<'_>, priority: u32, text: Vec<u8>) -> Result<(), Errno> {
        if text.len() as u64 > self.message_size {
            return Err(Errno::EMSGSIZE);
        }
        if self.len() >= self.max_messages {
            return Err(Errno::EAGAIN);
        }
        let was_empty = self.is_empty();
        self.messages.borrow_mut().entry(priority).or_default().push_back(text);
        let mut receivers = self.receivers.borrow_mut();
        receivers.retain(|ticket| ticket.strong_count() > 0);
        let awaited = !receivers.is_empty();
        drop(receivers);
        if was_empty && !awaited {
            self.announce(cx);
        }
        self.queue.wake_all();
        Ok(())
    }

    /// Take the oldest message of the highest priority.
    pub fn receive(&self) -> Option<(u32, Vec<u8>)> {
        let mut messages = self.messages.borrow_mut();
        let mut entry = messages.last_entry()?;
        let (priority, text) = (*entry.key(), entry.get_mut().pop_front()?);
        if entry.get().is_empty() {
            entry.remove();
        }
        drop(messages);
        self.queue.wake_all();
        Some((priority, text))
    }

    /// The process that is registered for notification, if it still lives.
    pub fn notified(&self) -> Option<Rc<Process>> {
        let owner = self.notification.borrow().as_ref()?.owner.upgrade()?;
        owner.zombie.get().is_none().then_some(owner)
    }

    /// Register for notification. EBUSY: somebody is.
    pub fn notify(&self, notification: Notification) -> Result<(), Errno> {
        if self.notified().is_some() {
            return Err(Errno::EBUSY);
        }
        *self.notification.borrow_mut() = Some(notification);
        Ok(())
    }

    /// `process` is no longer registered.
    pub fn forget(&self, process: &Rc<Process>) {
        if self.notified().is_some_and(|owner| Rc::ptr_eq(&owner, process))
            && let Some(Notification { how: Notify::Socket(socket, cookie), .. }) = self.notification.take()
        {
            send_cookie(&socket, cookie, REMOVED);
        }
    }

    /// A message has come into the empty queue.
    fn announce(&self, cx: &mut Ctx<'_>) {
        let owner = self.notified();
        let (Some(notification), Some(owner)) = (self.notification.take(), owner) else { return };
        match notification.how {
            Notify::Nothing => {}
            Notify::Signal(number, value) => cx.kernel.signal_message(&cx.task, &owner, number, value),
            Notify::Socket(socket, cookie) => send_cookie(&socket, cookie, WOKEN_UP),
        }
    }

    fn describe(&self) -> String {
        let bytes: usize = self.messages.borrow().values().flatten().map(Vec::len).sum();
        let (kind, signal, pid) = match (self.notification.borrow().as_ref(), self.notified()) {
            (Some(Notification { how, .. }), Some(owner)) => match how {
                Notify::Signal(number, _) => (0, *number, owner.tgid),
                Notify::Nothing => (1, 0, owner.tgid),
                Notify::Socket(..) => (2, 0, owner.tgid),
            },
            _ => (0, 0, 0),
        };
        format!("QSIZE:{bytes:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
    }
}

fn send_cookie(socket: &Socket, mut cookie: [u8; COOKIE], what: u8) {
    cookie[COOKIE - 1] = what;
    socket.deliver_bytes(cookie.to_vec(), crate::net::Address::Netlink(0));
}

impl Inode for Queue {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(anon::with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn open(&self, _: &mut Ctx<'_>, _: u32) -> Result<Rc<dyn FileOps>, Errno> {
        Ok(Rc::new(QueueFile(self.this.upgrade().ok_or(Errno::ENXIO)?)))
    }

    fn stat_fs(&self) -> StatFs {
        StatFs { magic: MAGIC, ..StatFs::default() }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open queue.
pub struct QueueFile(pub Rc<Queue>);

impl FileOps for QueueFile {
    /// What read(2) gives is about the queue; messages come by mq_receive(3).
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, at: Option<u64>) -> Result<usize, Errno> {
        let text = self.0.describe();
        let from = usize::try_from(at.unwrap_or(0)).unwrap_or(usize::MAX);
        Ok(dst.put(text.as_bytes().get(from..).unwrap_or_default()))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        if !self.0.is_empty() {
            bits |= poll::IN | poll::RDNORM;
        }
        if self.0.len() < self.0.max_messages {
            bits |= poll::OUT | poll::WRNORM;
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.0.queue);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
