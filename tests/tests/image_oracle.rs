//! Our flattened tree against what real tools unpack from the same file, entry
//! by entry: `tar -x` for root file systems, `umoci unpack` for layers. Metadata,
//! hard links, extended attributes and contents. Needs root, because owners and
//! device nodes do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt as _, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_formats::chunk_writer::{ChunkOptions, ChunkWriter};
use friscy_formats::vfs::{self, ArchivedVfs, Inode};
use friscy_formats::{image, vfs_build};

/// What is compared of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    /// Of files and symlinks.
    size: u64,
    rdev: u64,
    /// The first of its names, when it has several.
    linked: Option<Vec<u8>>,
    links: u64,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    target: Vec<u8>,
    contents: u64,
}

type Listing = BTreeMap<Vec<u8>, Entry>;

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Runs a command that must succeed; when it is not there, says what to install.
fn run(command: &[&str], cwd: &Path) -> Vec<u8> {
    let package = match command[0] {
        "mknod" | "mkfifo" | "touch" | "chown" | "chmod" => "coreutils",
        "find" => "findutils",
        other => other,
    };
    let output = Command::new(command[0]).args(&command[1..]).current_dir(cwd).output();
    let output =
        output.unwrap_or_else(|e| panic!("{}: {e}; install the Debian package {package}", command[0]));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {} {stderr}", output.status);
    output.stdout
}

