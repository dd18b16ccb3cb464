//! The VFS archive: the whole tree of an image, usable where it lies.
//!
//! An rkyv archive behind a 16-byte header. The engine validates it once
//! ([`access`]) and then reads it in place: opening a file parses nothing.
//! Tables of fixed records and one pool of bytes, so that 50,000 inodes stay
//! within a few MB. Byte for byte: `docs/FORMATS.md`. Written by
//! `vfs_build.rs` (feature `host`) from a `tree::Tree`; checked by
//! `vfs_check.rs`.
//!
//! ```text
//! inodes[i] ──attributes──▶ attributes[] ──▶ xattrs[] ──▶ bytes
//!     ├─ directory: entries[first..first+count], sorted by name ──▶ bytes, inodes
//!     ├─ file:      extents[first..first+count], sorted by offset ──▶ chunks[]
//!     ├─ symlink:   bytes[first..first+count]
//!     └─ device:    first = major, count = minor
//! ```
//!
//! Layout: little-endian, 32-bit relative pointers, the first byte at an
//! address divisible by [`ALIGN`]. Inode 0 is the root; a directory's number
//! is smaller than those of the directories in it, so the tree has no cycles.

use std::mem::offset_of;

use rkyv::{Archive, Serialize};

use crate::chunk::{Chunk, Encoding};
use crate::warm::{Warm, WarmBlocks};

/// First bytes of an archive.
pub const MAGIC: [u8; 8] = *b"FRSCVFS\0";
/// Raised when a record changes its meaning. In the header, so that it can be read whatever the version.
pub const VERSION: u32 = 2;
/// Magic, version (u32), four zero bytes.
pub const HEADER_BYTES: usize = 16;
/// What the address of an archive must be divisible by.
pub const ALIGN: usize = 16;
/// Longest file name (NAME_MAX), symlink target (PATH_MAX - 1).
pub const NAME_MAX: usize = 255;
/// Longest symlink target.
pub const TARGET_MAX: usize = 4095;
/// `st_size` of every directory, as on ext4.
pub const DIRECTORY_SIZE: u64 = 4096;

/// Kinds in the mode, see inode(7).
pub(crate) mod kind {
    pub(crate) const MASK: u32 = 0o170000;
    pub(crate) const SOCKET: u32 = 0o140000;
    pub(crate) const SYMLINK: u32 = 0o120000;
    pub(crate) const FILE: u32 = 0o100000;
    pub(crate) const BLOCK: u32 = 0o060000;
    pub(crate) const DIRECTORY: u32 = 0o040000;
    pub(crate) const CHAR: u32 = 0o020000;
    pub(crate) const FIFO: u32 = 0o010000;
}

/// The root of the archive.
#[derive(Debug, Default, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct Vfs {
    pub(crate) inodes: Vec<InodeRecord>,
    pub(crate) attributes: Vec<AttributesRecord>,
    pub(crate) xattrs: Vec<XattrRecord>,
    pub(crate) entries: Vec<EntryRecord>,
    pub(crate) extents: Vec<ExtentRecord>,
    pub(crate) chunks: Vec<ChunkRecord>,
    pub(crate) bytes: Vec<u8>,
    /// Length of the chunk store.
    pub(crate) store_bytes: u64,
    /// Blocks in the warm segment; see [`crate::warm`].
    pub(crate) warm_blocks: u32,
}

/// 24 bytes.
#[derive(Debug, Clone, Copy, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct InodeRecord {
    pub(crate) size: u64,
    pub(crate) attributes: u32,
    pub(crate) nlink: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
}
const _: () = assert!(size_of::<ArchivedInodeRecord>() == 24);

/// What many inodes have in common: 32 bytes, each combination once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct AttributesRecord {
    pub(crate) mtime_sec: i64,
    pub(crate) mtime_nsec: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) xattr_first: u32,
    pub(crate) xattr_count: u32,
}
const _: () = assert!(size_of::<ArchivedAttributesRecord>() == 32);

/// 16 bytes; all four point into the pool.
#[derive(Debug, Clone, Copy, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct XattrRecord {
    pub(crate) name: u32,
    pub(crate) name_len: u32,
    pub(crate) value: u32,
    pub(crate) value_len: u32,
}

