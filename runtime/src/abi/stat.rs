//! `include/uapi/asm-generic/{stat,statfs}.h`, `include/uapi/linux/{stat,magic}.h`: layouts of stat(2) and its kin.
#![allow(
    missing_docs,
    reason = "the names are Linux's; stat(2), statx(2), statfs(2), mount(2) say what they mean"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const TMPFS_MAGIC: u64 = 0x0102_1994;
pub const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;
pub const SYSFS_MAGIC: u64 = 0x6265_6572;
pub const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
pub const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;
pub const PIPEFS_MAGIC: u64 = 0x5049_5045;
pub const SOCKFS_MAGIC: u64 = 0x534f_434b;

pub const ST_RDONLY: u64 = 1;
pub const ST_NOSUID: u64 = 2;
pub const ST_NODEV: u64 = 4;
pub const ST_NOEXEC: u64 = 8;
pub const ST_VALID: u64 = 0x20;
pub const ST_NOATIME: u64 = 0x400;
pub const ST_RELATIME: u64 = 0x1000;

pub const STATX_RESERVED: u32 = 0x8000_0000;
pub const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

/// `utimensat(2)`: the current time.
pub const UTIME_NOW: i64 = 0x3fff_ffff;
/// `utimensat(2)`: leave it.
pub const UTIME_OMIT: i64 = 0x3fff_fffe;

/// `struct stat` of asm-generic (64-bit), which is riscv64's.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KernelStat {
    pub st_dev: u64,
    pub st_ino: u64,
    pub st_mode: u32,
    pub st_nlink: u32,
    pub st_uid: u32,
    pub st_gid: u32,
    pub st_rdev: u64,
    pub pad1: u64,
    pub st_size: i64,
    pub st_blksize: i32,
    pub pad2: i32,
    pub st_blocks: i64,
    pub st_atime: i64,
    pub st_atime_nsec: u64,
    pub st_mtime: i64,
    pub st_mtime_nsec: u64,
    pub st_ctime: i64,
    pub st_ctime_nsec: u64,
    pub unused: [u32; 2],
}
const _: () = assert!(size_of::<KernelStat>() == 128);

/// `struct statx_timestamp`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StatxTimestamp {
    pub sec: i64,
    pub nsec: u32,
    pub pad: i32,
}

/// `struct statx`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statx {
    pub stx_mask: u32,
    pub stx_blksize: u32,
    pub stx_attributes: u64,
    pub stx_nlink: u32,
    pub stx_uid: u32,
    pub stx_gid: u32,
    pub stx_mode: u16,
    pub pad0: u16,
    pub stx_ino: u64,
    pub stx_size: u64,
    pub stx_blocks: u64,
    pub stx_attributes_mask: u64,
    pub stx_atime: StatxTimestamp,
    pub stx_btime: StatxTimestamp,
    pub stx_ctime: StatxTimestamp,
    pub stx_mtime: StatxTimestamp,
    pub stx_rdev_major: u32,
    pub stx_rdev_minor: u32,
    pub stx_dev_major: u32,
    pub stx_dev_minor: u32,
    pub stx_mnt_id: u64,
    pub stx_dio_mem_align: u32,
    pub stx_dio_offset_align: u32,
    pub spare: [u64; 12],
}
const _: () = assert!(size_of::<Statx>() == 256);

/// `struct statfs` (64-bit).
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KernelStatFs {
    pub f_type: u64,
    pub f_bsize: u64,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_fsid: [u32; 2],
    pub f_namelen: u64,
    pub f_frsize: u64,
    pub f_flags: u64,
    pub f_spare: [u64; 4],
}
const _: () = assert!(size_of::<KernelStatFs>() == 120);

/// A device number as user space sees it (`gnu_dev_makedev`).
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | minor & 0xff
}

/// The major half of a device number.
pub const fn major(dev: u64) -> u32 {
    ((dev >> 8 & 0xfff) | (dev >> 32 & 0xffff_f000)) as u32
}

/// The minor half of a device number.
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | (dev >> 12 & 0xffff_ff00)) as u32
}
