//! Files and directories by name.

use alloc::vec::Vec;

use crate::Result;
use crate::call::call;
use crate::io::{Fd, read_to_end};
use crate::text::nul;

const AT_FDCWD: i32 = -100;
/// open(2) flags.
pub mod flags {
    /// Only read.
    pub const RDONLY: u32 = 0;
    /// Only write.
    pub const WRONLY: u32 = 1;
    /// Make it when it is not there.
    pub const CREAT: u32 = 0o100;
    /// Empty it.
    pub const TRUNC: u32 = 0o1000;
    /// Write at the end.
    pub const APPEND: u32 = 0o2000;
    /// Only a directory.
    pub const DIRECTORY: u32 = 0o200_000;
    /// Closed by execve(2).
    pub const CLOEXEC: u32 = 0o2_000_000;
}

/// `struct stat` of riscv64 (asm-generic/stat.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Of a device node.
    pub rdev: u64,
    pad1: u64,
    /// Bytes.
    pub size: i64,
    /// Preferred block.
    pub blksize: i32,
    pad2: i32,
    /// 512-byte blocks.
    pub blocks: i64,
    /// Access time, seconds and nanoseconds.
    pub atime: [i64; 2],
    /// Modification time.
    pub mtime: [i64; 2],
    /// Change time.
    pub ctime: [i64; 2],
    unused: [u32; 2],
}
const _: () = assert!(size_of::<Stat>() == 128);

impl Stat {
    /// Is it a directory?
    pub fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
    /// Is it a symbolic link?
    pub fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }
}

/// openat(2); made files get mode 0666 less the umask.
pub fn open(path: &[u8], flags: u32) -> Result<Fd> {
    let fd = call!(OPENAT, AT_FDCWD, nul(path).as_ptr(), flags | flags::CLOEXEC, 0o666)?;
    Ok(Fd(fd as i32))
}

/// A whole file.
pub fn read_file(path: &[u8]) -> Result<Vec<u8>> {
    read_to_end(open(path, flags::RDONLY)?.0)
}

/// stat(2), following a final symbolic link.
pub fn stat(path: &[u8]) -> Result<Stat> {
    stat_at(path, 0)
}

/// lstat(2).
pub fn lstat(path: &[u8]) -> Result<Stat> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    stat_at(path, AT_SYMLINK_NOFOLLOW)
}

fn stat_at(path: &[u8], flags: u32) -> Result<Stat> {
    let mut stat = Stat::default();
    call!(NEWFSTATAT, AT_FDCWD, nul(path).as_ptr(), &raw mut stat, flags)?;
    Ok(stat)
}

/// Names in a directory, sorted, without `.` and `..`.
pub fn list(path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let directory = open(path, flags::RDONLY | flags::DIRECTORY)?;
    let mut names = Vec::new();
    let mut block = [0u8; 4096];
    loop {
        let count = call!(GETDENTS64, directory.0, block.as_mut_ptr(), block.len())?;
        if count == 0 {
            break;
        }
        let mut entries = &block[..count];
        // struct linux_dirent64: ino u64, off i64, reclen u16, type u8, name.
        while entries.len() > 19 {
            let length = usize::from(u16::from_le_bytes([entries[16], entries[17]]));
            let name = entries[19..length].split(|&b| b == 0).next().unwrap_or_default();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
            entries = &entries[length..];
        }
    }
    names.sort();
    Ok(names)
}

/// Where a symbolic link points.
pub fn read_link(path: &[u8]) -> Result<Vec<u8>> {
    let mut target = alloc::vec![0; 4096];
    let count = call!(READLINKAT, AT_FDCWD, nul(path).as_ptr(), target.as_mut_ptr(), target.len())?;
    target.truncate(count);
    Ok(target)
}

/// mkdir(2) with mode 0777 less the umask.
pub fn make_dir(path: &[u8]) -> Result<()> {
    call!(MKDIRAT, AT_FDCWD, nul(path).as_ptr(), 0o777).map(drop)
}

/// unlink(2).
pub fn unlink(path: &[u8]) -> Result<()> {
    call!(UNLINKAT, AT_FDCWD, nul(path).as_ptr(), 0).map(drop)
}

/// rmdir(2).
pub fn remove_dir(path: &[u8]) -> Result<()> {
    const AT_REMOVEDIR: u32 = 0x200;
    call!(UNLINKAT, AT_FDCWD, nul(path).as_ptr(), AT_REMOVEDIR).map(drop)
}

/// rename(2).
pub fn rename(from: &[u8], to: &[u8]) -> Result<()> {
    call!(RENAMEAT2, AT_FDCWD, nul(from).as_ptr(), AT_FDCWD, nul(to).as_ptr(), 0).map(drop)
}

/// symlink(2): `path` will point to `target`.
pub fn symlink(target: &[u8], path: &[u8]) -> Result<()> {
    call!(SYMLINKAT, nul(target).as_ptr(), AT_FDCWD, nul(path).as_ptr()).map(drop)
}

/// Sets both times to now.
pub fn touch(path: &[u8]) -> Result<()> {
    call!(UTIMENSAT, AT_FDCWD, nul(path).as_ptr(), 0, 0).map(drop)
}

/// May this process execute it? faccessat(2).
pub fn executable(path: &[u8]) -> bool {
    const X_OK: u32 = 1;
    call!(FACCESSAT, AT_FDCWD, nul(path).as_ptr(), X_OK).is_ok()
}

/// The working directory.
pub fn current_dir() -> Result<Vec<u8>> {
    let mut path = alloc::vec![0; 4096];
    let count = call!(GETCWD, path.as_mut_ptr(), path.len())?;
    path.truncate(count.saturating_sub(1));
    Ok(path)
}

/// chdir(2).
pub fn change_dir(path: &[u8]) -> Result<()> {
    call!(CHDIR, nul(path).as_ptr()).map(drop)
}
