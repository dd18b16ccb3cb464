//! Every dialect of tar, and hostile ones.

use super::super::draft_tar::{Draft, Fields, header, sum};
use super::*;

fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut reader = TarReader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        entries.push(entry);
    }
    Ok(entries)
}

fn one(draft: Draft) -> Entry {
    let mut entries = entries(&draft.end()).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// A file's bytes, holes as dots.
fn contents(entry: &Entry, tar: &[u8]) -> String {
    let mut bytes = vec![b'.'; entry.size as usize];
    for run in &entry.runs {
        let part = &tar[run.at as usize..][..run.len as usize];
        bytes[run.offset as usize..][..part.len()].copy_from_slice(part);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn ustar_fields_are_read() {
    let fields = Fields {
        name: b"dir/tty",
        kind: b'3',
        mode: 0o104620,
        uid: 5,
        gid: 6,
        mtime: 1_700_000_000,
        device: (4, 64),
        ..Fields::default()
    };
    let mut block = header(&fields, 0);
    block[345..350].copy_from_slice(b"a/b/c");
    sum(&mut block);
    let entry = one(Draft::default().raw(&block, b""));
    assert_eq!(entry.path, b"a/b/c/dir/tty");
    assert_eq!((entry.kind, entry.mode, entry.uid, entry.gid), (EntryKind::Char, 0o4620, 5, 6));
    assert_eq!((entry.mtime, entry.major, entry.minor), ((1_700_000_000, 0), 4, 64));
}

#[test]
fn gnu_uses_the_room_of_the_prefix_otherwise() {
    let mut block = header(&Fields { name: b"file", ..Fields::default() }, 0);
    block[257..265].copy_from_slice(b"ustar  \0");
    block[345..357].copy_from_slice(b"15000000000\0");
    sum(&mut block);
    assert_eq!(one(Draft::default().raw(&block, b"")).path, b"file");
}

#[test]
fn v7_says_directory_with_a_slash() {
    let mut block = header(&Fields { name: b"dir/", kind: 0, ..Fields::default() }, 0);
    block[257..345].fill(0);
    sum(&mut block);
    assert_eq!(one(Draft::default().raw(&block, b"")).kind, EntryKind::Directory);
}

#[test]
fn numbers_may_be_base_256() {
    let mut block = header(&Fields { name: b"f", ..Fields::default() }, 0);
    block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    block[136..148]
        .copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb]);
    sum(&mut block);
    let entry = one(Draft::default().raw(&block, b""));
    assert_eq!((entry.uid, entry.mtime), (0xffff_fffe, (-5, 0)));
    block[108..116].fill(0xff);
    sum(&mut block);
    let damaged = entries(&Draft::default().raw(&block, b"").end());
    assert_eq!(damaged, Err("owner of the tar entry at byte 0 is damaged".into()));
}

#[test]
fn signed_checksums_are_accepted() {
    let mut block = header(&Fields { name: b"\xff\xfe", ..Fields::default() }, 0);
    block[148..156].fill(b' ');
    let sum: i32 = block.iter().map(|&b| i32::from(b as i8)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(one(Draft::default().raw(&block, b"")).path, b"\xff\xfe");
}

#[test]
fn pax_wins_over_the_header() {
    let long = "d/".repeat(200) + "file";
    let draft = Draft::default()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"4000000000"),
            ("gid", b"12"),
            ("mtime", b"-1.25"),
            ("size", b"5"),
            ("SCHILY.xattr.user.a=b", b""),
            ("SCHILY.xattr.security.capability", b"\x01\0\0\n="),
        ])
        .entry(&Fields { name: b"short", size: Some(0), ..Fields::default() }, b"hello");
    let tar = draft.clone().end();
    let entry = one(draft);
    assert_eq!(entry.path, long.as_bytes());
    assert_eq!((entry.uid, entry.gid, entry.mtime), (4_000_000_000, 12, (-2, 750_000_000)));
    assert_eq!(contents(&entry, &tar), "hello");
    assert_eq!(entry.xattrs.get(&b"security.capability"[..]), Some(&b"\x01\0\0\n=".to_vec()));
}

#[test]
fn a_global_pax_header_holds_until_taken_back() {
    let tar = Draft::default()
        .extended(b'g', &[("uid", b"7"), ("comment", b"by git")])
        .file("a", b"")
        .pax(&[("uid", b"8")])
        .file("b", b"")
        .pax(&[("uid", b"")])
        .file("c", b"")
        .file("d", b"")
        .end();
    let uids: Vec<_> = entries(&tar).unwrap().iter().map(|e| e.uid).collect();
    assert_eq!(uids, [7, 8, 0, 7]);
}

#[test]
fn gnu_long_names_and_links() {
    let (name, link) = ("n".repeat(300), "l".repeat(400));
    let long = |kind, text: &str| {
        (Fields { name: b"././@LongLink", kind, ..Fields::default() }, text.to_owned() + "\0")
    };
    let (a, a_text) = long(b'L', &name);
    let (b, b_text) = long(b'K', &link);
    let draft =
        Draft::default().entry(&a, a_text.as_bytes()).entry(&b, b_text.as_bytes()).symlink("cut", "cut");
    let entry = one(draft);
    assert_eq!((entry.path, entry.link), (name.into_bytes(), link.into_bytes()));
}

