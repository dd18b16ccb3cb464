//! The promises of a VFS archive, checked once when it is mounted.
//!
//! rkyv's own check (bytecheck) has made sure that all tables lie within the
//! bytes; this makes sure that what they say is a file system: a tree without
//! cycles, sorted unique names, right link counts, extents in order and within
//! their chunks, chunks within the store.

use crate::chunk;
use crate::vfs::{ArchivedVfs, DIRECTORY_SIZE, NAME_MAX, TARGET_MAX, VfsError, kind};
use crate::warm::BLOCK;

type Check = Result<(), VfsError>;

fn require(holds: bool, what: &'static str, index: usize) -> Check {
    if holds {
        Ok(())
    } else {
        Err(VfsError::Invariant { what, index: u32::try_from(index).unwrap_or(u32::MAX) })
    }
}

fn within(first: u32, count: u32, len: usize) -> bool {
    u64::from(first) + u64::from(count) <= len as u64
}

/// Everything that the accessors and the engine rely on.
pub(crate) fn check(vfs: &ArchivedVfs) -> Check {
    chunks(vfs)?;
    xattrs(vfs)?;
    attributes(vfs)?;
    let directories = inodes(vfs)?;
    tree(vfs, &directories)
}

fn chunks(vfs: &ArchivedVfs) -> Check {
    let store = vfs.store_bytes();
    for (i, record) in vfs.chunks.iter().enumerate() {
        let (stored, raw) = (record.stored_len.to_native(), record.raw_len.to_native());
        require(raw > 0 && raw <= chunk::MAX_RAW_BYTES && stored > 0 && stored <= raw, "chunk length", i)?;
        let end = record.offset.to_native().checked_add(u64::from(stored));
        require(end.is_some_and(|end| end <= store), "chunk outside the store", i)?;
        let (warm, at) = (record.warm.to_native(), u64::from(record.warm_at.to_native()));
        let blocks = raw.div_ceil(BLOCK).min(u32::BITS);
        require(u64::from(warm) >> blocks == 0, "warm block beyond its chunk", i)?;
        let end = at + u64::from(warm.count_ones());
        require(end <= u64::from(vfs.warm_blocks()), "warm block outside of its segment", i)?;
    }
    Ok(())
}

fn xattrs(vfs: &ArchivedVfs) -> Check {
    let pool = vfs.bytes.len();
    for (i, x) in vfs.xattrs.iter().enumerate() {
        require(within(x.name.to_native(), x.name_len.to_native(), pool), "xattr name", i)?;
        require(within(x.value.to_native(), x.value_len.to_native(), pool), "xattr value", i)?;
        require((1..=NAME_MAX as u32).contains(&x.name_len.to_native()), "xattr name length", i)?;
    }
    Ok(())
}

fn attributes(vfs: &ArchivedVfs) -> Check {
    let pool = &vfs.bytes;
    for (i, a) in vfs.attributes.iter().enumerate() {
        let mode = a.mode.to_native();
        require(mode & !(kind::MASK | 0o7777) == 0, "mode bits", i)?;
        require(a.mtime_nsec.to_native() < 1_000_000_000, "nanoseconds", i)?;
        let (first, count) = (a.xattr_first.to_native(), a.xattr_count.to_native());
        require(within(first, count, vfs.xattrs.len()), "xattr range", i)?;
        let names = vfs.xattrs[first as usize..first as usize + count as usize].iter().map(|x| {
            let start = x.name.to_native() as usize;
            &pool[start..start + x.name_len.to_native() as usize]
        });
        require(names.is_sorted_by(|a, b| a < b), "xattr order", i)?;
    }
    Ok(())
}