/// 12 bytes.
#[derive(Debug, Clone, Copy, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct EntryRecord {
    pub(crate) name: u32,
    pub(crate) ino: u32,
    pub(crate) name_len: u8,
}
const _: () = assert!(size_of::<ArchivedEntryRecord>() == 12);

/// 20 bytes: the 64-bit file offset is cut in two, or padding would make it 24.
#[derive(Debug, Clone, Copy, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct ExtentRecord {
    pub(crate) offset_low: u32,
    pub(crate) offset_high: u32,
    pub(crate) chunk: u32,
    pub(crate) chunk_offset: u32,
    pub(crate) len: u32,
}
const _: () = assert!(size_of::<ArchivedExtentRecord>() == 20);

/// 56 bytes. A chunk that is no shorter in the store than raw is stored raw.
#[derive(Debug, Clone, Copy, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub(crate) struct ChunkRecord {
    pub(crate) hash: [u8; 32],
    pub(crate) offset: u64,
    pub(crate) stored_len: u32,
    pub(crate) raw_len: u32,
    /// Which of its blocks are in the warm segment.
    pub(crate) warm: u32,
    /// Where the first of them is there, in blocks.
    pub(crate) warm_at: u32,
}
const _: () = assert!(size_of::<ArchivedChunkRecord>() == 56);

/// Why bytes are not a usable archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VfsError {
    /// The magic is missing.
    #[error("not a VFS archive: pack the image again")]
    NotAnArchive,
    /// Written by another version.
    #[error("VFS archive of format {found}, this engine reads {VERSION}: pack the image again")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The address is not divisible by [`ALIGN`]: a fault of the host that placed it.
    #[error("VFS archive at an address that is not a multiple of {ALIGN}")]
    Misaligned,
    /// Out of shape.
    #[error("VFS archive is damaged ({0}): pack the image again")]
    Layout(String),
    /// In shape, but one of its promises does not hold.
    #[error("VFS archive is damaged ({what}, number {index}): pack the image again")]
    Invariant {
        /// Which promise.
        what: &'static str,
        /// Of which record.
        index: u32,
    },
}

/// The archive in these bytes, after checking everything that the accessors
/// rely on. Cost: linear in the archive, once.
pub fn access(bytes: &[u8]) -> Result<&ArchivedVfs, VfsError> {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(VfsError::NotAnArchive);
    };
    if header[..8] != MAGIC {
        return Err(VfsError::NotAnArchive);
    }
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != VERSION {
        return Err(VfsError::Version { found });
    }
    if !bytes.as_ptr().addr().is_multiple_of(ALIGN) {
        return Err(VfsError::Misaligned);
    }
    let vfs = rkyv::access::<ArchivedVfs, rkyv::rancor::Error>(body)
        .map_err(|e| VfsError::Layout(e.to_string().lines().next().unwrap_or_default().to_owned()))?;
    crate::vfs_check::check(vfs)?;
    Ok(vfs)
}

/// Gives each chunk of `archive` another place in the store, by number, and its warm blocks: the store was put into
/// another order. Nothing else changes. The length of the store stays.
pub fn place_chunks(archive: &mut [u8], offsets: &[u64], warm: &Warm) -> Result<(), VfsError> {
    let vfs = access(archive)?;
    if vfs.chunks.len() != offsets.len() {
        return Err(VfsError::Layout("another number of chunks".to_owned()));
    }
    let table = vfs.chunks.as_ptr().addr() - archive.as_ptr().addr();
    let blocks = (&raw const vfs.warm_blocks).addr() - archive.as_ptr().addr();
    let mut set = |field: usize, bytes: &[u8]| archive[field..field + bytes.len()].copy_from_slice(bytes);
    set(blocks, &warm.blocks().to_le_bytes());
    for (index, offset) in offsets.iter().enumerate() {
        let row = table + index * size_of::<ArchivedChunkRecord>();
        let WarmBlocks { mask, at } = warm.of(index as u32);
        set(row + offset_of!(ArchivedChunkRecord, offset), &offset.to_le_bytes());
        set(row + offset_of!(ArchivedChunkRecord, warm), &mask.to_le_bytes());
        set(row + offset_of!(ArchivedChunkRecord, warm_at), &at.to_le_bytes());
    }
    access(archive).map(|_| ())
}

