//! Arguments of system calls as strace(1) prints them, by their kind in the table.
//!
//! What cannot be read is shown as its address.

use super::Args;
use super::strace::Arg;
use super::strace_ipc::mq_attr;
use super::table::Row;
use crate::abi::fcntl::{
    ACCESS, ACCESS_AT, AT, AT_FDCWD, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL,
    FD_CLOEXEC, O_ACCMODE, O_CREAT, O_RDWR, O_TMPFILE, O_WRONLY, OPEN,
};
use crate::abi::futex::{FUTEX, FUTEX_CLOCK_REALTIME, FUTEX_PRIVATE_FLAG};
use crate::abi::ioctl::IOCTL;
use crate::abi::mman::PROT;
use crate::abi::resource::{RLIM_INFINITY, Rlimit};
use crate::abi::sched::{CLONE, CSIGNAL, CloneArgs};
use crate::abi::signal::{SA, SIG_DFL, SIG_IGN, SigAction, SigInfo, StackT};
use crate::abi::socket::SOCK;
use crate::abi::stat::KernelStat;
use crate::abi::time::Timespec;
use crate::abi::{Errno, Names, event};
use crate::kernel::Task;
use crate::kernel::signal::name;
use crate::mm::Mm;
use std::rc::Rc;

/// When an argument is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The call reads it.
    Before,
    /// The call fills it.
    After,
}

/// Most bytes of a string that are shown, as strace's -s.
const STRING_MAX: usize = 32;
/// Most entries of an array that are shown.
pub(super) const ARRAY_MAX: u64 = 16;

/// Prints the arguments of one call.
pub(super) struct Printer<'a> {
    mm: Rc<Mm>,
    row: &'a Row,
    args: Args,
    /// The result, once there is one.
    value: Option<u64>,
}

/// Bits by name, the rest in hexadecimal.
pub(super) fn flags(bits: u64, names: Names) -> String {
    let mut left = bits;
    let mut parts = Vec::new();
    for &(bit, text) in names {
        if bit != 0 && left & bit == bit {
            parts.push(text.to_string());
            left &= !bit;
        }
    }
    if left != 0 || parts.is_empty() {
        parts.push(if left == 0 { "0".into() } else { format!("{left:#x}") });
    }
    parts.join("|")
}

fn one_of(value: u64, names: Names) -> String {
    let known = names.iter().find(|known| known.0 == value || known.0 as u32 == value as u32);
    known.map_or_else(|| format!("{value:#x}"), |known| known.1.to_string())
}

/// Bytes in double quotes, with an ellipsis when there are more.
pub(super) fn quoted(bytes: &[u8], more: bool) -> String {
    let mut text = String::from("\"");
    let shown = &bytes[..bytes.len().min(STRING_MAX)];
    for (i, &byte) in shown.iter().enumerate() {
        let next_is_digit = shown.get(i + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'"' => text += "\\\"",
            b'\\' => text += "\\\\",
            b'\n' => text += "\\n",
            b'\r' => text += "\\r",
            b'\t' => text += "\\t",
            0x0b => text += "\\v",
            0x0c => text += "\\f",
            b' '..=b'~' => text.push(char::from(byte)),
            _ if next_is_digit => text += &format!("\\{byte:03o}"),
            _ => text += &format!("\\{byte:o}"),
        }
    }
    text.push('"');
    if more || bytes.len() > STRING_MAX {
        text += "...";
    }
    text
}

/// `siginfo_t` by its code.
pub(super) fn siginfo(info: &SigInfo) -> String {
    let number = name(info.signo.unsigned_abs());
    let head = format!("{{si_signo={number}, si_code={}", info.code);
    let rest = match (info.code, info.signo) {
        (1..=6, 17) => format!(", si_pid={}, si_status={}", info.pid(), info.fields[1] as u32),
        (1..=6, _) => format!(", si_addr={:#x}", info.fields[0]),
        (0 | -6 | -1, _) => format!(", si_pid={}, si_uid={}", info.pid(), info.fields[0] >> 32),
        _ => String::new(),
    };
    format!("{head}{rest}}}")
}

fn sigset(set: u64) -> String {
    let names = |set: u64| {
        let list: Vec<String> = (1..=64u32).filter(|n| set >> (n - 1) & 1 != 0).map(short_name).collect();
        list.join(" ")
    };
    if set.count_ones() > 32 { format!("~[{}]", names(!set)) } else { format!("[{}]", names(set)) }
}

fn short_name(number: u32) -> String {
    name(number).trim_start_matches("SIG").to_string()
}

fn mode(bits: u64) -> String {
    format!("0{bits:03o}")
}

