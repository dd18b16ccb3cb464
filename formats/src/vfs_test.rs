//! The archive: what goes in comes out, and nothing damaged gets past `access`.

use std::io::Cursor;

use super::*;
use crate::chunk_order::Order;
use crate::chunk_writer::ChunkOptions;
use crate::tree::NoStreams;
use crate::vfs::{self, ArchivedVfs, Inode, VfsError};
use crate::warm::{BlockId, Warm};

fn pseudo_random(len: usize, mut seed: u64) -> Vec<u8> {
    (0..len)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect()
}

fn built(tree: &Tree) -> Built<Vec<u8>> {
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions { level: 3, threads: 2 });
    build(tree, &NoStreams, writer, &mut |_, _| {}).unwrap()
}

/// A file's bytes through extents and chunks, as the engine reads them.
fn contents(vfs: &ArchivedVfs, inode: Inode<'_>, store: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; inode.size() as usize];
    for extent in inode.extents() {
        let chunk = vfs.chunk(extent.chunk).unwrap();
        let raw = chunk.open(&store[chunk.offset as usize..][..chunk.stored_len as usize]).unwrap();
        let part = &raw[extent.chunk_offset as usize..][..extent.len as usize];
        bytes[extent.offset as usize..][..part.len()].copy_from_slice(part);
    }
    bytes
}

fn sample() -> Tree {
    let mut tree = Tree::new();
    tree.put_directory(b"bin", 0o755).unwrap();
    let sh = tree.put_file(b"bin/sh", 0o4755, &pseudo_random(300_000, 1)).unwrap();
    tree.children_mut(tree.find(b"bin").unwrap()).unwrap().insert(b"ash".to_vec(), sh);
    tree.put_file(b"etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n").unwrap();
    tree.put_file(b"etc/copy", 0o600, b"root:x:0:0::/root:/bin/sh\n").unwrap();
    tree.put_file(b"etc/empty", 0o644, b"").unwrap();
    tree.put_symlink(b"etc/\xffodd", b"../nowhere").unwrap();
    let meta = Meta { mode: 0o620, uid: 7, gid: 0xffff_fffe, mtime: (-5, 999_999_999), ..Meta::default() };
    tree.put(b"dev/null", Node { meta, kind: Kind::Char { major: 1, minor: 3 } }).unwrap();
    let file = tree.node_mut(sh);
    file.meta.xattrs.insert(b"user.b".to_vec(), b"\0\xff".to_vec());
    file.meta.xattrs.insert(b"security.capability".to_vec(), b"".to_vec());
    tree
}

#[test]
fn what_goes_in_comes_out() {
    let built = built(&sample());
    let vfs = vfs::access(&built.archive).unwrap();
    let at = |path: &[u8]| {
        let names = path.split(|&b| b == b'/');
        vfs.inode(names.fold(0, |dir, name| vfs.lookup(dir, name).unwrap())).unwrap()
    };
    assert_eq!(vfs.root().mode(), 0o040755);
    assert_eq!(vfs.root().nlink(), 5);
    assert_eq!(vfs.root().iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"bin", b"dev", b"etc"]);
    let sh = at(b"bin/sh");
    assert_eq!((sh.mode(), sh.nlink(), sh.size()), (0o104755, 2, 300_000));
    assert_eq!(sh.ino(), at(b"bin/ash").ino());
    assert_eq!(contents(vfs, sh, &built.store), pseudo_random(300_000, 1));
    assert_eq!(
        sh.xattrs().collect::<Vec<_>>(),
        [(&b"security.capability"[..], &b""[..]), (b"user.b", b"\0\xff")]
    );
    let null = at(b"dev/null");
    assert_eq!(
        (null.rdev(), null.uid(), null.gid(), null.mtime()),
        (0x103, 7, 0xffff_fffe, (-5, 999_999_999))
    );
    assert_eq!(at(b"etc/\xffodd").symlink(), Some(&b"../nowhere"[..]));
    assert_eq!(at(b"etc/empty").extents().len(), 0);
    assert_eq!(contents(vfs, at(b"etc/copy"), &built.store), b"root:x:0:0::/root:/bin/sh\n");
    assert_eq!(vfs.lookup(0, b"none"), None);
    assert_eq!(vfs.lookup(sh.ino(), b"x"), None);
    // Equal small files share their bytes.
    assert_eq!(at(b"etc/copy").extents().next(), at(b"etc/passwd").extents().next());
}

#[test]
fn large_files_are_cut_evenly_and_at_pages() {
    for len in [64 << 10, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 300_000, 1 << 20, 3_000_001] {
        let mut tree = Tree::new();
        tree.put_file(b"f", 0o644, &pseudo_random(len, 2)).unwrap();
        let built = built(&tree);
        let vfs = vfs::access(&built.archive).unwrap();
        let file = vfs.inode(1).unwrap();
        let extents: Vec<_> = file.extents().collect();
        assert!(extents.iter().all(|e| e.offset % 4096 == 0 && e.len <= 128 << 10), "{len}");
        assert!(extents[..extents.len() - 1].iter().all(|e| e.len >= 64 << 10), "{len}");
        assert_eq!(contents(vfs, file, &built.store), pseudo_random(len, 2));
    }
}

