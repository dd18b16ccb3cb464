//! The in-memory file system against a model, over a base and without one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use friscy_formats::chunk_writer::{ChunkOptions, ChunkWriter};
use friscy_formats::tree::{NoStreams, Tree};
use friscy_formats::vfs::{self, ArchivedVfs};
use friscy_formats::vfs_build::build;
use friscy_formats::warm::Warm;

use super::data::FileData;
use super::*;
use crate::abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use crate::fs::chunks::{Chunks, Request};
use crate::fs::{InodeRef, Make, SetAttr};
use crate::kernel::wait::WaitQueue;
use crate::platform::Platform;

/// A platform whose chunk segment is there, or must be fetched.
#[derive(Default)]
struct TestPlatform {
    store: Vec<u8>,
    inside: bool,
    warm: Vec<u8>,
}

impl Platform for TestPlatform {
    fn realtime_ns(&self) -> u64 {
        1_000_000_000
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(4);
    }

    fn chunk_segment(&self, offset: u64, dst: &mut [u8]) -> bool {
        if self.inside {
            let start = offset as usize;
            dst.copy_from_slice(&self.store[start..start + dst.len()]);
        }
        self.inside
    }

    fn warm_segment(&self, offset: u64, dst: &mut [u8]) -> bool {
        dst.copy_from_slice(&self.warm[offset as usize..offset as usize + dst.len()]);
        true
    }
}

fn shared(bytes: u64) -> Shared {
    let platform = Rc::<TestPlatform>::default();
    Shared { quota: Quota::new(bytes), notify: Rc::default(), platform }
}

fn archive(tree: &Tree) -> (&'static ArchivedVfs, Vec<u8>) {
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions::default());
    let built = build(tree, &NoStreams, writer, &mut |_, _| {}).expect("builds");
    let archive = Box::leak(Box::new(built.archive));
    (vfs::access(archive).expect("valid"), built.store)
}

fn over(tree: &Tree, inside: bool) -> (InodeRef, Rc<Chunks>, Vec<u8>) {
    let (archive, store) = archive(tree);
    let platform: Rc<dyn Platform> =
        Rc::new(TestPlatform { store: store.clone(), inside, ..TestPlatform::default() });
    let chunks = Chunks::new(archive, platform, WaitQueue::new());
    let base = Base::new(archive, Rc::clone(&chunks));
    (MemFs::over(30, &shared(1 << 30), base).expect("has a root"), chunks, store)
}

const NOW: Timespec = Timespec { sec: 1000, nsec: 5 };

fn new(bits: u32) -> NewInode {
    NewInode { mode: bits, uid: 0, gid: 0, now: NOW }
}

fn tmpfs() -> InodeRef {
    MemFs::tmpfs(31, &shared(1 << 30), new(0o755))
}

fn mem(inode: &InodeRef) -> &MemInode {
    inode.as_any().downcast_ref().expect("an inode of this file system")
}

fn file(inode: &InodeRef) -> &FileData {
    mem(inode).file().expect("a regular file")
}

fn write(inode: &InodeRef, offset: u64, bytes: &[u8]) {
    mem(inode).pin();
    assert_eq!(file(inode).write(offset, bytes), Ok(bytes.len()));
}

fn contents(inode: &InodeRef) -> Vec<u8> {
    let mut bytes = vec![0xaa; file(inode).size() as usize];
    file(inode).read(0, &mut bytes).expect("reads");
    bytes
}

fn names(dir: &InodeRef) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    dir.read_dir(0, &mut |entry| {
        names.push(entry.name);
        true
    })
    .expect("a directory");
    names
}

/// xorshift64*: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(255) as u8 + 1).collect()
    }
}

/// What the model holds: directories by path, files by number, names to files.
#[derive(Default, Clone)]
struct Model {
    dirs: BTreeSet<String>,
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

impl Model {
    fn exists(&self, path: &str) -> bool {
        self.dirs.contains(path) || self.names.contains_key(path)
    }

    fn is_empty_dir(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        !self.dirs.iter().chain(self.names.keys()).any(|p| p.starts_with(&inside))
    }

    fn links(&self, number: usize) -> u32 {
        self.names.values().filter(|&&n| n == number).count() as u32
    }

