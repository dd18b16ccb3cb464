//! Pseudo file systems made of tables: one file is one row with its name, mode
//! and the function that generates its contents. `proc` and `sysfs` are tables
//! for this; nothing here knows what they show.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::{
    Dentry, Dirent, FileOps, Inode, InodeRef, Io, OpenFile, SetAttr, Stat, StatFs, Timespec, mode, poll,
};
use crate::abi::Errno;
use crate::kernel::Ctx;
use crate::kernel::task::{Process, Task};
use crate::kernel::uts::Uts;
use crate::kernel::wait::WaitQueue;

/// Contents of a file, made anew whenever it is read from its beginning.
pub(super) type Generate = fn(&mut Ctx<'_>, &Subject) -> Result<Vec<u8>, Errno>;
/// What writing to a file does.
pub(super) type Store = fn(&mut Ctx<'_>, &Subject, &[u8]) -> Result<(), Errno>;
/// Number (which is its name), subject and row of a member of a directory whose members are not in a table.
pub(super) type Member = (u32, Subject, &'static Row);

/// What a name stands for.
pub(super) enum Kind {
    /// A directory of these rows.
    Dir(&'static [Row]),
    /// The same with members that are found out: all of them, ascending, or the one of a number.
    Found(&'static [Row], fn(&Subject) -> Vec<Member>, fn(&Subject, u32) -> Option<Member>),
    /// A file that never changes.
    Text(&'static str),
    /// A file.
    File(Generate),
    /// A file that can be written.
    Edit(Generate, Store),
    /// A file that poll(2) reports (POLLPRI, POLLERR) when the machine has been opened since it was read.
    Watched(Generate),
    /// A symbolic link that never changes.
    Symlink(&'static str),
    /// A symbolic link that depends on who looks.
    Link(fn(&Subject) -> Result<Vec<u8>, Errno>),
    /// A link that leads to an object, whatever its text says.
    Magic(fn(&Subject) -> Option<Rc<Dentry>>),
}

/// One name.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) kind: Kind,
}

/// A row with the usual permissions of its kind.
pub(super) const fn row(name: &'static str, kind: Kind) -> Row {
    let mode = match kind {
        Kind::Dir(_) | Kind::Found(..) => 0o555,
        Kind::Text(_) | Kind::File(_) | Kind::Watched(_) => 0o444,
        Kind::Edit(..) => 0o644,
        Kind::Symlink(_) | Kind::Link(_) | Kind::Magic(_) => 0o777,
    };
    Row { name, mode, kind }
}

/// A row with other permissions.
pub(super) const fn row_mode(name: &'static str, mode: u32, kind: Kind) -> Row {
    Row { name, mode, kind }
}

/// What the file system and the machine have in common: who is calling, and the first process.
#[derive(Default)]
pub struct World {
    current: RefCell<Weak<Task>>,
    init: RefCell<Weak<Process>>,
    /// The UTS namespace of who has no other.
    pub(crate) uts: Rc<Uts>,
    /// When the machine booted, wall clock.
    pub(super) booted: Cell<Timespec>,
    /// Drawn anew in each opening: what Linux calls a VM generation ID.
    pub(super) generation: Cell<[u8; 16]>,
    /// Woken when it changes.
    opened: WaitQueue,
}

impl World {
    /// `task` makes a system call: it is "self" until the next one.
    pub fn enter(&self, task: &Rc<Task>) {
        *self.current.borrow_mut() = Rc::downgrade(task);
        if task.process.tgid == 1 && self.init.borrow().strong_count() == 0 {
            *self.init.borrow_mut() = Rc::downgrade(&task.process);
        }
    }

    /// The machine was opened.
    pub(crate) fn new_generation(&self, id: [u8; 16]) {
        self.generation.set(id);
        self.opened.wake_all();
    }

    /// The caller.
    pub(super) fn current(&self) -> Option<Rc<Task>> {
        self.current.borrow().upgrade()
    }

    /// All processes: the first one and its descendants, by pid.
    pub(super) fn processes(&self) -> Vec<Rc<Process>> {
        let mut all: Vec<Rc<Process>> = self.init.borrow().upgrade().into_iter().collect();
        let mut next = 0;
        while let Some(process) = all.get(next).cloned() {
            all.extend(process.children.borrow().iter().cloned());
            next += 1;
        }
        all.sort_by_key(|process| process.tgid);
        all
    }
}

/// Whom a row is about.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) world: Rc<World>,
    /// The process, below /proc/PID.
    pub(super) process: Option<Rc<Process>>,
    /// The thread: the process's leader, or below task/TID.
    pub(super) tid: u32,
    /// The descriptor, below fd and fdinfo.
    pub(super) fd: i32,
}

impl Subject {
    /// The machine as a whole.
    pub(super) fn machine(world: &Rc<World>) -> Subject {
        Subject { world: Rc::clone(world), process: None, tid: 0, fd: -1 }
    }

    /// A living thread: the one meant, or any of the process when its leader has ended. ESRCH.
    pub(super) fn task(&self) -> Result<Rc<Task>, Errno> {
        let process = self.process.as_ref().ok_or(Errno::ESRCH)?;
        let threads = process.live_threads();
        let meant = threads.iter().find(|task| task.tid == self.tid).or(threads.first());
        meant.cloned().ok_or(Errno::ESRCH)
    }
}

/// An inode of a pseudo file system.
pub(super) struct Node {
    this: Weak<Node>,
    subject: Subject,
    row: &'static Row,
    ino: u64,
    fs: Filesystem,
}

/// What all nodes of one file system share.
#[derive(Clone, Copy)]
pub(super) struct Filesystem {
    pub(super) dev: u64,
    /// statfs(2) magic number.
    pub(super) magic: u64,
}

/// The root of a pseudo file system.
pub(super) fn root(subject: Subject, row: &'static Row, fs: Filesystem) -> InodeRef {
    Node::new(subject, row, 1, fs)
}

/// The inode number of `name` in directory `parent`: the same each time. FNV-1a.
fn ino_of(parent: u64, name: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ parent;
    let hash = name.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    (hash >> 20).max(2)
}

/// A number in its one decimal form.
fn decimal(name: &[u8]) -> Option<u32> {
    let number: u32 = std::str::from_utf8(name).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == name).then_some(number)
}

impl Node {
    /// What it is about, when it is `row`.
    pub(super) fn about(&self, row: &'static Row) -> Option<&Subject> {
        std::ptr::eq(self.row, row).then_some(&self.subject)
    }

    fn new(subject: Subject, row: &'static Row, ino: u64, fs: Filesystem) -> Rc<Node> {
        Rc::new_cyclic(|this| Node { this: Weak::clone(this), subject, row, ino, fs })
    }

    fn kind_bits(&self) -> u32 {
        kind_bits(&self.row.kind)
    }

    fn child(&self, name: &[u8], subject: Subject, row: &'static Row) -> InodeRef {
        Node::new(subject, row, ino_of(self.ino, name), self.fs)
    }

    /// Owner: the process's effective user, root for the machine.
    fn owner(&self) -> (u32, u32) {
        let cred = self.subject.task().ok().map(|task| Rc::clone(&task.cred.borrow()));
        cred.map_or((0, 0), |cred| (cred.euid, cred.egid))
    }
}

fn kind_bits(kind: &Kind) -> u32 {
    match kind {
        Kind::Dir(_) | Kind::Found(..) => mode::S_IFDIR,
        Kind::Text(_) | Kind::File(_) | Kind::Edit(..) | Kind::Watched(_) => mode::S_IFREG,
        Kind::Symlink(_) | Kind::Link(_) | Kind::Magic(_) => mode::S_IFLNK,
    }
}

impl Inode for Node {
    fn stat(&self) -> Stat {
        let (uid, gid) = self.owner();
        let now = self.subject.world.booted.get();
        let directory = self.kind_bits() == mode::S_IFDIR;
        Stat {
            dev: self.fs.dev,
            ino: self.ino,
            mode: self.kind_bits() | self.row.mode,
            nlink: if directory { 2 } else { 1 },
            uid,
            gid,
            blksize: if directory { 1024 } else { 4096 },
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            ..Stat::default()
        }
    }

    /// Truncation (O_TRUNC before a write) is accepted and means nothing.
    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        let owner = attr.mode.is_some() || attr.uid.is_some() || attr.gid.is_some();
        if owner { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        let (rows, find) = match &self.row.kind {
            Kind::Dir(rows) => (rows, None),
            Kind::Found(rows, _, find) => (rows, Some(find)),
            _ => return Err(Errno::ENOTDIR),
        };
        if let Some(row) = rows.iter().find(|row| row.name.as_bytes() == name) {
            return Ok(self.child(name, self.subject.clone(), row));
        }
        let member = find.and_then(|find| find(&self.subject, decimal(name)?));
        let (_, subject, row) = member.ok_or(Errno::ENOENT)?;
        Ok(self.child(name, subject, row))
    }

    fn read_dir(&self, from: u64, each: &mut dyn FnMut(Dirent) -> bool) -> Result<(), Errno> {
        let (rows, members) = match &self.row.kind {
            Kind::Dir(rows) => (rows, Vec::new()),
            Kind::Found(rows, list, _) => (rows, list(&self.subject)),
            _ => return Err(Errno::ENOTDIR),
        };
        let fixed = rows.iter().map(|row| (row.name.as_bytes().to_vec(), row)).enumerate();
        // A member's number is its position: closing descriptors while they are being listed skips none.
        let found = members
            .iter()
            .map(|(number, _, row)| (rows.len() + *number as usize, (number.to_string().into_bytes(), *row)));
        for (position, (name, row)) in fixed.chain(found).skip_while(|(at, _)| (*at as u64) < from) {
            let ino = ino_of(self.ino, &name);
            if !each(Dirent { ino, kind: kind_bits(&row.kind), name, next: position as u64 + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        match &self.row.kind {
            Kind::Symlink(target) => Ok(target.as_bytes().to_vec()),
            Kind::Link(target) => target(&self.subject),
            Kind::Magic(find) => {
                let dentry = find(&self.subject).ok_or(Errno::ENOENT)?;
                Ok(path_of(&dentry, self.subject.world.current().as_deref()))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn follow(&self) -> Option<Rc<Dentry>> {
        match &self.row.kind {
            Kind::Magic(find) => find(&self.subject),
            _ => None,
        }
    }

    fn open(&self, _: &mut Ctx<'_>, _: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let node = self.this.upgrade().ok_or(Errno::ENXIO)?;
        let seen = Cell::new(node.subject.world.opened.generation());
        Ok(Rc::new(PseudoFile { node, contents: RefCell::new(None), seen }))
    }

    fn stat_fs(&self) -> StatFs {
        StatFs { magic: self.fs.magic, ..StatFs::default() }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The path of `dentry` as somebody with the viewer's root sees it; the bare name of an anonymous file.
pub(crate) fn path_of(dentry: &Rc<Dentry>, viewer: Option<&Task>) -> Vec<u8> {
    let root = viewer.map(|task| Rc::clone(&task.fs.borrow().root.borrow()));
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = Rc::clone(dentry);
    while root.as_ref().is_none_or(|root| !Rc::ptr_eq(&at, root)) {
        let parent = at.parent.borrow().clone();
        let covered = at.mount.covers.borrow().clone();
        if let Some(parent) = parent {
            names.push(at.name.borrow().clone());
            at = parent;
        } else if let Some(covered) = covered {
            at = covered;
        } else if names.is_empty() && !at.name.borrow().is_empty() {
            return at.name.borrow().clone();
        } else {
            break;
        }
    }
    let mut path: Vec<u8> = names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect();
    if path.is_empty() {
        path.push(b'/');
    }
    if dentry.deleted.get() {
        path.extend_from_slice(b" (deleted)");
    }
    path
}

/// An open file of a pseudo file system.
struct PseudoFile {
    node: Rc<Node>,
    /// What the last read from the beginning generated.
    contents: RefCell<Option<Vec<u8>>>,
    /// [`World::opened`] when it was read last.
    seen: Cell<u64>,
}

impl PseudoFile {
    fn generate(&self, cx: &mut Ctx<'_>) -> Result<Vec<u8>, Errno> {
        match &self.node.row.kind {
            Kind::Text(text) => Ok(text.as_bytes().to_vec()),
            Kind::File(make) | Kind::Edit(make, _) | Kind::Watched(make) => make(cx, &self.node.subject),
            _ => Err(Errno::EISDIR),
        }
    }
}

impl FileOps for PseudoFile {
    fn read(
        &self,
        cx: &mut Ctx<'_>,
        _: &OpenFile,
        dst: &mut Io<'_>,
        at: Option<u64>,
    ) -> Result<usize, Errno> {
        let at = at.unwrap_or(0);
        if at == 0 || self.contents.borrow().is_none() {
            self.seen.set(self.node.subject.world.opened.generation());
            let made = self.generate(cx)?;
            *self.contents.borrow_mut() = Some(made);
        }
        let contents = self.contents.borrow();
        let rest = contents.as_deref().and_then(|c| c.get(usize::try_from(at).ok()?..));
        Ok(dst.put(rest.unwrap_or_default()))
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        _: &OpenFile,
        src: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        /// Settings are short.
        const LONGEST: usize = 4096;
        let Kind::Edit(_, store) = &self.node.row.kind else { return Err(Errno::EIO) };
        let mut bytes = vec![0; src.remaining().min(LONGEST)];
        let count = src.take(&mut bytes);
        store(cx, &self.node.subject, &bytes[..count])?;
        Ok(count)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let always = poll::IN | poll::RDNORM | poll::OUT | poll::WRNORM;
        let opened = self.node.subject.world.opened.generation() != self.seen.get();
        match self.node.row.kind {
            Kind::Watched(_) if opened => always | poll::PRI | poll::ERR,
            _ => always,
        }
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        if matches!(self.node.row.kind, Kind::Watched(_)) {
            visit(&self.node.subject.world.opened);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
