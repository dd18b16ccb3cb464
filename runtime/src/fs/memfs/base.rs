//! The read-only base: an image's VFS archive, read in place, and its chunks.

use std::rc::Rc;

use friscy_formats::vfs::{ArchivedVfs, Inode};

use super::data::zeros;
use crate::abi::Errno;
use crate::fs::chunks::Chunks;

/// Bytes that a read gets at once or waits for, at most: well below what the cache of decoded chunks holds.
const AT_ONCE: u64 = 4 << 20;

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

    /// Hand `len` bytes of the file `ino` from `offset` on to `put`, in order; zeros where it has none. PENDING: nothing
    /// was handed over, unless the range is longer than [`AT_ONCE`], and all chunks of its beginning are asked for. EIO.
    pub(super) fn pieces(
        &self,
        ino: u32,
        offset: u64,
        len: u64,
        put: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Errno> {
        let Some(inode) = self.inode(ino) else { return Err(Errno::EIO) };
        let (mut at, end) = (offset, offset + len);
        if !self.ready(inode, at, end.min(at + AT_ONCE)) {
            return Err(Errno::PENDING);
        }
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
            // Both lie within the extent, whose bounds are 32-bit.
            self.chunks.read(extent.chunk, extent.chunk_offset + skip as u32, n as u32, put)?;
            at += n;
        }
        Ok(())
    }

    /// Do `read`, which reads a range of the file `ino` that nobody has asked for, if that is a copy and nothing more;
    /// else false.
    pub(super) fn near(&self, ino: u32, offset: u64, len: u64, read: impl FnOnce() -> bool) -> bool {
        let Some(inode) = self.inode(ino) else { return false };
        let here = |chunk, start, len| self.chunks.at_hand(chunk, start, len);
        parts(inode, offset, offset + len).all(|(chunk, start, len)| here(chunk, start, len)) && read()
    }

    /// Whether a range of a file can be read without waiting; a reader gets all of what it asked for, or waits. What is
    /// not here is asked for, all of it at once.
    fn ready(&self, inode: Inode<'static>, from: u64, end: u64) -> bool {
        parts(inode, from, end)
            .fold(true, |ready, (chunk, start, len)| self.chunks.ready(chunk, start, len) && ready)
    }
}

/// What a range of a file lies in: chunk, first byte in it, length. Holes are left out.
fn parts(inode: Inode<'static>, from: u64, end: u64) -> impl Iterator<Item = (u32, u32, u32)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let extent = inode.extent_at(at).filter(|extent| extent.offset < end)?;
        let skip = at.saturating_sub(extent.offset);
        let len = (u64::from(extent.len) - skip).min(end - at.max(extent.offset));
        at = extent.offset + u64::from(extent.len);
        // Both lie within the extent, whose bounds are 32-bit.
        Some((extent.chunk, extent.chunk_offset + skip as u32, len as u32))
    })
}
