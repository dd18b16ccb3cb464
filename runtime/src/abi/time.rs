//! Time: `linux/time.h`, `linux/time_types.h`. See clock_gettime(2), timer_create(2).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

names!(CLOCK: u32 {
    CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_PROCESS_CPUTIME_ID = 2, CLOCK_THREAD_CPUTIME_ID = 3,
    CLOCK_MONOTONIC_RAW = 4, CLOCK_REALTIME_COARSE = 5, CLOCK_MONOTONIC_COARSE = 6, CLOCK_BOOTTIME = 7,
    CLOCK_REALTIME_ALARM = 8, CLOCK_BOOTTIME_ALARM = 9, CLOCK_TAI = 11,
});
names!(TIMER: u32 { TIMER_ABSTIME = 1 });
names!(ITIMER: u32 { ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2 });

/// `struct __kernel_timespec`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

/// `struct __kernel_old_timeval`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timeval {
    pub sec: i64,
    pub usec: i64,
}

/// `struct __kernel_itimerspec`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerspec {
    pub interval: Timespec,
    pub value: Timespec,
}

/// `struct __kernel_old_itimerval`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerval {
    pub interval: Timeval,
    pub value: Timeval,
}
