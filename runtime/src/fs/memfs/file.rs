//! An open regular file of the in-memory file system.

use std::any::Any;
use std::rc::Rc;

use super::MemInode;
use super::data::FileData;
use crate::abi::Errno;
use crate::abi::fcntl::{
    FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_ZERO_RANGE, O_NOATIME,
};
use crate::fs::{FileOps, Inode, Io, OpenFile, Timespec, mode, permission};
use crate::kernel::Ctx;

/// Bytes moved at a time between contents and guest memory.
const BUFFER: usize = 64 << 10;

/// What can be done to it.
pub(super) struct MemFile {
    inode: Rc<MemInode>,
}

impl MemFile {
    pub(super) fn new(inode: Rc<MemInode>) -> MemFile {
        MemFile { inode }
    }
}

impl FileOps for MemFile {
    fn read(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        dst: &mut Io<'_>,
        at: Option<u64>,
    ) -> Result<usize, Errno> {
        let data = self.inode.file()?;
        let start = at.unwrap_or(file.pos.get());
        let wanted = (dst.remaining() as u64).min(data.size().saturating_sub(start));
        self.inode.sharers.before_read(&*self.inode, start, wanted)?;
        let mut done = 0;
        match data.pieces(start, wanted, &mut |piece| done += dst.put(piece)) {
            Err(errno) if done == 0 => return Err(errno),
            _ => {}
        }
        if file.flags.get() & O_NOATIME == 0 {
            self.inode.accessed(cx.now());
        }
        Ok(done)
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        src: &mut Io<'_>,
        at: Option<u64>,
    ) -> Result<usize, Errno> {
        let data = self.inode.file()?;
        let start = at.unwrap_or(file.pos.get());
        if src.remaining() == 0 {
            return Ok(0);
        }
        self.inode.pin();
        let done = if self.inode.sharers.is_unused() {
            let count = src.remaining();
            let put = &mut |to: &mut [u8]| {
                src.take(to);
            };
            data.write_with(start, count, put)?
        } else {
            self.write_mapped(data, src, start)?
        };
        self.inode.touch(cx.now());
        self.drop_privileges(cx);
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn allocate(
        &self,
        _file: &OpenFile,
        bits: u32,
        offset: u64,
        len: u64,
        now: Timespec,
    ) -> Result<(), Errno> {
        let data = self.inode.file()?;
        let end = offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
        match bits & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_UNSHARE_RANGE) {
            0 => {}
            FALLOC_FL_PUNCH_HOLE if bits & FALLOC_FL_KEEP_SIZE != 0 => {
                self.inode.sharers.before_write(&*self.inode, offset, len)?;
                self.inode.pin();
                data.punch(offset, len)?;
            }
            FALLOC_FL_ZERO_RANGE => {
                self.inode.sharers.before_write(&*self.inode, offset, len)?;
                self.inode.pin();
                data.punch(offset, len)?;
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if bits & FALLOC_FL_KEEP_SIZE == 0 && end > data.size() {
            data.truncate(end)?;
        }
        self.inode.touch(now);
        Ok(())
    }

    fn seek_data(&self, _file: &OpenFile, offset: u64, data: bool) -> Result<u64, Errno> {
        let contents = self.inode.file()?;
        if offset >= contents.size() {
            return Err(Errno::ENXIO);
        }
        contents.seek(offset, data).ok_or(Errno::ENXIO)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl MemFile {
    /// Write to a file that somebody has mapped. What comes from such a mapping, which goes away when the file changes,
    /// is read first.
    fn write_mapped(&self, data: &FileData, src: &mut Io<'_>, start: u64) -> Result<usize, Errno> {
        let mut buffer = vec![0; src.remaining().min(BUFFER)];
        let mut done = 0;
        while src.remaining() > 0 {
            let taken = src.take(&mut buffer);
            let at = start.saturating_add(done as u64);
            match self.inode.sharers.before_write(&*self.inode, at, taken as u64) {
                Ok(()) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
            match data.write(at, &buffer[..taken]) {
                Ok(n) => {
                    done += n;
                    if n < taken {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// A write by somebody without CAP_FSETID takes the set-ID bits away, see chmod(2).
    fn drop_privileges(&self, cx: &Ctx<'_>) {
        let bits = self.inode.meta.borrow().mode;
        if let Some(kept) = permission::mode_after_write(cx, bits) {
            self.inode.meta.borrow_mut().mode = kept | bits & mode::S_IFMT;
        }
    }
}
