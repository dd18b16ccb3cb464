//! Character devices: what opening a device node gives, by device number, and
//! the nodes of a fresh /dev. See null(4), random(4), tty(4), pts(4).

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use super::anon::with_attr;
use super::tty::{devpts, job};
use super::{FileOps, Inode, InodeRef, Io, Make, NewInode, OpenFile, SetAttr, Stat, Timespec, mode};
use crate::abi::Errno;
use crate::abi::ioctl::{RNDADDENTROPY, RNDADDTOENTCNT, RNDGETENTCNT};
use crate::kernel::Ctx;
use crate::syscall::SysResult;

/// A device number as Linux packs it for user space: major and minor interleaved, see makedev(3).
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

const NULL: u64 = makedev(1, 3);
const ZERO: u64 = makedev(1, 5);
const FULL: u64 = makedev(1, 7);
const RANDOM: u64 = makedev(1, 8);
const URANDOM: u64 = makedev(1, 9);
const KMSG: u64 = makedev(1, 11);
const TTY: u64 = makedev(5, 0);
const CONSOLE: u64 = makedev(5, 1);
/// /dev/ptmx.
pub const PTMX: u64 = makedev(5, 2);

/// Open the device with number `rdev`. `kind` is its `S_IFMT` bits; there are no block devices. ENXIO.
pub fn open(cx: &mut Ctx<'_>, kind: u32, rdev: u64, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
    if kind != mode::S_IFCHR {
        return Err(Errno::ENXIO);
    }
    let device = match rdev {
        NULL => Memory::Null,
        ZERO => Memory::Zero,
        FULL => Memory::Full,
        RANDOM | URANDOM => Memory::Random,
        KMSG => Memory::Null,
        TTY => {
            let tty = job::controlling(cx).ok_or(Errno::ENXIO)?;
            return devpts::open_terminal(cx, &tty, flags);
        }
        CONSOLE => {
            let tty = cx.kernel.console.terminal().ok_or(Errno::ENXIO)?;
            return devpts::open_terminal(cx, &tty, flags | crate::abi::fcntl::O_NOCTTY);
        }
        PTMX => return devpts::open_master(cx),
        _ => return Err(Errno::ENXIO),
    };
    Ok(Rc::new(device))
}

/// The memory devices, mem(4) and random(4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Null,
    Zero,
    Full,
    Random,
}

/// Devices that never make anybody wait, and that epoll(7) therefore refuses.
pub fn always_ready(file: &OpenFile) -> bool {
    file.ops.as_any().downcast_ref::<Memory>().is_some_and(|device| *device != Memory::Random)
}

/// Bytes that one read of a device that never ends gives at most.
const CHUNK: usize = 4096;

impl FileOps for Memory {
    fn read(&self, cx: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        let mut done = 0;
        let mut chunk = [0; CHUNK];
        while *self != Memory::Null && dst.remaining() > 0 {
            let count = dst.remaining().min(CHUNK);
            if *self == Memory::Random {
                cx.kernel.platform.entropy(&mut chunk[..count]);
            }
            done += dst.put(&chunk[..count]);
        }
        Ok(done)
    }

    fn write(&self, _: &mut Ctx<'_>, _: &OpenFile, src: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if *self == Memory::Full {
            return Err(Errno::ENOSPC);
        }
        let mut done = 0;
        let mut chunk = [0; CHUNK];
        while src.remaining() > 0 {
            done += src.take(&mut chunk);
        }
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        match (self, cmd) {
            (Memory::Random, RNDGETENTCNT) => {
                cx.write_user(arg, &256i32)?;
                Ok(0)
            }
            (Memory::Random, RNDADDTOENTCNT | RNDADDENTROPY) if cx.task.cred.borrow().euid == 0 => Ok(0),
            (Memory::Random, RNDADDTOENTCNT | RNDADDENTROPY) => Err(Errno::EPERM.into()),
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A device node outside any real file system.
pub fn node(stat: Stat) -> InodeRef {
    Rc::new(Device { stat: Cell::new(stat) })
}

struct Device {
    stat: Cell<Stat>,
}

impl Inode for Device {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn open(&self, cx: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let stat = self.stat.get();
        open(cx, stat.mode & mode::S_IFMT, stat.rdev, flags)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Names of a fresh /dev: permission bits and device number.
const NODES: &[(&str, u32, u64)] = &[
    ("null", 0o666, NULL),
    ("zero", 0o666, ZERO),
    ("full", 0o666, FULL),
    ("random", 0o666, RANDOM),
    ("urandom", 0o666, URANDOM),
    ("tty", 0o666, TTY),
    ("console", 0o620, CONSOLE),
];

/// Links of a fresh /dev, as container runtimes make them.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Directories of a fresh /dev, to be mounted on: name and mode.
const DIRECTORIES: &[(&str, u32)] = &[("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)];

/// Fill `dev`, the root of an empty tmpfs. `console`: there is a terminal.
pub fn populate(dev: &InodeRef, console: bool, now: Timespec) -> Result<(), Errno> {
    let new = |mode| NewInode { mode, uid: 0, gid: 0, now };
    for (name, bits, rdev) in NODES.iter().filter(|n| console || n.2 != CONSOLE) {
        dev.make(name.as_bytes(), Make::Node(*rdev), new(mode::S_IFCHR | bits))?;
    }
    for (name, target) in LINKS {
        dev.make(name.as_bytes(), Make::Symlink(target.as_bytes()), new(mode::S_IFLNK | 0o777))?;
    }
    for (name, bits) in DIRECTORIES {
        dev.make(name.as_bytes(), Make::Directory, new(mode::S_IFDIR | bits))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_packed_as_linux_does() {
        // gnu_dev_makedev(3).
        assert_eq!(makedev(1, 3), 0x103);
        assert_eq!(makedev(136, 0), 0x8800);
        assert_eq!(makedev(8, 256), 0x10_0800);
        assert_eq!(makedev(0x1234, 0x56789), 0x1000_5672_3489);
    }
}
