//! Processes: fork, execve, wait4, pipes between them, groups.

use alloc::vec::Vec;

use crate::Result;
use crate::call::call;
use crate::io::Fd;
use crate::text::nul;

/// Ends every thread of this process.
pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, code);
    }
}

/// fork(2): 0 in the child, its number in the parent. Flush standard output before.
pub fn fork() -> Result<i32> {
    const SIGCHLD: usize = 17;
    call!(CLONE, SIGCHLD, 0, 0, 0, 0).map(|pid| pid as i32)
}

/// execve(2); comes back only with an error.
pub fn exec(path: &[u8], args: &[Vec<u8>], env: &[Vec<u8>]) -> crate::Error {
    let hold = |list: &[Vec<u8>]| list.iter().map(|text| nul(text)).collect::<Vec<_>>();
    let point = |list: &[Vec<u8>]| {
        list.iter().map(|text| text.as_ptr()).chain([core::ptr::null()]).collect::<Vec<_>>()
    };
    let (args, env) = (hold(args), hold(env));
    let (argv, envp) = (point(&args), point(&env));
    match call!(EXECVE, nul(path).as_ptr(), argv.as_ptr(), envp.as_ptr()) {
        Err(error) => error,
        Ok(_) => crate::Error::EINVAL,
    }
}

/// How a child changed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its exit code.
    Exited(i32),
    /// The signal that ended it.
    Killed(i32),
    /// The signal that stopped it (Ctrl-Z).
    Stopped(i32),
}

impl Change {
    /// As `$?` shows it.
    pub fn code(self) -> i32 {
        match self {
            Change::Exited(code) => code,
            Change::Killed(signal) | Change::Stopped(signal) => 128 + signal,
        }
    }
}

/// wait4(2) options.
pub mod wait_flags {
    /// Do not block.
    pub const NOHANG: u32 = 1;
    /// Tell of stopped children too.
    pub const UNTRACED: u32 = 2;
}

/// wait4(2): who changed, and how; `None` with NOHANG when nobody did.
pub fn wait(pid: i32, flags: u32) -> Result<Option<(i32, Change)>> {
    let mut status = 0u32;
    let who = loop {
        match call!(WAIT4, pid, &raw mut status, flags, 0) {
            Err(crate::Error::EINTR) => continue,
            other => break other?,
        }
    };
    if who == 0 {
        return Ok(None);
    }
    let change = match status & 0x7f {
        0 => Change::Exited((status >> 8 & 0xff) as i32),
        0x7f => Change::Stopped((status >> 8 & 0xff) as i32),
        signal => Change::Killed(signal as i32),
    };
    Ok(Some((who as i32, change)))
}

/// pipe2(2): the end to read, the end to write; both closed by execve.
pub fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [0i32; 2];
    call!(PIPE2, ends.as_mut_ptr(), crate::fs::flags::CLOEXEC)?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

/// Makes `new` the same open file as `old`. They must differ.
pub fn dup_to(old: i32, new: i32) -> Result<()> {
    call!(DUP3, old, new, 0).map(drop)
}

/// A copy of `fd`, at 10 or above, closed by execve.
pub fn dup_high(fd: i32) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: u32 = 1030;
    call!(FCNTL, fd, F_DUPFD_CLOEXEC, 10).map(|fd| Fd(fd as i32))
}

/// This process.
pub fn id() -> i32 {
    call!(GETPID).unwrap_or(0) as i32
}

/// The parent.
pub fn parent_id() -> i32 {
    call!(GETPPID).unwrap_or(0) as i32
}

/// kill(2): a negative `pid` names a process group.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(KILL, pid, signal).map(drop)
}

/// setpgid(2).
pub fn set_group(pid: i32, group: i32) -> Result<()> {
    call!(SETPGID, pid, group).map(drop)
}

/// The process group of this process.
pub fn group() -> Result<i32> {
    call!(GETPGID, 0).map(|group| group as i32)
}

/// The six fields of uname(2): system, node, release, version, machine, domain.
pub fn uname() -> Result<[Vec<u8>; 6]> {
    let mut fields = [[0u8; 65]; 6];
    call!(UNAME, fields.as_mut_ptr())?;
    Ok(fields.map(|field| field.split(|&b| b == 0).next().unwrap_or_default().to_vec()))
}