/// An inode of the archive. `Copy`: two words.
#[derive(Debug, Clone, Copy)]
pub struct Inode<'a> {
    vfs: &'a ArchivedVfs,
    ino: u32,
}

/// A run of a file's bytes. What no extent covers are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes, at least one.
    pub len: u32,
    /// Number of the chunk that holds them.
    pub chunk: u32,
    /// Where they begin in the chunk's raw bytes.
    pub chunk_offset: u32,
}

impl ArchivedChunkRecord {
    pub(crate) fn encoding(&self) -> Encoding {
        if self.stored_len == self.raw_len { Encoding::Raw } else { Encoding::Zstd }
    }
}

impl ArchivedVfs {
    /// How many inodes; numbers are 0 (the root) up to this.
    pub fn inode_count(&self) -> u32 {
        len32(self.inodes.len())
    }

    /// The inode with this number.
    pub fn inode(&self, ino: u32) -> Option<Inode<'_>> {
        (ino < self.inode_count()).then_some(Inode { vfs: self, ino })
    }

    /// The root directory, inode 0.
    pub fn root(&self) -> Inode<'_> {
        Inode { vfs: self, ino: 0 }
    }

    /// The entry `name` of directory `dir`; none too when `dir` is no directory.
    pub fn lookup(&self, dir: u32, name: &[u8]) -> Option<u32> {
        self.inode(dir)?.lookup(name)
    }

    /// How many chunks.
    pub fn chunk_count(&self) -> u32 {
        len32(self.chunks.len())
    }

    /// The row of chunk number `index`.
    pub fn chunk(&self, index: u32) -> Option<Chunk> {
        let record = self.chunks.get(index as usize)?;
        Some(Chunk {
            hash: record.hash,
            offset: record.offset.to_native(),
            stored_len: record.stored_len.to_native(),
            raw_len: record.raw_len.to_native(),
            encoding: record.encoding(),
        })
    }

    /// Which blocks of chunk number `index` are in the warm segment.
    pub fn warm(&self, index: u32) -> WarmBlocks {
        let record = self.chunks.get(index as usize);
        record.map_or(WarmBlocks::default(), |r| WarmBlocks {
            mask: r.warm.to_native(),
            at: r.warm_at.to_native(),
        })
    }

    /// Blocks in the warm segment.
    pub fn warm_blocks(&self) -> u32 {
        self.warm_blocks.to_native()
    }

    /// Length of the chunk store in bytes.
    pub fn store_bytes(&self) -> u64 {
        self.store_bytes.to_native()
    }

    /// `len` bytes of the pool; empty when out of range, which [`access`] has excluded.
    fn pool(&self, first: u32, len: u32) -> &[u8] {
        range(&self.bytes, first, len)
    }
}

