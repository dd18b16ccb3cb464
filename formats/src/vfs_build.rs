//! Builds the VFS archive and the chunk store from a tree. Host only.
//!
//! Inodes are numbered in preorder, so that what lies together in the image
//! lies together in the tables. Contents are read in one sequential pass for
//! each stream (layer), cut and written by `chunk_writer`.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use rkyv::util::AlignedVec;

use crate::chunk_writer::{ChunkWriter, Chunks, Piece};
use crate::tree::{File, Kind, Meta, Node, NodeId, ROOT, Segment, Source, Streams, Tree};
use crate::vfs::{
    AttributesRecord, ChunkRecord, DIRECTORY_SIZE, EntryRecord, ExtentRecord, HEADER_BYTES, InodeRecord,
    MAGIC, NAME_MAX, TARGET_MAX, VERSION, Vfs, XattrRecord,
};
use crate::vfs_check::valid_name;

/// Why a tree cannot become an archive.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A name that Linux cannot hold.
    #[error("the image holds a file name that no Linux file system can hold: {0:?}")]
    Name(String),
    /// A symlink target of no or too many bytes.
    #[error(
        "the image holds a symbolic link whose target is empty or longer than {TARGET_MAX} bytes, named {0:?}"
    )]
    Target(String),
    /// A device number, time or size that Linux cannot hold.
    #[error("the image holds a file whose {what} no Linux file system can hold, named {name:?}")]
    Meta {
        /// Which.
        what: &'static str,
        /// The last component of its name.
        name: String,
    },
    /// More than 32-bit indexes can count.
    #[error("the image has more than 4 billion {0}")]
    TooMany(&'static str),
    /// The archive passes 2 GiB, or rkyv failed.
    #[error("the VFS archive cannot be written: {0}")]
    Archive(String),
    /// Contents could not be read, or the store could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An archive and its chunk store.
#[derive(Debug)]
pub struct Built<W> {
    /// For [`crate::vfs::access`]; its address is divisible by 16.
    pub archive: AlignedVec<16>,
    /// What the chunks were written to.
    pub store: W,
    /// The chunk table and what was written.
    pub chunks: Chunks,
}

/// Archive and chunk store of a tree. `progress` is called with (bytes of
/// contents read, all of them). Same tree and options, same bytes.
pub fn build<W: Write>(
    tree: &Tree,
    streams: &dyn Streams,
    writer: ChunkWriter<W>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Built<W>, BuildError> {
    let order = Order::of(tree)?;
    let mut contents = Contents { writer, pieces: HashMap::new(), done: 0, total: 0, progress };
    contents.read_all(tree, &order, streams)?;
    let Contents { writer, pieces, .. } = contents;
    let (store, chunks) = writer.finish()?;

    let mut tables = Tables::default();
    for &id in &order.nodes {
        tables.inode(tree, id, &order, &pieces, &chunks)?;
    }
    let mut vfs = tables.vfs;
    vfs.chunks = chunks
        .table
        .iter()
        .map(|c| ChunkRecord {
            hash: c.hash,
            offset: c.offset,
            stored_len: c.stored_len,
            raw_len: c.raw_len,
            warm: 0,
            warm_at: 0,
        })
        .collect();
    vfs.store_bytes = chunks.store_bytes;
    Ok(Built { archive: seal(&vfs)?, store, chunks })
}

/// Header and archive.
fn seal(vfs: &Vfs) -> Result<AlignedVec<16>, BuildError> {
    let mut header = AlignedVec::<16>::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(vfs, header)
        .map_err(|e| BuildError::Archive(e.to_string()))
}

/// Which node gets which inode number.
struct Order {
    /// By inode number.
    nodes: Vec<NodeId>,
    /// By node: number and names leading to it.
    by_node: Vec<Option<(u32, u32)>>,
}

impl Order {
    fn of(tree: &Tree) -> Result<Order, BuildError> {
        let mut order = Order { nodes: Vec::new(), by_node: vec![None; tree.capacity()] };
        let mut stack: Vec<NodeId> = vec![ROOT];
        while let Some(id) = stack.pop() {
            let slot = &mut order.by_node[id.0 as usize];
            if let Some((_, links)) = slot {
                *links += 1;
                continue;
            }
            let ino = u32::try_from(order.nodes.len()).map_err(|_| BuildError::TooMany("files"))?;
            *slot = Some((ino, 1));
            order.nodes.push(id);
            if let Some(children) = tree.children(id) {
                stack.extend(children.values().rev());
            }
        }
        Ok(order)
    }

    fn ino(&self, id: NodeId) -> u32 {
        self.by_node[id.0 as usize].map_or(0, |(ino, _)| ino)
    }

    fn links(&self, id: NodeId) -> u32 {
        self.by_node[id.0 as usize].map_or(0, |(_, links)| links)
    }
}

/// Pieces of each segment: by node, then in the order of segments.
type Pieces = HashMap<(NodeId, usize), Vec<Piece>>;

struct Contents<'p, W: Write> {
    writer: ChunkWriter<W>,
    pieces: Pieces,
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

/// A segment to be read from a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    stream: u32,
    offset: u64,
    len: u64,
    node: NodeId,
    segment: usize,
}

impl<W: Write> Contents<'_, W> {
    fn read_all(&mut self, tree: &Tree, order: &Order, streams: &dyn Streams) -> Result<(), BuildError> {
        let mut wanted = Vec::new();
        for &id in &order.nodes {
            let Kind::File(file) = &tree.node(id).kind else { continue };
            for (index, segment) in file.segments.iter().enumerate() {
                self.total += segment.len;
                match &segment.source {
                    Source::Bytes(bytes) => {
                        let pieces = self.writer.put(bytes)?;
                        self.pieces.insert((id, index), pieces);
                        self.done += segment.len;
                    }
                    &Source::Stream { stream, offset } => {
                        wanted.push(Wanted { stream, offset, len: segment.len, node: id, segment: index });
                    }
                }
            }
        }
        wanted.sort_unstable();
        let mut numbers: Vec<u32> = wanted.iter().map(|w| w.stream).collect();
        numbers.dedup();
        let mut seen = 0;
        streams.read(&numbers, &mut |stream, reader| {
            let first = wanted.partition_point(|w| w.stream < stream);
            let end = wanted.partition_point(|w| w.stream <= stream);
            seen += end - first;
            self.read_stream(&wanted[first..end], reader)
        })?;
        if seen != wanted.len() {
            return Err(io::Error::other("a layer was not read").into());
        }
        Ok(())
    }

    /// One pass over a stream; `wanted` in the order of offsets.
    fn read_stream(&mut self, wanted: &[Wanted], reader: &mut dyn Read) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut position = 0;
        let mut previous: Option<&Wanted> = None;
        for w in wanted {
            // A layer listed twice gives two nodes with the same bytes.
            if let Some(p) = previous.filter(|p| (p.offset, p.len) == (w.offset, w.len)) {
                let pieces = self.pieces.get(&(p.node, p.segment)).cloned().unwrap_or_default();
                self.pieces.insert((w.node, w.segment), pieces);
                self.done += w.len;
                continue;
            }
            let gap = w.offset.checked_sub(position);
            let gap = gap.ok_or_else(|| io::Error::other("two files share bytes of a layer"))?;
            take(reader, gap, &mut buffer, &mut |_| Ok(()))?;
            let mut run = self.writer.run(w.len);
            take(reader, w.len, &mut buffer, &mut |bytes| run.push(bytes))?;
            self.pieces.insert((w.node, w.segment), run.finish()?);
            position = w.offset + w.len;
            previous = Some(w);
            self.done += w.len;
            (self.progress)(self.done, self.total);
        }
        Ok(())
    }
}

