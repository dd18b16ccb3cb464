//! Fuzz targets: what must hold of any bytes whatever.
//!
//! Each body states a contract and panics when it is broken. `fuzz/` runs them
//! under cargo-fuzz (nightly, without end); `fuzz_test.rs` runs the same ones on
//! stable Rust, over the kept corpus and a fixed number of mutations.

use rkyv::util::AlignedVec;

use crate::app;
use crate::chunk::{self, Encoding};
use crate::chunk_writer::{ChunkOptions, ChunkWriter};
use crate::elf::{self, Elf, ElfError};
use crate::image::{self, Limits};
use crate::image::{draft_image, draft_tar::Draft};
use crate::manifest::{FORMAT, Manifest};
use crate::tree::{NoStreams, Tree};
use crate::vfs::{self, ArchivedVfs};
use crate::vfs_build;

/// A target: its name (also of its corpus folder), its body, inputs to begin with.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name.
    pub name: &'static str,
    /// Panics when the contract is broken.
    pub body: fn(&[u8]),
    /// Valid inputs, named.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    Target { name: "image", body: image, seeds: image_seeds },
    Target { name: "elf", body: elf, seeds: elf_seeds },
    Target { name: "app", body: app, seeds: app_seeds },
    Target { name: "vfs", body: vfs, seeds: vfs_seeds },
    Target { name: "chunk", body: chunk, seeds: chunk_seeds },
];

/// Any bytes are refused with one line, or are an image whose tree becomes an
/// archive that the engine takes; the same one each time.
pub fn image(bytes: &[u8]) {
    let limits = Limits {
        total_bytes: 16 << 20,
        ratio_from_bytes: 1 << 20,
        files: 5000,
        window_log: 20,
        ..Limits::default()
    };
    // A mutated blob would never get past its digest.
    let options = image::Options { limits, skip_digests: true, reference: None };
    let build = || {
        let image = image::open(bytes, options.clone()).map_err(|e| e.to_string())?;
        let tree = image.flatten(&mut |_, _| {}).map_err(|e| e.to_string())?;
        let writer = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, threads: 1 });
        let built = vfs_build::build(&tree, &image, writer, &mut |_, _| {}).map_err(|e| e.to_string())?;
        Ok::<_, String>((built.archive, built.store))
    };
    match build() {
        Ok((archive, store)) => {
            let vfs =
                vfs::access(&archive).unwrap_or_else(|e| panic!("the engine refuses what was built: {e}"));
            walk(vfs);
            assert_eq!(vfs.store_bytes(), store.len() as u64);
            for chunk in (0..vfs.chunk_count()).filter_map(|index| vfs.chunk(index)) {
                let stored = &store[chunk.offset as usize..][..chunk.stored_len as usize];
                chunk.open(stored).unwrap_or_else(|e| panic!("a chunk does not open: {e}"));
            }
            assert!(
                build().is_ok_and(|again| again.0[..] == archive[..] && again.1 == store),
                "not deterministic"
            );
        }
        Err(line) => assert!(!line.is_empty() && !line.contains('\n'), "not one line: {line:?}"),
    }
}

/// Any bytes are refused, or are a program that can be mapped without further checks.
pub fn elf(bytes: &[u8]) {
    let len = bytes.len() as u64;
    let head = &bytes[..bytes.len().min(elf::HEAD_BYTES)];
    let result = match Elf::parse(head, len) {
        Err(ElfError::Table { offset, len: table_len }) => {
            let table = &bytes[offset as usize..][..table_len as usize];
            Elf::parse_with_table(head, table, len)
        }
        other => other,
    };
    let Ok(elf) = result else { return };
    assert!(!elf.loads.is_empty() && usize::from(elf.phnum) >= elf.loads.len());
    let mut end = 0;
    for load in &elf.loads {
        assert!(load.vaddr >= end && load.memory_bytes > 0 && load.file_bytes <= load.memory_bytes);
        assert!(load.offset.checked_add(load.file_bytes).is_some_and(|end| end <= len));
        assert!(load.align.is_power_of_two() && load.align >= 4096);
        assert!(load.file_bytes == 0 || load.offset % 4096 == load.vaddr % 4096);
        end = load.end();
    }
    assert!(end <= elf::ADDRESS_LIMIT && elf.span().end >= end && elf.span().start <= elf.loads[0].vaddr);
    if let Some(range) = elf.interp {
        let path = elf::interp_path(&bytes[range.start as usize..range.end as usize]);
        assert!(path.is_err() || path.is_ok_and(|path| !path.is_empty() && !path.contains(&0)));
    }
}

