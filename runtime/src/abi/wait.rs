//! Waiting for children: `linux/wait.h`. See wait4(2), waitid(2).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

names!(WAIT: u32 {
    WNOHANG = 1, WUNTRACED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x0100_0000, __WNOTHREAD = 0x2000_0000,
    __WALL = 0x4000_0000, __WCLONE = 0x8000_0000,
});
pub const WSTOPPED: u32 = WUNTRACED;
names!(IDTYPE: u32 { P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3 });
