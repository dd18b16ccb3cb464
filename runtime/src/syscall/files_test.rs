//! System calls on files, called as a guest calls them: by name, with addresses in guest memory.

use std::rc::Rc;

use super::table::{self, Support};
use super::{Args, Flow};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::file::*;
use crate::abi::stat::{KernelStat, UTIME_OMIT};
use crate::fs::{Vfs, pipe};
use crate::hart::Registers;
use crate::kernel::signal::SigHand;
use crate::kernel::{Cred, Ctx, FdTable, FsContext, Kernel, Process, Task};
use crate::mm::{Linear, Mapping, Mm, Place};
use crate::platform::Platform;
use crate::ring::Ring;

struct Nowhere;

impl Platform for Nowhere {
    fn realtime_ns(&self) -> u64 {
        1_700_000_000_000_000_005
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(4);
    }

    fn chunk_segment(&self, _offset: u64, _dst: &mut [u8]) -> bool {
        false
    }
}

/// A kernel with tasks, an empty root, and memory for arguments.
struct Guest {
    kernel: Kernel,
    task: Rc<Task>,
    memory: u64,
    next: u64,
}

const AT: u64 = AT_FDCWD as i64 as u64;
const MEMORY: u64 = 1 << 20;

impl Guest {
    fn new() -> Guest {
        let platform: Rc<dyn Platform> = Rc::new(Nowhere);
        let vfs = Vfs::new(None, &platform).expect("an empty tree");
        let linear = Rc::new(Linear::new(0));
        let mut kernel = Kernel::new(platform, vfs, Ring::new(), linear).expect("a kernel");
        let root = kernel.vfs.root();
        let mm = Mm::new(&kernel.linear).expect("memory");
        let memory = mm.map(Place::Hint(0), Mapping::anonymous(MEMORY, 3)).expect("memory");
        let fs = FsContext { root: Rc::clone(&root).into(), cwd: root.into(), umask: 0o022.into() };
        let files = FdTable::default();
        files.limit.set(64);
        let shared = (mm, Rc::new(files), Rc::new(fs));
        let process = Rc::new(Process::new(1));
        let sighand = Rc::new(SigHand::default());
        let task = Task::new(1, process, Registers::default(), shared, Rc::new(Cred::root()), sighand);
        let task = Rc::new(task);
        kernel.tasks.insert(1, Rc::clone(&task));
        Guest { kernel, task, memory, next: 0 }
    }

    /// Another process with a descriptor table of its own that shares the open files.
    fn fork(&mut self, tid: u32) -> Rc<Task> {
        let files = Rc::new(self.task.files.borrow().duplicate());
        let shared = (Rc::clone(&self.task.mm.borrow()), files, Rc::clone(&self.task.fs.borrow()));
        let cred = Rc::clone(&self.task.cred.borrow());
        let process = Rc::new(Process::new(tid));
        let task = Task::new(tid, process, Registers::default(), shared, cred, Rc::new(SigHand::default()));
        let task = Rc::new(task);
        self.kernel.tasks.insert(tid, Rc::clone(&task));
        task
    }

    fn become_user(&self, uid: u32, groups: &[u32]) {
        let ids = Cred { uid, euid: uid, suid: uid, fsuid: uid, ..Cred::default() };
        let ids = Cred { gid: uid, egid: uid, sgid: uid, fsgid: uid, groups: groups.to_vec(), ..ids };
        self.task.cred.replace(Rc::new(ids));
    }

    fn become_root(&self) {
        self.task.cred.replace(Rc::new(Cred::root()));
    }