/// Any bytes are refused with one line, or are an app; sealing what has the
/// shape of a module gives an app with that manifest.
pub fn app(bytes: &[u8]) {
    match app::open(bytes).and_then(|app| app.verify().map(|()| app)) {
        Ok(app) => assert!(app.manifest.format == FORMAT && app.digest().len() == 64),
        Err(e) => assert!(!e.to_string().contains('\n'), "not one line: {e}"),
    }
    let _ = app::parse(bytes);
    let manifest = Manifest { format: FORMAT, freeze: "entry".to_owned(), ..Manifest::default() };
    if let Ok(sealed) = app::seal(bytes, &manifest, Vec::new()) {
        let app = app::open(&sealed).unwrap_or_else(|e| panic!("what was sealed does not open: {e}"));
        app.verify().unwrap_or_else(|e| panic!("what was sealed does not hold: {e}"));
        assert_eq!(app.manifest, manifest);
    }
}

/// Any bytes are refused, or every accessor of every inode works and ends.
pub fn vfs(bytes: &[u8]) {
    let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    if let Ok(vfs) = vfs::access(&aligned) {
        walk(vfs);
    }
}

fn walk(vfs: &ArchivedVfs) {
    let mut reached = vec![false; vfs.inode_count() as usize];
    let mut stack = vec![vfs.root()];
    reached[0] = true;
    while let Some(inode) = stack.pop() {
        let _ = (inode.uid(), inode.gid(), inode.rdev(), inode.xattrs().count());
        assert!(inode.mtime().1 < 1_000_000_000 && inode.nlink() > 0);
        for (name, ino) in inode.iter() {
            assert_eq!(inode.lookup(name), Some(ino));
            let child = vfs.inode(ino).unwrap_or_else(|| panic!("entry to nowhere"));
            let first = !std::mem::replace(&mut reached[ino as usize], true);
            assert!(first || child.mode() & 0o170000 != 0o040000, "a directory twice");
            if first {
                stack.push(child);
            }
        }
        let mut end = 0;
        for extent in inode.extents() {
            let chunk = vfs.chunk(extent.chunk).unwrap_or_else(|| panic!("extent to nowhere"));
            assert!(extent.offset >= end && extent.chunk_offset + extent.len <= chunk.raw_len);
            assert_eq!(inode.extent_at(extent.offset), Some(extent));
            end = extent.offset + u64::from(extent.len);
        }
        assert!(end <= inode.size() && inode.extent_at(end).is_none());
    }
    assert!(reached.iter().all(|&reached| reached), "an inode out of reach");
}

/// Any bytes are refused, or decode to the length that was promised, within bounds.
pub fn chunk(bytes: &[u8]) {
    let Some((len, stored)) = bytes.split_first_chunk::<4>() else { return };
    let raw_len = u32::from_le_bytes(*len);
    for encoding in [Encoding::Raw, Encoding::Zstd] {
        if let Ok(raw) = chunk::decode(encoding, stored, raw_len) {
            assert!(raw.len() as u64 == u64::from(raw_len) && raw_len <= chunk::MAX_RAW_BYTES);
        }
    }
}