impl Printer<'_> {
    pub(super) fn new<'a>(task: &Task, row: &'a Row, args: Args, value: Option<u64>) -> Printer<'a> {
        Printer { mm: Rc::clone(&task.mm.borrow()), row, args, value }
    }

    pub(super) fn read<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&self, addr: u64) -> Option<T> {
        let mut value = T::new_zeroed();
        self.mm.copy_in(addr, value.as_mut_bytes()).ok()?;
        Some(value)
    }

    /// What `show` makes of the struct at `addr`, or the address.
    pub(super) fn structure<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
        &self,
        addr: u64,
        show: impl Fn(T) -> String,
    ) -> String {
        self.read(addr).map_or_else(|| pointer(addr), show)
    }

    pub(super) fn bytes(&self, addr: u64, len: u64) -> String {
        let shown = len.min(STRING_MAX as u64 + 1) as usize;
        let mut bytes = vec![0; shown];
        match self.mm.copy_in(addr, &mut bytes) {
            Ok(()) => quoted(&bytes, len > STRING_MAX as u64),
            Err(_) => pointer(addr),
        }
    }

    fn string(&self, addr: u64, max: usize) -> String {
        match self.mm.read_cstr(addr, 4096, Errno::ENAMETOOLONG) {
            Ok(text) if text.len() > max => quoted(&text[..max], true),
            // Paths are shown whole, as strace does.
            Ok(text) if max > STRING_MAX => {
                let parts: String = text
                    .chunks(STRING_MAX)
                    .map(|part| {
                        let part = quoted(part, false);
                        part[1..part.len() - 1].to_string()
                    })
                    .collect();
                format!("\"{parts}\"")
            }
            Ok(text) => quoted(&text, false),
            Err(_) => pointer(addr),
        }
    }

    fn failed(&self) -> bool {
        self.value.is_none_or(|value| value > u64::MAX - 4096)
    }

    fn strings(&self, addr: u64, show: bool) -> String {
        let mut texts = Vec::new();
        for i in 0..4096 {
            let Some(text) = self.read::<u64>(addr.wrapping_add(i * 8)) else { return pointer(addr) };
            if text == 0 {
                break;
            }
            texts.push(if show && i < ARRAY_MAX * 2 { self.string(text, STRING_MAX) } else { String::new() });
        }
        if !show {
            return format!("{addr:#x} /* {} var{} */", texts.len(), if texts.len() == 1 { "" } else { "s" });
        }
        format!("[{}]", texts.join(", "))
    }

    fn iovec(&self, addr: u64, count: u64, limit: u64) -> String {
        let mut left = limit;
        let mut parts = Vec::new();
        for i in 0..count.min(ARRAY_MAX) {
            let Some([base, len]) = self.read::<[u64; 2]>(addr.wrapping_add(i * 16)) else {
                return pointer(addr);
            };
            let shown = len.min(left);
            left -= shown;
            parts.push(format!("{{iov_base={}, iov_len={len}}}", self.bytes(base, shown)));
        }
        format!("[{}{}]", parts.join(", "), if count > ARRAY_MAX { ", ..." } else { "" })
    }

    fn pollfds(&self, addr: u64, count: u64) -> String {
        let mut parts = Vec::new();
        for i in 0..count.min(ARRAY_MAX) {
            let Some([fd, events]) = self.read::<[u32; 2]>(addr.wrapping_add(i * 8)) else {
                return pointer(addr);
            };
            let events = flags(u64::from(events & 0xffff), event::POLL_EVENTS);
            parts.push(format!("{{fd={}, events={events}}}", fd as i32));
        }
        format!("[{}]", parts.join(", "))
    }

    fn fd_set(&self, addr: u64, count: u64) -> String {
        let mut fds = Vec::new();
        for word in 0..count.min(1024).div_ceil(64) {
            let Some(bits) = self.read::<u64>(addr.wrapping_add(word * 8)) else { return pointer(addr) };
            fds.extend((0..64).filter(|b| bits >> b & 1 != 0).map(|b| (word * 64 + b).to_string()));
        }
        format!("[{}]", fds.join(" "))
    }

    fn epoll_events(&self, addr: u64, count: u64) -> String {
        let one = |i: u64| -> Option<String> {
            let [events, data] = self.read::<[u64; 2]>(addr.wrapping_add(i * 16))?;
            Some(format!("{{events={}, data={data:#x}}}", flags(events & 0xffff_ffff, event::EPOLL_EVENTS)))
        };
        let parts: Option<Vec<String>> = (0..count.min(ARRAY_MAX)).map(one).collect();
        parts.map_or_else(|| pointer(addr), |parts| format!("[{}]", parts.join(", ")))
    }

    fn sockaddr(&self, addr: u64, len: u64) -> String {
        let mut bytes = vec![0; len.min(128) as usize];
        if bytes.len() < 2 || self.mm.copy_in(addr, &mut bytes).is_err() {
            return pointer(addr);
        }
        match (bytes[0], bytes.len()) {
            (1, _) => {
                let path = &bytes[2..];
                let end = path.iter().skip(1).position(|&b| b == 0).map_or(path.len(), |at| at + 1);
                let shown = match path.first() {
                    Some(0) => format!("@{}", quoted(&path[1..], false)),
                    _ => quoted(&path[..end.min(path.len())], false),
                };
                format!("{{sa_family=AF_UNIX, sun_path={shown}}}")
            }
            (2, 8..) => {
                let port = u16::from_be_bytes([bytes[2], bytes[3]]);
                let [a, b, c, d] = [bytes[4], bytes[5], bytes[6], bytes[7]];
                format!(
                    "{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")}}"
                )
            }
            (family, _) => {
                format!("{{sa_family={}, ...}}", one_of(u64::from(family), crate::abi::socket::AF))
            }
        }
    }

    /// Argument `i` of kind `arg`; empty when it is not shown.
    pub(super) fn argument(&self, i: usize, arg: Arg) -> String {
        let value = self.args.u64(i);
        if let Some(text) = self.number(i, arg) {
            return text;
        }
        if value == 0 {
            return "NULL".into();
        }
        // What a failed call would have filled holds nothing.
        let filled = arg_is_out(arg);
        if filled && self.failed() {
            return pointer(value);
        }
        self.memory(value, arg)
    }

    /// Arguments that are no addresses.
    fn number(&self, i: usize, arg: Arg) -> Option<String> {
        let (value, args) = (self.args.u64(i), self.args);
        Some(match arg {
            Arg::Int | Arg::Fd => args.i32(i).to_string(),
            Arg::Uint => args.u32(i).to_string(),
            Arg::Long => args.i64(i).to_string(),
            Arg::Ulong => value.to_string(),
            Arg::Hex => format!("{value:#x}"),
            Arg::Id => {
                if args.u32(i) == u32::MAX {
                    "-1".into()
                } else {
                    args.u32(i).to_string()
                }
            }
            Arg::Mode => mode(value & 0o177777),
            Arg::Dev => format!(
                "makedev({:#x}, {:#x})",
                crate::abi::stat::major(value),
                crate::abi::stat::minor(value)
            ),
            Arg::Ptr => {
                if value == 0 {
                    "NULL".into()
                } else {
                    pointer(value)
                }
            }
            Arg::DirFd if args.i32(i) == AT_FDCWD => "AT_FDCWD".into(),
            Arg::DirFd => args.i32(i).to_string(),
            Arg::Flags(names) => flags(value, names),
            Arg::OneOf(names) => one_of(value, names),
            Arg::Open => open_flags(args.u32(i)),
            Arg::OpenMode => {
                let creates = args.u32(i - 1) & (O_CREAT | (O_TMPFILE & !0o200000)) != 0;
                if creates { mode(value & 0o7777) } else { String::new() }
            }
            Arg::Access => {
                if value == 0 {
                    "F_OK".into()
                } else {
                    flags(value, ACCESS)
                }
            }
            Arg::AccessFlags => {
                let rest = value & !0x200;
                let eaccess = flags(value & 0x200, ACCESS_AT);
                match (value & 0x200, rest) {
                    (0, _) => flags(rest, AT),
                    (_, 0) => eaccess,
                    _ => format!("{eaccess}|{}", flags(rest, AT)),
                }
            }
            Arg::Prot => {
                if value == 0 {
                    "PROT_NONE".into()
                } else {
                    flags(value, PROT)
                }
            }
            Arg::FcntlArg => match args.u32(1) {
                F_GETFD | F_GETFL => String::new(),
                F_SETFD => {
                    if value as u32 & FD_CLOEXEC != 0 {
                        "FD_CLOEXEC".into()
                    } else {
                        "0".into()
                    }
                }
                F_SETFL => open_flags(value as u32),
                F_DUPFD | F_DUPFD_CLOEXEC => args.i32(i).to_string(),
                _ => format!("{value:#x}"),
            },
            Arg::Ioctl => one_of(value & 0xffff_ffff, IOCTL),
            Arg::CloneFlags => {
                let signal = value & CSIGNAL;
                let bits = value & !CSIGNAL & 0xffff_ffff;
                match (bits, signal) {
                    (0, 0) => "0".into(),
                    (0, _) => name(signal as u32),
                    (_, 0) => flags(bits, CLONE),
                    _ => format!("{}|{}", flags(bits, CLONE), name(signal as u32)),
                }
            }
            Arg::FutexOp => {
                let command = value & !u64::from(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) & 0xffff_ffff;
                let private = if value as u32 & FUTEX_PRIVATE_FLAG != 0 { "_PRIVATE" } else { "" };
                let clock =
                    if value as u32 & FUTEX_CLOCK_REALTIME != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
                format!("{}{private}{clock}", one_of(command, FUTEX))
            }
            // Wait operations have a time here, the others a count.
            Arg::FutexTimeout if !matches!(args.u32(1) & 0x7f, 0 | 6 | 9 | 11 | 13) => value.to_string(),
            Arg::SockType => {
                let kind = one_of(value & 15, SOCK);
                match value & !15 {
                    0 => kind,
                    bits => format!("{kind}|{}", socket_flags(bits)),
                }
            }
            Arg::SockFlags => socket_flags(value),
            Arg::Signal => name(args.u32(i)),
            _ => return None,
        })
    }

    /// Arguments that are addresses of something.
    fn memory(&self, addr: u64, arg: Arg) -> String {
        let result = self.value.unwrap_or(0);
        let time = |t: Timespec| format!("{{tv_sec={}, tv_nsec={}}}", t.sec, t.nsec);
        let timeval = |t: Timespec| format!("{{tv_sec={}, tv_usec={}}}", t.sec, t.nsec);
        let pair = |show: &dyn Fn(Timespec) -> String, [a, b]: [Timespec; 2]| {
            format!("{{it_interval={}, it_value={}}}", show(a), show(b))
        };
        match arg {
            Arg::Path => self.string(addr, 4096),
            Arg::Str | Arg::StrOut => self.string(addr, STRING_MAX),
            Arg::In(n) => self.bytes(addr, self.args.u64(usize::from(n))),
            Arg::Out => self.bytes(addr, result),
            Arg::IovIn(n) => self.iovec(addr, self.args.u64(usize::from(n)), u64::MAX),
            Arg::IovOut(n) => self.iovec(addr, self.args.u64(usize::from(n)), result),
            Arg::CloneArgs => self.structure(addr, |a: CloneArgs| {
                let signal = name(a.exit_signal as u32);
                format!(
                    "{{flags={}, exit_signal={signal}, stack={:#x}, stack_size={:#x}}}",
                    flags(a.flags, CLONE),
                    a.stack,
                    a.stack_size
                )
            }),
            Arg::FutexTimeout | Arg::TimespecIn | Arg::TimespecOut => self.structure(addr, time),
            Arg::TimespecPairIn => {
                self.structure(addr, |[a, b]: [Timespec; 2]| format!("[{}, {}]", time(a), time(b)))
            }
            Arg::TimevalIn | Arg::TimevalOut => self.structure(addr, timeval),
            Arg::ItimerspecIn | Arg::ItimerspecOut => self.structure(addr, |p| pair(&time, p)),
            Arg::ItimervalIn | Arg::ItimervalOut => self.structure(addr, |p| pair(&timeval, p)),
            Arg::SigsetIn | Arg::SigsetOut => self.structure(addr, sigset),
            Arg::SigactionIn | Arg::SigactionOut => self.structure(addr, |a: SigAction| {
                let handler = match a.handler {
                    SIG_DFL => "SIG_DFL".into(),
                    SIG_IGN => "SIG_IGN".into(),
                    handler => pointer(handler),
                };
                format!(
                    "{{sa_handler={handler}, sa_mask={}, sa_flags={}}}",
                    sigset(a.mask),
                    flags(a.flags, SA)
                )
            }),
            Arg::SiginfoIn | Arg::SiginfoOut => self.structure(addr, |info: SigInfo| siginfo(&info)),
            Arg::StackIn | Arg::StackOut => self.structure(addr, |s: StackT| {
                format!(
                    "{{ss_sp={:#x}, ss_flags={}, ss_size={}}}",
                    s.sp,
                    flags(u64::from(s.flags), crate::abi::signal::SS),
                    s.size
                )
            }),
            Arg::IntIn | Arg::IntOut => self.structure(addr, |n: i32| format!("[{n}]")),
            Arg::LongIn => self.structure(addr, |n: i64| format!("[{n}]")),
            Arg::HexIn | Arg::HexOut => self.structure(addr, |n: u64| format!("[{n:#x}]")),
            Arg::FdPairOut => self.structure(addr, |[a, b]: [i32; 2]| format!("[{a}, {b}]")),
            Arg::StatOut => self.structure(addr, |s: KernelStat| {
                format!("{{st_mode={:#o}, st_size={}, ...}}", s.st_mode, s.st_size)
            }),
            Arg::RlimitIn | Arg::RlimitOut => self.structure(addr, |l: Rlimit| {
                let show = |n: u64| if n == RLIM_INFINITY { "RLIM64_INFINITY".into() } else { n.to_string() };
                format!("{{rlim_cur={}, rlim_max={}}}", show(l.cur), show(l.max))
            }),
            Arg::WaitStatus => self.structure(addr, |s: u32| wait_status(s)),
            Arg::Utsname => "{sysname=\"Linux\", ...}".into(),
            Arg::FdSet(n) => self.fd_set(addr, self.args.u64(usize::from(n))),
            Arg::PollFds(n) => self.pollfds(addr, self.args.u64(usize::from(n))),
            Arg::EpollIn => {
                let list = self.epoll_events(addr, 1);
                list.trim_start_matches('[').trim_end_matches(']').to_string()
            }
            Arg::EpollOut => self.epoll_events(addr, result),
            Arg::SockaddrIn(n) => self.sockaddr(addr, self.args.u64(usize::from(n)) & 0xffff_ffff),
            Arg::SockaddrOut(n) => {
                let len = self.read::<u32>(self.args.u64(usize::from(n))).unwrap_or(0);
                self.sockaddr(addr, u64::from(len))
            }
            Arg::Msghdr => self.structure(addr, |m: [u64; 7]| {
                format!(
                    "{{msg_iov={}, msg_iovlen={}, msg_controllen={}}}",
                    self.iovec(m[2], m[3], u64::MAX),
                    m[3],
                    m[5]
                )
            }),
            Arg::MqAttrIn | Arg::MqAttrOut => self.structure(addr, mq_attr),
            Arg::Sembufs(n) => self.sembufs(addr, self.args.u64(usize::from(n))),
            Arg::MsgIn(n) => self.msgbuf(addr, self.args.u64(usize::from(n))),
            Arg::MsgOut => self.msgbuf(addr, result),
            Arg::Argv => self.strings(addr, true),
            Arg::Envp => self.strings(addr, false),
            _ => {
                debug_assert!(self.row.args.len() <= 6);
                pointer(addr)
            }
        }
    }
}