    /// Bytes in guest memory; the space is used again after a while.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        if self.next + bytes.len() as u64 > MEMORY {
            self.next = 0;
        }
        let addr = self.memory + self.next;
        self.next = (self.next + bytes.len() as u64).next_multiple_of(16);
        self.task.mm.borrow().copy_out(addr, bytes).expect("memory");
        addr
    }

    fn path(&mut self, path: &str) -> u64 {
        self.put(&[path.as_bytes(), b"\0"].concat())
    }

    fn room(&mut self, len: usize) -> u64 {
        self.put(&vec![0; len])
    }

    fn get(&self, addr: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.task.mm.borrow().copy_in(addr, &mut bytes).expect("memory");
        bytes
    }

    fn raw(&mut self, task: &Rc<Task>, name: &str, args: &[u64]) -> Result<u64, Flow> {
        let row = table::TABLE.iter().find(|row| row.name == name).expect("a system call");
        let (Support::Full(handler) | Support::Partial(handler, _)) = row.support else { panic!("{name}") };
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        handler(&mut Ctx { kernel: &mut self.kernel, task: Rc::clone(task) }, Args(all))
    }

    /// A call that does not block.
    fn call(&mut self, name: &str, args: &[u64]) -> Result<u64, Errno> {
        let task = Rc::clone(&self.task);
        drop(task.progress.take());
        match self.raw(&task, name, args) {
            Ok(value) => Ok(value),
            Err(Flow::Errno(errno)) => Err(errno),
            Err(flow) => panic!("{name}: {flow:?}"),
        }
    }

    fn open(&mut self, path: &str, flags: u32, mode: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("openat", &[AT, path, u64::from(flags), mode])
    }

    fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<u64, Errno> {
        let addr = self.put(bytes);
        self.call("write", &[fd, addr, bytes.len() as u64])
    }

    fn read(&mut self, fd: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let addr = self.room(len as usize);
        let count = self.call("read", &[fd, addr, len])?;
        Ok(self.get(addr, count))
    }

    fn close(&mut self, fd: u64) {
        assert_eq!(self.call("close", &[fd]), Ok(0));
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        let fd = self.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644).expect("opens");
        assert_eq!(self.write(fd, bytes), Ok(bytes.len() as u64));
        self.close(fd);
    }

    fn contents(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let fd = self.open(path, O_RDONLY, 0)?;
        let bytes = self.read(fd, 1000);
        self.close(fd);
        bytes
    }

    fn mkdir(&mut self, path: &str) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("mkdirat", &[AT, path, 0o777])
    }

    fn symlink(&mut self, target: &str, path: &str) -> Result<u64, Errno> {
        let (target, path) = (self.path(target), self.path(path));
        self.call("symlinkat", &[target, AT, path])
    }

    fn unlink(&mut self, path: &str, flags: u32) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("unlinkat", &[AT, path, u64::from(flags)])
    }

    fn rename(&mut self, from: &str, to: &str, flags: u32) -> Result<u64, Errno> {
        let (from, to) = (self.path(from), self.path(to));
        self.call("renameat2", &[AT, from, AT, to, u64::from(flags)])
    }

    fn chdir(&mut self, path: &str) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("chdir", &[path])
    }

    fn chmod(&mut self, path: &str, mode: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("fchmodat", &[AT, path, mode])
    }

    fn access(&mut self, path: &str, wanted: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("faccessat", &[AT, path, wanted])
    }

    fn cwd(&mut self) -> Result<String, Errno> {
        let addr = self.room(4096);
        let len = self.call("getcwd", &[addr, 4096])?;
        Ok(String::from_utf8(self.get(addr, len - 1)).expect("text"))
    }

    fn stat(&mut self, path: &str, flags: u32) -> Result<KernelStat, Errno> {
        let (path, addr) = (self.path(path), self.room(128));
        self.call("newfstatat", &[AT, path, addr, u64::from(flags)])?;
        let bytes = self.get(addr, 128);
        Ok(zerocopy::FromBytes::read_from_bytes(&bytes).expect("128 bytes"))
    }

    fn list(&mut self, path: &str) -> Vec<String> {
        let fd = self.open(path, O_RDONLY | O_DIRECTORY, 0).expect("opens");
        let mut names = Vec::new();
        loop {
            // Room for two or three entries at a time.
            let addr = self.room(80);
            let len = self.call("getdents64", &[fd, addr, 80]).expect("lists");
            let bytes = self.get(addr, len);
            let mut at = 0;
            while at < bytes.len() {
                let reclen = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
                let name = bytes[at + 19..at + reclen].split(|&b| b == 0).next().expect("a name");
                names.push(String::from_utf8(name.to_vec()).expect("text"));
                at += reclen;
            }
            if len == 0 {
                break;
            }
        }
        self.close(fd);
        names
    }
}

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
fn positions_vectors_and_holes() {
    let mut g = Guest::new();
    let fd = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let (one, two) = (g.put(b"one"), g.put(b"-two"));
    let vector: Vec<u8> = [one, 3, two, 4].iter().flat_map(|n: &u64| n.to_le_bytes()).collect();
    let vector = g.put(&vector);
    assert_eq!(g.call("writev", &[fd, vector, 2]), Ok(7));
    assert_eq!(g.call("pwritev", &[fd, vector, 2, 10_000, 0]), Ok(7));
    assert_eq!(g.call("lseek", &[fd, 0, u64::from(SEEK_CUR)]), Ok(7));
    assert_eq!(g.call("lseek", &[fd, 0, u64::from(SEEK_END)]), Ok(10_007));
    assert_eq!(g.call("lseek", &[fd, 4, u64::from(SEEK_HOLE)]), Ok(4096));
    assert_eq!(g.call("lseek", &[fd, 4096, u64::from(SEEK_DATA)]), Ok(8192));
    assert_eq!(g.call("lseek", &[fd, 10_007, u64::from(SEEK_DATA)]), Err(Errno::ENXIO));
    assert_eq!(g.call("lseek", &[fd, u64::MAX, u64::from(SEEK_SET)]), Err(Errno::EINVAL));
    assert_eq!(g.call("pread64", &[fd, one, 3, u64::MAX]), Err(Errno::EINVAL));
    assert_eq!(g.call("writev", &[fd, vector, 1025]), Err(Errno::EINVAL));
    g.call("lseek", &[fd, 0, u64::from(SEEK_END)]).expect("seeks");
    assert_eq!(g.call("read", &[fd, 8, 100]), Ok(0), "nothing is read at the end, so nothing is touched");
    g.call("lseek", &[fd, 0, 0]).expect("seeks");
    assert_eq!(g.call("read", &[fd, 8, 100]), Err(Errno::EFAULT));
    assert_eq!(g.call("fallocate", &[fd, 3, 0, 4096]), Ok(0));
    assert_eq!(g.read(fd, 7), Ok(vec![0; 7]));
    assert_eq!(g.call("ftruncate", &[fd, 3]), Ok(0));
    assert_eq!(g.call("ftruncate", &[fd, u64::MAX]), Err(Errno::EINVAL));
    assert_eq!(g.stat("/f", 0).map(|s| s.st_size), Ok(3));
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
fn descriptors_are_the_lowest_and_flags_are_theirs() {
    let mut g = Guest::new();
    g.file("/f", b"");
    let fds: Vec<u64> = (0..4).map(|_| g.open("/f", O_RDWR | O_CLOEXEC, 0).expect("opens")).collect();
    assert_eq!(fds, [0, 1, 2, 3]);
    g.close(1);
    assert_eq!(g.call("dup", &[3]), Ok(1));
    assert_eq!(g.call("fcntl", &[1, u64::from(F_GETFD), 0]), Ok(0));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_GETFD), 0]), Ok(1));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_DUPFD_CLOEXEC), 10]), Ok(10));
    assert_eq!(g.call("dup3", &[3, 3, 0]), Err(Errno::EINVAL));
    assert_eq!(g.call("dup3", &[3, 64, 0]), Err(Errno::EBADF));
    assert_eq!(g.call("fcntl", &[3, u64::from(F_DUPFD), 64]), Err(Errno::EINVAL));
    // Status flags belong to the description that both share.
    g.call("fcntl", &[3, u64::from(F_SETFL), u64::from(O_NONBLOCK | O_WRONLY)]).expect("sets");
    let flags = g.call("fcntl", &[1, u64::from(F_GETFL), 0]);
    assert_eq!(flags, Ok(u64::from(O_RDWR | O_NONBLOCK | O_LARGEFILE)));
    assert_eq!(g.call("close_range", &[2, u64::from(u32::MAX), 0]), Ok(0));
    assert_eq!(g.task.files.borrow().list(), [0, 1]);
    for expected in 2..64 {
        assert_eq!(g.call("dup", &[0]), Ok(expected));
    }
    assert_eq!(g.call("dup", &[0]), Err(Errno::EMFILE));
}