    fn move_tree(&mut self, from: &str, to: &str) {
        let moved = |path: &str| -> Option<String> {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        };
        self.dirs = self.dirs.iter().map(|p| moved(p).unwrap_or_else(|| p.clone())).collect();
        self.names = self.names.iter().map(|(p, &n)| (moved(p).unwrap_or_else(|| p.clone()), n)).collect();
    }
}

fn find(root: &InodeRef, path: &str) -> Result<InodeRef, Errno> {
    let mut at = Rc::clone(root);
    for name in path.split('/').filter(|n| !n.is_empty()) {
        at = at.lookup(name.as_bytes())?;
    }
    Ok(at)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').expect("an absolute path")
}

/// Some path of depth one to three; few names, so that they meet.
fn some_path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    (0..depth).map(|_| format!("/{}", ["a", "b", "c", "d"][random.below(4) as usize])).collect()
}

/// One random operation on both; they must agree on what happens.
fn step(root: &InodeRef, model: &mut Model, random: &mut Random) {
    let path = some_path(random);
    let (dir, name) = split(&path);
    let parent = find(root, dir);
    let has_parent = dir.is_empty() || model.dirs.contains(dir);
    assert_eq!(parent.as_ref().is_ok_and(|p| p.stat().mode & mode::S_IFMT == mode::S_IFDIR), has_parent);
    let (Ok(parent), true) = (parent, has_parent) else { return };
    let number = model.names.get(&path).copied();
    match random.below(10) {
        0 | 1 => {
            let made = parent.make(name.as_bytes(), Make::File, new(0o644));
            assert_eq!(made.err(), model.exists(&path).then_some(Errno::EEXIST), "make {path}");
            if !model.exists(&path) {
                model.names.insert(path, model.files.len());
                model.files.push(Vec::new());
            }
        }
        2 => {
            let made = parent.make(name.as_bytes(), Make::Directory, new(0o755));
            assert_eq!(made.is_ok(), !model.exists(&path), "mkdir {path}");
            model.dirs.extend(made.ok().map(|_| path));
        }
        3 => {
            let gone = parent.unlink(name.as_bytes(), NOW).is_ok();
            assert_eq!(gone, number.is_some(), "unlink {path}");
            model.names.remove(&path);
        }
        4 => {
            let gone = parent.rmdir(name.as_bytes(), NOW).is_ok();
            assert_eq!(gone, model.dirs.contains(&path) && model.is_empty_dir(&path), "rmdir {path}");
            if gone {
                model.dirs.remove(&path);
            }
        }
        5 => rename(root, model, &path, &some_path(random), random.below(3)),
        6 => {
            let (to, number) = (some_path(random), number);
            let (to_dir, to_name) = split(&to);
            let Some(number) = number else { return };
            if (to_dir.is_empty() || model.dirs.contains(to_dir)) && !model.exists(&to) {
                let inode = find(root, &path).expect("is there");
                let to_parent = find(root, to_dir).expect("is there");
                assert_eq!(to_parent.link(to_name.as_bytes(), &inode, NOW), Ok(()));
                model.names.insert(to, number);
            }
        }
        _ => {
            let Some(number) = number else { return };
            change(&find(root, &path).expect("is there"), &mut model.files[number], random);
        }
    }
}

/// Write, truncate or punch at random.
fn change(inode: &InodeRef, bytes: &mut Vec<u8>, random: &mut Random) {
    let offset = random.below(40_000);
    match random.below(4) {
        0 | 1 => {
            let len = 1 + random.below(9_000);
            let new = random.bytes(len);
            write(inode, offset, &new);
            let end = offset as usize + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset as usize..end].copy_from_slice(&new);
        }
        2 => {
            inode
                .set_attr(&SetAttr { size: Some(offset), now: NOW, ..SetAttr::default() })
                .expect("truncates");
            bytes.resize(offset as usize, 0);
        }
        _ => {
            mem(inode).pin();
            let len = 1 + random.below(20_000);
            file(inode).punch(offset, len).expect("punches");
            let end = bytes.len().min((offset + len) as usize);
            if (offset as usize) < end {
                bytes[offset as usize..end].fill(0);
            }
        }
    }
}

