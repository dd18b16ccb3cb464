//! An inode of the in-memory file system, and what can be done to it by name.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::data::{FileData, PAGE};
use super::dir::{DirData, Found};
use super::file::MemFile;
use super::{INODE_COST, MemFs};
use crate::abi::Errno;
use crate::abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE, XATTR_CREATE, XATTR_REPLACE};
use crate::fs::{
    Dirent, FileOps, Inode, InodeRef, Make, NewInode, Pages, SetAttr, Stat, StatFs, Timespec, dev, mode, pipe,
};
use crate::kernel::Ctx;
use crate::mm::shared::Sharers;

/// Extended attributes of one inode take at most this, names and values together.
const XATTR_BYTES: usize = 64 << 10;

/// One inode.
pub struct MemInode {
    this: Weak<MemInode>,
    pub(super) fs: Rc<MemFs>,
    ino: u64,
    /// Its number in the base, when it comes from there.
    base_ino: Option<u32>,
    pub(super) meta: RefCell<Meta>,
    pub(super) body: Body,
    /// None: the base's, unchanged.
    xattrs: RefCell<Option<Xattrs>>,
    attachment: RefCell<Option<Rc<dyn Any>>>,
    pub(super) sharers: Sharers,
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    rdev: u64,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
    btime: Timespec,
    /// Bytes taken from the quota.
    pub(super) cost: u64,
    /// Names in that sum, beyond the first.
    paid_links: u32,
    /// Extended attributes in that sum: the most there ever were.
    paid_xattrs: u64,
}

impl Meta {
    pub(super) fn new(new: NewInode, nlink: u32, rdev: u64) -> Meta {
        Meta {
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            nlink,
            rdev,
            atime: new.now,
            mtime: new.now,
            ctime: new.now,
            btime: new.now,
            cost: 0,
            paid_links: 0,
            paid_xattrs: 0,
        }
    }
}

/// What an inode holds.
pub(super) enum Body {
    File(FileData),
    Dir(DirData),
    Symlink(Cow<'static, [u8]>),
    /// A device node, fifo or socket.
    Node,
}

impl MemInode {
    pub(super) fn create(
        fs: &Rc<MemFs>,
        ino: u64,
        base_ino: Option<u32>,
        meta: Meta,
        body: Body,
    ) -> Rc<MemInode> {
        Rc::new_cyclic(|this| MemInode {
            this: Weak::clone(this),
            fs: Rc::clone(fs),
            ino,
            base_ino,
            meta: RefCell::new(meta),
            body,
            xattrs: RefCell::new(if base_ino.is_some() { None } else { Some(Xattrs::new()) }),
            attachment: RefCell::new(None),
            sharers: Sharers::default(),
        })
    }

    /// About to change: an inode of the base must outlive its users from now on.
    pub(super) fn pin(&self) {
        if let (Some(ino), Some(this)) = (self.base_ino, self.this.upgrade()) {
            self.fs.pinned.borrow_mut().entry(ino).or_insert(this);
        }
    }

    /// Contents changed.
    pub(super) fn touch(&self, now: Timespec) {
        self.pin();
        let mut meta = self.meta.borrow_mut();
        (meta.mtime, meta.ctime) = (now, now);
    }

    /// The inode itself changed.
    fn touch_meta(&self, now: Timespec) {
        self.pin();
        self.meta.borrow_mut().ctime = now;
    }