fn flock(kind: i16, start: i64, len: i64) -> Vec<u8> {
    let lock = Flock { l_type: kind, l_whence: 0, pad0: 0, l_start: start, l_len: len, l_pid: 0, pad1: 0 };
    zerocopy::IntoBytes::as_bytes(&lock).to_vec()
}

#[test]
fn record_locks_split_conflict_and_go_with_the_process() {
    let mut g = Guest::new();
    let fd = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let child = g.fork(2);
    let parent = Rc::clone(&g.task);
    let mut lock = |task: &Rc<Task>, command: u32, kind: i16, start: i64, len: i64| {
        let addr = g.put(&flock(kind, start, len));
        drop(task.progress.take());
        let result = g.raw(task, "fcntl", &[fd, u64::from(command), addr]);
        let held = g.get(addr, 32);
        match result {
            Ok(_) => Ok((i16::from_le_bytes([held[0], held[1]]), held[24])),
            Err(Flow::Errno(errno)) => Err(errno),
            Err(_) => Err(Errno::RESTART),
        }
    };
    assert!(lock(&parent, F_SETLK, F_WRLCK, 0, 100).is_ok());
    assert!(lock(&parent, F_SETLK, F_UNLCK, 40, 20).is_ok());
    assert!(lock(&child, F_SETLK, F_WRLCK, 40, 20).is_ok(), "the hole is free");
    assert_eq!(lock(&child, F_SETLK, F_RDLCK, 30, 11), Err(Errno::EAGAIN));
    assert_eq!(lock(&child, F_GETLK, F_RDLCK, 0, 0), Ok((F_WRLCK, 1)), "the holder's pid");
    assert_eq!(lock(&parent, F_GETLK, F_RDLCK, 0, 40), Ok((F_UNLCK, 0)), "not one's own");
    assert_eq!(lock(&parent, F_SETLKW, F_WRLCK, 50, 1), Err(Errno::RESTART), "waits");
    drop(parent.progress.take());
    // Parent waits for child; then the child may not wait for the parent.
    let addr = g.put(&flock(F_WRLCK, 50, 1));
    assert!(matches!(g.raw(&parent, "fcntl", &[fd, u64::from(F_SETLKW), addr]), Err(Flow::Block(_))));
    let addr = g.put(&flock(F_WRLCK, 0, 1));
    let deadlock = g.raw(&child, "fcntl", &[fd, u64::from(F_SETLKW), addr]);
    assert!(matches!(deadlock, Err(Flow::Errno(Errno::EDEADLK))));
    drop(parent.progress.take());
    // Any descriptor of the file that the child closes takes all its locks along.
    let other = g.raw(&child, "dup", &[fd]).expect("dups");
    g.raw(&child, "close", &[other]).expect("closes");
    let addr = g.put(&flock(F_WRLCK, 50, 1));
    assert!(g.raw(&parent, "fcntl", &[fd, u64::from(F_SETLK), addr]).is_ok());
}

