//! Applies layers one on top of the other: pass 1, metadata only.
//!
//! Every blob is read once, in file order, into a list of entries; then the
//! lists are applied in the order of layers. Rules: OCI image-spec `layer.md`
//! (whiteouts), and where that is silent what `umoci unpack` does: parents that
//! are symlinks are followed within the root, a directory over a directory
//! keeps its contents, anything else replaces what was there.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};

use super::source::{self, Hashing, Sequential};
use super::tar::{Entry, EntryKind, Input, TarReader};
use super::{Image, ImageError, Layer, Limits, text};
use crate::tree::{File, Kind, Meta, Node, NodeId, ROOT, Segment, Source, Tree, components};
use crate::vfs::NAME_MAX;

/// Prefix of a name that deletes the rest of it from the layers below.
const WHITEOUT: &[u8] = b".wh.";
/// Deletes all of the directory it is in from the layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bookkeeping of AUFS, in old images.
const AUFS: &[u8] = b".wh..wh.";
/// Symlinks followed in one path, as in Linux.
const MAX_LINKS: usize = 40;

pub(super) fn flatten(image: &Image<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Tree, ImageError> {
    let blobs = image.blobs();
    let total = blobs.iter().map(|layer| layer.place.len).sum();
    let mut done = 0;
    let mut lists: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    let limits = image.options.limits;
    let mut budget = Budget { entries: limits.files, limits };
    // What the scan has read need not be read again, which matters when it is compressed.
    let unread: &[&Layer] = if image.entries.is_some() { &[] } else { &blobs };
    image.visit(unread, &mut |layer, stored| {
        let mut counted = Counted { inner: stored, read: 0, tell: &mut |read| progress(done + read, total) };
        lists.insert(layer.blob, read_layer(image, layer, &mut counted, &mut budget)?);
        done += layer.place.len;
        progress(done, total);
        Ok(())
    })?;
    progress(total, total);
    let mut flatten = Flatten {
        tree: Tree::new(),
        upper: HashSet::new(),
        last: None,
        limits,
        bytes: 0,
        whiteouts: image.whiteouts,
    };
    for layer in &image.layers {
        flatten.upper.clear();
        flatten.last = None;
        let entries = image.entries.as_ref().or_else(|| lists.get(&layer.blob));
        for entry in entries.map_or(&[][..], Vec::as_slice) {
            flatten.apply(entry, layer.blob)?;
        }
    }
    Ok(flatten.tree)
}

/// Tells now and then how much of a layer has been read.
struct Counted<'a> {
    inner: &'a mut dyn Input,
    read: u64,
    tell: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const STEP: u64 = 1 << 20;
        let count = self.inner.read(buffer)?;
        let before = self.read / STEP;
        self.read += count as u64;
        if self.read / STEP != before {
            (self.tell)(self.read);
        }
        Ok(count)
    }
}

impl Input for Counted<'_> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        self.read = self.read.saturating_add(len);
        self.inner.skip(len)
    }
}

/// Entries that may still come, in all layers.
struct Budget {
    entries: usize,
    limits: Limits,
}

/// The entries of one blob; verifies its digest.
fn read_layer(
    image: &Image<'_>,
    layer: &Layer,
    stored: &mut dyn Input,
    budget: &mut Budget,
) -> Result<Vec<Entry>, ImageError> {
    let limits = &image.options.limits;
    let name = layer.name.as_str();
    let io = |e| ImageError::from_io(e, name);
    let check = |what: &str, found: String, expected: &str| {
        let expected = expected.to_owned();
        if found == expected { Ok(()) } else { Err(ImageError::Digest { what: what.to_owned(), expected }) }
    };
    let len = layer.place.len;
    match (&layer.digest, &layer.diff_id) {
        _ if image.options.skip_digests => {
            read_entries(source::open(Box::new(stored), len, limits)?, name, budget)
        }
        (Some(expected), _) => {
            let mut hashing = Hashing::new(stored);
            let stream = source::open(Box::new(Sequential(&mut hashing)), len, limits);
            let entries = stream.and_then(|stream| read_entries(stream, name, budget));
            // A wrong digest explains all other faults, so it is reported before them.
            let found = hashing.finish().map_err(io)?;
            check(name, found, expected)?;
            entries
        }
        (None, Some(expected)) => {
            let mut hashing = Hashing::new(source::open(Box::new(stored), len, limits)?);
            let entries = read_entries(&mut hashing, name, budget)?;
            check(name, hashing.finish().map_err(io)?, expected)?;
            Ok(entries)
        }
        (None, None) => read_entries(source::open(Box::new(stored), len, limits)?, name, budget),
    }
}