    pub(super) fn file(&self) -> Result<&FileData, Errno> {
        match &self.body {
            Body::File(data) => Ok(data),
            Body::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn dir(&self) -> Result<&DirData, Errno> {
        if let Body::Dir(dir) = &self.body { Ok(dir) } else { Err(Errno::ENOTDIR) }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    fn resolve(&self, found: Found) -> Result<Rc<MemInode>, Errno> {
        match found {
            Found::Inode(inode) => Ok(inode),
            Found::Base(ino) => self.fs.base_inode(ino),
        }
    }

    fn entry(&self, name: &[u8]) -> Result<Rc<MemInode>, Errno> {
        self.resolve(self.dir()?.find(name).ok_or(Errno::ENOENT)?)
    }

    fn count_links(&self, by: i32) {
        let mut meta = self.meta.borrow_mut();
        meta.nlink = meta.nlink.saturating_add_signed(by);
        if meta.nlink == 0
            && let Some(ino) = self.base_ino
        {
            drop(meta);
            let pinned = self.fs.pinned.borrow_mut().remove(&ino);
            drop(pinned);
        }
    }

    /// `name` no longer leads to `inode`.
    fn dropped(&self, inode: &Rc<MemInode>, now: Timespec) {
        inode.touch_meta(now);
        if inode.is_dir() {
            self.count_links(-1);
            inode.count_links(-2);
        } else {
            inode.count_links(-1);
            let mut meta = inode.meta.borrow_mut();
            if meta.paid_links > 0 {
                meta.paid_links -= 1;
                meta.cost -= INODE_COST;
                self.fs.shared.quota.give_back(INODE_COST);
            }
        }
    }

    /// `other` as an inode of this file system. EXDEV.
    fn sibling(&self, other: &InodeRef) -> Result<Rc<MemInode>, Errno> {
        let any: Rc<dyn Any> = Rc::clone(other) as Rc<dyn Any>;
        let other = any.downcast::<MemInode>().map_err(|_| Errno::EXDEV)?;
        if Rc::ptr_eq(&self.fs, &other.fs) { Ok(other) } else { Err(Errno::EXDEV) }
    }

    /// A removed directory takes no new entries.
    fn must_live(&self) -> Result<(), Errno> {
        if self.meta.borrow().nlink == 0 { Err(Errno::ENOENT) } else { Ok(()) }
    }

    fn with_xattrs<R>(&self, change: impl FnOnce(&mut Xattrs) -> Result<R, Errno>) -> Result<R, Errno> {
        let mut xattrs = self.xattrs.borrow_mut();
        let map = xattrs.get_or_insert_with(|| self.base_xattrs());
        change(map)
    }

    fn base_xattrs(&self) -> Xattrs {
        let found = self.base_ino.zip(self.fs.base.as_ref()).and_then(|(ino, base)| base.inode(ino));
        found.map(|i| i.xattrs().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()).unwrap_or_default()
    }
}

impl Inode for MemInode {
    fn stat(&self) -> Stat {
        let meta = self.meta.borrow();
        let (size, blocks) = match &self.body {
            Body::File(data) => (data.size(), data.blocks()),
            Body::Dir(_) => (4096, 8),
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Node => (0, 0),
        };
        Stat {
            dev: self.fs.dev,
            ino: self.ino,
            mode: meta.mode,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: meta.rdev,
            size,
            blksize: 4096,
            blocks,
            atime: meta.atime,
            mtime: meta.mtime,
            ctime: meta.ctime,
            btime: meta.btime,
        }
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.pin();
        if let Some(size) = attr.size {
            let data = self.file()?;
            if size < data.size() {
                self.sharers.before_write(self, size & !(PAGE - 1), u64::MAX)?;
            }
            data.truncate(size)?;
            self.touch(attr.now);
        }
        let mut meta = self.meta.borrow_mut();
        if let Some(bits) = attr.mode {
            meta.mode = meta.mode & mode::S_IFMT | bits & 0o7777;
        }
        meta.uid = attr.uid.unwrap_or(meta.uid);
        meta.gid = attr.gid.unwrap_or(meta.gid);
        meta.atime = attr.atime.unwrap_or(meta.atime);
        meta.mtime = attr.mtime.unwrap_or(meta.mtime);
        meta.ctime = attr.now;
        Ok(())
    }

    /// Relatime, see mount(8). What comes from the image and has not changed keeps its time, as in overlayfs.
    fn accessed(&self, now: Timespec) {
        let mut meta = self.meta.borrow_mut();
        let old = meta.atime <= meta.mtime || meta.atime <= meta.ctime || now.sec - meta.atime.sec >= 86400;
        if old && self.base_ino.is_none() {
            meta.atime = now;
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        Ok(self.entry(name)?)
    }

    fn make(&self, name: &[u8], what: Make<'_>, new: NewInode) -> Result<InodeRef, Errno> {
        let dir = self.dir()?;
        self.must_live()?;
        if dir.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let bits = new.mode & 0o7777;
        let (kind, rdev, body) = match what {
            Make::File => (mode::S_IFREG, 0, Body::File(FileData::new(Rc::clone(&self.fs.shared.quota)))),
            Make::Directory => (mode::S_IFDIR, 0, Body::Dir(DirData::new(None))),
            Make::Symlink(target) => (mode::S_IFLNK, 0, Body::Symlink(Cow::Owned(target.to_vec()))),
            Make::Node(rdev) => (new.mode & mode::S_IFMT, rdev, Body::Node),
        };
        let inode = self.fs.new_inode(NewInode { mode: kind | bits, ..new }, rdev, body)?;
        dir.insert(name, Rc::clone(&inode));
        if inode.is_dir() {
            self.count_links(1);
        }
        self.touch(new.now);
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &InodeRef, now: Timespec) -> Result<(), Errno> {
        let target = self.sibling(target)?;
        let dir = self.dir()?;
        self.must_live()?;
        if target.is_dir() {
            return Err(Errno::EPERM);
        }
        if dir.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.fs.shared.quota.take(INODE_COST)?;
        {
            let mut meta = target.meta.borrow_mut();
            meta.cost += INODE_COST;
            meta.paid_links += 1;
        }
        target.touch_meta(now);
        target.count_links(1);
        dir.insert(name, target);
        self.touch(now);
        Ok(())
    }

    fn unlink(&self, name: &[u8], now: Timespec) -> Result<(), Errno> {
        let inode = self.entry(name)?;
        if inode.is_dir() {
            return Err(Errno::EISDIR);
        }
        self.dir()?.remove(name);
        self.touch(now);
        self.dropped(&inode, now);
        Ok(())
    }

    fn rmdir(&self, name: &[u8], now: Timespec) -> Result<(), Errno> {
        let inode = self.entry(name)?;
        if !inode.dir()?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.dir()?.remove(name);
        self.touch(now);
        self.dropped(&inode, now);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &InodeRef,
        to_name: &[u8],
        flags: u32,
        now: Timespec,
    ) -> Result<(), Errno> {
        let to = self.sibling(to)?;
        to.must_live()?;
        let moved = self.entry(name)?;
        let target = match to.entry(to_name) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let (from_dir, to_dir) = (self.dir()?, to.dir()?);
        if flags & RENAME_EXCHANGE != 0 {
            let target = target.ok_or(Errno::ENOENT)?;
            from_dir.insert(name, Rc::clone(&target));
            to_dir.insert(to_name, Rc::clone(&moved));
            let shift = i32::from(target.is_dir()) - i32::from(moved.is_dir());
            self.count_links(shift);
            to.count_links(-shift);
            target.touch_meta(now);
        } else {
            if let Some(target) = target {
                if flags & RENAME_NOREPLACE != 0 {
                    return Err(Errno::EEXIST);
                }
                if Rc::ptr_eq(&target, &moved) {
                    return Ok(());
                }
                match (moved.is_dir(), &target.body) {
                    (true, Body::Dir(dir)) if !dir.is_empty() => return Err(Errno::ENOTEMPTY),
                    (true, Body::Dir(_)) => {}
                    (true, _) => return Err(Errno::ENOTDIR),
                    (false, Body::Dir(_)) => return Err(Errno::EISDIR),
                    (false, _) => {}
                }
                to_dir.remove(to_name);
                to.dropped(&target, now);
            }
            from_dir.remove(name);
            to_dir.insert(to_name, Rc::clone(&moved));
            if moved.is_dir() {
                self.count_links(-1);
                to.count_links(1);
            }
        }
        moved.touch_meta(now);
        self.touch(now);
        to.touch(now);
        Ok(())
    }

    fn read_dir(&self, from: u64, each: &mut dyn FnMut(Dirent) -> bool) -> Result<(), Errno> {
        self.dir()?.each(from, &mut |position, name, found| {
            let (ino, kind) = match found {
                Found::Inode(inode) => (inode.ino, inode.meta.borrow().mode & mode::S_IFMT),
                Found::Base(ino) => {
                    let kind = self.fs.base.as_ref().and_then(|b| b.inode(ino)).map_or(0, |i| i.mode());
                    (MemFs::public_ino(ino), kind & mode::S_IFMT)
                }
            };
            each(Dirent { ino, kind, name: name.to_vec(), next: position + 1 })
        });
        Ok(())
    }

    fn read_dir_end(&self) -> u64 {
        self.dir().map_or(0, DirData::end)
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        if let Body::Symlink(target) = &self.body { Ok(target.to_vec()) } else { Err(Errno::EINVAL) }
    }

    fn open(&self, cx: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let stat = self.stat();
        match (&self.body, stat.mode & mode::S_IFMT) {
            (Body::File(_), _) => Ok(Rc::new(MemFile::new(self.this.upgrade().ok_or(Errno::ENXIO)?))),
            (_, mode::S_IFIFO) => pipe::open_fifo(self, flags),
            (_, kind @ (mode::S_IFCHR | mode::S_IFBLK)) => dev::open(cx, kind, stat.rdev, flags),
            _ => Err(Errno::ENXIO),
        }
    }

    fn pages(&self) -> Option<Rc<dyn Pages>> {
        match &self.body {
            Body::File(_) => Some(self.this.upgrade()?),
            _ => None,
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        match &*self.xattrs.borrow() {
            Some(xattrs) => xattrs.get(name).cloned(),
            None => self.base_xattrs().remove(name),
        }
        .ok_or(Errno::ENODATA)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.pin();
        self.with_xattrs(|xattrs| {
            if flags & XATTR_CREATE != 0 && xattrs.contains_key(name) {
                return Err(Errno::EEXIST);
            }
            if flags & XATTR_REPLACE != 0 && !xattrs.contains_key(name) {
                return Err(Errno::ENODATA);
            }
            let others: usize =
                xattrs.iter().filter(|(n, _)| *n != name).map(|(n, v)| n.len() + v.len()).sum();
            let total = others + name.len() + value.len();
            if total > XATTR_BYTES {
                return Err(Errno::ENOSPC);
            }
            let mut meta = self.meta.borrow_mut();
            let more = (total as u64).saturating_sub(meta.paid_xattrs);
            self.fs.shared.quota.take(more)?;
            meta.cost += more;
            meta.paid_xattrs += more;
            xattrs.insert(name.to_vec(), value.to_vec());
            Ok(())
        })
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.pin();
        self.with_xattrs(|xattrs| xattrs.remove(name).map(|_| ()).ok_or(Errno::ENODATA))
    }

    fn xattrs(&self) -> Vec<Vec<u8>> {
        match &*self.xattrs.borrow() {
            Some(xattrs) => xattrs.keys().cloned().collect(),
            None => self.base_xattrs().into_keys().collect(),
        }
    }

    fn make_unnamed(&self, new: NewInode) -> Result<InodeRef, Errno> {
        self.dir()?;
        let new = NewInode { mode: mode::S_IFREG | new.mode & 0o7777, ..new };
        let inode = self.fs.new_inode(new, 0, Body::File(FileData::new(Rc::clone(&self.fs.shared.quota))))?;
        inode.meta.borrow_mut().nlink = 0;
        Ok(inode)
    }

    fn stat_fs(&self) -> StatFs {
        self.fs.stat_fs()
    }

    fn attachment(&self) -> Option<&RefCell<Option<Rc<dyn Any>>>> {
        matches!(self.body, Body::Node).then_some(&self.attachment)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Pages for MemInode {
    fn size(&self) -> u64 {
        self.file().map_or(0, FileData::size)
    }

    fn read_page(&self, offset: u64, page: &mut [u8; 4096]) -> Result<(), Errno> {
        let data = self.file()?;
        let inside = data.size().saturating_sub(offset).min(PAGE) as usize;
        page[inside..].fill(0);
        data.read(offset, &mut page[..inside])
    }

    fn read_near(&self, offset: u64, page: &mut [u8; 4096]) -> bool {
        self.file().is_ok_and(|data| data.near(offset, || self.read_page(offset, page).is_ok()))
    }

    fn write_page(&self, offset: u64, page: &[u8; 4096]) -> Result<(), Errno> {
        let data = self.file()?;
        let inside = data.size().saturating_sub(offset).min(PAGE) as usize;
        if inside == 0 {
            return Ok(());
        }
        self.pin();
        data.write(offset, &page[..inside]).map(|_| ())
    }

    fn about_to_change(&self) {
        self.touch(Timespec::from_nanos(self.fs.shared.platform.realtime_ns()));
    }

    fn sharers(&self) -> &Sharers {
        &self.sharers
    }
}

impl Drop for MemInode {
    /// A tree may be very deep, so directories are taken apart in a loop.
    fn drop(&mut self) {
        self.fs.shared.quota.give_back(self.meta.get_mut().cost);
        if self.base_ino.is_none() {
            self.fs.made.set(self.fs.made.get().saturating_sub(1));
        }
        if let Some(ino) = self.base_ino
            && let Ok(mut known) = self.fs.known.try_borrow_mut()
            && known.get(&ino).is_some_and(|w| w.strong_count() == 0)
        {
            known.remove(&ino);
        }
        if self.meta.get_mut().nlink == 0 {
            self.fs.shared.notify.inode_gone(self.fs.dev, self.ino);
        }
        let Body::Dir(dir) = &self.body else { return };
        let mut waiting = dir.take();
        while let Some(inode) = waiting.pop() {
            if let (1, Body::Dir(dir)) = (Rc::strong_count(&inode), &inode.body) {
                waiting.append(&mut dir.take());
            }
        }
    }
}