/// Each inode for itself; tells which are directories.
fn inodes(vfs: &ArchivedVfs) -> Result<Vec<bool>, VfsError> {
    require(!vfs.inodes.is_empty(), "no root", 0)?;
    let (mut next_entry, mut next_extent) = (0u64, 0u64);
    let mut directories = Vec::with_capacity(vfs.inodes.len());
    for (i, record) in vfs.inodes.iter().enumerate() {
        let attributes = vfs.attributes.get(record.attributes.to_native() as usize);
        let Some(attributes) = attributes else {
            return require(false, "attributes", i).map(|()| directories);
        };
        let (first, count, size) =
            (record.first.to_native(), record.count.to_native(), record.size.to_native());
        let kind = attributes.mode.to_native() & kind::MASK;
        directories.push(kind == kind::DIRECTORY);
        match kind {
            // Tables are in inode order without gaps, so no two inodes share a row.
            kind::DIRECTORY => {
                require(u64::from(first) == next_entry, "directory range", i)?;
                require(within(first, count, vfs.entries.len()), "directory range", i)?;
                require(size == DIRECTORY_SIZE, "directory size", i)?;
                next_entry += u64::from(count);
            }
            kind::FILE => {
                require(u64::from(first) == next_extent, "extent range", i)?;
                require(within(first, count, vfs.extents.len()), "extent range", i)?;
                require(size <= i64::MAX as u64, "file size", i)?;
                extents(vfs, i, first as usize..first as usize + count as usize, size)?;
                next_extent += u64::from(count);
            }
            kind::SYMLINK => {
                require(within(first, count, vfs.bytes.len()), "symlink range", i)?;
                let target = &vfs.bytes[first as usize..first as usize + count as usize];
                let sound = (1..=TARGET_MAX).contains(&target.len()) && !target.contains(&0);
                require(sound && size == u64::from(count), "symlink target", i)?;
            }
            kind::CHAR | kind::BLOCK => require(size == 0, "device size", i)?,
            kind::FIFO | kind::SOCKET => require(size == 0 && first == 0 && count == 0, "special file", i)?,
            _ => require(false, "kind", i)?,
        }
    }
    require(next_entry == vfs.entries.len() as u64, "entries of no directory", 0)?;
    require(next_extent == vfs.extents.len() as u64, "extents of no file", 0)?;
    require(directories[0], "root is no directory", 0)?;
    Ok(directories)
}

fn extents(vfs: &ArchivedVfs, ino: usize, rows: std::ops::Range<usize>, size: u64) -> Check {
    let mut end = 0;
    for record in &vfs.extents[rows] {
        let extent = record.read();
        require(extent.len > 0 && extent.offset >= end, "extent order", ino)?;
        let this_end = extent.offset.checked_add(u64::from(extent.len));
        require(this_end.is_some_and(|e| e <= size), "extent past the end", ino)?;
        end = this_end.unwrap_or(size);
        let chunk = vfs.chunks.get(extent.chunk as usize);
        let raw = chunk.map_or(0, |c| c.raw_len.to_native());
        require(
            u64::from(extent.chunk_offset) + u64::from(extent.len) <= u64::from(raw),
            "extent chunk",
            ino,
        )?;
    }
    Ok(())
}

/// Names, and that they make a tree: every directory but the root has one
/// parent with a smaller number (so following parents ends at the root), every
/// inode is reachable, and link counts are the number of names.
fn tree(vfs: &ArchivedVfs, directories: &[bool]) -> Check {
    let mut links = vec![0u32; directories.len()];
    let mut has_parent = vec![false; directories.len()];
    (links[0], has_parent[0]) = (2, true);
    for (ino, record) in vfs.inodes.iter().enumerate().filter(|(ino, _)| directories[*ino]) {
        let first = record.first.to_native() as usize;
        let mut previous: &[u8] = b"";
        for entry in &vfs.entries[first..first + record.count.to_native() as usize] {
            require(
                within(entry.name.to_native(), u32::from(entry.name_len), vfs.bytes.len()),
                "name range",
                ino,
            )?;
            let name = entry.name_in(vfs);
            require(valid_name(name), "name", ino)?;
            require(name > previous, "order of names", ino)?;
            previous = name;
            let child = entry.ino.to_native() as usize;
            require(child > 0 && child < directories.len(), "entry", ino)?;
            if directories[child] {
                require(child > ino && !has_parent[child], "directory with two parents", child)?;
                (links[child], has_parent[child]) = (2, true);
                links[ino] = links[ino].saturating_add(1);
            } else {
                links[child] = links[child].saturating_add(1);
            }
        }
    }
    for (ino, record) in vfs.inodes.iter().enumerate() {
        require(has_parent[ino] || !directories[ino], "directory without parent", ino)?;
        require(links[ino] > 0 && links[ino] == record.nlink.to_native(), "link count", ino)?;
    }
    Ok(())
}

/// A single component that Linux could hold.
pub(crate) fn valid_name(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|&b| b == b'/' || b == 0)
}
