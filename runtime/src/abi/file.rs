//! Files, what `fcntl.rs` does not hold: structs of `linux/openat2.h`, `asm-generic/fcntl.h`, and lock kinds.
#![allow(
    missing_docs,
    reason = "the names are Linux's; open(2), fcntl(2) and their neighbours say what they mean"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `__O_TMPFILE`, without the O_DIRECTORY that user space's O_TMPFILE includes.
pub const O_TMPFILE_BIT: u32 = 0o20000000;
/// Every flag openat2(2) knows.
pub const O_VALID: u32 = 0o37777703;
pub const F_DUPFD_QUERY: u32 = 1027;
pub const F_RDLCK: i16 = 0;
pub const F_WRLCK: i16 = 1;
pub const F_UNLCK: i16 = 2;
pub const F_OWNER_TID: i32 = 0;
pub const F_OWNER_PID: i32 = 1;
pub const F_OWNER_PGRP: i32 = 2;

/// `struct open_how`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}
const _: () = assert!(size_of::<OpenHow>() == 24);

/// `struct flock` (64-bit).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flock {
    pub l_type: i16,
    pub l_whence: i16,
    pub pad0: u32,
    pub l_start: i64,
    pub l_len: i64,
    pub l_pid: i32,
    pub pad1: u32,
}
const _: () = assert!(size_of::<Flock>() == 32);

/// `struct f_owner_ex`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnerEx {
    pub kind: i32,
    pub pid: i32,
}
const _: () = assert!(size_of::<OwnerEx>() == 8);