impl<'a> Inode<'a> {
    fn record(self) -> &'a ArchivedInodeRecord {
        &self.vfs.inodes[self.ino as usize]
    }

    fn attributes(self) -> &'a ArchivedAttributesRecord {
        &self.vfs.attributes[self.record().attributes.to_native() as usize]
    }

    fn first(self) -> u32 {
        self.record().first.to_native()
    }

    fn count(self) -> u32 {
        self.record().count.to_native()
    }

    fn is(self, kind: u32) -> bool {
        self.mode() & kind::MASK == kind
    }

    /// Its number.
    pub fn ino(self) -> u32 {
        self.ino
    }

    /// Kind and permission bits, see inode(7).
    pub fn mode(self) -> u32 {
        self.attributes().mode.to_native()
    }

    /// Owner.
    pub fn uid(self) -> u32 {
        self.attributes().uid.to_native()
    }

    /// Group.
    pub fn gid(self) -> u32 {
        self.attributes().gid.to_native()
    }

    /// Hard links (directories: 2 + subdirectories).
    pub fn nlink(self) -> u32 {
        self.record().nlink.to_native()
    }

    /// Bytes: of a file, of a symlink's target, [`DIRECTORY_SIZE`], or 0.
    pub fn size(self) -> u64 {
        self.record().size.to_native()
    }

    /// Time of last modification: seconds (negative before 1970) and nanoseconds below 10⁹.
    pub fn mtime(self) -> (i64, u32) {
        (self.attributes().mtime_sec.to_native(), self.attributes().mtime_nsec.to_native())
    }

    /// Device number of a device node in Linux's 64-bit encoding (makedev(3)), else 0.
    pub fn rdev(self) -> u64 {
        if !self.is(kind::CHAR) && !self.is(kind::BLOCK) {
            return 0;
        }
        let (major, minor) = (u64::from(self.first()), u64::from(self.count()));
        (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
    }

    fn entries(self) -> &'a [ArchivedEntryRecord] {
        if self.is(kind::DIRECTORY) { range(&self.vfs.entries, self.first(), self.count()) } else { &[] }
    }

    /// How many entries a directory has, without `.` and `..`; 0 for others.
    pub fn entry_count(self) -> u32 {
        len32(self.entries().len())
    }

    /// A directory's entry by position, in the order of names (as bytes): name and inode number.
    pub fn entry(self, index: u32) -> Option<(&'a [u8], u32)> {
        let entry = self.entries().get(index as usize)?;
        Some((entry.name_in(self.vfs), entry.ino.to_native()))
    }

    /// All entries of a directory, in the order of names.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], u32)> {
        self.entries().iter().map(move |entry| (entry.name_in(self.vfs), entry.ino.to_native()))
    }

    /// The number of the inode that a directory's entry `name` leads to.
    pub fn lookup(self, name: &[u8]) -> Option<u32> {
        let entries = self.entries();
        let index = entries.binary_search_by(|entry| entry.name_in(self.vfs).cmp(name)).ok()?;
        Some(entries[index].ino.to_native())
    }

    /// Target of a symlink.
    pub fn symlink(self) -> Option<&'a [u8]> {
        self.is(kind::SYMLINK).then(|| self.vfs.pool(self.first(), self.count()))
    }

    /// Extended attributes (name with its namespace, value), in the order of names.
    pub fn xattrs(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let attributes = self.attributes();
        range(&self.vfs.xattrs, attributes.xattr_first.to_native(), attributes.xattr_count.to_native())
            .iter()
            .map(move |x| {
                (
                    self.vfs.pool(x.name.to_native(), x.name_len.to_native()),
                    self.vfs.pool(x.value.to_native(), x.value_len.to_native()),
                )
            })
    }

    fn extent_records(self) -> &'a [ArchivedExtentRecord] {
        if self.is(kind::FILE) { range(&self.vfs.extents, self.first(), self.count()) } else { &[] }
    }

    /// Where a file's bytes are, in the order of offsets; gaps and the rest up to `size` are holes.
    pub fn extents(self) -> impl ExactSizeIterator<Item = Extent> + DoubleEndedIterator {
        self.extent_records().iter().map(ArchivedExtentRecord::read)
    }

    /// The first extent that ends after `offset`: it covers `offset`, or `offset` is in the hole before it.
    pub fn extent_at(self, offset: u64) -> Option<Extent> {
        let records = self.extent_records();
        let index = records.partition_point(|record| {
            let extent = record.read();
            extent.offset.saturating_add(u64::from(extent.len)) <= offset
        });
        records.get(index).map(ArchivedExtentRecord::read)
    }
}

impl ArchivedEntryRecord {
    pub(crate) fn name_in<'a>(&self, vfs: &'a ArchivedVfs) -> &'a [u8] {
        vfs.pool(self.name.to_native(), u32::from(self.name_len))
    }
}

impl ArchivedExtentRecord {
    pub(crate) fn read(&self) -> Extent {
        Extent {
            offset: u64::from(self.offset_low.to_native()) | u64::from(self.offset_high.to_native()) << 32,
            len: self.len.to_native(),
            chunk: self.chunk.to_native(),
            chunk_offset: self.chunk_offset.to_native(),
        }
    }
}

/// `count` items from `first`; empty when out of range.
fn range<T>(items: &[T], first: u32, count: u32) -> &[T] {
    let first = first as usize;
    first.checked_add(count as usize).and_then(|end| items.get(first..end)).unwrap_or_default()
}

/// A table's length; tables that large do not fit into 32-bit relative pointers.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