fn image_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let lower = Draft::default()
        .directory("dir/")
        .file("dir/a", b"lower a")
        .file("dir/b", b"lower b")
        .symlink("link", "dir")
        .hard_link("again", "dir/a")
        .end();
    let upper = Draft::default()
        .file("dir/.wh.a", b"")
        .file("link/.wh..wh..opq", b"")
        .pax(&[("path", b"link/new"), ("mtime", b"-1.5"), ("SCHILY.xattr.user.a", b"b")])
        .file("x", b"new")
        .end();
    let version: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"900")];
    let mut sparse = b"2\n2\n3\n600\n1\n".to_vec();
    sparse.resize(512, 0);
    sparse.extend(b"abcd");
    let odd = Draft::default()
        .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"2,3,9,1")])
        .file("sparse", b"abcd")
        .pax(&version)
        .file("newer", &sparse)
        .file("/abs//./f", b"x")
        .end();
    let layers = [(draft_image::gzip(&lower), lower.clone()), (draft_image::zstd(&upper), upper.clone())];
    vec![
        ("oci", draft_image::oci(&layers)),
        ("docker", draft_image::docker_save(draft_image::RISCV, &[lower.clone(), upper])),
        ("gzip", draft_image::gzip(&lower)),
        ("rootfs", lower),
        ("odd", odd),
    ]
}

fn elf_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xf3\0\x01\0\0\0".to_vec();
    for word in [0x500u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(5u32.to_le_bytes());
    for half in [64u16, 56, 4, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    // Kind, flags, offset, address, size in the file, in memory.
    let headers = [
        (3u32, 4u32, 0x200, 0x200, 12, 12),
        (1, 5, 0, 0, 0x600, 0x600),
        (1, 6, 0x600, 0x1600, 0x80, 0x2000),
        (0x6474_e551, 6, 0, 0, 0, 0),
    ];
    for (kind, flags, offset, vaddr, file, memory) in headers {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for word in [offset, vaddr, vaddr, file, memory, 4096u64] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.resize(0x200, 0);
    bytes.extend(b"/lib/ld.so\0\0");
    bytes.resize(0x680, 0);
    vec![("dynamic", bytes)]
}

fn app_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let module =
        [&b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0"[..], &app::custom_section("name", b"x").unwrap_or_default()]
            .concat();
    let mut manifest = Manifest { format: FORMAT, engine: "0.1.0".to_owned(), ..Manifest::default() };
    manifest.entry.argv = vec!["/bin/sh".to_owned()];
    let sealed = app::seal(&module, &manifest, Vec::new()).unwrap_or_default();
    vec![("module", module), ("sealed", sealed)]
}

fn vfs_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut tree = Tree::new();
    tree.put_file(b"bin/sh", 0o755, &[7; 200_000]);
    tree.put_file(b"etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n");
    tree.put_symlink(b"etc/link", b"../bin/sh");
    let id = tree.put_file(b"etc/both", 0o600, b"");
    if let (Some(id), Some(dir)) = (id, tree.find(b"bin")) {
        tree.node_mut(id).meta.xattrs.insert(b"user.a".to_vec(), b"b".to_vec());
        tree.children_mut(dir).map(|children| children.insert(b"names".to_vec(), id));
    }
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, threads: 1 });
    let built = vfs_build::build(&tree, &NoStreams, writer, &mut |_, _| {});
    vec![("small", built.map(|built| built.archive.into_vec()).unwrap_or_default())]
}

fn chunk_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let text: Vec<u8> = (0..2000u32).flat_map(|i| format!("line {}\n", i * i % 97).into_bytes()).collect();
    let seed = |raw: &[u8]| [&(raw.len() as u32).to_le_bytes()[..], &draft_image::zstd(raw)].concat();
    vec![("text", seed(&text)), ("zeros", seed(&[0; 50_000])), ("raw", b"\x03\0\0\0abc".to_vec())]
}

#[cfg(test)]
#[path = "fuzz_test.rs"]
mod tests;
