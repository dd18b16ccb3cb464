//! Limits and accounting: `asm-generic/resource.h`, `linux/resource.h`. See prlimit(2), getrusage(2).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

names!(RLIMIT: u32 {
    RLIMIT_CPU = 0, RLIMIT_FSIZE = 1, RLIMIT_DATA = 2, RLIMIT_STACK = 3, RLIMIT_CORE = 4, RLIMIT_RSS = 5,
    RLIMIT_NPROC = 6, RLIMIT_NOFILE = 7, RLIMIT_MEMLOCK = 8, RLIMIT_AS = 9, RLIMIT_LOCKS = 10,
    RLIMIT_SIGPENDING = 11, RLIMIT_MSGQUEUE = 12, RLIMIT_NICE = 13, RLIMIT_RTPRIO = 14, RLIMIT_RTTIME = 15,
});
pub const RLIM_NLIMITS: usize = 16;
pub const RLIM_INFINITY: u64 = u64::MAX;
names!(RUSAGE: i32 { RUSAGE_CHILDREN = -1, RUSAGE_SELF = 0, RUSAGE_THREAD = 1 });
names!(PRIO: u32 { PRIO_PROCESS = 0, PRIO_PGRP = 1, PRIO_USER = 2 });

/// One limit: soft and hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rlimit {
    pub cur: u64,
    pub max: u64,
}
const _: () = assert!(size_of::<Rlimit>() == 16);

/// What getrusage(2) tells.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rusage {
    pub utime: super::time::Timeval,
    pub stime: super::time::Timeval,
    pub maxrss: i64,
    pub ixrss: i64,
    pub idrss: i64,
    pub isrss: i64,
    pub minflt: i64,
    pub majflt: i64,
    pub nswap: i64,
    pub inblock: i64,
    pub oublock: i64,
    pub msgsnd: i64,
    pub msgrcv: i64,
    pub nsignals: i64,
    pub nvcsw: i64,
    pub nivcsw: i64,
}
const _: () = assert!(size_of::<Rusage>() == 144);
