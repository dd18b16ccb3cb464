//! System calls called as a guest calls them: by name, with addresses in guest memory. For the tests of this folder.

use std::rc::Rc;

use super::table::{self, Support};
use super::{Args, Flow};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::stat::KernelStat;
use crate::fs::Vfs;
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

    fn warm_segment(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }
}

/// A kernel with tasks, an empty root, and memory for arguments.
pub(super) struct Guest {
    pub(super) kernel: Kernel,
    pub(super) task: Rc<Task>,
    memory: u64,
    next: u64,
}

pub(super) const AT: u64 = AT_FDCWD as i64 as u64;
const MEMORY: u64 = 1 << 20;

impl Guest {
    pub(super) fn new() -> Guest {
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
    pub(super) fn fork(&mut self, tid: u32) -> Rc<Task> {
        let files = Rc::new(self.task.files.borrow().duplicate());
        let shared = (Rc::clone(&self.task.mm.borrow()), files, Rc::clone(&self.task.fs.borrow()));
        let cred = Rc::clone(&self.task.cred.borrow());
        let process = Rc::new(Process::new(tid));
        let task = Task::new(tid, process, Registers::default(), shared, cred, Rc::new(SigHand::default()));
        let task = Rc::new(task);
        self.kernel.tasks.insert(tid, Rc::clone(&task));
        task
    }

    pub(super) fn become_user(&self, uid: u32, groups: &[u32]) {
        let ids = Cred { uid, euid: uid, suid: uid, fsuid: uid, ..Cred::default() };
        let ids = Cred { gid: uid, egid: uid, sgid: uid, fsgid: uid, groups: groups.to_vec(), ..ids };
        self.task.cred.replace(Rc::new(ids));
    }

    pub(super) fn become_root(&self) {
        self.task.cred.replace(Rc::new(Cred::root()));
    }

    /// Bytes in guest memory; the space is used again after a while.
    pub(super) fn put(&mut self, bytes: &[u8]) -> u64 {
        if self.next + bytes.len() as u64 > MEMORY {
            self.next = 0;
        }
        let addr = self.memory + self.next;
        self.next = (self.next + bytes.len() as u64).next_multiple_of(16);
        self.task.mm.borrow().copy_out(addr, bytes).expect("memory");
        addr
    }

    pub(super) fn path(&mut self, path: &str) -> u64 {
        self.put(&[path.as_bytes(), b"\0"].concat())
    }

    pub(super) fn room(&mut self, len: usize) -> u64 {
        self.put(&vec![0; len])
    }

    pub(super) fn get(&self, addr: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.task.mm.borrow().copy_in(addr, &mut bytes).expect("memory");
        bytes
    }

    pub(super) fn raw(&mut self, task: &Rc<Task>, name: &str, args: &[u64]) -> Result<u64, Flow> {
        let row = table::TABLE.iter().find(|row| row.name == name).expect("a system call");
        let (Support::Full(handler) | Support::Partial(handler, _)) = row.support else { panic!("{name}") };
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        handler(&mut Ctx { kernel: &mut self.kernel, task: Rc::clone(task) }, Args(all))
    }

    /// A call that does not block.
    pub(super) fn call(&mut self, name: &str, args: &[u64]) -> Result<u64, Errno> {
        let task = Rc::clone(&self.task);
        drop(task.progress.take());
        match self.raw(&task, name, args) {
            Ok(value) => Ok(value),
            Err(Flow::Errno(errno)) => Err(errno),
            Err(flow) => panic!("{name}: {flow:?}"),
        }
    }

    pub(super) fn open(&mut self, path: &str, flags: u32, mode: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("openat", &[AT, path, u64::from(flags), mode])
    }

    pub(super) fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<u64, Errno> {
        let addr = self.put(bytes);
        self.call("write", &[fd, addr, bytes.len() as u64])
    }

    pub(super) fn read(&mut self, fd: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let addr = self.room(len as usize);
        let count = self.call("read", &[fd, addr, len])?;
        Ok(self.get(addr, count))
    }

    pub(super) fn close(&mut self, fd: u64) {
        assert_eq!(self.call("close", &[fd]), Ok(0));
    }

    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) {
        let fd = self.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644).expect("opens");
        assert_eq!(self.write(fd, bytes), Ok(bytes.len() as u64));
        self.close(fd);
    }

    pub(super) fn contents(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let fd = self.open(path, O_RDONLY, 0)?;
        let bytes = self.read(fd, 1000);
        self.close(fd);
        bytes
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("mkdirat", &[AT, path, 0o777])
    }

    pub(super) fn symlink(&mut self, target: &str, path: &str) -> Result<u64, Errno> {
        let (target, path) = (self.path(target), self.path(path));
        self.call("symlinkat", &[target, AT, path])
    }

    pub(super) fn unlink(&mut self, path: &str, flags: u32) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("unlinkat", &[AT, path, u64::from(flags)])
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, flags: u32) -> Result<u64, Errno> {
        let (from, to) = (self.path(from), self.path(to));
        self.call("renameat2", &[AT, from, AT, to, u64::from(flags)])
    }

    pub(super) fn chdir(&mut self, path: &str) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("chdir", &[path])
    }

    pub(super) fn chmod(&mut self, path: &str, mode: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("fchmodat", &[AT, path, mode])
    }

    pub(super) fn access(&mut self, path: &str, wanted: u64) -> Result<u64, Errno> {
        let path = self.path(path);
        self.call("faccessat", &[AT, path, wanted])
    }

    pub(super) fn cwd(&mut self) -> Result<String, Errno> {
        let addr = self.room(4096);
        let len = self.call("getcwd", &[addr, 4096])?;
        Ok(String::from_utf8(self.get(addr, len - 1)).expect("text"))
    }

    pub(super) fn stat(&mut self, path: &str, flags: u32) -> Result<KernelStat, Errno> {
        let (path, addr) = (self.path(path), self.room(128));
        self.call("newfstatat", &[AT, path, addr, u64::from(flags)])?;
        let bytes = self.get(addr, 128);
        Ok(zerocopy::FromBytes::read_from_bytes(&bytes).expect("128 bytes"))
    }

    pub(super) fn list(&mut self, path: &str) -> Vec<String> {
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