fn rename(root: &InodeRef, model: &mut Model, from: &str, to: &str, kind: u64) {
    let ((from_dir, from_name), (to_dir, to_name)) = (split(from), split(to));
    let below = |a: &str, b: &str| b == a || b.starts_with(&format!("{a}/"));
    if !(to_dir.is_empty() || model.dirs.contains(to_dir)) || below(from, to) || below(to, from) {
        return;
    }
    let (parent, to_parent) =
        (find(root, from_dir).expect("is there"), find(root, to_dir).expect("is there"));
    let flags = [0, RENAME_NOREPLACE, RENAME_EXCHANGE][kind as usize];
    let done = parent.rename(from_name.as_bytes(), &to_parent, to_name.as_bytes(), flags, NOW);
    let (is_dir, to_is_dir) = (model.dirs.contains(from), model.dirs.contains(to));
    let same = model.names.contains_key(from) && model.names.get(from) == model.names.get(to);
    let expected = match (model.exists(from), model.exists(to)) {
        (false, _) => Err(Errno::ENOENT),
        (true, false) if flags == RENAME_EXCHANGE => Err(Errno::ENOENT),
        (true, true) if flags == RENAME_NOREPLACE => Err(Errno::EEXIST),
        (true, true) if flags == 0 && !same => match (is_dir, to_is_dir) {
            (true, true) if !model.is_empty_dir(to) => Err(Errno::ENOTEMPTY),
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Ok(()),
        },
        _ => Ok(()),
    };
    assert_eq!(done, expected, "rename {from} {to} {flags}");
    if done.is_err() || same {
        return;
    }
    if flags == RENAME_EXCHANGE {
        model.move_tree(to, "/swap");
        model.move_tree(from, to);
        model.move_tree("/swap", from);
        return;
    }
    model.dirs.remove(to);
    model.names.remove(to);
    model.move_tree(from, to);
}

/// The whole tree equals the model: names, link counts, contents, listings.
fn compare(root: &InodeRef, model: &Model) {
    for dir in model.dirs.iter().map(String::as_str).chain([""]) {
        let inode = find(root, dir).expect("is there");
        let inside = format!("{dir}/");
        let all = model.dirs.iter().chain(model.names.keys());
        let expected: BTreeSet<&str> =
            all.filter_map(|p| p.strip_prefix(&inside)).filter(|rest| !rest.contains('/')).collect();
        let listed = names(&inode);
        let found: BTreeSet<&str> = listed.iter().map(|n| std::str::from_utf8(n).expect("text")).collect();
        assert_eq!(found, expected, "listing of {dir:?}");
        assert_eq!(listed.len(), expected.len(), "no name twice in {dir:?}");
        let subdirs = expected.iter().filter(|name| model.dirs.contains(&format!("{dir}/{name}"))).count();
        assert_eq!(inode.stat().nlink as usize, 2 + subdirs, "links of {dir:?}");
    }
    for (path, &number) in &model.names {
        let inode = find(root, path).expect("is there");
        assert_eq!(inode.stat().nlink, model.links(number), "links of {path}");
        assert!(contents(&inode) == model.files[number], "contents of {path}");
    }
}

#[test]
fn random_operations_agree_with_a_model() {
    for seed in 1..=24u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut tree, mut model) = (Tree::new(), Model::default());
        for dir in ["/a", "/b", "/a/b", "/c", "/c/d"] {
            tree.put_directory(dir.as_bytes(), 0o755);
            model.dirs.insert(dir.to_owned());
        }
        for path in ["/d", "/a/c", "/a/b/a", "/c/d/b", "/c/a"] {
            let bytes = random.below(60_000);
            let bytes = random.bytes(bytes);
            tree.put_file(path.as_bytes(), 0o644, &bytes);
            model.names.insert(path.to_owned(), model.files.len());
            model.files.push(bytes);
        }
        let root = if seed % 4 == 0 {
            model = Model::default();
            tmpfs()
        } else {
            over(&tree, true).0
        };
        compare(&root, &model);
        for _ in 0..12 {
            for _ in 0..40 {
                step(&root, &mut model, &mut random);
            }
            compare(&root, &model);
        }
    }
}