#[test]
fn sparse_in_gnus_old_format() {
    let mut block = header(&Fields { name: b"s", kind: b'S', ..Fields::default() }, 6);
    let put = |block: &mut [u8], at: usize, value: u64| {
        block[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes())
    };
    for (i, offset) in [0u64, 3, 6, 9].into_iter().enumerate() {
        put(&mut block, 386 + i * 24, offset);
        put(&mut block, 398 + i * 24, 1);
    }
    block[482] = 1;
    put(&mut block, 483, 20);
    sum(&mut block);
    let mut extension = [0; 512];
    put(&mut extension, 0, 12);
    put(&mut extension, 12, 2);
    put(&mut extension, 24, 20);
    put(&mut extension, 36, 0);
    let mut draft = Draft::default().raw(&block, b"");
    draft.0.extend(extension);
    draft.0.extend(b"abcdEF");
    draft.0.resize(draft.0.len().next_multiple_of(512), 0);
    let tar = draft.file("after", b"x").end();
    let entries = entries(&tar).unwrap();
    assert_eq!(contents(&entries[0], &tar), "a..b..c..d..EF......");
    assert_eq!(entries[1].path, b"after");
}

#[test]
fn sparse_in_the_three_pax_formats() {
    let zero = Draft::default().pax(&[
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"2"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"9"),
        ("GNU.sparse.numbytes", b"1"),
    ]);
    let one = Draft::default().pax(&[
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.map", b"2,3,9,1"),
    ]);
    for (draft, name) in [(zero, "made-up"), (one, "real")] {
        let tar = draft.file("made-up", b"abcd").file("after", b"").end();
        let entries = entries(&tar).unwrap();
        assert_eq!(
            (contents(&entries[0], &tar).as_str(), &*entries[0].path),
            ("..abc....d", name.as_bytes())
        );
        assert_eq!(entries[1].path, b"after");
    }
    let mut body = b"2\n2\n3\n9\n1\n".to_vec();
    body.resize(512, 0);
    body.extend(b"abcd");
    let tar = Draft::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"real"),
            ("GNU.sparse.realsize", b"10"),
        ])
        .file("made-up", &body)
        .file("after", b"")
        .end();
    let entries = entries(&tar).unwrap();
    assert_eq!((contents(&entries[0], &tar).as_str(), &*entries[0].path), ("..abc....d", &b"real"[..]));
    assert_eq!(entries[1].path, b"after");
}

#[test]
fn hostile_sparse_maps_are_refused() {
    for map in [&b"2"[..], b"5,1,2,1", b"0,11", b"9,2", b"18446744073709551615,2", b"0,5", b"-1,2", b","] {
        let tar = Draft::default()
            .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", map)])
            .file("s", b"abcd")
            .end();
        assert_eq!(
            entries(&tar),
            Err("sparse map of the tar entry at byte 1024 is damaged".into()),
            "{map:?}"
        );
    }
    for map in [&b"99999999999\n"[..], b"2\n1\n", b"x\n", b"111111111111111111111\n"] {
        let mut body = map.to_vec();
        body.resize(512, b'1');
        let version: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"10")];
        let tar = Draft::default().pax(&version).file("s", &body).end();
        assert_eq!(
            entries(&tar),
            Err("sparse map of the tar entry at byte 1024 is damaged".into()),
            "{map:?}"
        );
    }
}

#[test]
fn only_files_have_contents() {
    let link = Fields { name: b"l", link: b"t", kind: b'1', size: Some(1 << 30), ..Fields::default() };
    let tar = Draft::default().entry(&link, b"").file("after", b"abc").end();
    assert_eq!(entries(&tar).unwrap()[1].path, b"after");
}

#[test]
fn damage_is_named_with_its_place() {
    assert_eq!(entries(&[1; 512]), Err("not a tar archive".into()));
    assert_eq!(entries(&[1; 100]), Err("not a tar archive".into()));
    let mut tar = Draft::default().file("a", b"abc").file("b", b"").end();
    tar[1024] ^= 1;
    assert_eq!(entries(&tar), Err("the tar header at byte 1024 is damaged".into()));
    let huge = Fields { name: b"x", kind: b'x', size: Some(2 << 20), ..Fields::default() };
    let refused = entries(&Draft::default().entry(&huge, b"").end());
    assert_eq!(refused, Err("the tar entry at byte 0 has an extension header of more than 1 MiB".into()));
    let nul = Draft::default().pax(&[("path", b"a\0b")]).file("x", b"").end();
    assert_eq!(entries(&nul), Err("path of the tar entry at byte 1024 is damaged".into()));
    let long = Draft::default().pax(&[("path", &[b'x'; 4096])]).file("x", b"").end();
    assert!(entries(&long).unwrap_err().contains("longer than Linux allows"));
}

#[test]
fn truncation_within_an_entry_is_an_error_and_between_entries_an_end() {
    let tar = Draft::default().file("a", &[b'x'; 600]).file("b", b"").end();
    for len in (1..tar.len()).step_by(7) {
        let result = entries(&tar[..len]);
        // Between entries, or after the first zero block.
        assert!(result.is_err() || len == 1536 || len >= 2048 + 512, "{len}: {result:?}");
    }
    let mut reader = TarReader::new(&tar[..2048]);
    while reader.next().unwrap().is_some() {}
    assert!(!reader.ended, "the end marker is missing");
}

#[test]
fn what_the_tar_crate_writes_is_read() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let name = "very/".repeat(60) + "long";
    let mut header = ::tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o755);
    header.set_uid(3_000_000);
    builder.append_data(&mut header, &name, &b"hello"[..]).unwrap();
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link", &name).unwrap();
    let tar = builder.into_inner().unwrap();
    let entries = entries(&tar).unwrap();
    assert_eq!((&*entries[0].path, entries[0].uid), (name.as_bytes(), 3_000_000));
    assert_eq!(contents(&entries[0], &tar), "hello");
    assert_eq!((entries[1].kind, &*entries[1].link), (EntryKind::Symlink, name.as_bytes()));
}
