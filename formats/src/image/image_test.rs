//! Layouts, layers and what is wrong with them. What real tools make of the
//! same images is in the workspace's `tests/tests/image_oracle.rs`.

use super::draft_image::{Oci, RISCV, docker_save, gzip, oci, zstd};
use super::draft_tar::{Draft, Fields};
use super::*;
use crate::chunk_writer::{ChunkOptions, ChunkWriter};
use crate::tree::{Kind, NodeId, ROOT};
use crate::{vfs, vfs_build};

/// `path kind mode owner contents` of everything, by way of the archive.
fn listing(bytes: &[u8]) -> Result<String, String> {
    let image = open(bytes, Options::default()).map_err(|e| e.to_string())?;
    let tree = image.flatten(&mut |_, _| {}).map_err(|e| e.to_string())?;
    let writer = ChunkWriter::new(Vec::new(), ChunkOptions { level: 1, threads: 1 });
    let built = vfs_build::build(&tree, &image, writer, &mut |_, _| {}).map_err(|e| e.to_string())?;
    let vfs = vfs::access(&built.archive).map_err(|e| e.to_string())?;
    let mut lines = Vec::new();
    let mut stack = vec![(String::new(), 0)];
    while let Some((path, ino)) = stack.pop() {
        let inode = vfs.inode(ino).unwrap();
        let mut text = Vec::new();
        for extent in inode.extents() {
            let chunk = vfs.chunk(extent.chunk).unwrap();
            let raw = chunk.open(&built.store[chunk.offset as usize..][..chunk.stored_len as usize]).unwrap();
            text.resize(extent.offset as usize, b'.');
            text.extend(&raw[extent.chunk_offset as usize..][..extent.len as usize]);
        }
        text.extend(inode.symlink().unwrap_or_default());
        let text = String::from_utf8_lossy(&text).into_owned();
        lines.push(
            format!("/{path} {:o} {}:{} {text}", inode.mode(), inode.uid(), inode.nlink())
                .trim_end()
                .to_owned(),
        );
        let slash = if path.is_empty() { "" } else { "/" };
        stack.extend(
            inode.iter().map(|(name, ino)| (format!("{path}{slash}{}", String::from_utf8_lossy(name)), ino)),
        );
    }
    lines.sort();
    Ok(lines.join("\n"))
}

/// Of an image with these layers.
fn layered(layers: &[Vec<u8>]) -> Result<String, String> {
    let pairs: Vec<_> = layers.iter().map(|layer| (layer.clone(), layer.clone())).collect();
    let listed = listing(&oci(&pairs));
    assert_eq!(listed, listing(&docker_save(RISCV, layers)), "both layouts give the same tree");
    listed
}