/// All entries of a stream, which is read to its very end, where gzip and zstd have their checksums.
fn read_entries(mut stream: impl Input, name: &str, budget: &mut Budget) -> Result<Vec<Entry>, ImageError> {
    let mut reader = TarReader::new(&mut stream);
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => break,
            Err(super::tar::TarError::NotTar) => {
                return Err(ImageError::Damaged(format!("{name} is not a tar archive")));
            }
            Err(e) => return Err(ImageError::from_tar(e, name)),
        }
        let limit = budget.limits.files as u64;
        budget.entries = budget.entries.checked_sub(1).ok_or(ImageError::TooMany { what: "files", limit })?;
    }
    std::io::copy(&mut stream, &mut std::io::sink()).map_err(|e| ImageError::from_io(e, name))?;
    Ok(entries)
}

struct Flatten {
    tree: Tree,
    /// Names that the current layer has given, or passed through: whiteouts do not touch them.
    upper: HashSet<(NodeId, Vec<u8>)>,
    /// The last parent directory: entries come directory by directory. Forgotten when a name changes its meaning.
    last: Option<(Vec<u8>, NodeId)>,
    limits: Limits,
    /// Contents of all files so far.
    bytes: u64,
    /// Names that begin with `.wh.` mean what layers mean by them.
    whiteouts: bool,
}

fn invalid(path: &[u8], why: &str) -> ImageError {
    ImageError::Entry { path: text(path), why: why.to_owned() }
}

impl Flatten {
    fn apply(&mut self, entry: &Entry, blob: u32) -> Result<(), ImageError> {
        if self.tree.capacity() > self.limits.files {
            return Err(ImageError::TooMany { what: "files", limit: self.limits.files as u64 });
        }
        let Some((parents, name)) = split(&entry.path)? else {
            return self.root(entry);
        };
        if self.whiteouts && name.starts_with(WHITEOUT) {
            self.last = None;
            return self.whiteout(entry, &parents, name);
        }
        let dir = self.parent(&parents, &entry.path)?;
        let old = self.tree.children(dir).and_then(|children| children.get(name)).copied();
        let id = match entry.kind {
            EntryKind::Directory => match old.filter(|&id| self.tree.children(id).is_some()) {
                Some(id) => {
                    self.tree.node_mut(id).meta = meta(entry);
                    id
                }
                None => self.add(entry, Kind::Directory(BTreeMap::new())),
            },
            EntryKind::HardLink => self.link_target(entry)?,
            EntryKind::File => {
                let kind = self.file(entry, blob)?;
                self.add(entry, kind)
            }
            EntryKind::Symlink if entry.link.is_empty() => {
                return Err(invalid(&entry.path, "is a symbolic link to nothing"));
            }
            EntryKind::Symlink => self.add(entry, Kind::Symlink(entry.link.clone())),
            EntryKind::Char => self.add(entry, Kind::Char { major: entry.major, minor: entry.minor }),
            EntryKind::Block => self.add(entry, Kind::Block { major: entry.major, minor: entry.minor }),
            EntryKind::Fifo => self.add(entry, Kind::Fifo),
        };
        if let Some(children) = self.tree.children_mut(dir) {
            children.insert(name.to_vec(), id);
        }
        if old.is_some_and(|old| old != id) {
            self.last = None;
        }
        if self.whiteouts {
            self.upper.insert((dir, name.to_vec()));
        }
        Ok(())
    }

    /// The directory that an entry is in, made when it is missing.
    fn parent(&mut self, parents: &[&[u8]], path: &[u8]) -> Result<NodeId, ImageError> {
        let key = parents.join(&b'/');
        if let Some((_, dir)) = self.last.as_ref().filter(|(last, _)| *last == key) {
            return Ok(*dir);
        }
        let dir = self.directory(parents, path, true)?;
        let dir = dir.ok_or_else(|| invalid(path, "is in something that is not a directory"))?;
        self.last = Some((key, dir));
        Ok(dir)
    }

    /// `./`: the root directory itself.
    fn root(&mut self, entry: &Entry) -> Result<(), ImageError> {
        if entry.kind != EntryKind::Directory {
            return Err(invalid(&entry.path, "would replace the root directory"));
        }
        self.tree.node_mut(ROOT).meta = meta(entry);
        Ok(())
    }

    fn add(&mut self, entry: &Entry, kind: Kind) -> NodeId {
        self.tree.add(Node { meta: meta(entry), kind })
    }

    fn file(&mut self, entry: &Entry, blob: u32) -> Result<Kind, ImageError> {
        let segments = entry.runs.iter().map(|run| Segment {
            offset: run.offset,
            len: run.len,
            source: Source::Stream { stream: blob, offset: run.at },
        });
        let file = File { size: entry.size, segments: segments.collect() };
        let bytes: u64 = file.segments.iter().map(|segment| segment.len).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.total_bytes {
            return Err(ImageError::TooMany { what: "bytes", limit: self.limits.total_bytes });
        }
        Ok(Kind::File(file))
    }