#[test]
fn holes_take_no_room_and_read_as_zeros() {
    let segment = |offset, bytes: &[u8]| Segment {
        offset,
        len: bytes.len() as u64,
        source: Source::Bytes(bytes.into()),
    };
    let file = File { size: 1 << 40, segments: vec![segment(5, b"abc"), segment((1 << 40) - 2, b"yz")] };
    let mut tree = Tree::new();
    tree.put(b"sparse", Node { meta: Meta::default(), kind: Kind::File(file) }).unwrap();
    let built = built(&tree);
    let vfs = vfs::access(&built.archive).unwrap();
    let sparse = vfs.inode(1).unwrap();
    assert_eq!(built.chunks.raw_bytes, 5);
    assert_eq!(sparse.size(), 1 << 40);
    let offsets: Vec<_> = sparse.extents().map(|e| (e.offset, e.len)).collect();
    assert_eq!(offsets, [(5, 3), ((1 << 40) - 2, 2)]);
    assert_eq!(sparse.extent_at(0).unwrap().offset, 5);
    assert_eq!(sparse.extent_at(7).unwrap().offset, 5);
    assert_eq!(sparse.extent_at(8).unwrap().offset, (1 << 40) - 2);
    assert_eq!(sparse.extent_at(1 << 40), None);
}

#[test]
fn equal_chunks_are_stored_once() {
    let mut tree = Tree::new();
    let bytes = pseudo_random(200_000, 3);
    tree.put_file(b"a", 0o644, &bytes).unwrap();
    tree.put_file(b"b", 0o755, &bytes).unwrap();
    let built = built(&tree);
    assert_eq!(built.chunks.raw_bytes, 400_000);
    assert_eq!(built.chunks.store_bytes, 200_000);
}

#[test]
fn same_tree_same_bytes_whatever_the_threads() {
    let mut tree = sample();
    for i in 0..300u32 {
        tree.put_file(format!("many/{i}").as_bytes(), 0o644, &pseudo_random(70_000, u64::from(i) + 9))
            .unwrap();
    }
    let one = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, threads: 1 });
    let seven = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, threads: 7 });
    let one = build(&tree, &NoStreams, one, &mut |_, _| {}).unwrap();
    let seven = build(&tree, &NoStreams, seven, &mut |_, _| {}).unwrap();
    assert!(one.archive[..] == seven.archive[..] && one.store == seven.store);
}

#[test]
fn fifty_thousand_inodes_stay_within_a_few_megabytes() {
    let mut tree = Tree::new();
    for i in 0..50_000u32 {
        let path = format!("usr/lib/python3/package-{}/module_{i}.py", i / 40);
        tree.put_file(path.as_bytes(), 0o644, &i.to_le_bytes()).unwrap();
    }
    let built = built(&tree);
    assert!(built.archive.len() < 4 << 20, "{} bytes", built.archive.len());
}

#[test]
fn a_name_that_linux_cannot_hold_is_refused() {
    let mut tree = Tree::new();
    tree.put_file(&[b'n'; 256], 0o644, b"").unwrap();
    let writer = ChunkWriter::new(Cursor::new(Vec::new()), ChunkOptions::default());
    assert!(matches!(build(&tree, &NoStreams, writer, &mut |_, _| {}), Err(BuildError::Name(_))));
}

#[test]
fn damage_is_found_or_harmless() {
    let built = built(&sample());
    let mut copy = built.archive.clone();
    let mut refused = 0;
    for at in 0..copy.len() {
        for bit in [0, 3, 7] {
            copy[at] ^= 1 << bit;
            match vfs::access(&copy) {
                Ok(vfs) => walk(vfs),
                Err(_) => refused += 1,
            }
            copy[at] ^= 1 << bit;
        }
    }
    assert!(refused > copy.len() / 2, "{refused} of {}", copy.len() * 3);
}

/// Every accessor of every inode.
fn walk(vfs: &ArchivedVfs) {
    for ino in 0..vfs.inode_count() {
        let inode = vfs.inode(ino).unwrap();
        let _ = (inode.mode(), inode.uid(), inode.gid(), inode.nlink(), inode.mtime(), inode.rdev());
        let chunks = inode.extents().map(|e| vfs.chunk(e.chunk).unwrap().raw_len as usize).sum::<usize>();
        let bytes = inode.xattrs().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        assert!(chunks < 1 << 30 && bytes < 1 << 30);
        for (index, (name, child)) in inode.iter().enumerate() {
            assert_eq!(inode.entry(index as u32), Some((name, child)));
            assert_eq!(inode.lookup(name), Some(child));
        }
    }
}

