//! Waiting: `linux/eventpoll.h`, `linux/eventfd.h`, `linux/timerfd.h`, `linux/signalfd.h`, `linux/inotify.h`.
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

names!(EPOLL_CREATE: u32 { EPOLL_CLOEXEC = 0o2000000 });
names!(EPOLL_OP: u32 { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 });
names!(EPOLL_EVENTS: u32 {
    EPOLLIN = 1, EPOLLPRI = 2, EPOLLOUT = 4, EPOLLERR = 8, EPOLLHUP = 16, EPOLLRDNORM = 64, EPOLLRDBAND = 128,
    EPOLLWRNORM = 256, EPOLLWRBAND = 512, EPOLLMSG = 1024, EPOLLRDHUP = 0x2000, EPOLLEXCLUSIVE = 1 << 28,
    EPOLLWAKEUP = 1 << 29, EPOLLONESHOT = 1 << 30, EPOLLET = 1 << 31,
});
names!(POLL_EVENTS: u32 {
    POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLNVAL = 32, POLLRDNORM = 64,
    POLLRDBAND = 128, POLLWRNORM = 256, POLLWRBAND = 512, POLLRDHUP = 0x2000,
});
names!(EVENTFD: u32 { EFD_SEMAPHORE = 1, EFD_CLOEXEC = 0o2000000, EFD_NONBLOCK = 0o4000 });
names!(TIMERFD: u32 { TFD_CLOEXEC = 0o2000000, TFD_NONBLOCK = 0o4000 });
names!(TIMERFD_SET: u32 { TFD_TIMER_ABSTIME = 1, TFD_TIMER_CANCEL_ON_SET = 2 });
names!(SIGNALFD: u32 { SFD_CLOEXEC = 0o2000000, SFD_NONBLOCK = 0o4000 });
names!(INOTIFY_INIT: u32 { IN_CLOEXEC = 0o2000000, IN_NONBLOCK = 0o4000 });
names!(INOTIFY: u32 {
    IN_ACCESS = 1, IN_MODIFY = 2, IN_ATTRIB = 4, IN_CLOSE_WRITE = 8, IN_CLOSE_NOWRITE = 16, IN_OPEN = 32,
    IN_MOVED_FROM = 64, IN_MOVED_TO = 128, IN_CREATE = 256, IN_DELETE = 512, IN_DELETE_SELF = 1024,
    IN_MOVE_SELF = 2048, IN_UNMOUNT = 0x2000, IN_Q_OVERFLOW = 0x4000, IN_IGNORED = 0x8000,
    IN_ONLYDIR = 0x0100_0000, IN_DONT_FOLLOW = 0x0200_0000, IN_EXCL_UNLINK = 0x0400_0000,
    IN_MASK_CREATE = 0x1000_0000, IN_MASK_ADD = 0x2000_0000, IN_ISDIR = 0x4000_0000, IN_ONESHOT = 0x8000_0000,
});

/// `struct pollfd`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}
const _: () = assert!(size_of::<PollFd>() == 8);

/// `struct epoll_event`, not packed on riscv64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EpollEvent {
    pub events: u32,
    pub pad: u32,
    pub data: u64,
}
const _: () = assert!(size_of::<EpollEvent>() == 16);

/// `struct signalfd_siginfo`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalfdSiginfo {
    pub signo: u32,
    pub errno: i32,
    pub code: i32,
    pub pid: u32,
    pub uid: u32,
    pub fd: i32,
    pub tid: u32,
    pub band: u32,
    pub overrun: u32,
    pub trapno: u32,
    pub status: i32,
    pub int: i32,
    pub ptr: u64,
    pub utime: u64,
    pub stime: u64,
    pub addr: u64,
    pub addr_lsb: u16,
    pub pad2: u16,
    pub syscall: i32,
    pub call_addr: u64,
    pub arch: u32,
    pub pad: [u8; 28],
}
const _: () = assert!(size_of::<SignalfdSiginfo>() == 128);

impl Default for SignalfdSiginfo {
    fn default() -> SignalfdSiginfo {
        SignalfdSiginfo::new_zeroed()
    }
}

/// `struct inotify_event`, without the name that follows.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InotifyEvent {
    pub wd: i32,
    pub mask: u32,
    pub cookie: u32,
    pub len: u32,
}
const _: () = assert!(size_of::<InotifyEvent>() == 16);