/// Exactly `len` bytes of `reader`, a buffer at a time.
fn take(
    reader: &mut dyn Read,
    mut len: u64,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while len > 0 {
        let part = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.len());
        reader.read_exact(&mut buffer[..part])?;
        each(&buffer[..part])?;
        len -= part as u64;
    }
    Ok(())
}

/// The archive's tables as they grow.
#[derive(Default)]
struct Tables {
    vfs: Vfs,
    attributes: HashMap<(u32, Meta), u32>,
    spans: HashMap<Vec<u8>, u32>,
}

impl std::hash::Hash for Meta {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.mode, self.uid, self.gid, self.mtime, &self.xattrs).hash(state);
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn count(n: usize, what: &'static str) -> Result<u32, BuildError> {
    u32::try_from(n).map_err(|_| BuildError::TooMany(what))
}

impl Tables {
    /// Position of these bytes in the pool; equal ones are stored once.
    fn span(&mut self, bytes: &[u8]) -> Result<u32, BuildError> {
        if let Some(&at) = self.spans.get(bytes) {
            return Ok(at);
        }
        let at = count(self.vfs.bytes.len(), "bytes of names")?;
        self.vfs.bytes.extend_from_slice(bytes);
        self.spans.insert(bytes.to_vec(), at);
        Ok(at)
    }