/// Only the names.
fn names(layers: &[Vec<u8>]) -> Vec<String> {
    let text = layered(layers).unwrap();
    text.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn base() -> Vec<u8> {
    Draft::default()
        .directory("dir/")
        .file("dir/a", b"lower a")
        .file("dir/b", b"lower b")
        .directory("dir/sub/")
        .file("dir/sub/c", b"lower c")
        .symlink("link", "dir")
        .file("file", b"lower file")
        .end()
}

#[test]
fn every_layout_and_compression_gives_the_same_tree() {
    let plain = base();
    let expected = listing(&plain).unwrap();
    assert_eq!(expected.lines().next(), Some("/ 40755 0:3"));
    assert!(expected.contains("/dir/sub/c 100644 0:1 lower c"), "{expected}");
    for stored in [plain.clone(), gzip(&plain), zstd(&plain)] {
        assert_eq!(listing(&stored).unwrap(), expected);
        let layout = oci(&[(stored, plain.clone())]);
        for file in [layout.clone(), gzip(&layout), zstd(&layout)] {
            assert_eq!(listing(&file).unwrap(), expected);
        }
    }
    let saved = docker_save(RISCV, std::slice::from_ref(&plain));
    for file in [saved.clone(), gzip(&saved), zstd(&saved)] {
        assert_eq!(listing(&file).unwrap(), expected);
    }
}

#[test]
fn the_config_is_read() {
    let layers = [base()];
    for (file, tags) in
        [(docker_save(RISCV, &layers), vec!["test:latest"]), (oci(&[(base(), base())]), vec![])]
    {
        let image = open(&file, Options::default()).unwrap();
        let config = &image.config;
        assert_eq!((&config.entrypoint[..], config.cmd.len()), (&["/bin/sh".to_owned()][..], 0));
        assert_eq!(
            (config.env.join(" "), config.working_dir.as_str(), config.user.as_str()),
            ("A=b".into(), "/w", "1:2")
        );
        assert_eq!(
            (config.exposed_ports.join(" "), config.stop_signal.as_str()),
            ("80/tcp".into(), "SIGINT")
        );
        assert_eq!(config.labels.get("k").map(String::as_str), Some("v"));
        assert_eq!(image.tags, tags);
        assert!(image.digest.starts_with("sha256:") && image.digest.len() == 71);
    }
}

#[test]
fn whiteouts_remove_from_below_only() {
    let upper =
        Draft::default().file("dir/.wh.a", b"").file("dir/sub/.wh.c", b"").file("dir/sub/new", b"").end();
    assert_eq!(names(&[base(), upper]), ["/dir", "/dir/b", "/dir/sub", "/dir/sub/new", "/file", "/link"]);
    // In whatever order they come.
    let upper = Draft::default().file("dir/a", b"upper").file("dir/.wh.a", b"").end();
    assert!(layered(&[base(), upper]).unwrap().contains("/dir/a 100644 0:1 upper"));
    let upper = Draft::default().file(".wh.dir", b"").file("dir/x", b"").end();
    assert_eq!(names(&[base(), upper]), ["/dir", "/dir/x", "/file", "/link"]);
    let upper = Draft::default().file("dir/x", b"").file(".wh.dir", b"").end();
    assert_eq!(names(&[base(), upper]), ["/dir", "/dir/x", "/file", "/link"]);
    // Of nothing.
    let upper = Draft::default().file("none/.wh.x", b"").file(".wh.y", b"").end();
    assert_eq!(layered(&[base(), upper]), layered(&[base()]));
}

#[test]
fn opaque_directories_hide_what_is_below() {
    for first in [true, false] {
        let mut upper = Draft::default();
        if first {
            upper = upper.file("dir/.wh..wh..opq", b"");
        }
        upper = upper.directory("dir/").file("dir/new", b"").file("dir/sub/new", b"");
        if !first {
            upper = upper.file("dir/.wh..wh..opq", b"");
        }
        assert_eq!(
            names(&[base(), upper.end()]),
            ["/dir", "/dir/new", "/dir/sub", "/dir/sub/new", "/file", "/link"]
        );
    }
}

#[test]
fn a_root_file_system_has_no_whiteouts() {
    let tar = Draft::default().file("a", b"").file(".wh.a", b"").end();
    assert_eq!(listing(&tar).unwrap().lines().count(), 3);
}

#[test]
fn kinds_replace_each_other() {
    let upper = Draft::default().file("dir", b"now a file").directory("file/").file("file/x", b"").end();
    let third = Draft::default().directory("dir/").file("dir/y", b"").symlink("file", "dir/y").end();
    assert_eq!(names(&[base(), upper.clone()]), ["/dir", "/file", "/file/x", "/link"]);
    assert_eq!(names(&[base(), upper, third]), ["/dir", "/dir/y", "/file", "/link"]);
    // A directory over a symbolic link to one replaces the link; behind the link, files go through it.
    let upper = Draft::default().file("link/through", b"").end();
    assert!(names(&[base(), upper]).contains(&"/dir/through".to_owned()));
    let upper = Draft::default().directory("link/").file("link/x", b"").end();
    let listed = names(&[base(), upper]);
    assert!(listed.contains(&"/link/x".to_owned()) && listed.contains(&"/dir/a".to_owned()), "{listed:?}");
}

#[test]
fn the_last_of_several_entries_wins() {
    let tar = Draft::default().file("a", b"first").hard_link("b", "a").file("a", b"second").end();
    let text = listing(&tar).unwrap();
    assert!(text.contains("/a 100644 0:1 second\n/b 100644 0:1 first"), "{text}");
}

#[test]
fn hard_links_reach_across_layers() {
    let upper = Draft::default().hard_link("dir/again", "/dir/a").hard_link("l2", "link").end();
    let text = layered(&[base(), upper]).unwrap();
    assert!(text.contains("/dir/a 100644 0:2 lower a\n/dir/again 100644 0:2 lower a"), "{text}");
    assert!(text.contains("/l2 120777 0:2 dir") && text.contains("/link 120777 0:2 dir"), "{text}");
    for (link, why) in
        [("none", "which is not there"), ("dir", "the directory"), ("file/x", "which is not there")]
    {
        let error = layered(&[base(), Draft::default().hard_link("h", link).end()]).unwrap_err();
        assert!(
            error.starts_with("the image is not valid: \"h\" is a hard link to ") && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn a_layer_may_come_twice() {
    let whiteout = Draft::default().file(".wh.dir", b"").end();
    let keep = Draft::default().hard_link("kept", "dir/a").end();
    let text = layered(&[base(), keep, whiteout, base()]).unwrap();
    assert!(
        text.contains("/dir/a 100644 0:1 lower a") && text.contains("/kept 100644 0:1 lower a"),
        "{text}"
    );
}

#[test]
fn names_of_all_kinds() {
    let odd = Fields { name: b"./odd\xff\n/../x", ..Fields::default() };
    let traversal = listing(&Draft::default().entry(&odd, b"").end()).unwrap_err();
    assert!(traversal.starts_with("the image is unsafe"), "{traversal}");
    for name in ["..", "../x", "a/../../x", "/..", "a/.."] {
        let error = listing(&Draft::default().file(name, b"").end()).unwrap_err();
        assert!(error.starts_with("the image is unsafe"), "{name}: {error}");
    }
    let error = listing(&Draft::default().hard_link("h", "../etc/passwd").end()).unwrap_err();
    assert!(error.starts_with("the image is unsafe"), "{error}");
    // Not removed by a whiteout either.
    let error = layered(&[base(), Draft::default().file(".wh...", b"").end()]).unwrap_err();
    assert!(error.starts_with("the image is unsafe"), "{error}");
    // Absolute names are taken relative to the root; missing parents are made.
    let tar = Draft::default().file("/abs//./deep/file", b"x").end();
    assert_eq!(
        listing(&tar).unwrap(),
        "/ 40755 0:3\n/abs 40755 0:3\n/abs/deep 40755 0:2\n/abs/deep/file 100644 0:1 x"
    );
    let odd = Fields { name: b"odd\xff\x01", ..Fields::default() };
    let bytes = Draft::default().entry(&odd, b"").end();
    let image = open(&bytes, Options::default()).unwrap();
    assert!(image.flatten(&mut |_, _| {}).unwrap().find(b"odd\xff\x01").is_some());
    let long = listing(&Draft::default().pax(&[("path", &[b'n'; 256])]).file("x", b"").end()).unwrap_err();
    assert!(long.contains("longer than Linux allows"), "{long}");
}

#[test]
fn symlinks_lead_nowhere_outside() {
    let tar = Draft::default()
        .symlink("up", "../../../../etc")
        .file("up/passwd", b"inside")
        .symlink("abs", "/etc/sub")
        .file("abs/x", b"")
        .symlink("dangling", "/none/at/all")
        .symlink("loop", "loop")
        .end();
    let text = listing(&tar).unwrap();
    assert!(text.contains("/etc/passwd 100644 0:1 inside") && text.contains("/etc/sub/x 100644"), "{text}");
    let error =
        listing(&Draft::default().symlink("a", "b").symlink("b", "a").file("a/x", b"").end()).unwrap_err();
    assert!(error.contains("behind a loop of symbolic links"), "{error}");
    let error = listing(&Draft::default().file("f", b"").file("f/x", b"").end()).unwrap_err();
    assert!(error.contains("is in something that is not a directory"), "{error}");
}

#[test]
fn special_files_and_the_root_itself() {
    let special =
        |name: &'static [u8], kind, mode| Fields { name, kind, mode, device: (10, 300), ..Fields::default() };
    let tar = Draft::default()
        .entry(&special(b"./", b'5', 0o1777), b"")
        .entry(&special(b"char", b'3', 0o4620), b"")
        .entry(&special(b"block", b'4', 0o660), b"")
        .entry(&special(b"fifo", b'6', 0o600), b"")
        .end();
    assert_eq!(listing(&tar).unwrap(), "/ 41777 0:2\n/block 60660 0:1\n/char 24620 0:1\n/fifo 10600 0:1");
    let image = open(&tar, Options::default()).unwrap();
    let tree = image.flatten(&mut |_, _| {}).unwrap();
    assert_eq!(tree.node(tree.find(b"char").unwrap()).kind, Kind::Char { major: 10, minor: 300 });
    let error = listing(&Draft::default().file(".", b"").end()).unwrap_err();
    assert!(error.contains("would replace the root directory"), "{error}");
}

#[test]
fn the_riscv64_image_of_several_is_chosen() {
    let layer = |name: &str| {
        let tar = Draft::default().file(name, b"").end();
        (gzip(&tar), tar)
    };
    let platform = |arch: &str| format!(r#","platform":{{"architecture":"{arch}","os":"linux"}}"#);
    let mut nested = Oci::default();
    let images: Vec<String> = ["amd64", "riscv64", "arm64"]
        .map(|arch| nested.image(arch, &[layer(arch)], &platform(arch)))
        .to_vec();
    let proof = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"},"platform":{"architecture":"unknown","os":"unknown"}"#;
    let proof = nested.blob("manifest.v1+json", b"{}", proof);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{},{proof}]}}"#, images.join(","));
    let name = r#","annotations":{"org.opencontainers.image.ref.name":"latest"}"#;
    let index = nested.blob("index.v1+json", index.as_bytes(), name);
    nested.index.push(index);
    assert!(listing(&nested.tar()).unwrap().contains("/riscv64"));
    assert_eq!(open(&nested.tar(), Options::default()).unwrap().tags, ["latest"]);
    // The others may be missing: `docker save` lists platforms that it has not.
    let mut partial = Oci { blobs: nested.blobs.clone(), index: nested.index.clone() };
    partial.blobs.drain(..3);
    assert!(listing(&partial.tar()).unwrap().contains("/riscv64"));

    // Platforms that the index does not tell, the configs do.
    let mut silent = Oci::default();
    for arch in ["amd64", "riscv64"] {
        let manifest = silent.image(arch, &[layer(arch)], "");
        silent.index.push(manifest);
    }
    assert!(listing(&silent.tar()).unwrap().contains("/riscv64"));
}

#[test]
fn other_platforms_are_named() {
    let built_for = |arch: &str| format!("built for {arch}; build it with --platform linux/riscv64");
    assert_eq!(listing(&docker_save("amd64", &[base()])), Err(built_for("amd64")));
    let mut oci = Oci::default();
    for arch in ["amd64", "arm64"] {
        let manifest = oci.image(arch, &[(base(), base())], "");
        oci.index.push(manifest);
    }
    assert_eq!(listing(&oci.tar()), Err(built_for("amd64, arm64")));
}

#[test]
fn what_images_say_is_one_line_and_obeyed_by_no_terminal() {
    let error = listing(&docker_save("amd64\\n\\u001b[31m", &[base()])).unwrap_err();
    assert_eq!(error, "built for amd64\\n\\u{1b}[31m; build it with --platform linux/riscv64");
    let error = listing(&Draft::default().file("a\n\x1b/..", b"").end()).unwrap_err();
    assert!(!error.contains(['\n', '\x1b']), "{error}");
}

#[test]
fn several_images_need_a_name() {
    let mut oci = Oci::default();
    for name in ["one", "two"] {
        let tar = Draft::default().file(name, b"").end();
        let tag = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        let manifest = oci.image(RISCV, &[(tar.clone(), tar)], &tag);
        oci.index.push(manifest);
    }
    let file = oci.tar();
    assert_eq!(
        listing(&file),
        Err("the file holds several images (one, two); save one of them alone".into())
    );
    let named = |name: &str| open(&file, Options { reference: Some(name.into()), ..Options::default() });
    let tree = named("two").unwrap().flatten(&mut |_, _| {}).unwrap();
    assert!(tree.find(b"two").is_some());
    assert!(named("three").unwrap_err().to_string().starts_with("the file holds no image three"));
}

#[test]
fn every_truncation_is_noticed() {
    let (plain, layout) = (base(), oci(&[(gzip(&base()), base())]));
    // The last zero block adds nothing.
    for len in (0..plain.len() - 512).step_by(97) {
        assert!(listing(&plain[..len]).is_err(), "{len}");
    }
    for len in (0..layout.len() - 512).step_by(61) {
        assert!(listing(&layout[..len]).is_err(), "{len}");
    }
    for file in [gzip(&layout), zstd(&layout), gzip(&plain), zstd(&plain)] {
        for len in (0..file.len()).step_by(13) {
            let error = listing(&file[..len]).unwrap_err();
            let expected =
                ["truncated", "not an image", "the file is empty"].iter().any(|what| error.contains(what));
            assert!(expected, "{len}: {error}");
        }
    }
}

#[test]
fn damaged_blobs_are_noticed() {
    let damage = |file: &[u8], what: &[u8]| {
        let mut file = file.to_vec();
        let at = file.windows(what.len()).position(|w| w == what).unwrap();
        file[at] ^= 1;
        listing(&file).unwrap_err()
    };
    let plain = oci(&[(base(), base())]);
    let error = damage(&plain, b"lower b");
    assert!(error.starts_with("the file is damaged (layer 1 (sha256:"), "{error}");
    assert!(damage(&plain, b"Entrypoint").contains("config does not match its digest"));
    assert!(damage(&docker_save(RISCV, &[base()]), b"lower b").contains("does not match its digest"));
    let packed = gzip(&base());
    let mut file = oci(&[(packed.clone(), base())]);
    let at = file.windows(packed.len()).position(|w| w == packed).unwrap();
    file[at + packed.len() / 2] ^= 0xff;
    assert!(listing(&file).unwrap_err().contains("does not match its digest"));
    // Without digests, the checksum of gzip.
    let mut packed = gzip(&base());
    let len = packed.len();
    packed[len - 5] ^= 1;
    assert!(listing(&packed).unwrap_err().starts_with("the file is damaged (gzip"));
}

#[test]
fn what_is_no_image_is_said_so() {
    assert_eq!(listing(b""), Err("the file is empty; save the image again".into()));
    for rubbish in [&b"hello"[..], &[0; 4096], &[0xff; 4096], &gzip(b"hello"), &zstd(&[7; 5000])] {
        assert!(listing(rubbish).unwrap_err().starts_with("not an image"), "{:?}", &rubbish[..5]);
    }
    assert_eq!(
        listing(b"BZh91AY"),
        Err("compressed with bzip2, which is not supported; decompress it first".into())
    );
    let mut empty = Oci::default();
    assert_eq!(
        listing(&empty.tar()),
        Err("the image is incomplete: any image is not in the file; save it again, for this platform".into())
    );
    empty.index.push(r#"{"digest":"sha256:12"}"#.into());
    assert!(listing(&empty.tar()).unwrap_err().contains("is no sha256 digest"));
    let mut no_layer = Oci::default();
    let manifest = no_layer.image(RISCV, &[(base(), base())], "");
    no_layer.index.push(manifest);
    no_layer.blobs.remove(1);
    let error = listing(&no_layer.tar()).unwrap_err();
    assert!(error.starts_with("the image is incomplete: layer 1 (sha256:"), "{error}");
}

#[test]
fn a_tar_whose_first_name_looks_like_a_magic_is_a_tar() {
    for name in ["BZh9", "PK\x03\x04", "\x1f\u{8b}"] {
        assert!(listing(&Draft::default().file(name, b"").end()).is_ok());
    }
    // And a root file system may have files named like a layout's.
    let tar = Draft::default().file("manifest.json", b"{\"name\": \"app\"}").file("index.json", b"[]").end();
    assert_eq!(listing(&tar).unwrap().lines().count(), 3);
}

#[test]
fn bombs_are_refused() {
    let limits = Limits { ratio_from_bytes: 1 << 20, files: 100, ..Limits::default() };
    let refused = |bytes: &[u8]| {
        let options = Options { limits, ..Options::default() };
        let image = open(bytes, options).map_err(|e| e.to_string())?;
        image.flatten(&mut |_, _| {}).map(drop).map_err(|e| e.to_string())
    };
    let zeros = Draft::default().file("zeros", &vec![0; 30 << 20]).end();
    let bomb = Err("the image decompresses to more than ".to_owned());
    for packed in [gzip(&zeros), zstd(&zeros)] {
        let result = refused(&packed).map_err(|e| e[..bomb.as_ref().unwrap_err().len()].to_owned());
        assert_eq!(result, bomb);
        let result = refused(&oci(&[(packed, zeros.clone())]));
        assert!(result.is_err_and(|e| e.contains("decompression bomb")));
    }
    let many = (0..200).fold(Draft::default(), |draft, i| draft.file(&i.to_string(), b"")).end();
    assert_eq!(refused(&many), Err("the image has more than 100 files: refused".into()));
    let deep = "d/".repeat(150);
    let deep = Draft::default().pax(&[("path", deep.as_bytes())]).directory("d").file("x", b"").end();
    assert_eq!(refused(&deep), Err("the image has more than 100 files: refused".into()));
    let layers: Vec<Vec<u8>> = (0..1001).map(|_| base()).collect();
    assert_eq!(
        refused(&docker_save(RISCV, &layers)),
        Err("the image has more than 100 files: refused".into())
    );
}

#[test]
fn the_same_image_gives_the_same_archive() {
    let pairs: Vec<_> = [base(), Draft::default().file("x", b"y").end()].map(|l| (gzip(&l), l)).to_vec();
    let file = oci(&pairs);
    let build = || {
        let image = open(&file, Options::default()).unwrap();
        let tree = image.flatten(&mut |_, _| {}).unwrap();
        assert!(tree.children(ROOT).is_some() && tree.node(NodeId(0)).mode() == 0o40755);
        let writer = ChunkWriter::new(Vec::new(), ChunkOptions::default());
        let built = vfs_build::build(&tree, &image, writer, &mut |_, _| {}).unwrap();
        (built.archive.to_vec(), built.store)
    };
    assert!(build() == build());
}
