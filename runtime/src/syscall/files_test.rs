//! System calls on paths: walking, opening, renaming, permissions, times, mounts.

use super::testing::{AT, Guest};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::stat::UTIME_OMIT;

#[test]
fn paths_are_walked_as_linux_walks_them() {
    let mut g = Guest::new();
    for dir in ["/a", "/a/b", "/a/b/c", "/d"] {
        g.mkdir(dir).expect("makes");
    }
    g.file("/a/f", b"f");
    for (target, path) in [
        ("/a/b", "/d/abs"),
        ("../a/b", "/d/rel"),
        ("loop2", "/d/loop1"),
        ("loop1", "/d/loop2"),
        ("missing", "/d/dangling"),
        ("f", "/a/to_f"),
    ] {
        g.symlink(target, path).expect("links");
    }
    let walks = [
        ("/", Ok(())),
        ("//a///b/", Ok(())),
        ("/..", Ok(())),
        ("/a/b/../../../..//a/b/c/.", Ok(())),
        ("/d/abs/c", Ok(())),
        ("/d/rel/../f", Ok(())),
        ("/a/f/", Err(Errno::ENOTDIR)),
        ("/a/f/.", Err(Errno::ENOTDIR)),
        ("/a/f/x", Err(Errno::ENOTDIR)),
        ("/a/to_f/", Err(Errno::ENOTDIR)),
        ("/d/loop1", Err(Errno::ELOOP)),
        ("/d/loop1/x", Err(Errno::ELOOP)),
        ("/d/dangling", Err(Errno::ENOENT)),
        ("/nothing/x", Err(Errno::ENOENT)),
        ("", Err(Errno::ENOENT)),
    ];
    for (path, expected) in walks {
        assert_eq!(g.stat(path, 0).map(|_| ()), expected, "{path}");
    }
    assert_eq!(g.stat("/d/loop1", AT_SYMLINK_NOFOLLOW).map(|s| s.st_mode), Ok(0o120777));
    assert_eq!(g.stat("/d/abs/", AT_SYMLINK_NOFOLLOW).map(|s| s.st_mode & 0o170000), Ok(0o040000));
    let long = format!("/{}", "x".repeat(256));
    assert_eq!(g.stat(&long, 0).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(g.stat(&"/a".repeat(2048), 0).err(), Some(Errno::ENAMETOOLONG));
    // Forty links are followed, one more is not.
    g.symlink("/a", "/l0").expect("links");
    for i in 1..=40 {
        g.symlink(&format!("l{}", i - 1), &format!("/l{i}")).expect("links");
    }
    assert!(g.stat("/l39", 0).is_ok());
    assert_eq!(g.stat("/l40", 0).err(), Some(Errno::ELOOP));
}

#[test]
fn open_makes_truncates_and_refuses() {
    let mut g = Guest::new();
    g.mkdir("/d").expect("makes");
    g.file("/f", b"hello");
    g.symlink("/new", "/to_new").expect("links");
    g.symlink("/f", "/to_f").expect("links");
    let refusals = [
        ("/d", O_WRONLY, Errno::EISDIR),
        ("/d", O_RDONLY | O_CREAT, Errno::EISDIR),
        ("/f", O_RDONLY | O_DIRECTORY, Errno::ENOTDIR),
        ("/f", O_RDONLY | O_CREAT | O_EXCL, Errno::EEXIST),
        ("/to_new", O_RDWR | O_CREAT | O_EXCL, Errno::EEXIST),
        ("/to_f", O_RDONLY | O_NOFOLLOW, Errno::ELOOP),
        ("/newdir/", O_RDWR | O_CREAT, Errno::EISDIR),
        ("/d/.", O_RDWR | O_CREAT, Errno::EISDIR),
        ("/", O_RDWR | O_CREAT, Errno::EISDIR),
        ("/x/y", O_RDWR | O_CREAT, Errno::ENOENT),
        ("/f/y", O_RDWR | O_CREAT, Errno::ENOTDIR),
        ("/d", O_TMPFILE | O_RDONLY, Errno::EINVAL),
    ];
    for (path, flags, expected) in refusals {
        assert_eq!(g.open(path, flags, 0o600), Err(expected), "{path} {flags:o}");
    }
    let fd = g.open("/to_new", O_RDWR | O_CREAT, 0o666).expect("creates through a link");
    assert_eq!(g.stat("/new", 0).map(|s| s.st_mode), Ok(0o100644), "umask");
    g.close(fd);
    let fd = g.open("/f", O_RDWR | O_TRUNC, 0).expect("opens");
    assert_eq!(g.read(fd, 9), Ok(vec![]));
    g.close(fd);
    let fd = g.open("/f", O_WRONLY | O_APPEND, 0).expect("opens");
    g.write(fd, b"one").expect("writes");
    g.call("lseek", &[fd, 0, 0]).expect("seeks");
    g.write(fd, b"two").expect("writes");
    assert_eq!(g.read(fd, 1), Err(Errno::EBADF));
    assert_eq!(g.contents("/f"), Ok(b"onetwo".to_vec()));
    let path = g.open("/f", O_PATH, 0).expect("opens");
    assert_eq!(g.read(path, 1), Err(Errno::EBADF));
    assert_eq!(g.call("fchmod", &[path, 0o600]), Err(Errno::EBADF));
    let empty = g.path("");
    let stat = g.room(128);
    assert_eq!(g.call("newfstatat", &[path, empty, stat, u64::from(AT_EMPTY_PATH)]), Ok(0));
}

#[test]
fn openat2_keeps_within_its_scope() {
    let mut g = Guest::new();
    for dir in ["/jail", "/jail/in"] {
        g.mkdir(dir).expect("makes");
    }
    g.file("/out", b"out");
    g.file("/jail/out", b"jailed");
    for (target, path) in [("/out", "/jail/abs"), ("../../out", "/jail/in/up"), ("../out", "/jail/in/near")] {
        g.symlink(target, path).expect("links");
    }
    let jail = g.open("/jail", O_PATH, 0).expect("opens");
    let cases = [
        ("abs", RESOLVE_IN_ROOT, Ok("jailed")),
        ("/out", RESOLVE_IN_ROOT, Ok("jailed")),
        ("in/up", RESOLVE_IN_ROOT, Ok("jailed")),
        ("../out", RESOLVE_IN_ROOT, Ok("jailed")),
        ("in/near", RESOLVE_BENEATH, Ok("jailed")),
        ("abs", RESOLVE_BENEATH, Err(Errno::EXDEV)),
        ("in/up", RESOLVE_BENEATH, Err(Errno::EXDEV)),
        ("/out", RESOLVE_BENEATH, Err(Errno::EXDEV)),
        ("../out", RESOLVE_BENEATH, Err(Errno::EXDEV)),
        ("in/near", RESOLVE_NO_SYMLINKS, Err(Errno::ELOOP)),
        ("abs", 0, Ok("out")),
        ("out", RESOLVE_IN_ROOT | RESOLVE_BENEATH, Err(Errno::EINVAL)),
        ("out", 1 << 20, Err(Errno::EINVAL)),
    ];
    for (path, resolve, expected) in cases {
        let (path_at, how) = (g.path(path), g.put(&[[0; 16].as_slice(), &resolve.to_le_bytes()].concat()));
        let fd = g.call("openat2", &[jail, path_at, how, 24]);
        let found = fd.and_then(|fd| g.read(fd, 100)).map(|b| String::from_utf8(b).expect("text"));
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{path} {resolve:x}");
    }
}

#[test]
fn renames_follow_the_matrix() {
    let mut g = Guest::new();
    for dir in ["/d", "/d/sub", "/empty", "/full", "/full/x"] {
        g.mkdir(dir).expect("makes");
    }
    g.file("/f", b"f");
    g.file("/g", b"g");
    let refusals = [
        ("/missing", "/x", 0, Errno::ENOENT),
        ("/d", "/d/sub/y", 0, Errno::EINVAL),
        ("/d/sub", "/d", 0, Errno::ENOTEMPTY),
        ("/d", "/full", 0, Errno::ENOTEMPTY),
        ("/d", "/f", 0, Errno::ENOTDIR),
        ("/f", "/empty", 0, Errno::EISDIR),
        ("/f", "/g", RENAME_NOREPLACE, Errno::EEXIST),
        ("/f", "/none", RENAME_EXCHANGE, Errno::ENOENT),
        ("/d", "/d/sub", RENAME_EXCHANGE, Errno::EINVAL),
        ("/f", "/x/", 0, Errno::ENOTDIR),
        ("/f/", "/x", 0, Errno::ENOTDIR),
        ("/d/.", "/x", 0, Errno::EBUSY),
        ("/d/..", "/x", 0, Errno::EBUSY),
        ("/", "/x", 0, Errno::EBUSY),
        ("/f", "/x", RENAME_NOREPLACE | RENAME_EXCHANGE, Errno::EINVAL),
    ];
    for (from, to, flags, expected) in refusals {
        assert_eq!(g.rename(from, to, flags), Err(expected), "{from} {to} {flags}");
    }
    assert_eq!(g.rename("/d", "/empty", 0), Ok(0));
    assert_eq!(g.rename("/f", "/empty", RENAME_EXCHANGE), Ok(0));
    assert_eq!(g.contents("/empty"), Ok(b"f".to_vec()));
    assert_eq!(g.stat("/f/sub", 0).map(|s| s.st_nlink), Ok(2));
    assert_eq!(g.rename("/empty", "/g", 0), Ok(0));
    assert_eq!(g.contents("/g"), Ok(b"f".to_vec()));
    // Whoever stands in a directory that moves sees its new name.
    g.chdir("/f/sub").expect("enters");
    assert_eq!(g.rename("/f", "/full/x/moved", 0), Ok(0));
    assert_eq!(g.cwd().as_deref(), Ok("/full/x/moved/sub"));
    assert_eq!(g.unlink("/full/x/moved/sub", AT_REMOVEDIR), Ok(0));
    assert_eq!(g.cwd(), Err(Errno::ENOENT));
    assert_eq!(g.mkdir("here"), Err(Errno::ENOENT));
    assert_eq!(g.stat("../sub", 0).err(), Some(Errno::ENOENT));
    assert!(g.stat("..", 0).is_ok());
    assert_eq!(g.list("/"), [".", "..", "full", "g"]);
}

#[test]
fn links_and_unnamed_files() {
    let mut g = Guest::new();
    g.mkdir("/d").expect("makes");
    g.file("/f", b"same");
    let link = |g: &mut Guest, from: &str, to: &str, flags: u32| {
        let (from, to) = (g.path(from), g.path(to));
        g.call("linkat", &[AT, from, AT, to, u64::from(flags)])
    };
    assert_eq!(link(&mut g, "/f", "/d/hard", 0), Ok(0));
    assert_eq!(g.stat("/d/hard", 0).map(|s| s.st_nlink), Ok(2));
    assert_eq!(link(&mut g, "/d", "/e", 0), Err(Errno::EPERM));
    assert_eq!(link(&mut g, "/f", "/d/hard", 0), Err(Errno::EEXIST));
    assert_eq!(g.unlink("/f", 0), Ok(0));
    assert_eq!(g.contents("/d/hard"), Ok(b"same".to_vec()));
    assert_eq!(g.unlink("/d", 0), Err(Errno::EISDIR));
    assert_eq!(g.unlink("/d", AT_REMOVEDIR), Err(Errno::ENOTEMPTY));
    assert_eq!(g.unlink("/d/.", AT_REMOVEDIR), Err(Errno::EINVAL));
    assert_eq!(g.unlink("/d/hard", AT_REMOVEDIR), Err(Errno::ENOTDIR));

    let fd = g.open("/d", O_TMPFILE | O_RDWR, 0o600).expect("opens");
    g.write(fd, b"unnamed").expect("writes");
    assert_eq!(g.list("/d"), [".", "..", "hard"]);
    let (empty, name) = (g.path(""), g.path("/d/named"));
    assert_eq!(g.call("linkat", &[fd, empty, AT, name, u64::from(AT_EMPTY_PATH)]), Ok(0));
    assert_eq!(g.contents("/d/named"), Ok(b"unnamed".to_vec()));
    assert_eq!(g.stat("/d/named", 0).map(|s| s.st_nlink), Ok(1));

    // A file that lost its last name keeps its contents for whoever has it open, and gets no new name.
    let open = g.open("/d/named", O_RDONLY, 0).expect("opens");
    g.unlink("/d/named", 0).expect("is there");
    assert_eq!(g.read(open, 100), Ok(b"unnamed".to_vec()));
    let name = g.path("/d/again");
    assert_eq!(g.call("linkat", &[open, empty, AT, name, u64::from(AT_EMPTY_PATH)]), Err(Errno::ENOENT));
}

#[test]
fn permissions_of_owner_group_and_others() {
    let mut g = Guest::new();
    g.mkdir("/p").expect("makes");
    g.chmod("/p", 0o777).expect("changes");
    for bits in 0..512u64 {
        g.become_root();
        g.file("/p/f", b"x");
        let path = g.path("/p/f");
        g.call("fchownat", &[AT, path, 1000, 2000, 0]).expect("root may");
        g.chmod("/p/f", bits).expect("root may");
        for (uid, groups, shift) in
            [(1000, vec![], 6), (1000, vec![2000], 6), (7, vec![2000], 3), (7, vec![], 0)]
        {
            g.become_user(uid, &groups);
            let granted = bits >> shift & 7;
            for wanted in 0..8 {
                let allowed = granted & wanted == wanted;
                let expected = if allowed { Ok(0) } else { Err(Errno::EACCES) };
                assert_eq!(g.access("/p/f", wanted), expected, "{bits:o} {uid} {groups:?} {wanted}");
            }
            assert_eq!(g.open("/p/f", O_RDONLY, 0).is_ok(), granted & 4 != 0);
            assert_eq!(g.open("/p/f", O_RDWR, 0).is_ok(), granted & 6 == 6);
            for fd in g.task.files.borrow().list() {
                g.task.files.borrow().remove(fd).expect("is open");
            }
        }
        g.become_root();
        assert_eq!(g.access("/p/f", 6), Ok(0));
        assert_eq!(g.access("/p/f", 1).is_ok(), bits & 0o111 != 0, "root needs one x bit");
        g.unlink("/p/f", 0).expect("is there");
    }
}

#[test]
fn directories_and_what_users_may_do_in_them() {
    let mut g = Guest::new();
    for (dir, bits) in [("/sticky", 0o1777), ("/closed", 0o700), ("/readonly", 0o755)] {
        g.mkdir(dir).expect("makes");
        g.chmod(dir, bits).expect("changes");
    }
    g.file("/closed/f", b"");
    g.file("/readonly/f", b"");
    g.file("/sticky/roots", b"");
    g.become_user(1000, &[]);
    assert_eq!(g.stat("/closed/f", 0).err(), Some(Errno::EACCES));
    assert_eq!(g.open("/readonly/new", O_WRONLY | O_CREAT, 0o600), Err(Errno::EACCES));
    assert_eq!(g.unlink("/readonly/f", 0), Err(Errno::EACCES));
    assert_eq!(g.unlink("/sticky/roots", 0), Err(Errno::EPERM));
    assert_eq!(g.rename("/sticky/roots", "/sticky/mine", 0), Err(Errno::EPERM));
    g.file("/sticky/own", b"");
    assert_eq!(g.chmod("/sticky/own", 0o2755), Ok(0));
    assert_eq!(g.chmod("/sticky/roots", 0o777), Err(Errno::EPERM));
    let own = g.path("/sticky/own");
    assert_eq!(g.call("fchownat", &[AT, own, 0, u64::MAX, 0]), Err(Errno::EPERM));
    assert_eq!(g.call("fchownat", &[AT, own, u64::MAX, 1000, 0]), Ok(0));
    g.become_user(1001, &[]);
    assert_eq!(g.unlink("/sticky/own", 0), Err(Errno::EPERM));
    let node = g.path("/sticky/null");
    assert_eq!(g.call("mknodat", &[AT, node, 0o020666, 0x103]), Err(Errno::EPERM));
    assert_eq!(g.call("chroot", &[node]), Err(Errno::ENOENT));
    let root = g.path("/");
    assert_eq!(g.call("chroot", &[root]), Err(Errno::EPERM));
}

#[test]
fn set_id_bits_go_when_somebody_else_writes() {
    let mut g = Guest::new();
    g.file("/tool", b"x");
    g.chmod("/tool", 0o6777).expect("changes");
    let fd = g.open("/tool", O_WRONLY, 0).expect("opens");
    g.write(fd, b"root may").expect("writes");
    assert_eq!(g.stat("/tool", 0).map(|s| s.st_mode), Ok(0o106777));
    g.become_user(1000, &[]);
    g.write(fd, b"user may not").expect("writes");
    assert_eq!(g.stat("/tool", 0).map(|s| s.st_mode), Ok(0o100777));
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let mut g = Guest::new();
    g.mkdir("/team").expect("makes");
    let team = g.path("/team");
    g.call("fchownat", &[AT, team, 0, 500, 0]).expect("changes");
    g.chmod("/team", 0o2777).expect("changes");
    g.become_user(1000, &[]);
    g.file("/team/f", b"");
    g.mkdir("/team/d").expect("makes");
    assert_eq!(g.stat("/team/f", 0).map(|s| (s.st_uid, s.st_gid)), Ok((1000, 500)));
    assert_eq!(g.stat("/team/d", 0).map(|s| (s.st_gid, s.st_mode)), Ok((500, 0o042755)));
}

#[test]
fn times_are_set_kept_and_checked() {
    let mut g = Guest::new();
    g.file("/f", b"");
    let times = |g: &mut Guest, times: [i64; 4]| {
        let bytes: Vec<u8> = times.iter().flat_map(|t| t.to_le_bytes()).collect();
        let (path, times) = (g.path("/f"), g.put(&bytes));
        g.call("utimensat", &[AT, path, times, 0])
    };
    assert_eq!(times(&mut g, [-5, 7, 10, UTIME_OMIT]), Ok(0));
    let stat = g.stat("/f", 0).expect("is there");
    assert_eq!((stat.st_atime, stat.st_atime_nsec, stat.st_mtime), (-5, 7, 1_700_000_000));
    assert_eq!(times(&mut g, [0, 1_000_000_000, 0, 0]), Err(Errno::EINVAL));
    g.become_user(1000, &[]);
    assert_eq!(times(&mut g, [1, 1, 1, 1]), Err(Errno::EPERM));
    let path = g.path("/f");
    assert_eq!(g.call("utimensat", &[AT, path, 0, 0]), Err(Errno::EACCES));
}

#[test]
fn mounts_cover_and_uncover() {
    let mut g = Guest::new();
    g.mkdir("/m").expect("makes");
    g.mkdir("/b").expect("makes");
    g.file("/m/below", b"");
    let mount = |g: &mut Guest, source: &str, target: &str, fstype: &str, flags: u64| {
        let (source, target, fstype) = (g.path(source), g.path(target), g.path(fstype));
        g.call("mount", &[source, target, fstype, flags, 0])
    };
    assert_eq!(mount(&mut g, "none", "/m", "tmpfs", 0), Ok(0));
    assert_eq!(g.list("/m"), [".", ".."]);
    g.file("/m/above", b"x");
    assert_eq!(g.rename("/m/above", "/above", 0), Err(Errno::EXDEV));
    assert_eq!(g.unlink("/m", AT_REMOVEDIR), Err(Errno::EBUSY));
    assert_eq!(mount(&mut g, "/m", "/b", "", crate::abi::mount::MS_BIND), Ok(0));
    assert_eq!(g.contents("/b/above"), Ok(b"x".to_vec()));
    g.chdir("/b").expect("enters");
    assert_eq!(g.cwd().as_deref(), Ok("/b"));
    let b = g.path("/b");
    assert_eq!(g.call("umount2", &[b, 0]), Err(Errno::EBUSY), "somebody stands there");
    g.chdir("..").expect("leaves");
    assert_eq!(g.cwd().as_deref(), Ok("/"));
    assert_eq!(g.call("umount2", &[b, 0]), Ok(0));
    let remount = crate::abi::mount::MS_REMOUNT | crate::abi::mount::MS_RDONLY;
    assert_eq!(mount(&mut g, "none", "/m", "", remount), Ok(0));
    assert_eq!(g.open("/m/above", O_WRONLY, 0), Err(Errno::EROFS));
    assert_eq!(g.mkdir("/m/x"), Err(Errno::EROFS));
    let m = g.path("/m");
    assert_eq!(g.call("umount2", &[m, 0]), Ok(0));
    assert_eq!(g.list("/m"), [".", "..", "below"]);
    assert_eq!(mount(&mut g, "none", "/m", "ext4", 0), Err(Errno::ENODEV));
    g.become_user(1000, &[]);
    assert_eq!(mount(&mut g, "none", "/m", "tmpfs", 0), Err(Errno::EPERM));
}

#[test]
fn a_process_in_a_chroot_stays_there() {
    let mut g = Guest::new();
    for dir in ["/jail", "/jail/d"] {
        g.mkdir(dir).expect("makes");
    }
    g.symlink("/d", "/jail/link").expect("links");
    let jail = g.path("/jail");
    g.call("chroot", &[jail]).expect("root may");
    assert_eq!(g.cwd().as_deref(), Ok("(unreachable)/"));
    g.chdir("/link/../..").expect("enters");
    assert_eq!(g.cwd().as_deref(), Ok("/"));
    assert_eq!(g.stat("/jail", 0).err(), Some(Errno::ENOENT));
}
