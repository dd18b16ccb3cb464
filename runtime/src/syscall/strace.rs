//! `--strace`: lines in strace(1)'s format, derived from the table's rows.

use std::rc::Rc;

use friscy_formats::ring::LogLevel;

use super::dispatch::registers;
use super::strace_args::{Printer, Side};
use super::table::{self, Ret, Row};
use crate::abi::signal::SigInfo;
use crate::abi::{Errno, Names};
use crate::kernel::signal::name;
use crate::kernel::{Kernel, Task};

/// Column of the equals sign, as in strace(1).
const RESULT_COLUMN: usize = 40;

/// What an argument is, hence how it is printed. Numbers in parentheses are indexes of other arguments.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// `int`, `pid_t`.
    Int,
    /// `unsigned int`.
    Uint,
    /// `long`, `off_t`.
    Long,
    /// `unsigned long`, `size_t`.
    Ulong,
    /// A number best read in hexadecimal.
    Hex,
    /// A user or group ID; -1 leaves as is.
    Id,
    /// Permission bits.
    Mode,
    /// A device number.
    Dev,
    /// An address that is not followed.
    Ptr,
    /// A file descriptor.
    Fd,
    /// A file descriptor or AT_FDCWD.
    DirFd,
    /// A NUL-terminated path.
    Path,
    /// A NUL-terminated string.
    Str,
    /// A NUL-terminated string that the call fills.
    StrOut,
    /// Bytes that the call reads; their number is argument (n).
    In(u8),
    /// Bytes that the call fills; their number is the result.
    Out,
    /// `struct iovec` array that the call reads; their number is argument (n).
    IovIn(u8),
    /// `struct iovec` array that the call fills, up to the result; their number is argument (n).
    IovOut(u8),
    /// Any of these bits.
    Flags(Names),
    /// One of these numbers.
    OneOf(Names),
    /// open(2) flags: an access mode and bits.
    Open,
    /// open(2) mode: printed only when a file may be made.
    OpenMode,
    /// access(2) mode.
    Access,
    /// faccessat2(2) flags.
    AccessFlags,
    /// mmap(2) protection.
    Prot,
    /// Argument of fcntl(2), by its command.
    FcntlArg,
    /// ioctl(2) command.
    Ioctl,
    /// clone(2) flags and exit signal.
    CloneFlags,
    /// `struct clone_args`.
    CloneArgs,
    /// futex(2) operation.
    FutexOp,
    /// futex(2) timeout, or a number, by the operation.
    FutexTimeout,
    /// Socket type with flags.
    SockType,
    /// accept4(2) flags.
    SockFlags,
    /// A signal number.
    Signal,
    /// A signal set that the call reads.
    SigsetIn,
    /// A signal set that the call fills.
    SigsetOut,
    /// `struct sigaction` in.
    SigactionIn,
    /// `struct sigaction` out.
    SigactionOut,
    /// `siginfo_t` in.
    SiginfoIn,
    /// `siginfo_t` out.
    SiginfoOut,
    /// `stack_t` in.
    StackIn,
    /// `stack_t` out.
    StackOut,
    /// `struct sigevent`.
    Sigevent,
    /// `struct mq_attr` in.
    MqAttrIn,
    /// `struct mq_attr` out.
    MqAttrOut,
    /// `struct sembuf` array; their number is argument (n).
    Sembufs(u8),
    /// `struct msgbuf` that the call reads; the length of its text is argument (n).
    MsgIn(u8),
    /// `struct msgbuf` that the call fills; the length of its text is the result.
    MsgOut,
    /// `struct timespec` in.
    TimespecIn,
    /// `struct timespec` out.
    TimespecOut,
    /// Two `struct timespec` in (utimensat).
    TimespecPairIn,
    /// `struct timeval` in.
    TimevalIn,
    /// `struct timeval` out.
    TimevalOut,
    /// `struct itimerspec` in.
    ItimerspecIn,
    /// `struct itimerspec` out.
    ItimerspecOut,
    /// `struct itimerval` in.
    ItimervalIn,
    /// `struct itimerval` out.
    ItimervalOut,
    /// `int *` in.
    IntIn,
    /// `int *` out.
    IntOut,
    /// `long *` in (offsets).
    LongIn,
    /// A 64-bit mask in.
    HexIn,
    /// A 64-bit mask out.
    HexOut,
    /// Two descriptors out.
    FdPairOut,
    /// `struct stat` out.
    StatOut,
    /// `struct statx` out.
    StatxOut,
    /// `struct rlimit` in.
    RlimitIn,
    /// `struct rlimit` out.
    RlimitOut,
    /// `struct rusage` out.
    RusageOut,
    /// wait(2) status out.
    WaitStatus,
    /// `struct utsname` out.
    Utsname,
    /// `fd_set`; the number of bits is argument (n).
    FdSet(u8),
    /// `struct pollfd` array; their number is argument (n).
    PollFds(u8),
    /// `struct epoll_event` in.
    EpollIn,
    /// `struct epoll_event` array out; their number is the result.
    EpollOut,
    /// `struct sockaddr` in; its length is argument (n).
    SockaddrIn(u8),
    /// `struct sockaddr` out; a pointer to its length is argument (n).
    SockaddrOut(u8),
    /// `struct msghdr`.
    Msghdr,
    /// Argument strings, all printed.
    Argv,
    /// Environment, only counted.
    Envp,
}

