//! Making and scheduling tasks: `linux/sched.h`. See clone(2), sched(7).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

names!(CLONE: u64 {
    CLONE_NEWTIME = 0x80, CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800,
    CLONE_PIDFD = 0x1000, CLONE_PTRACE = 0x2000, CLONE_VFORK = 0x4000, CLONE_PARENT = 0x8000,
    CLONE_THREAD = 0x1_0000, CLONE_NEWNS = 0x2_0000, CLONE_SYSVSEM = 0x4_0000, CLONE_SETTLS = 0x8_0000,
    CLONE_PARENT_SETTID = 0x10_0000, CLONE_CHILD_CLEARTID = 0x20_0000, CLONE_DETACHED = 0x40_0000,
    CLONE_UNTRACED = 0x80_0000, CLONE_CHILD_SETTID = 0x100_0000, CLONE_NEWCGROUP = 0x200_0000,
    CLONE_NEWUTS = 0x400_0000, CLONE_NEWIPC = 0x800_0000, CLONE_NEWUSER = 0x1000_0000,
    CLONE_NEWPID = 0x2000_0000, CLONE_NEWNET = 0x4000_0000, CLONE_IO = 0x8000_0000,
    CLONE_CLEAR_SIGHAND = 0x1_0000_0000, CLONE_INTO_CGROUP = 0x2_0000_0000,
});
pub const CSIGNAL: u64 = 0xff;
names!(POLICY: u32 {
    SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5, SCHED_DEADLINE = 6,
});
pub const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
names!(MEMBARRIER: u32 {
    MEMBARRIER_CMD_QUERY = 0, MEMBARRIER_CMD_GLOBAL = 1, MEMBARRIER_CMD_GLOBAL_EXPEDITED = 2,
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 4, MEMBARRIER_CMD_PRIVATE_EXPEDITED = 8,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 16, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 32,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 128,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 256,
});

/// clone3(2)'s argument (its newest size, `CLONE_ARGS_SIZE_VER2`).
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}
const _: () = assert!(size_of::<CloneArgs>() == 88);