fn arg_is_out(arg: Arg) -> bool {
    arg.side() == Side::After
}

pub(super) fn pointer(addr: u64) -> String {
    format!("{addr:#x}")
}

fn open_flags(bits: u32) -> String {
    let access = match bits & O_ACCMODE {
        O_WRONLY => "O_WRONLY",
        O_RDWR => "O_RDWR",
        _ => "O_RDONLY",
    };
    match u64::from(bits & !O_ACCMODE) {
        0 => access.to_string(),
        rest => format!("{access}|{}", flags(rest, OPEN)),
    }
}

fn socket_flags(bits: u64) -> String {
    const FLAGS: u64 = 0o2004000;
    let named: Vec<&str> = SOCK.iter().filter(|k| k.0 & FLAGS != 0 && bits & k.0 != 0).map(|k| k.1).collect();
    if bits & !FLAGS != 0 || named.is_empty() {
        if bits == 0 { "0".into() } else { format!("{bits:#x}") }
    } else {
        named.join("|")
    }
}

fn wait_status(status: u32) -> String {
    match (status, status & 0x7f) {
        (0xffff, _) => "[{WIFCONTINUED(s)}]".into(),
        (_, 0x7f) => format!("[{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}]", name(status >> 8 & 0xff)),
        (_, 0) => format!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}]", status >> 8 & 0xff),
        (_, signal) => {
            let core = if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
            format!("[{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}]", name(signal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_cut_as_strace_does() {
        assert_eq!(quoted(b"a\"b\n\x01z\x011", false), r#""a\"b\n\1z\0011""#);
        assert_eq!(quoted(&[b'x'; 40], false), format!("\"{}\"...", "x".repeat(32)));
    }

    #[test]
    fn flags_by_name() {
        assert_eq!(open_flags(0o2000000), "O_RDONLY|O_CLOEXEC");
        assert_eq!(open_flags(0o1101), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(flags(0x1_0000_0000, CLONE), "CLONE_CLEAR_SIGHAND");
        assert_eq!(flags(3, PROT), "PROT_READ|PROT_WRITE");
        assert_eq!(sigset(1 << 16 | 1 << 1), "[INT CHLD]");
        assert_eq!(wait_status(0x300), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]");
        assert_eq!(wait_status(11), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV}]");
        assert_eq!(socket_flags(0o2000000), "SOCK_CLOEXEC");
    }
}