#[test]
fn what_was_removed_gives_its_memory_back() {
    let shared = shared(1 << 20);
    let quota = Rc::clone(&shared.quota);
    let root = MemFs::tmpfs(9, &shared, new(0o755));
    for round in 0..20 {
        let inode = root.make(b"f", Make::File, new(0o644)).expect("fits again");
        write(&inode, 0, &vec![round; 500_000]);
        inode.set_attr(&SetAttr { size: Some(100_000), now: NOW, ..SetAttr::default() }).expect("truncates");
        root.make(b"l", Make::Symlink(&[b'x'; 4000]), new(0o777)).expect("fits");
        for i in 0..100 {
            root.link(b"hard", &inode, NOW).expect("fits");
            root.unlink(b"hard", NOW).expect("is there");
            inode.set_xattr(b"user.a", &[i; 5000], 0).expect("fits");
            inode.remove_xattr(b"user.a").expect("is there");
        }
        root.unlink(b"f", NOW).expect("is there");
        root.unlink(b"l", NOW).expect("is there");
    }
    assert_eq!(quota.used(), 0);
    let inode = root.make(b"big", Make::File, new(0o644)).expect("fits");
    let stored = file(&inode).write(0, &vec![1; 2 << 20]).expect("some of it fits");
    assert!(stored > 900_000 && stored < 1 << 20 && stored.is_multiple_of(4096));
    assert_eq!(file(&inode).write(stored as u64, b"x"), Err(Errno::ENOSPC));
}

#[test]
fn a_huge_sparse_file_costs_what_was_written() {
    let root = tmpfs();
    let inode = root.make(b"sparse", Make::File, new(0o644)).expect("makes");
    let end = 10u64 << 30;
    inode.set_attr(&SetAttr { size: Some(end), now: NOW, ..SetAttr::default() }).expect("grows");
    write(&inode, 5 << 30, b"middle");
    let stat = inode.stat();
    assert_eq!((stat.size, stat.blocks), (end, 8));
    let data = file(&inode);
    assert_eq!(data.seek(0, true), Some(5 << 30));
    assert_eq!(data.seek(5 << 30, false), Some((5 << 30) + 4096));
    assert_eq!(data.seek((5 << 30) + 4096, true), None);
    assert_eq!(data.seek(0, false), Some(0));
    assert_eq!(data.write(i64::MAX as u64, b"x"), Err(Errno::EFBIG));
    let mut bytes = [1; 12];
    data.read((5 << 30) - 6, &mut bytes).expect("reads");
    assert_eq!(&bytes, b"\0\0\0\0\0\0middle");
}

#[test]
fn a_base_file_cut_short_does_not_come_back() {
    let mut tree = Tree::new();
    tree.put_file(b"/f", 0o644, &[7; 10_000]);
    let (root, ..) = over(&tree, true);
    let inode = root.lookup(b"f").expect("is there");
    let size = |n| SetAttr { size: Some(n), now: NOW, ..SetAttr::default() };
    inode.set_attr(&size(5000)).expect("cuts");
    inode.set_attr(&size(9000)).expect("grows");
    let bytes = contents(&inode);
    assert!(bytes[..5000].iter().all(|&b| b == 7) && bytes[5000..].iter().all(|&b| b == 0));
    drop(inode);
    assert_eq!(contents(&root.lookup(b"f").expect("is there")).len(), 9000, "a changed inode stays");
}

#[test]
fn a_hard_link_in_the_image_is_one_inode() {
    let mut tree = Tree::new();
    let id = tree.put_file(b"/one", 0o644, b"before").expect("new");
    tree.children_mut(friscy_formats::tree::ROOT).expect("a directory").insert(b"two".to_vec(), id);
    let (root, ..) = over(&tree, true);
    let (one, two) = (root.lookup(b"one").expect("is there"), root.lookup(b"two").expect("is there"));
    assert!(Rc::ptr_eq(&one, &two));
    assert_eq!(one.stat().nlink, 2);
    write(&one, 0, b"after!");
    root.unlink(b"one", NOW).expect("is there");
    drop((one, two));
    let two = root.lookup(b"two").expect("is there");
    assert_eq!((contents(&two), two.stat().nlink), (b"after!".to_vec(), 1));
}