impl Arg {
    /// When the argument can be printed: before the call, or after it has been filled.
    pub(super) fn side(self) -> Side {
        use Arg::*;
        match self {
            StrOut | Out | IovOut(_) | SigsetOut | SigactionOut | SiginfoOut | StackOut | TimespecOut
            | TimevalOut | ItimerspecOut | ItimervalOut | IntOut | HexOut | FdPairOut | StatOut
            | StatxOut | RlimitOut | RusageOut | WaitStatus | Utsname | EpollOut | SockaddrOut(_)
            | MqAttrOut | MsgOut => Side::After,
            _ => Side::Before,
        }
    }
}

fn result(row: Option<&Row>, value: u64) -> String {
    /// Error numbers are the last page of the number range.
    const LARGEST_ERRNO: u64 = 4095;
    let error = value.wrapping_neg();
    if (1..=LARGEST_ERRNO).contains(&error) {
        let errno = Errno(error as u16);
        return format!("-1 {} ({})", errno.name(), errno.message());
    }
    match row.map_or(Ret::Int, |row| row.ret) {
        Ret::Int => (value as i64).to_string(),
        Ret::Hex => format!("{value:#x}"),
        Ret::Mode => format!("{value:#o}"),
    }
}

/// The call that `task` is in, with its arguments; the first descriptor with what it is.
pub(crate) fn call_in_progress(task: &Task) -> String {
    let (number, args) = registers(task);
    let Some(row) = table::row(number) else { return format!("system call {number}") };
    let printer = Printer::new(task, row, args, None);
    let texts = row.args.iter().enumerate().map(|(i, &arg)| match (arg, arg.side()) {
        (Arg::Fd, _) => descriptor(task, args.fd(i)),
        (_, Side::Before) => printer.argument(i, arg),
        (_, Side::After) => format!("{:#x}", args.u64(i)),
    });
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    format!("{}({})", row.name, texts.join(", "))
}

/// A descriptor with what it is, as strace -y prints it.
fn descriptor(task: &Task, fd: i32) -> String {
    let Ok(file) = task.files.borrow().get(fd) else { return fd.to_string() };
    let name = crate::fs::pseudo::path_of(&file.dentry, Some(task));
    format!("{fd}<{}>", String::from_utf8_lossy(&name))
}

impl Kernel {
    /// Remember what the call's arguments look like before it runs.
    pub(super) fn strace_entry(&mut self, task: &Rc<Task>) {
        let (number, args) = registers(task);
        let Some(row) = table::row(number) else { return };
        let printer = Printer::new(task, row, args, None);
        let printed = row.args.iter().enumerate().map(|(i, &arg)| match arg.side() {
            Side::Before => Some(printer.argument(i, arg)),
            Side::After => None,
        });
        let printed = printed.collect();
        self.strace_pending.insert(task.tid, (number, args, printed));
    }

    /// Print the call that ends with `value` (none: no result).
    pub(crate) fn strace_exit(&mut self, task: &Rc<Task>, value: Option<u64>) {
        if !self.strace {
            return;
        }
        let pending = self.strace_pending.remove(&task.tid);
        let Some((number, args, printed)) = pending else { return };
        let row = table::row(number);
        let mut line = self.strace_prefix(task.tid);
        match row {
            Some(row) => {
                let printer = Printer::new(task, row, args, value);
                let texts = row.args.iter().zip(printed).enumerate();
                let texts: Vec<String> = texts
                    .map(|(i, (&arg, text))| text.unwrap_or_else(|| printer.argument(i, arg)))
                    .filter(|text| !text.is_empty())
                    .collect();
                line += &format!("{}({})", row.name, texts.join(", "));
            }
            None => line += &format!("syscall_{number:#x}(…)"),
        }
        let text = match (value, row.map(|row| row.name)) {
            (Some(value), _) => result(row, value),
            (None, Some("execve" | "execveat")) => "0".to_string(),
            (None, _) => "?".to_string(),
        };
        self.ring.log(LogLevel::Strace, &format!("{line:<RESULT_COLUMN$}= {text}"));
    }

    /// Print a signal that is taken.
    pub(crate) fn strace_signal(&mut self, task: &Task, info: &SigInfo) {
        if !self.strace {
            return;
        }
        let number = name(info.signo.unsigned_abs());
        let text = super::strace_args::siginfo(info);
        let line = format!("{}--- {number} {text} ---", self.strace_prefix(task.tid));
        self.ring.log(LogLevel::Strace, &line);
    }

    /// Print the end of a process.
    pub(crate) fn strace_end(&mut self, pid: u32, status: u32) {
        if !self.strace {
            return;
        }
        self.strace_pending.remove(&pid);
        let text = match status & 0x7f {
            0 => format!("exited with {}", status >> 8 & 0xff),
            signal => format!(
                "killed by {}{}",
                name(signal),
                if status & 0x80 != 0 { " (core dumped)" } else { "" }
            ),
        };
        let line = format!("{}+++ {text} +++", self.strace_prefix(pid));
        self.ring.log(LogLevel::Strace, &line);
    }

    fn strace_prefix(&self, tid: u32) -> String {
        if self.forks == 0 { String::new() } else { format!("[pid {tid:>5}] ") }
    }
}