#[test]
fn other_versions_and_rubbish_are_named() {
    let mut copy = built(&sample()).archive;
    copy[8] = 77;
    assert_eq!(vfs::access(&copy).err(), Some(VfsError::Version { found: 77 }));
    assert_eq!(vfs::access(b"short").err(), Some(VfsError::NotAnArchive));
    copy[0] = 0;
    assert_eq!(vfs::access(&copy).err(), Some(VfsError::NotAnArchive));
}

/// Reads the archive with nothing but what `docs/FORMATS.md` says.
#[test]
fn the_document_tells_the_layout() {
    let built = built(&sample());
    let bytes = &built.archive[..];
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((&bytes[..8], u32_at(8), u32_at(12)), (&b"FRSCVFS\0"[..], 2, 0));
    let root = bytes.len() - 72;
    let table = |index: usize| {
        let field = root + index * 8;
        (field.wrapping_add_signed(u32_at(field).cast_signed() as isize), u32_at(field + 4) as usize)
    };
    let [inodes, attributes, xattrs, entries, extents, chunks, pool] = std::array::from_fn(table);
    assert_eq!((u64_at(root + 56), u32_at(root + 64)), (built.store.len() as u64, 0));
    let text = |at: u32, len: usize| &bytes[pool.0 + at as usize..][..len];
    // Root, then the first of its entries: bin, then ash.
    let entry_of = |ino: u32, index: u32| {
        let inode = inodes.0 + ino as usize * 24;
        let entry = entries.0 + (u32_at(inode + 16) + index) as usize * 12;
        (text(u32_at(entry), usize::from(bytes[entry + 8])), u32_at(entry + 4))
    };
    let (name, bin) = entry_of(0, 0);
    let (ash, file) = entry_of(bin, 0);
    assert_eq!((name, ash), (&b"bin"[..], &b"ash"[..]));
    let inode = inodes.0 + file as usize * 24;
    assert_eq!((u64_at(inode), u32_at(inode + 12), u32_at(inode + 20)), (300_000, 2, 3));
    let record = attributes.0 + u32_at(inode + 8) as usize * 32;
    assert_eq!((u64_at(record), u32_at(record + 8), u32_at(record + 12)), (0, 0, 0o104755));
    let xattr = xattrs.0 + u32_at(record + 24) as usize * 16;
    assert_eq!(
        (text(u32_at(xattr), u32_at(xattr + 4) as usize), u32_at(record + 28)),
        (&b"security.capability"[..], 2)
    );
    let extent = extents.0 + (u32_at(inode + 16) as usize + 1) * 20;
    let first_len = u32_at(extents.0 + u32_at(inode + 16) as usize * 20 + 16);
    assert_eq!((u32_at(extent), u32_at(extent + 4), u32_at(extent + 12)), (first_len, 0, 0));
    let chunk = chunks.0 + u32_at(extent + 8) as usize * 56;
    let (offset, stored, raw) =
        (u64_at(chunk + 32) as usize, u32_at(chunk + 40) as usize, u32_at(chunk + 44));
    assert_eq!((raw, u32_at(chunk + 48), u32_at(chunk + 52)), (u32_at(extent + 16), 0, 0));
    assert_eq!(bytes[chunk..chunk + 32], *blake3::hash(&built.store[offset..offset + stored]).as_bytes());
}

#[test]
fn a_store_in_another_order_holds_the_same_files() {
    let mut tree = sample();
    tree.put_file(b"big", 0o644, &pseudo_random(500_000, 7)).unwrap();
    let mut built = built(&tree);
    let before = vfs::access(&built.archive).unwrap();
    let big = |vfs: &ArchivedVfs| vfs.lookup(0, b"big").unwrap();
    let wanted = contents(before, before.inode(big(before)).unwrap(), &built.store);
    let last = u32::try_from(built.chunks.table.len() - 1).unwrap();
    let order = Order::new(&built.chunks.table, &[last, 0], &[]);
    let store: Vec<u8> =
        order.parts.iter().flat_map(|p| built.store[p.start as usize..p.end as usize].to_vec()).collect();
    let warm = Warm::new(BlockId::new(last, 0), 9);
    vfs::place_chunks(&mut built.archive, &order.offsets, &warm).unwrap();
    let after = vfs::access(&built.archive).unwrap();
    assert_eq!(after.chunk(last).unwrap().offset, 0);
    assert_eq!((after.warm_blocks(), after.warm(last).find(1)), (1, Some((1, 4095))));
    assert!(contents(after, after.inode(big(after)).unwrap(), &store) == wanted);
    assert!(vfs::place_chunks(&mut built.archive, &order.offsets[1..], &warm).is_err());
    let outside = vec![u64::MAX; order.offsets.len()];
    assert!(vfs::place_chunks(&mut built.archive, &outside, &warm).is_err());
    let beyond = Warm::new(BlockId::new(last, 31), 9);
    assert!(
        vfs::place_chunks(&mut built.archive, &order.offsets, &beyond).is_err(),
        "the chunk has no such block"
    );
}