#[test]
fn whole_file_locks_belong_to_the_description() {
    let mut g = Guest::new();
    let one = g.open("/f", O_RDWR | O_CREAT, 0o644).expect("opens");
    let two = g.open("/f", O_RDWR, 0).expect("opens");
    let same = g.call("dup", &[one]).expect("dups");
    let nonblocking = u64::from(LOCK_EX | LOCK_NB);
    assert_eq!(g.call("flock", &[one, nonblocking]), Ok(0));
    assert_eq!(g.call("flock", &[same, nonblocking]), Ok(0));
    assert_eq!(g.call("flock", &[two, nonblocking]), Err(Errno::EAGAIN));
    g.close(one);
    assert_eq!(g.call("flock", &[two, nonblocking]), Err(Errno::EAGAIN));
    g.close(same);
    assert_eq!(g.call("flock", &[two, nonblocking]), Ok(0));
}

#[test]
fn splicing_moves_bytes_once() {
    let mut g = Guest::new();
    g.file("/in", b"0123456789");
    let input = g.open("/in", O_RDONLY, 0).expect("opens");
    let out = g.open("/out", O_RDWR | O_CREAT, 0o644).expect("opens");
    let ends = g.room(8);
    g.call("pipe2", &[ends, 0]).expect("pipes");
    let ends = g.get(ends, 8);
    let (read_end, write_end) = (u64::from(ends[0]), u64::from(ends[4]));
    let offset = g.put(&2u64.to_le_bytes());
    assert_eq!(g.call("splice", &[input, offset, write_end, 0, 5, 0]), Ok(5));
    assert_eq!(g.get(offset, 8), 7u64.to_le_bytes());
    assert_eq!(g.call("splice", &[read_end, 0, out, 0, 3, 0]), Ok(3));
    assert_eq!(g.read(read_end, 10), Ok(b"56".to_vec()), "what was spliced is gone, the rest is there");
    assert_eq!(g.contents("/out"), Ok(b"234".to_vec()));
    assert_eq!(g.call("splice", &[input, 0, out, 0, 3, 0]), Err(Errno::EINVAL));
    assert_eq!(g.call("splice", &[read_end, 0, out, 0, 3, 2]), Err(Errno::EAGAIN));
    assert_eq!(g.call("sendfile", &[out, input, 0, 100]), Ok(10));
    assert_eq!(g.contents("/out"), Ok(b"2340123456789".to_vec()));
    let to = g.put(&1u64.to_le_bytes());
    let from = g.put(&8u64.to_le_bytes());
    assert_eq!(g.call("copy_file_range", &[input, from, out, to, 100, 0]), Ok(2));
    assert_eq!(g.contents("/out"), Ok(b"2890123456789".to_vec()));
    let overlap = g.put(&2u64.to_le_bytes());
    assert_eq!(g.call("copy_file_range", &[out, to, out, overlap, 5, 0]), Err(Errno::EINVAL));
}

#[test]
fn a_write_larger_than_a_pipe_keeps_its_progress() {
    let mut g = Guest::new();
    let ends = g.room(8);
    g.call("pipe2", &[ends, 0]).expect("pipes");
    let ends = g.get(ends, 8);
    let (read_end, write_end) = (u64::from(ends[0]), u64::from(ends[4]));
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let addr = g.put(&bytes);
    let writer = g.fork(2);
    let (mut received, mut written) = (Vec::new(), None);
    for _ in 0..10 {
        if written.is_none() {
            match g.raw(&writer, "write", &[write_end, addr, bytes.len() as u64]) {
                Ok(count) => written = Some(count),
                Err(Flow::Block(_)) => {}
                Err(flow) => panic!("{flow:?}"),
            }
        }
        let room = addr + bytes.len() as u64;
        let count = g.call("read", &[read_end, room, pipe::DEFAULT_CAPACITY as u64]).expect("there is some");
        received.extend(g.get(room, count));
        if received.len() == bytes.len() {
            break;
        }
    }
    assert_eq!(written, Some(bytes.len() as u64));
    assert!(received == bytes);
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