/// An empty folder for this test, on a real file system. Times and owners survive there.
fn folder(name: &str) -> PathBuf {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test compares owners and device nodes: run it as root"
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image-oracle").join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// What a tool has unpacked.
fn unpacked(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut first_names: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut stack = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(path) = stack.pop() {
        let full = root.join(&path);
        if std::fs::symlink_metadata(&full).unwrap().is_dir() {
            stack
                .extend(std::fs::read_dir(&full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        }
        paths.push(path);
    }
    paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    for path in paths {
        let full = root.join(&path);
        let meta = std::fs::symlink_metadata(&full).unwrap();
        let name = path.as_os_str().as_bytes().to_vec();
        let several = !meta.is_dir() && meta.nlink() > 1;
        let linked = several.then(|| first_names.entry(meta.ino()).or_insert_with(|| name.clone()).clone());
        let symlink = meta.is_symlink();
        listing.insert(
            name,
            Entry {
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                mtime: (meta.mtime(), meta.mtime_nsec() as u32),
                size: if meta.is_dir() { 0 } else { meta.size() },
                rdev: meta.rdev(),
                linked,
                links: if meta.is_dir() { 0 } else { meta.nlink() },
                xattrs: xattrs(&full),
                target: if symlink {
                    std::fs::read_link(&full).unwrap().into_os_string().into_vec()
                } else {
                    Vec::new()
                },
                contents: if meta.is_file() { hash(&std::fs::read(&full).unwrap()) } else { 0 },
            },
        );
    }
    listing
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|&b| b == 0).filter(|name| !name.is_empty());
    let mut pairs: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect();
    pairs.sort();
    pairs
}

/// What we make of the file, through the archive and the chunk store.
fn ours(file: &Path) -> Listing {
    let bytes = std::fs::read(file).unwrap();
    let image = image::open(&bytes, image::Options::default()).unwrap();
    let tree = image.flatten(&mut |_, _| {}).unwrap();
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, ..ChunkOptions::default() });
    let built = vfs_build::build(&tree, &image, writer, &mut |_, _| {}).unwrap();
    let vfs = vfs::access(&built.archive).unwrap();
    let mut paths = Vec::new();
    let mut stack = vec![(Vec::new(), vfs.root())];
    while let Some((path, inode)) = stack.pop() {
        for (name, ino) in inode.iter() {
            let path = if path.is_empty() { name.to_vec() } else { [&path[..], b"/", name].concat() };
            stack.push((path, vfs.inode(ino).unwrap()));
        }
        paths.push((path, inode));
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    let mut first_names: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut listing = Listing::new();
    for (path, inode) in paths {
        let directory = inode.mode() & 0o170000 == 0o040000;
        let several = !directory && inode.nlink() > 1;
        let entry = Entry {
            mode: inode.mode(),
            owner: (inode.uid(), inode.gid()),
            mtime: inode.mtime(),
            size: if directory { 0 } else { inode.size() },
            rdev: inode.rdev(),
            linked: several.then(|| first_names.entry(inode.ino()).or_insert_with(|| path.clone()).clone()),
            links: if directory { 0 } else { inode.nlink().into() },
            xattrs: inode.xattrs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            target: inode.symlink().unwrap_or_default().to_vec(),
            contents: if inode.mode() & 0o170000 == 0o100000 {
                hash(&contents(vfs, inode, &built.store))
            } else {
                0
            },
        };
        listing.insert(path, entry);
    }
    listing
}

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

/// Both list the same; says each difference.
fn same(what: &str, theirs: &Listing, ours: &Listing) {
    let mut differences = Vec::new();
    for path in theirs.keys().chain(ours.keys().filter(|path| !theirs.contains_key(*path))) {
        let (a, b) = (theirs.get(path), ours.get(path));
        if a != b {
            differences.push(format!("{}\n  theirs {a:?}\n  ours   {b:?}", String::from_utf8_lossy(path)));
        }
    }
    assert!(differences.is_empty(), "{what}: {} differ\n{}", differences.len(), differences.join("\n"));
    assert!(theirs.len() >= 8, "{what}: only {} entries compared", theirs.len());
}

/// A tree with one of everything. `long`: names that v7 and ustar cannot hold, ids that they cannot either.
fn everything(root: &Path, long: bool) {
    let make = |path: &str, contents: &[u8]| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    };
    make("bin/tool", &(0..200_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    make("etc/empty", b"");
    make("etc/text", b"line\n");
    make("a/b/c/d/e/f", b"deep");
    let latin1 = OsString::from_vec(b"caf\xe9 \x01\n'\"\\".to_vec());
    std::fs::write(root.join("etc").join(latin1), b"odd name").unwrap();
    std::fs::hard_link(root.join("bin/tool"), root.join("bin/again")).unwrap();
    std::fs::hard_link(root.join("bin/tool"), root.join("a/third")).unwrap();
    for (name, target) in [
        ("abs", "/etc/text"),
        ("rel", "../etc/text"),
        ("dangling", "/no/where"),
        ("loop", "loop"),
        ("dir", "."),
    ] {
        symlink(target, root.join("a").join(name)).unwrap();
    }
    std::fs::hard_link(root.join("a/rel"), root.join("a/rel2")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    for at in [0u64, 1 << 20, (1 << 20) + 8192, 7 << 20, 39 << 20] {
        sparse.write_all_at(format!("data at {at}").as_bytes(), at).unwrap();
    }
    std::fs::File::create(root.join("hole")).unwrap().set_len(5_000_000).unwrap();
    run(&["mknod", "null", "c", "1", "3"], root);
    run(&["mknod", "disk", "b", "259", "65536"], root);
    run(&["mkfifo", "fifo"], root);
    run(&["chown", "1000:2000", "etc/text", "null"], root);
    run(&["chown", "-h", "12:34", "a/abs"], root);
    run(&["chmod", "6755", "bin/tool"], root);
    run(&["chmod", "1777", "a/b"], root);
    run(&["chmod", "000", "etc/empty"], root);
    if long {
        make(&format!("{}/{}", "long/".repeat(50), "n".repeat(255)), b"long name");
        symlink("t/".repeat(200), root.join("long/link")).unwrap();
        run(&["chown", "3000000:4294967294", "a/b/c"], root);
    }
    // Times last: directories change when something is made in them.
    run(&["find", ".", "-depth", "-exec", "touch", "-h", "-d", "2001-02-03 04:05:06", "{}", "+"], root);
    run(&["touch", "-d", "1969-07-20 20:17:40", "etc/text"], root);
    run(&["touch", "-d", "@0", "etc/empty"], root);
    if long {
        run(&["touch", "-d", "2038-01-20 00:00:00.123456789", "bin/tool"], root);
    }
}

/// Extended attributes, binary ones too.
fn attributes(root: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("etc/text", "user.comment", b"a=b");
    set("etc/text", "user.binary", b"\0\xff\n=");
    set("bin/tool", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    set("a/b", "trusted.t", b"of a directory");
}

fn extract(tar: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let tar = tar.to_str().unwrap();
    run(&["tar", "-xpf", tar, "--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*"], into);
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn root_file_systems_in_every_dialect_of_tar() {
    let dialects: [(&str, bool, &[&str]); 8] = [
        ("v7", false, &["--format=v7"]),
        ("ustar", false, &["--format=ustar"]),
        ("oldgnu", true, &["--format=oldgnu", "-S"]),
        ("gnu", true, &["--format=gnu", "-S"]),
        ("pax", true, &["--format=posix", "--xattrs", "--xattrs-include=*"]),
        ("sparse-0.0", true, &["--format=posix", "-S", "--sparse-version=0.0"]),
        (
            "sparse-0.1",
            true,
            &["--format=posix", "-S", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*"],
        ),
        ("sparse-1.0", true, &["--format=posix", "-S", "--sparse-version=1.0"]),
    ];
    for (name, long, options) in dialects {
        let folder = folder(&format!("dialect-{name}"));
        let source = folder.join("source");
        std::fs::create_dir(&source).unwrap();
        everything(&source, long);
        if name == "pax" || name == "sparse-0.1" {
            attributes(&source);
        }
        if !long {
            // v7 has neither devices nor fifos; dates before 1970 are no octal number.
            for file in ["null", "disk", "fifo"] {
                std::fs::remove_file(source.join(file)).unwrap();
            }
            run(&["touch", "-d", "@1", "etc/text"], &source);
            run(&["touch", "-d", "@2", "."], &source);
        }
        let tar = folder.join("image.tar");
        let mut command = vec!["tar", "-C", "source", "-cf", "image.tar", "--numeric-owner"];
        command.extend(options);
        command.push(".");
        run(&command, &folder);
        extract(&tar, &folder.join("root"));
        let expected = unpacked(&folder.join("root"));
        same(name, &expected, &ours(&tar));
        if options.contains(&"-S") {
            assert!(size(&tar) < 4 << 20, "{name}: sparse files were not stored as such");
        }
        run(&["zstd", "-q", "image.tar"], &folder);
        run(&["gzip", "image.tar"], &folder);
        for packed in ["image.tar.gz", "image.tar.zst"] {
            same(packed, &expected, &ours(&folder.join(packed)));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// An OCI layout with layers of all sorts; its `umoci unpack` is the reference.
struct Layered {
    folder: PathBuf,
    reference: &'static str,
}

impl Layered {
    fn new(name: &str) -> Layered {
        let folder = folder(name);
        run(&["umoci", "init", "--layout", "oci"], &folder);
        run(&["umoci", "new", "--image", "oci:test"], &folder);
        run(
            &[
                "umoci",
                "config",
                "--image",
                "oci:test",
                "--architecture",
                "riscv64",
                "--config.cmd",
                "/bin/tool",
            ],
            &folder,
        );
        Layered { folder, reference: "oci:test" }
    }

    /// A layer from a folder, as a tar of GNU's.
    fn add(&self, make: impl FnOnce(&Path)) {
        let source = self.folder.join("source");
        std::fs::create_dir(&source).unwrap();
        make(&source);
        run(
            &["find", ".", "-depth", "-exec", "touch", "-h", "-d", "2010-10-10 10:10:10", "{}", "+"],
            &source,
        );
        run(
            &["tar", "-C", "source", "-cf", "layer.tar", "--format=posix", "--numeric-owner", "."],
            &self.folder,
        );
        run(&["umoci", "raw", "add-layer", "--image", self.reference, "layer.tar"], &self.folder);
        std::fs::remove_dir_all(source).unwrap();
    }

    /// A layer whose tar is written entry by entry, in this order.
    fn add_entries(&self, entries: &[&str]) {
        let source = self.folder.join("source");
        std::fs::create_dir(&source).unwrap();
        let mut list = std::fs::File::create(self.folder.join("list")).unwrap();
        for entry in entries {
            let path = source.join(entry.trim_end_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if entry.ends_with('/') {
                std::fs::create_dir_all(&path).unwrap();
            } else {
                std::fs::write(&path, format!("contents of {entry}")).unwrap();
            }
            writeln!(list, "{}", entry.trim_end_matches('/')).unwrap();
        }
        run(
            &["find", ".", "-depth", "-exec", "touch", "-h", "-d", "2012-12-12 12:12:12", "{}", "+"],
            &source,
        );
        run(
            &["tar", "-C", "source", "-cf", "layer.tar", "--numeric-owner", "--no-recursion", "-T", "list"],
            &self.folder,
        );
        run(&["umoci", "raw", "add-layer", "--image", self.reference, "layer.tar"], &self.folder);
        std::fs::remove_dir_all(source).unwrap();
    }

    /// Compares, in every form in which the image can be saved.
    fn check(&self) {
        let folder = &self.folder;
        run(&["umoci", "unpack", "--image", self.reference, "bundle"], folder);
        let expected = unpacked(&folder.join("bundle/rootfs"));
        run(&["tar", "-C", "oci", "-cf", "layout.tar", "."], folder);
        same("OCI layout", &expected, &ours(&folder.join("layout.tar")));
        run(&["gzip", "-k", "layout.tar"], folder);
        same("OCI layout, gzip", &expected, &ours(&folder.join("layout.tar.gz")));
        let skopeo = ["skopeo", "--insecure-policy", "--override-arch", "riscv64", "copy", "-q"];
        let copy = |options: &[&str], to: &str| {
            let mut command = skopeo.to_vec();
            command.extend(options);
            command.extend([self.reference, to]);
            let reference = format!("oci:{}", self.reference);
            command[skopeo.len() + options.len()] = &reference;
            run(&command, folder);
        };
        copy(&[], "docker-archive:docker.tar:name:tag");
        same("docker save", &expected, &ours(&folder.join("docker.tar")));
        copy(&["--dest-compress-format", "zstd"], "oci-archive:zstd.tar:tag");
        same("OCI archive, zstd", &expected, &ours(&folder.join("zstd.tar")));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn layers_with_whiteouts_links_and_replacements() {
    let image = Layered::new("layers");
    image.add(|root| {
        everything(root, true);
        attributes(root);
    });
    image.add(|root| {
        for (path, contents) in
            [("etc/.wh.text", ""), ("bin/new", "new"), ("a/b/.wh.c", ""), ("other/deep/file", "x")]
        {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        // A file over a directory, a directory over a file, a link over a link.
        std::fs::create_dir_all(root.join("sparse/now")).unwrap();
        std::fs::write(root.join("a/third"), "replaced, the other names are not").unwrap();
        symlink("elsewhere", root.join("a/abs")).unwrap();
    });
    image.add(|root| {
        std::fs::create_dir_all(root.join("other/deep")).unwrap();
        std::fs::write(root.join("other/deep/.wh..wh..opq"), "").unwrap();
        std::fs::write(root.join("other/deep/kept"), "kept").unwrap();
        std::fs::write(root.join("hole"), "no hole").unwrap();
        run(&["chmod", "700", "other/deep"], root);
        run(&["chown", "77:88", "other"], root);
    });
    image.check();
}

#[test]
fn whiteouts_in_any_order() {
    let image = Layered::new("order");
    let names = ["d/", "d/1", "d/2", "d/s/", "d/s/3", "e/", "e/1", "e/s/", "e/s/2", "f", "g", "h/", "h/1"];
    image.add_entries(&names);
    image.add_entries(&["d/", "d/new", "d/.wh..wh..opq", "d/s/", "d/s/new", ".wh.g", "h", "e/.wh.s", "e/"]);
    image.add_entries(&["e/.wh..wh..opq", "e/", "e/z/", "e/z/late", "h", "i/", "i/1"]);
    image.add_entries(&["i/.wh.1", "i/.wh.none", ".wh.nothing", "f", "d/.wh.s"]);
    image.check();
}

#[test]
fn entries_behind_symlinks_stay_inside() {
    let image = Layered::new("links");
    image.add(|root| {
        for dir in ["usr/lib", "usr/bin", "var"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
            for i in 0..4 {
                std::fs::write(root.join(dir).join(format!("file{i}")), "x").unwrap();
            }
        }
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink("../../../../var", root.join("usr/up")).unwrap();
    });
    image.add_entries(&["lib/through", "bin/through", "usr/up/through", "lib/.wh.file1"]);
    image.check();
}