    /// The directory at these names, symlinks followed within the root. With
    /// `make`, missing ones are made and all become part of this layer. None
    /// when something else is in the way (or, without `make`, nothing is there).
    fn directory(
        &mut self,
        parents: &[&[u8]],
        path: &[u8],
        make: bool,
    ) -> Result<Option<NodeId>, ImageError> {
        let mut stack = vec![ROOT];
        let mut names: Vec<Vec<u8>> = parents.iter().rev().map(|name| name.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == b".." {
                // Only from a symlink's target; the root is its own parent.
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let dir = stack[stack.len() - 1];
            let Some(children) = self.tree.children(dir) else { return Ok(None) };
            let next = match children.get(&name) {
                Some(&id) => id,
                None if make => {
                    let meta = Meta { mode: 0o755, ..Meta::default() };
                    let id = self.tree.add(Node { meta, kind: Kind::Directory(BTreeMap::new()) });
                    if let Some(children) = self.tree.children_mut(dir) {
                        children.insert(name.clone(), id);
                    }
                    id
                }
                None => return Ok(None),
            };
            if let Kind::Symlink(target) = &self.tree.node(next).kind {
                links += 1;
                if links > MAX_LINKS {
                    return Err(invalid(path, "is behind a loop of symbolic links"));
                }
                if target.starts_with(b"/") {
                    stack.truncate(1);
                }
                names.extend(components(target).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
                continue;
            }
            if make && self.whiteouts {
                self.upper.insert((dir, name));
            }
            stack.push(next);
        }
        let dir = stack[stack.len() - 1];
        Ok(self.tree.children(dir).is_some().then_some(dir))
    }

    /// What a hard link leads to; its last component is not followed.
    fn link_target(&mut self, entry: &Entry) -> Result<NodeId, ImageError> {
        let missing = || {
            invalid(&entry.path, &format!("is a hard link to {:?}, which is not there", text(&entry.link)))
        };
        let (parents, name) = split(&entry.link)?.ok_or_else(missing)?;
        let dir = self.directory(&parents, &entry.path, false)?.ok_or_else(missing)?;
        let id =
            self.tree.children(dir).and_then(|children| children.get(name)).copied().ok_or_else(missing)?;
        if self.tree.children(id).is_some() {
            return Err(invalid(
                &entry.path,
                &format!("is a hard link to the directory {:?}", text(&entry.link)),
            ));
        }
        Ok(id)
    }

    /// `.wh.NAME` and `.wh..wh..opq`.
    fn whiteout(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<(), ImageError> {
        let Some(dir) = self.directory(parents, &entry.path, false)? else { return Ok(()) };
        if name == OPAQUE {
            self.remove_lower(dir);
            return Ok(());
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let victim = &name[WHITEOUT.len()..];
        if matches!(victim, b"" | b"." | b"..") {
            return Err(ImageError::Traversal(text(&entry.path)));
        }
        if self.upper.contains(&(dir, victim.to_vec())) {
            // Given by this layer too; what the layers below had in it goes.
            let id = self.tree.children(dir).and_then(|children| children.get(victim)).copied();
            if let Some(id) = id {
                self.remove_lower(id);
            }
        } else if let Some(children) = self.tree.children_mut(dir) {
            children.remove(victim);
        }
        Ok(())
    }

    /// Removes from a directory what this layer has not given, all the way down.
    fn remove_lower(&mut self, dir: NodeId) {
        let mut stack = vec![dir];
        while let Some(dir) = stack.pop() {
            let upper = &self.upper;
            let mut kept = Vec::new();
            if let Some(children) = self.tree.children_mut(dir) {
                children.retain(|name, _| upper.contains(&(dir, name.clone())));
                kept.extend(children.values().copied());
            }
            stack.extend(kept.into_iter().filter(|&id| self.tree.children(id).is_some()));
        }
    }
}

/// The directories in a path, and the last name.
type Split<'p> = (Vec<&'p [u8]>, &'p [u8]);

/// Parents and last name of a path; none for the root itself. Absolute paths
/// are relative to the root, as docker takes them.
fn split(path: &[u8]) -> Result<Option<Split<'_>>, ImageError> {
    let mut names: Vec<&[u8]> = components(path).collect();
    if names.contains(&&b".."[..]) {
        return Err(ImageError::Traversal(text(path)));
    }
    if let Some(long) = names.iter().find(|name| name.len() > NAME_MAX && !name.starts_with(WHITEOUT)) {
        return Err(invalid(long, "is a name longer than Linux allows (255 bytes)"));
    }
    Ok(names.pop().map(|last| (names, last)))
}

fn meta(entry: &Entry) -> Meta {
    // Linux ignores the permissions of symbolic links and shows 0777.
    let mode = if entry.kind == EntryKind::Symlink { 0o777 } else { entry.mode };
    Meta { mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs.clone() }
}