#[test]
fn listing_goes_on_where_it_stopped_however_the_directory_changes() {
    let mut tree = Tree::new();
    for i in 0..50 {
        tree.put_file(format!("/d/{i:02}").as_bytes(), 0o644, b"");
    }
    let (root, ..) = over(&tree, true);
    let dir = root.lookup(b"d").expect("is there");
    let (mut seen, mut position, mut made) = (Vec::new(), 0, 0);
    let end = dir.read_dir_end();
    loop {
        let mut next = None;
        dir.read_dir(position, &mut |entry| {
            next = Some(entry);
            false
        })
        .expect("lists");
        let Some(entry) = next.filter(|entry| entry.next <= end) else { break };
        position = entry.next;
        // Each entry is renamed as it is seen, and others come and go around it.
        let renamed = [entry.name.as_slice(), b".done"].concat();
        let itself: InodeRef = Rc::clone(&dir);
        dir.rename(&entry.name, &itself, &renamed, 0, NOW).expect("renames");
        dir.make(format!("new{made}").as_bytes(), Make::File, new(0o600)).expect("makes");
        made += 1;
        seen.push(entry.name);
    }
    assert_eq!(seen, (0..50).map(|i| format!("{i:02}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(names(&dir).len(), 100);
}

#[test]
fn a_removed_base_entry_can_be_made_again() {
    let mut tree = Tree::new();
    tree.put_file(b"/etc/conf/x", 0o644, b"old");
    let (root, ..) = over(&tree, true);
    let etc = root.lookup(b"etc").expect("is there");
    let conf = etc.lookup(b"conf").expect("is there");
    assert_eq!(etc.rmdir(b"conf", NOW), Err(Errno::ENOTEMPTY));
    conf.unlink(b"x", NOW).expect("is there");
    etc.rmdir(b"conf", NOW).expect("is empty");
    assert_eq!(conf.make(b"y", Make::File, new(0o644)).err(), Some(Errno::ENOENT), "it is gone");
    assert_eq!(etc.lookup(b"conf").err(), Some(Errno::ENOENT));
    let again = etc.make(b"conf", Make::Directory, new(0o755)).expect("makes");
    assert!(names(&again).is_empty(), "the image's entries stay away");
    let itself: InodeRef = Rc::clone(&root);
    root.rename(b"etc", &itself, b"cte", 0, NOW).expect("renames");
    drop((etc, conf, again));
    assert_eq!(names(&root), [b"cte".to_vec()]);
    assert_eq!(names(&root.lookup(b"cte").expect("is there")), [b"conf".to_vec()]);
}

#[test]
fn a_hundred_thousand_entries() {
    let root = tmpfs();
    for i in 0..100_000 {
        root.make(format!("file-{i}").as_bytes(), Make::File, new(0o644)).expect("makes");
    }
    assert_eq!(names(&root).len(), 100_000);
    let (mut count, mut position) = (0, 0);
    while count < 100_000 {
        let mut left = 300;
        root.read_dir(position, &mut |entry| {
            position = entry.next;
            count += 1;
            left -= 1;
            left > 0
        })
        .expect("lists");
    }
    assert!(root.lookup(b"file-99999").is_ok());
}

#[test]
fn a_very_deep_tree_is_dropped_without_recursion() {
    let root = tmpfs();
    let mut at = Rc::clone(&root);
    for _ in 0..200_000 {
        at = at.make(b"d", Make::Directory, new(0o755)).expect("makes");
    }
    drop(at);
    drop(root);
}

#[test]
fn what_was_read_before_is_warm() {
    let mut tree = Tree::new();
    let bytes = Random(7).bytes(300_000);
    tree.put_file(b"/f", 0o644, &bytes);
    tree.put_file(b"/small", 0o644, b"in a chunk with others");
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions::default());
    let mut built = build(&tree, &NoStreams, writer, &mut |_, _| {}).expect("builds");
    let table = built.chunks.table.clone();
    let (cold, chunks, store) = over(&tree, true);
    let ranges = [("f", 5000, 1), ("f", 100_000, 90_000), ("f", 299_999, 1), ("small", 3, 4)];
    let read = |root: &InodeRef, (name, from, len): (&str, usize, usize)| {
        let mut out = vec![0; len];
        let inode = root.lookup(name.as_bytes()).expect("is there");
        file(&inode).read(from as u64, &mut out).map(|()| out)
    };
    chunks.record();
    let expected = ranges.map(|range| read(&cold, range).expect("reads"));
    let touched = chunks.take_touched();
    let warm = Warm::new(touched.iter().copied(), 1000);
    assert_eq!((touched.len(), warm.blocks()), (1 + 23 + 1 + 1, 26));
    let offsets: Vec<u64> = table.iter().map(|chunk| chunk.offset).collect();
    vfs::place_chunks(&mut built.archive, &offsets, &warm).expect("fits");
    let raw = |number: u32| {
        let chunk = table[number as usize];
        chunk.open(&store[chunk.offset as usize..(chunk.offset + u64::from(chunk.stored_len)) as usize])
    };
    let segment = warm.segment(raw).expect("opens");
    let platform: Rc<dyn Platform> = Rc::new(TestPlatform { warm: segment, ..TestPlatform::default() });
    let archive = vfs::access(Box::leak(Box::new(built.archive))).expect("valid");
    let chunks = Chunks::new(archive, platform, WaitQueue::new());
    let root = MemFs::over(30, &shared(1 << 30), Base::new(archive, Rc::clone(&chunks))).expect("has a root");
    for (range, expected) in ranges.into_iter().zip(expected) {
        assert_eq!(read(&root, range), Ok(expected), "{range:?}");
    }
    assert_eq!(chunks.decoded(), 0);
    assert_eq!(read(&root, ("f", 4000, 200)), Err(Errno::PENDING), "one block of two");
    assert_eq!(chunks.take_requests().len(), 1);
    // What lies beside a page that is read comes along when it is warm, and is not asked for when it is not.
    let inode = root.lookup(b"f").expect("is there");
    let near = |page: u64| file(&inode).near(page * 4096, || true);
    assert!(near(1) && !near(0));
    assert!(chunks.take_requests().is_empty());
    chunks.record();
    assert!(!near(1), "or nobody would see that it is needed");
}

#[test]
fn chunks_from_outside_are_pending_then_there() {
    let mut tree = Tree::new();
    let mut random = Random(99);
    let bytes = random.bytes(700_000);
    tree.put_file(b"/f", 0o644, &bytes);
    let (root, chunks, store) = over(&tree, false);
    let inode = root.lookup(b"f").expect("is there");
    let mut out = vec![0; bytes.len()];
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::PENDING));
    let requests = chunks.take_requests();
    assert!(requests.len() > 1, "all chunks of the range are asked for at once");
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::PENDING));
    assert!(chunks.take_requests().is_empty(), "each is asked for once");
    for &Request { index, chunk, again } in &requests[1..] {
        assert_eq!(file(&inode).pieces(0, 700_000, &mut |_| panic!("some before all")), Err(Errno::PENDING));
        let start = chunk.offset as usize;
        let stored = &store[start..start + chunk.stored_len as usize];
        assert!(!again && chunks.arrived(index, Some(stored)).is_ok());
    }
    // The first comes back damaged: it is asked for again, past caches, and in the end it is an error, once.
    let Request { index, chunk, .. } = requests[0];
    let start = chunk.offset as usize;
    let whole = &store[start..start + chunk.stored_len as usize];
    let mut damaged = whole.to_vec();
    damaged[20] ^= 1;
    for _ in 0..2 {
        assert!(chunks.arrived(index, Some(&damaged)).is_ok());
        assert_eq!(file(&inode).read(0, &mut out), Err(Errno::PENDING));
        let requests = chunks.take_requests();
        assert!(requests.len() == 1 && requests[0].again);
    }
    assert!(chunks.arrived(index, Some(&damaged)).is_err());
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::EIO));
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::PENDING));
    assert_eq!(chunks.take_requests().len(), 1);
    // A host that gave up is an error at once.
    assert!(chunks.arrived(index, None).is_ok());
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::EIO));
    assert_eq!(file(&inode).read(0, &mut out), Err(Errno::PENDING));
    assert_eq!(chunks.take_requests().len(), 1);
    assert!(chunks.arrived(index, Some(whole)).is_ok());
    assert_eq!(file(&inode).read(0, &mut out), Ok(()));
    assert!(out == bytes);
}

#[test]
fn xattrs_of_the_image_can_be_changed() {
    let mut tree = Tree::new();
    let id = tree.put_file(b"/f", 0o644, b"").expect("new");
    tree.node_mut(id).meta.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
    let (root, ..) = over(&tree, true);
    let inode = root.lookup(b"f").expect("is there");
    assert_eq!(inode.xattr(b"user.a"), Ok(b"1".to_vec()));
    assert_eq!(inode.set_xattr(b"user.a", b"2", crate::abi::fcntl::XATTR_CREATE), Err(Errno::EEXIST));
    assert_eq!(inode.set_xattr(b"user.b", b"3", crate::abi::fcntl::XATTR_REPLACE), Err(Errno::ENODATA));
    inode.set_xattr(b"user.b", b"3", 0).expect("sets");
    inode.remove_xattr(b"user.a").expect("is there");
    drop(inode);
    let inode = root.lookup(b"f").expect("is there");
    assert_eq!((inode.xattrs(), inode.xattr(b"user.a")), (vec![b"user.b".to_vec()], Err(Errno::ENODATA)));
}