    fn inode(
        &mut self,
        tree: &Tree,
        id: NodeId,
        order: &Order,
        pieces: &Pieces,
        chunks: &Chunks,
    ) -> Result<(), BuildError> {
        let node = tree.node(id);
        let attributes = self.attributes(node)?;
        let mut record = InodeRecord { size: 0, attributes, nlink: order.links(id), first: 0, count: 0 };
        match &node.kind {
            Kind::Directory(children) => {
                record.size = DIRECTORY_SIZE;
                record.first = count(self.vfs.entries.len(), "names")?;
                record.count = count(children.len(), "names")?;
                record.nlink = 2;
                for (name, &child) in children {
                    let child_node = tree.node(child);
                    record.nlink += u32::from(matches!(child_node.kind, Kind::Directory(_)));
                    checked(name, child_node)?;
                    let entry = EntryRecord {
                        name: self.span(name)?,
                        ino: order.ino(child),
                        name_len: name.len() as u8,
                    };
                    self.vfs.entries.push(entry);
                }
            }
            Kind::File(file) => {
                record.size = file.size;
                record.first = count(self.vfs.extents.len(), "pieces of files")?;
                for (index, segment) in file.segments.iter().enumerate() {
                    let pieces = pieces.get(&(id, index)).map_or(&[][..], Vec::as_slice);
                    self.extents(segment, pieces, chunks);
                }
                record.count = count(self.vfs.extents.len(), "pieces of files")? - record.first;
            }
            Kind::Symlink(target) => {
                record.size = target.len() as u64;
                record.first = self.span(target)?;
                record.count = count(target.len(), "bytes of names")?;
            }
            &(Kind::Char { major, minor } | Kind::Block { major, minor }) => {
                (record.first, record.count) = (major, minor);
            }
            Kind::Fifo | Kind::Socket => {}
        }
        self.vfs.inodes.push(record);
        Ok(())
    }

    fn extents(&mut self, segment: &Segment, pieces: &[Piece], chunks: &Chunks) {
        let mut offset = segment.offset;
        for piece in pieces {
            self.vfs.extents.push(ExtentRecord {
                offset_low: offset as u32,
                offset_high: (offset >> 32) as u32,
                chunk: chunks.renumber[piece.chunk as usize],
                chunk_offset: piece.offset,
                len: piece.len,
            });
            offset += u64::from(piece.len);
        }
    }

    fn attributes(&mut self, node: &Node) -> Result<u32, BuildError> {
        let key = (node.mode(), node.meta.clone());
        if let Some(&index) = self.attributes.get(&key) {
            return Ok(index);
        }
        let meta = &node.meta;
        let xattr_first = count(self.vfs.xattrs.len(), "extended attributes")?;
        for (name, value) in &meta.xattrs {
            let record = XattrRecord {
                name: self.span(name)?,
                name_len: count(name.len(), "bytes of names")?,
                value: self.span(value)?,
                value_len: count(value.len(), "bytes of names")?,
            };
            self.vfs.xattrs.push(record);
        }
        let index = count(self.vfs.attributes.len(), "files")?;
        self.vfs.attributes.push(AttributesRecord {
            mtime_sec: meta.mtime.0,
            mtime_nsec: meta.mtime.1,
            mode: node.mode(),
            uid: meta.uid,
            gid: meta.gid,
            xattr_first,
            xattr_count: count(meta.xattrs.len(), "extended attributes")?,
        });
        self.attributes.insert(key, index);
        Ok(index)
    }
}

/// A name and what it leads to can be in an archive.
fn checked(name: &[u8], node: &Node) -> Result<(), BuildError> {
    if !valid_name(name) {
        return Err(BuildError::Name(text(name)));
    }
    let meta = &node.meta;
    let bad = |what| Err(BuildError::Meta { what, name: text(name) });
    if meta.mode & !0o7777 != 0 {
        return bad("mode");
    }
    if meta.mtime.1 >= 1_000_000_000 {
        return bad("modification time");
    }
    if meta.xattrs.keys().any(|key| !(1..=NAME_MAX).contains(&key.len())) {
        return bad("extended attribute name");
    }
    match &node.kind {
        Kind::Symlink(target) if !(1..=TARGET_MAX).contains(&target.len()) || target.contains(&0) => {
            Err(BuildError::Target(text(name)))
        }
        Kind::File(file) if !sound(file) => bad("size"),
        _ => Ok(()),
    }
}

/// Segments in order, within the size.
fn sound(file: &File) -> bool {
    let mut end = 0;
    for segment in &file.segments {
        let this_end = segment.offset.checked_add(segment.len);
        if segment.len == 0 || segment.offset < end || this_end.is_none_or(|e| e > file.size) {
            return false;
        }
        end = this_end.unwrap_or(end);
    }
    file.size <= i64::MAX as u64
}

#[cfg(test)]
#[path = "vfs_test.rs"]
mod tests;
