//! Resource limits a first process begins with. See prlimit(2).

use super::task::Process;
use crate::abi::resource::{
    RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_AS, RLIMIT_CORE, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE,
    RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_RTPRIO, RLIMIT_SIGPENDING, RLIMIT_STACK, Rlimit,
};
use crate::mm::Limits;

/// Threads in the machine, whatever the limits say: each costs host memory.
pub const MAX_TASKS: usize = 4096;

/// What Docker gives on a common host, where a program can tell.
pub fn initial() -> [Rlimit; RLIM_NLIMITS] {
    let mut limits = [Rlimit { cur: RLIM_INFINITY, max: RLIM_INFINITY }; RLIM_NLIMITS];
    let mut set = |resource: u32, cur: u64, max: u64| limits[resource as usize] = Rlimit { cur, max };
    set(RLIMIT_STACK, 8 << 20, RLIM_INFINITY);
    set(RLIMIT_CORE, 0, RLIM_INFINITY);
    set(RLIMIT_NPROC, MAX_TASKS as u64, MAX_TASKS as u64);
    set(RLIMIT_NOFILE, 1024, 1 << 20);
    set(RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
    set(RLIMIT_SIGPENDING, 31_250, 31_250);
    set(RLIMIT_MSGQUEUE, 819_200, 819_200);
    set(RLIMIT_NICE, 0, 0);
    set(RLIMIT_RTPRIO, 0, 0);
    limits
}

/// The limits that concern an address space, for its `Mm`.
pub fn memory(process: &Process) -> Limits {
    Limits {
        address_space: process.rlimit(RLIMIT_AS),
        data: process.rlimit(RLIMIT_DATA),
        stack: process.rlimit(RLIMIT_STACK),
        locked: process.rlimit(RLIMIT_MEMLOCK),
    }
}
