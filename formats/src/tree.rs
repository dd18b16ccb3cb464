//! A root file system as a tree in memory: what flattening an image gives and
//! what the VFS archive is built from.
//!
//! Metadata only; contents are references into the image's layers (read later,
//! in one sequential pass for each layer) or bytes given outright. Host only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::vfs::kind;

/// Index of a node in [`Tree`]. Hard links are several names for one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// The root directory.
pub const ROOT: NodeId = NodeId(0);

/// Owner, permissions, time, extended attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, 07777; the kind is the node's.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification: seconds and nanoseconds since the epoch.
    pub mtime: (i64, u32),
    /// Extended attributes, name with its namespace (`security.capability`) to value.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Names to nodes.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// A regular file.
    File(File),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A character device.
    Char {
        /// Device number, upper part.
        major: u32,
        /// Device number, lower part.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Device number, upper part.
        major: u32,
        /// Device number, lower part.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket (images hardly ever hold one).
    Socket,
}

/// A regular file's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Bytes, holes included.
    pub size: u64,
    /// What is not a hole, in order, without overlap.
    pub segments: Vec<Segment>,
}

/// A run of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes, at least one.
    pub len: u64,
    /// Where they are.
    pub source: Source,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In stream number `stream` (a layer, decompressed) at byte `offset`.
    Stream {
        /// As [`Streams::read`] knows it.
        stream: u32,
        /// From the start of the decompressed stream.
        offset: u64,
    },
    /// Here.
    Bytes(Arc<[u8]>),
}

/// Gives the streams that [`Source::Stream`] refers to.
pub trait Streams {
    /// Call `each` for every stream in `wanted` (ascending), in any order, with
    /// a reader at its start. `each` reads as far as it needs.
    fn read(
        &self,
        wanted: &[u32],
        each: &mut dyn FnMut(u32, &mut dyn std::io::Read) -> std::io::Result<()>,
    ) -> std::io::Result<()>;
}

/// For trees that are all [`Source::Bytes`].
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStreams;

impl Streams for NoStreams {
    fn read(
        &self,
        wanted: &[u32],
        _each: &mut dyn FnMut(u32, &mut dyn std::io::Read) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        match wanted.first() {
            None => Ok(()),
            Some(stream) => Err(std::io::Error::other(format!("no stream {stream}"))),
        }
    }
}

/// One inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, permissions, time, extended attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    /// Kind and permission bits, see inode(7).
    pub fn mode(&self) -> u32 {
        self.meta.mode
            | match self.kind {
                Kind::Directory(_) => kind::DIRECTORY,
                Kind::File(_) => kind::FILE,
                Kind::Symlink(_) => kind::SYMLINK,
                Kind::Char { .. } => kind::CHAR,
                Kind::Block { .. } => kind::BLOCK,
                Kind::Fifo => kind::FIFO,
                Kind::Socket => kind::SOCKET,
            }
    }
}

/// A root file system.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// An empty root directory, 0755, root's.
    pub fn new() -> Tree {
        let meta = Meta { mode: 0o755, ..Meta::default() };
        Tree { nodes: vec![Node { meta, kind: Kind::Directory(BTreeMap::new()) }] }
    }

    /// A node without a name yet.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    /// The node behind an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node behind an id, to change.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Nodes ever added; some may have lost their names.
    pub(crate) fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// The entries of a directory; none for anything else.
    pub fn children(&self, id: NodeId) -> Option<&BTreeMap<Vec<u8>, NodeId>> {
        match &self.node(id).kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// The entries of a directory, to change.
    pub fn children_mut(&mut self, id: NodeId) -> Option<&mut BTreeMap<Vec<u8>, NodeId>> {
        match &mut self.node_mut(id).kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// The node at `path` (components separated by slashes, `.` and empty ones
    /// skipped), following no symlinks.
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        components(path).try_fold(ROOT, |dir, name| self.children(dir)?.get(name).copied())
    }

    /// Puts a node at `path`, replacing what is there and making missing
    /// directories (0755, root's). None when a component of the path is not a directory.
    pub fn put(&mut self, path: &[u8], node: Node) -> Option<NodeId> {
        let mut names: Vec<&[u8]> = components(path).collect();
        let last = names.pop()?;
        let mut dir = ROOT;
        for name in names {
            dir = match self.children(dir)?.get(name) {
                Some(&id) => id,
                None => {
                    let meta = Meta { mode: 0o755, ..Meta::default() };
                    let id = self.add(Node { meta, kind: Kind::Directory(BTreeMap::new()) });
                    self.children_mut(dir)?.insert(name.to_vec(), id);
                    id
                }
            };
        }
        self.children(dir)?;
        let id = self.add(node);
        self.children_mut(dir)?.insert(last.to_vec(), id);
        Some(id)
    }

    /// [`Tree::put`] of a regular file, owner root, time 0.
    pub fn put_file(&mut self, path: &[u8], mode: u32, contents: &[u8]) -> Option<NodeId> {
        let mut file = File { size: contents.len() as u64, segments: Vec::new() };
        if !contents.is_empty() {
            let source = Source::Bytes(contents.into());
            file.segments.push(Segment { offset: 0, len: file.size, source });
        }
        self.put(path, Node { meta: Meta { mode, ..Meta::default() }, kind: Kind::File(file) })
    }

    /// [`Tree::put`] of an empty directory, owner root, time 0.
    pub fn put_directory(&mut self, path: &[u8], mode: u32) -> Option<NodeId> {
        let kind = Kind::Directory(BTreeMap::new());
        self.put(path, Node { meta: Meta { mode, ..Meta::default() }, kind })
    }

    /// [`Tree::put`] of a symbolic link, owner root, time 0.
    pub fn put_symlink(&mut self, path: &[u8], target: &[u8]) -> Option<NodeId> {
        let kind = Kind::Symlink(target.to_vec());
        self.put(path, Node { meta: Meta { mode: 0o777, ..Meta::default() }, kind })
    }
}

/// The names in a path; `..` is the caller's to refuse.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty() && *name != b".")
}
