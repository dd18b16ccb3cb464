//! The read-only base: an image's VFS archive, read in place, and its chunks.

use std::rc::Rc;

use friscy_formats::vfs::{ArchivedVfs, Inode};

use super::data::zeros;
use crate::abi::Errno;
use crate::fs::chunks::Chunks;

/// An image's tree. Inode numbers are the archive's; 0 is the root.
pub struct Base {
    archive: &'static ArchivedVfs,
    chunks: Rc<Chunks>,
}

impl Base {
    /// The tree in `archive`, whose contents come from `chunks`.
    pub fn new(archive: &'static ArchivedVfs, chunks: Rc<Chunks>) -> Rc<Base> {
        Rc::new(Base { archive, chunks })
    }

    /// How many inodes.
    pub(super) fn inode_count(&self) -> u32 {
        self.archive.inode_count()
    }

    pub(super) fn inode(&self, ino: u32) -> Option<Inode<'static>> {
        self.archive.inode(ino)
    }

    pub(super) fn dir_len(&self, ino: u32) -> usize {
        self.inode(ino).map_or(0, |i| i.entry_count() as usize)
    }

    pub(super) fn dir_find(&self, ino: u32, name: &[u8]) -> Option<u32> {
        self.archive.lookup(ino, name)
    }

    pub(super) fn dir_entry(&self, ino: u32, index: usize) -> Option<(&'static [u8], u32)> {
        self.inode(ino)?.entry(u32::try_from(index).ok()?)
    }

    /// Hand `len` bytes of the file `ino` from `offset` on to `put`, in order; zeros where it has none. PENDING
    /// (all chunks of the rest of the range are asked for at once), EIO.
    pub(super) fn pieces(
        &self,
        ino: u32,
        offset: u64,
        len: u64,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Errno> {
        let Some(inode) = self.inode(ino) else { return Err(Errno::EIO) };
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let Some(extent) = inode.extent_at(at) else {
                zeros(end - at, put);
                break;
            };
            if extent.offset > at {
                let hole = extent.offset.min(end) - at;
                zeros(hole, put);
                at += hole;
                continue;
            }
            let skip = at - extent.offset;
            let n = (u64::from(extent.len) - skip).min(end - at);
            let chunk = match self.chunks.get(extent.chunk) {
                Err(Errno::PENDING) => {
                    self.want(inode, at, end);
                    return Err(Errno::PENDING);
                }
                found => found?,
            };
            let start = (u64::from(extent.chunk_offset) + skip) as usize;
            put(chunk.get(start..start + n as usize).ok_or(Errno::EIO)?);
            at += n;
        }
        Ok(())
    }

    /// Ask for all chunks of a range of a file.
    fn want(&self, inode: Inode<'static>, from: u64, end: u64) {
        let mut at = from;
        while let Some(extent) = inode.extent_at(at).filter(|extent| extent.offset < end) {
            self.chunks.want(extent.chunk);
            at = extent.offset + u64::from(extent.len);
        }
    }
}
