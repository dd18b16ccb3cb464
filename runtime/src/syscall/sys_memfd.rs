//! memfd_create(2): a file of a tmpfs that nobody can reach, with seals.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::{O_LARGEFILE, O_RDWR};
use crate::abi::mman::*;
use crate::fs::{FileOps, Inode, InodeRef, Io, NewInode, OpenFile, Pages, SetAttr, Stat, Timespec, mode};
use crate::kernel::Ctx;

/// Longest name.
const NAME_MAX: usize = 249;

const F_SEAL_SEAL: u32 = 1;
const F_SEAL_SHRINK: u32 = 2;
const F_SEAL_GROW: u32 = 4;
/// Nobody writes any more.
pub(super) const F_SEAL_WRITE: u32 = 8;
/// Nobody begins to write: mappings made before still do.
pub(super) const F_SEAL_FUTURE_WRITE: u32 = 0x10;
const F_SEAL_EXEC: u32 = 0x20;
const ALL_SEALS: u32 = 0x3f;

/// memfd_create(2).
pub(super) fn memfd_create(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let name = cx.mm().read_cstr(args.u64(0), NAME_MAX + 1, Errno::EINVAL)?;
    let flags = args.u32(1);
    let known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags & !known != 0 || flags & (MFD_EXEC | MFD_NOEXEC_SEAL) == MFD_EXEC | MFD_NOEXEC_SEAL {
        return Err(Errno::EINVAL.into());
    }
    let now = cx.now();
    let root = match &cx.kernel.memfd_root {
        Some(root) => Rc::clone(root),
        None => {
            let root = cx.kernel.vfs.tmpfs(0o700, now);
            Rc::clone(cx.kernel.memfd_root.insert(root))
        }
    };
    let (bits, seals) = match flags & (MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING) {
        0 => (0o777, F_SEAL_SEAL),
        MFD_ALLOW_SEALING => (0o777, 0),
        _ => (0o666, F_SEAL_EXEC),
    };
    let (uid, gid) = {
        let cred = cx.task.cred.borrow();
        (cred.fsuid, cred.fsgid)
    };
    let file = root.make_unnamed(NewInode { mode: mode::S_IFREG | bits, uid, gid, now })?;
    let inode = Rc::new(MemfdInode { file, seals: Rc::new(Cell::new(seals)) });
    let ops = Rc::clone(&inode).ops(cx, O_RDWR)?;
    let shown = [b"memfd:", name.as_slice(), b" (deleted)"].concat();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let dentry = cx.kernel.vfs.anonymous(&shown, inode);
    let opened = OpenFile::new(ops, O_RDWR | O_LARGEFILE, dentry);
    Ok(cx.task.files.borrow().install(opened, flags & MFD_CLOEXEC != 0, 0)? as u64)
}

/// A file of a tmpfs, and what may no longer be done to it.
struct MemfdInode {
    file: InodeRef,
    /// Shared with descriptions opened anew through /proc/self/fd.
    seals: Rc<Cell<u32>>,
}

impl MemfdInode {
    fn ops(self: Rc<MemfdInode>, cx: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let ops = self.file.open(cx, flags)?;
        Ok(Rc::new(MemfdFile { inode: self, ops }))
    }

    /// EPERM when a seal forbids the size to become `size`.
    fn check_size(&self, size: u64) -> Result<(), Errno> {
        let (seals, now) = (self.seals.get(), self.file.stat().size);
        let sealed = size < now && seals & F_SEAL_SHRINK != 0 || size > now && seals & F_SEAL_GROW != 0;
        if sealed { Err(Errno::EPERM) } else { Ok(()) }
    }
}

impl Inode for MemfdInode {
    fn stat(&self) -> Stat {
        self.file.stat()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        if let Some(size) = attr.size {
            self.check_size(size)?;
        }
        let exec = attr.mode.is_some_and(|bits| (bits ^ self.file.stat().mode) & 0o111 != 0);
        if exec && self.seals.get() & F_SEAL_EXEC != 0 {
            return Err(Errno::EPERM);
        }
        self.file.set_attr(attr)
    }

    fn open(&self, cx: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let inode = Rc::new(MemfdInode { file: Rc::clone(&self.file), seals: Rc::clone(&self.seals) });
        inode.ops(cx, flags)
    }

    fn pages(&self) -> Option<Rc<dyn Pages>> {
        self.file.pages()
    }

    fn seals(&self) -> Result<u32, Errno> {
        Ok(self.seals.get())
    }

    fn add_seals(&self, seals: u32) -> Result<(), Errno> {
        if seals & !ALL_SEALS != 0 {
            return Err(Errno::EINVAL);
        }
        if self.seals.get() & F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        self.seals.set(self.seals.get() | seals);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open memfd: the tmpfs file behind its seals.
struct MemfdFile {
    inode: Rc<MemfdInode>,
    ops: Rc<dyn FileOps>,
}

impl FileOps for MemfdFile {
    fn read(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        dst: &mut Io<'_>,
        at: Option<u64>,
    ) -> Result<usize, Errno> {
        self.ops.read(cx, file, dst, at)
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        src: &mut Io<'_>,
        at: Option<u64>,
    ) -> Result<usize, Errno> {
        if self.inode.seals.get() & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let end = at.unwrap_or(file.pos.get()).saturating_add(src.remaining() as u64);
        self.inode.check_size(end.max(self.inode.file.stat().size))?;
        self.ops.write(cx, file, src, at)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn allocate(
        &self,
        file: &OpenFile,
        bits: u32,
        offset: u64,
        len: u64,
        now: Timespec,
    ) -> Result<(), Errno> {
        const KEEP_SIZE: u32 = 1;
        if bits & !KEEP_SIZE != 0 && self.inode.seals.get() & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        if bits & KEEP_SIZE == 0 {
            self.inode.check_size(offset.saturating_add(len).max(self.inode.file.stat().size))?;
        }
        self.ops.allocate(file, bits, offset, len, now)
    }

    fn seek_data(&self, file: &OpenFile, offset: u64, data: bool) -> Result<u64, Errno> {
        self.ops.seek_data(file, offset, data)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
