//! The table of system calls: every riscv64 number through Linux 6.12, once.
//!
//! A row is `number name(argument kinds) -> result kind = support;`. Dispatch,
//! `--strace` and docs/SYSCALLS.md are derived from it. To add a system call,
//! write its handler in the file of its family and change its row's support.
//! Numbers: `include/uapi/asm-generic/unistd.h` as riscv64 uses it (no
//! renameat, no 32-bit time calls).

use super::strace::Arg::{self, *};
use super::{Args, SysResult, sys_event, sys_exec, sys_pipe, sys_poll};
use super::{
    sys_copy, sys_dir, sys_file, sys_lock, sys_memfd, sys_mm, sys_mount, sys_rw, sys_socket, sys_stat,
    sys_xattr,
};
use super::{
    sys_cred, sys_futex, sys_mqueue, sys_msg, sys_process, sys_process_vm, sys_sched, sys_sem, sys_shm,
    sys_signal, sys_system, sys_time,
};
use crate::abi::{Errno, event, fcntl, mman, mount, prctl, resource, sched, signal, socket, time, wait};
use crate::kernel::Ctx;

/// What implements a system call.
pub type Handler = fn(&mut Ctx<'_>, Args) -> SysResult;

/// How well a system call works.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// As Linux does it.
    Full(Handler),
    /// Works, but for what the note says.
    Partial(Handler, &'static str),
    /// Always this error, on purpose: why.
    Refused(Errno, &'static str),
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// A decimal number.
    Int,
    /// An address or a mask.
    Hex,
    /// A file mode.
    Mode,
}

/// One system call.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number.
    pub number: u16,
    /// Its name, as strace prints it.
    pub name: &'static str,
    /// What its arguments are.
    pub args: &'static [Arg],
    /// What its result is.
    pub ret: Ret,
    /// What implements it.
    pub support: Support,
}

macro_rules! rows {
    (@ret) => { Ret::Int };
    (@ret $ret:ident) => { Ret::$ret };
    ($($number:literal $name:ident($($arg:expr),*) $(-> $ret:ident)? = $support:expr;)*) => {
        /// All system calls, ascending by number.
        pub static TABLE: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            args: &[$($arg),*],
            ret: rows!(@ret $($ret)?),
            support: $support,
        }),*];
    };
}

use Support::{Full, Partial, Refused};

const AIO: Support = Refused(Errno::ENOSYS, "kernel AIO; programs fall back to threads");
const KEYS: Support = Refused(Errno::ENOSYS, "no kernel key rings");
const MODULES: Support = Refused(Errno::EPERM, "no kernel to load code into");
const NUMA: Support = Refused(Errno::ENOSYS, "one memory node (CONFIG_NUMA)");
const PKEYS: Support = Refused(Errno::ENOSYS, "riscv64 has no memory protection keys");
const URING: Support = Refused(Errno::ENOSYS, "io_uring; programs fall back to epoll");
const LANDLOCK: Support = Refused(Errno::EOPNOTSUPP, "Landlock is not enabled");
const LSM: Support = Refused(Errno::ENOSYS, "no Linux security modules");
const FANOTIFY: Support = Refused(Errno::ENOSYS, "fanotify needs a host administrator");
const NEW_MOUNT: Support = Refused(Errno::ENOSYS, "new mount interface; mount(8) falls back to mount(2)");
const QUOTA: Support = Refused(Errno::ENOSYS, "no quotas");
const SWAP: Support = Refused(Errno::EPERM, "no swap");
const PTRACE: Support = Refused(Errno::EPERM, "no tracing of other processes");
const HANDLES: Support = Refused(Errno::EOPNOTSUPP, "no file handles");
const SETTIME: Support = Refused(Errno::EPERM, "the clock is the host's");

rows! {
    0 io_setup(Uint, Ptr) = AIO;
    1 io_destroy(Ulong) = AIO;
    2 io_submit(Ulong, Long, Ptr) = AIO;
    3 io_cancel(Ulong, Ptr, Ptr) = AIO;
    4 io_getevents(Ulong, Long, Long, Ptr, TimespecIn) = AIO;
    5 setxattr(Path, Str, In(3), Ulong, Flags(fcntl::XATTR)) = Full(sys_xattr::setxattr);
    6 lsetxattr(Path, Str, In(3), Ulong, Flags(fcntl::XATTR)) = Full(sys_xattr::lsetxattr);
    7 fsetxattr(Fd, Str, In(3), Ulong, Flags(fcntl::XATTR)) = Full(sys_xattr::fsetxattr);
    8 getxattr(Path, Str, Out, Ulong) = Full(sys_xattr::getxattr);
    9 lgetxattr(Path, Str, Out, Ulong) = Full(sys_xattr::lgetxattr);
    10 fgetxattr(Fd, Str, Out, Ulong) = Full(sys_xattr::fgetxattr);
    11 listxattr(Path, Out, Ulong) = Full(sys_xattr::listxattr);
    12 llistxattr(Path, Out, Ulong) = Full(sys_xattr::llistxattr);
    13 flistxattr(Fd, Out, Ulong) = Full(sys_xattr::flistxattr);
    14 removexattr(Path, Str) = Full(sys_xattr::removexattr);
    15 lremovexattr(Path, Str) = Full(sys_xattr::lremovexattr);
    16 fremovexattr(Fd, Str) = Full(sys_xattr::fremovexattr);
    17 getcwd(StrOut, Ulong) = Full(sys_dir::getcwd);
    18 lookup_dcookie(Ulong, Ptr, Ulong) = Refused(Errno::ENOSYS, "removed in Linux 6.8");
    19 eventfd2(Uint, Flags(event::EVENTFD)) = Full(sys_event::eventfd2);
    20 epoll_create1(Flags(event::EPOLL_CREATE)) = Full(sys_poll::epoll_create1);
    21 epoll_ctl(Fd, OneOf(event::EPOLL_OP), Fd, EpollIn) = Full(sys_poll::epoll_ctl);
    22 epoll_pwait(Fd, EpollOut, Int, Int, SigsetIn, Ulong) = Full(sys_poll::epoll_pwait);
    23 dup(Fd) = Full(sys_file::dup);
    24 dup3(Fd, Fd, Flags(fcntl::OPEN)) = Full(sys_file::dup3);
    25 fcntl(Fd, OneOf(fcntl::FCNTL), FcntlArg) = Partial(sys_file::fcntl, "no leases, no dnotify; SIGIO for input only");
    26 inotify_init1(Flags(event::INOTIFY_INIT)) = Full(sys_event::inotify_init1);
    27 inotify_add_watch(Fd, Path, Flags(event::INOTIFY)) = Full(sys_event::inotify_add_watch);
    28 inotify_rm_watch(Fd, Int) = Full(sys_event::inotify_rm_watch);
    29 ioctl(Fd, Ioctl, Ptr) = Full(sys_file::ioctl);
    30 ioprio_set(Int, Int, Hex) = Partial(sys_sched::ioprio_set, "accepted, without effect");
    31 ioprio_get(Int, Int) -> Hex = Partial(sys_sched::ioprio_get, "always the default");
    32 flock(Fd, Flags(fcntl::FLOCK)) = Full(sys_lock::flock);
    33 mknodat(DirFd, Path, Mode, Dev) = Full(sys_dir::mknodat);
    34 mkdirat(DirFd, Path, Mode) = Full(sys_dir::mkdirat);
    35 unlinkat(DirFd, Path, Flags(fcntl::AT)) = Full(sys_dir::unlinkat);
    36 symlinkat(Path, DirFd, Path) = Full(sys_dir::symlinkat);
    37 linkat(DirFd, Path, DirFd, Path, Flags(fcntl::AT)) = Full(sys_dir::linkat);
    39 umount2(Path, Flags(mount::UMOUNT)) = Full(sys_mount::umount2);
    40 mount(Str, Path, Str, Flags(mount::MOUNT), Str) = Partial(sys_mount::mount, "file systems without a device, bind and moved mounts");
    41 pivot_root(Path, Path) = Refused(Errno::EPERM, "one mount namespace, whose root is the image");
    42 nfsservctl(Int, Ptr, Ptr) = Refused(Errno::ENOSYS, "removed in Linux 3.1");
    43 statfs(Path, Ptr) = Full(sys_stat::statfs);
    44 fstatfs(Fd, Ptr) = Full(sys_stat::fstatfs);
    45 truncate(Path, Long) = Full(sys_stat::truncate);
    46 ftruncate(Fd, Long) = Full(sys_rw::ftruncate);
    47 fallocate(Fd, Flags(fcntl::FALLOC), Long, Long) = Full(sys_rw::fallocate);
    48 faccessat(DirFd, Path, Access) = Full(sys_stat::faccessat);
    49 chdir(Path) = Full(sys_dir::chdir);
    50 fchdir(Fd) = Full(sys_dir::fchdir);
    51 chroot(Path) = Full(sys_dir::chroot);
    52 fchmod(Fd, Mode) = Full(sys_stat::fchmod);
    53 fchmodat(DirFd, Path, Mode) = Full(sys_stat::fchmodat);
    54 fchownat(DirFd, Path, Id, Id, Flags(fcntl::AT)) = Full(sys_stat::fchownat);
    55 fchown(Fd, Id, Id) = Full(sys_stat::fchown);
    56 openat(DirFd, Path, Open, OpenMode) = Full(sys_file::openat);
    57 close(Fd) = Full(sys_file::close);
    58 vhangup() = Refused(Errno::EPERM, "needs CAP_SYS_TTY_CONFIG");
    59 pipe2(FdPairOut, Flags(fcntl::OPEN)) = Full(sys_pipe::pipe2);
    60 quotactl(Hex, Path, Int, Ptr) = QUOTA;
    61 getdents64(Fd, Ptr, Ulong) = Full(sys_dir::getdents64);
    62 lseek(Fd, Long, OneOf(fcntl::SEEK)) = Full(sys_rw::lseek);
    63 read(Fd, Out, Ulong) = Full(sys_rw::read);
    64 write(Fd, In(2), Ulong) = Full(sys_rw::write);
    65 readv(Fd, IovOut(2), Int) = Full(sys_rw::readv);
    66 writev(Fd, IovIn(2), Int) = Full(sys_rw::writev);
    67 pread64(Fd, Out, Ulong, Long) = Full(sys_rw::pread64);
    68 pwrite64(Fd, In(2), Ulong, Long) = Full(sys_rw::pwrite64);
    69 preadv(Fd, IovOut(2), Int, Long, Long) = Full(sys_rw::preadv);
    70 pwritev(Fd, IovIn(2), Int, Long, Long) = Full(sys_rw::pwritev);
    71 sendfile(Fd, Fd, LongIn, Ulong) = Full(sys_copy::sendfile);
    72 pselect6(Int, FdSet(0), FdSet(0), FdSet(0), TimespecIn, Ptr) = Full(sys_poll::pselect6);
    73 ppoll(PollFds(1), Uint, TimespecIn, SigsetIn, Ulong) = Full(sys_poll::ppoll);
    74 signalfd4(Fd, SigsetIn, Ulong, Flags(event::SIGNALFD)) = Full(sys_event::signalfd4);
    75 vmsplice(Fd, IovIn(2), Ulong, Flags(fcntl::SPLICE)) = Full(sys_copy::vmsplice);
    76 splice(Fd, LongIn, Fd, LongIn, Ulong, Flags(fcntl::SPLICE)) = Full(sys_copy::splice);
    77 tee(Fd, Fd, Ulong, Flags(fcntl::SPLICE)) = Full(sys_copy::tee);
    78 readlinkat(DirFd, Path, Out, Ulong) = Full(sys_dir::readlinkat);
    79 newfstatat(DirFd, Path, StatOut, Flags(fcntl::AT)) = Full(sys_stat::newfstatat);
    80 fstat(Fd, StatOut) = Full(sys_stat::fstat);
    81 sync() = Full(sys_rw::sync);
    82 fsync(Fd) = Full(sys_rw::fsync);
    83 fdatasync(Fd) = Full(sys_rw::fsync);
    84 sync_file_range(Fd, Long, Long, Flags(fcntl::SYNC_RANGE)) = Full(sys_rw::sync_file_range);
    85 timerfd_create(OneOf(time::CLOCK), Flags(event::TIMERFD)) = Full(sys_event::timerfd_create);
    86 timerfd_settime(Fd, Flags(event::TIMERFD_SET), ItimerspecIn, ItimerspecOut) = Full(sys_event::timerfd_settime);
    87 timerfd_gettime(Fd, ItimerspecOut) = Full(sys_event::timerfd_gettime);
    88 utimensat(DirFd, Path, TimespecPairIn, Flags(fcntl::AT)) = Full(sys_stat::utimensat);
    89 acct(Path) = Refused(Errno::EPERM, "no process accounting");
    90 capget(Ptr, Ptr) = Full(sys_cred::capget);
    91 capset(Ptr, Ptr) = Full(sys_cred::capset);
    92 personality(Hex) -> Hex = Full(sys_process::personality);
    93 exit(Int) = Full(sys_process::exit);
    94 exit_group(Int) = Full(sys_process::exit_group);
    95 waitid(OneOf(wait::IDTYPE), Int, SiginfoOut, Flags(wait::WAIT), RusageOut) = Full(sys_process::waitid);
    96 set_tid_address(Ptr) = Full(sys_process::set_tid_address);
    97 unshare(Flags(sched::CLONE)) = Partial(sys_process::unshare, "of namespaces only UTS (others EPERM)");
    98 futex(Ptr, FutexOp, Uint, FutexTimeout, Ptr, Hex) = Partial(sys_futex::futex, "nobody inherits a priority; no FUTEX_WAIT_REQUEUE_PI (ENOSYS)");
    99 set_robust_list(Ptr, Ulong) = Full(sys_futex::set_robust_list);
    100 get_robust_list(Int, Ptr, Ptr) = Full(sys_futex::get_robust_list);
    101 nanosleep(TimespecIn, TimespecOut) = Full(sys_time::nanosleep);
    102 getitimer(OneOf(time::ITIMER), ItimervalOut) = Full(sys_time::getitimer);
    103 setitimer(OneOf(time::ITIMER), ItimervalIn, ItimervalOut) = Full(sys_time::setitimer);
    104 kexec_load(Hex, Ulong, Ptr, Hex) = MODULES;
    105 init_module(Ptr, Ulong, Str) = MODULES;
    106 delete_module(Str, Hex) = MODULES;
    107 timer_create(OneOf(time::CLOCK), Sigevent, IntOut) = Full(sys_time::timer_create);
    108 timer_gettime(Int, ItimerspecOut) = Full(sys_time::timer_gettime);
    109 timer_getoverrun(Int) = Full(sys_time::timer_getoverrun);
    110 timer_settime(Int, Flags(time::TIMER), ItimerspecIn, ItimerspecOut) = Full(sys_time::timer_settime);
    111 timer_delete(Int) = Full(sys_time::timer_delete);
    112 clock_settime(OneOf(time::CLOCK), TimespecIn) = SETTIME;
    113 clock_gettime(OneOf(time::CLOCK), TimespecOut) = Full(sys_time::clock_gettime);
    114 clock_getres(OneOf(time::CLOCK), TimespecOut) = Full(sys_time::clock_getres);
    115 clock_nanosleep(OneOf(time::CLOCK), Flags(time::TIMER), TimespecIn, TimespecOut) = Full(sys_time::clock_nanosleep);
    116 syslog(Int, Ptr, Int) = Partial(sys_system::syslog, "an empty log");
    117 ptrace(Int, Int, Ptr, Ptr) = PTRACE;
    118 sched_setparam(Int, IntIn) = Full(sys_sched::sched_setparam);
    119 sched_setscheduler(Int, OneOf(sched::POLICY), IntIn) = Partial(sys_sched::sched_setscheduler, "kept and reported; all policies share one fair queue");
    120 sched_getscheduler(Int) = Full(sys_sched::sched_getscheduler);
    121 sched_getparam(Int, IntOut) = Full(sys_sched::sched_getparam);
    122 sched_setaffinity(Int, Ulong, HexIn) = Full(sys_sched::sched_setaffinity);
    123 sched_getaffinity(Int, Ulong, HexOut) = Full(sys_sched::sched_getaffinity);
    124 sched_yield() = Full(sys_sched::sched_yield);
    125 sched_get_priority_max(OneOf(sched::POLICY)) = Full(sys_sched::sched_get_priority_max);
    126 sched_get_priority_min(OneOf(sched::POLICY)) = Full(sys_sched::sched_get_priority_min);
    127 sched_rr_get_interval(Int, TimespecOut) = Full(sys_sched::sched_rr_get_interval);
    128 restart_syscall() = Full(sys_signal::restart_syscall);
    129 kill(Int, Signal) = Full(sys_signal::kill);
    130 tkill(Int, Signal) = Full(sys_signal::tkill);
    131 tgkill(Int, Int, Signal) = Full(sys_signal::tgkill);
    132 sigaltstack(StackIn, StackOut) = Full(sys_signal::sigaltstack);
    133 rt_sigsuspend(SigsetIn, Ulong) = Full(sys_signal::rt_sigsuspend);
    134 rt_sigaction(Signal, SigactionIn, SigactionOut, Ulong) = Full(sys_signal::rt_sigaction);
    135 rt_sigprocmask(OneOf(signal::SIGPROCMASK), SigsetIn, SigsetOut, Ulong) = Full(sys_signal::rt_sigprocmask);
    136 rt_sigpending(SigsetOut, Ulong) = Full(sys_signal::rt_sigpending);
    137 rt_sigtimedwait(SigsetIn, SiginfoOut, TimespecIn, Ulong) = Full(sys_signal::rt_sigtimedwait);
    138 rt_sigqueueinfo(Int, Signal, SiginfoIn) = Full(sys_signal::rt_sigqueueinfo);
    139 rt_sigreturn() = Full(sys_signal::rt_sigreturn);
    140 setpriority(OneOf(resource::PRIO), Int, Int) = Full(sys_process::setpriority);
    141 getpriority(OneOf(resource::PRIO), Int) = Full(sys_process::getpriority);
    142 reboot(Hex, Hex, Hex, Ptr) = Refused(Errno::EPERM, "the machine ends with its first process");
    143 setregid(Id, Id) = Full(sys_cred::setregid);
    144 setgid(Id) = Full(sys_cred::setgid);
    145 setreuid(Id, Id) = Full(sys_cred::setreuid);
    146 setuid(Id) = Full(sys_cred::setuid);
    147 setresuid(Id, Id, Id) = Full(sys_cred::setresuid);
    148 getresuid(IntOut, IntOut, IntOut) = Full(sys_cred::getresuid);
    149 setresgid(Id, Id, Id) = Full(sys_cred::setresgid);
    150 getresgid(IntOut, IntOut, IntOut) = Full(sys_cred::getresgid);
    151 setfsuid(Id) = Full(sys_cred::setfsuid);
    152 setfsgid(Id) = Full(sys_cred::setfsgid);
    153 times(Ptr) = Full(sys_system::times);
    154 setpgid(Int, Int) = Full(sys_process::setpgid);
    155 getpgid(Int) = Full(sys_process::getpgid);
    156 getsid(Int) = Full(sys_process::getsid);
    157 setsid() = Full(sys_process::setsid);
    158 getgroups(Int, Ptr) = Full(sys_cred::getgroups);
    159 setgroups(Int, Ptr) = Full(sys_cred::setgroups);
    160 uname(Utsname) = Full(sys_system::uname);
    161 sethostname(In(1), Ulong) = Full(sys_system::sethostname);
    162 setdomainname(In(1), Ulong) = Full(sys_system::setdomainname);
    163 getrlimit(OneOf(resource::RLIMIT), RlimitOut) = Full(sys_system::getrlimit);
    164 setrlimit(OneOf(resource::RLIMIT), RlimitIn) = Full(sys_system::setrlimit);
    165 getrusage(OneOf(resource::RUSAGE), RusageOut) = Full(sys_system::getrusage);
    166 umask(Mode) -> Mode = Full(sys_dir::umask);
    167 prctl(OneOf(prctl::PRCTL), Hex, Hex, Hex, Hex) = Partial(sys_process::prctl, "what has no meaning here is EINVAL");
    168 getcpu(IntOut, IntOut, Ptr) = Full(sys_sched::getcpu);
    169 gettimeofday(TimevalOut, Ptr) = Full(sys_time::gettimeofday);
    170 settimeofday(TimevalIn, Ptr) = SETTIME;
    171 adjtimex(Ptr) = Partial(sys_time::adjtimex, "reads only");
    172 getpid() = Full(sys_process::getpid);
    173 getppid() = Full(sys_process::getppid);
    174 getuid() = Full(sys_cred::getuid);
    175 geteuid() = Full(sys_cred::geteuid);
    176 getgid() = Full(sys_cred::getgid);
    177 getegid() = Full(sys_cred::getegid);
    178 gettid() = Full(sys_process::gettid);
    179 sysinfo(Ptr) = Full(sys_system::sysinfo);
    180 mq_open(Str, Open, OpenMode, MqAttrIn) = Full(sys_mqueue::mq_open);
    181 mq_unlink(Str) = Full(sys_mqueue::mq_unlink);
    182 mq_timedsend(Fd, In(2), Ulong, Uint, TimespecIn) = Full(sys_mqueue::mq_timedsend);
    183 mq_timedreceive(Fd, Out, Ulong, IntOut, TimespecIn) = Full(sys_mqueue::mq_timedreceive);
    184 mq_notify(Fd, Sigevent) = Full(sys_mqueue::mq_notify);
    185 mq_getsetattr(Fd, MqAttrIn, MqAttrOut) = Full(sys_mqueue::mq_getsetattr);
    186 msgget(Hex, Hex) = Full(sys_msg::msgget);
    187 msgctl(Int, Int, Ptr) = Full(sys_msg::msgctl);
    188 msgrcv(Int, MsgOut, Ulong, Long, Hex) = Full(sys_msg::msgrcv);
    189 msgsnd(Int, MsgIn(2), Ulong, Hex) = Full(sys_msg::msgsnd);
    190 semget(Hex, Int, Hex) = Full(sys_sem::semget);
    191 semctl(Int, Int, Int, Hex) = Full(sys_sem::semctl);
    192 semtimedop(Int, Sembufs(2), Ulong, TimespecIn) = Full(sys_sem::semtimedop);
    193 semop(Int, Sembufs(2), Ulong) = Full(sys_sem::semop);
    194 shmget(Hex, Ulong, Hex) = Full(sys_shm::shmget);
    195 shmctl(Int, Int, Ptr) = Full(sys_shm::shmctl);
    196 shmat(Int, Ptr, Hex) -> Hex = Full(sys_shm::shmat);
    197 shmdt(Ptr) = Full(sys_shm::shmdt);
    198 socket(OneOf(socket::AF), SockType, Int) = Full(sys_socket::socket);
    199 socketpair(OneOf(socket::AF), SockType, Int, FdPairOut) = Full(sys_socket::socketpair);
    200 bind(Fd, SockaddrIn(2), Int) = Full(sys_socket::bind);
    201 listen(Fd, Int) = Full(sys_socket::listen);
    202 accept(Fd, SockaddrOut(2), IntOut) = Full(sys_socket::accept);
    203 connect(Fd, SockaddrIn(2), Int) = Full(sys_socket::connect);
    204 getsockname(Fd, SockaddrOut(2), IntOut) = Full(sys_socket::getsockname);
    205 getpeername(Fd, SockaddrOut(2), IntOut) = Full(sys_socket::getpeername);
    206 sendto(Fd, In(2), Ulong, Flags(socket::MSG), SockaddrIn(5), Int) = Full(sys_socket::sendto);
    207 recvfrom(Fd, Out, Ulong, Flags(socket::MSG), SockaddrOut(5), IntOut) = Full(sys_socket::recvfrom);
    208 setsockopt(Fd, OneOf(socket::SOL), Int, In(4), Int) = Full(sys_socket::setsockopt);
    209 getsockopt(Fd, OneOf(socket::SOL), Int, IntOut, IntOut) = Full(sys_socket::getsockopt);
    210 shutdown(Fd, OneOf(socket::SHUT)) = Full(sys_socket::shutdown);
    211 sendmsg(Fd, Msghdr, Flags(socket::MSG)) = Full(sys_socket::sendmsg);
    212 recvmsg(Fd, Msghdr, Flags(socket::MSG)) = Full(sys_socket::recvmsg);
    213 readahead(Fd, Long, Ulong) = Full(sys_rw::readahead);
    214 brk(Ptr) -> Hex = Full(sys_mm::brk);
    215 munmap(Ptr, Ulong) = Full(sys_mm::munmap);
    216 mremap(Ptr, Ulong, Ulong, Flags(mman::MREMAP), Ptr) -> Hex = Full(sys_mm::mremap);
    217 add_key(Str, Str, Ptr, Ulong, Int) = KEYS;
    218 request_key(Str, Str, Str, Int) = KEYS;
    219 keyctl(Int, Hex, Hex, Hex, Hex) = KEYS;
    220 clone(CloneFlags, Ptr, Ptr, Ptr, Ptr) = Partial(sys_process::clone, "of namespaces only UTS (others EPERM)");
    221 execve(Path, Argv, Envp) = Full(sys_exec::execve);
    222 mmap(Ptr, Ulong, Prot, Flags(mman::MAP), Fd, Hex) -> Hex = Full(sys_mm::mmap);
    223 fadvise64(Fd, Long, Long, OneOf(fcntl::FADVISE)) = Full(sys_rw::fadvise64);
    224 swapon(Path, Hex) = SWAP;
    225 swapoff(Path) = SWAP;
    226 mprotect(Ptr, Ulong, Prot) = Full(sys_mm::mprotect);
    227 msync(Ptr, Ulong, Flags(mman::MSYNC)) = Full(sys_mm::msync);
    228 mlock(Ptr, Ulong) = Full(sys_mm::mlock);
    229 munlock(Ptr, Ulong) = Full(sys_mm::munlock);
    230 mlockall(Flags(mman::MLOCKALL)) = Full(sys_mm::mlockall);
    231 munlockall() = Full(sys_mm::munlockall);
    232 mincore(Ptr, Ulong, Ptr) = Full(sys_mm::mincore);
    233 madvise(Ptr, Ulong, OneOf(mman::MADV)) = Full(sys_mm::madvise);
    234 remap_file_pages(Ptr, Ulong, Prot, Ulong, Flags(mman::MAP)) = Full(sys_mm::remap_file_pages);
    235 mbind(Ptr, Ulong, Int, Ptr, Ulong, Hex) = NUMA;
    236 get_mempolicy(Ptr, Ptr, Ulong, Ptr, Hex) = NUMA;
    237 set_mempolicy(Int, Ptr, Ulong) = NUMA;
    238 migrate_pages(Int, Ulong, Ptr, Ptr) = NUMA;
    239 move_pages(Int, Ulong, Ptr, Ptr, Ptr, Hex) = NUMA;
    240 rt_tgsigqueueinfo(Int, Int, Signal, SiginfoIn) = Full(sys_signal::rt_tgsigqueueinfo);
    241 perf_event_open(Ptr, Int, Int, Fd, Hex) = Refused(Errno::ENOENT, "no performance counters");
    242 accept4(Fd, SockaddrOut(2), IntOut, SockFlags) = Full(sys_socket::accept4);
    243 recvmmsg(Fd, Ptr, Uint, Flags(socket::MSG), TimespecIn) = Partial(sys_socket::recvmmsg, "waits for the first message only; the timeout is ignored");
    258 riscv_hwprobe(Ptr, Ulong, Ulong, Ptr, Hex) = Full(sys_system::riscv_hwprobe);
    259 riscv_flush_icache(Ptr, Ptr, Hex) = Full(sys_system::riscv_flush_icache);
    260 wait4(Int, WaitStatus, Flags(wait::WAIT), RusageOut) = Full(sys_process::wait4);
    261 prlimit64(Int, OneOf(resource::RLIMIT), RlimitIn, RlimitOut) = Full(sys_system::prlimit64);
    262 fanotify_init(Hex, Hex) = FANOTIFY;
    263 fanotify_mark(Fd, Hex, Hex, DirFd, Path) = FANOTIFY;
    264 name_to_handle_at(DirFd, Path, Ptr, IntOut, Hex) = HANDLES;
    265 open_by_handle_at(Fd, Ptr, Open) = HANDLES;
    266 clock_adjtime(OneOf(time::CLOCK), Ptr) = Partial(sys_time::clock_adjtime, "reads only");
    267 syncfs(Fd) = Full(sys_rw::syncfs);
    268 setns(Fd, Flags(sched::CLONE)) = Partial(sys_process::setns, "of namespaces only UTS: there is one of each other kind");
    269 sendmmsg(Fd, Ptr, Uint, Flags(socket::MSG)) = Full(sys_socket::sendmmsg);
    270 process_vm_readv(Int, Ptr, Ulong, Ptr, Ulong, Ulong) = Full(sys_process_vm::process_vm_readv);
    271 process_vm_writev(Int, Ptr, Ulong, Ptr, Ulong, Ulong) = Full(sys_process_vm::process_vm_writev);
    272 kcmp(Int, Int, Int, Ulong, Ulong) = Partial(sys_system::kcmp, "no KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD");
    273 finit_module(Fd, Str, Hex) = MODULES;
    274 sched_setattr(Int, Ptr, Hex) = Partial(sys_sched::sched_setattr, "kept and reported; no SCHED_DEADLINE");
    275 sched_getattr(Int, Ptr, Uint, Hex) = Full(sys_sched::sched_getattr);
    276 renameat2(DirFd, Path, DirFd, Path, Flags(fcntl::RENAME)) = Full(sys_dir::renameat2);
    277 seccomp(Int, Hex, Ptr) = Refused(Errno::EINVAL, "seccomp filters (CONFIG_SECCOMP_FILTER)");
    278 getrandom(Out, Ulong, Hex) = Full(sys_system::getrandom);
    279 memfd_create(Str, Flags(mman::MEMFD)) = Partial(sys_memfd::memfd_create, "F_SEAL_WRITE does not look for writable mappings; no MFD_HUGETLB");
    280 bpf(Int, Ptr, Uint) = Refused(Errno::EPERM, "no programs in the kernel");
    281 execveat(DirFd, Path, Argv, Envp, Flags(fcntl::AT)) = Full(sys_exec::execveat);
    282 userfaultfd(Hex) = Refused(Errno::EPERM, "vm.unprivileged_userfaultfd is 0");
    283 membarrier(OneOf(sched::MEMBARRIER), Hex, Int) = Full(sys_sched::membarrier);
    284 mlock2(Ptr, Ulong, Hex) = Full(sys_mm::mlock2);
    285 copy_file_range(Fd, LongIn, Fd, LongIn, Ulong, Hex) = Full(sys_copy::copy_file_range);
    286 preadv2(Fd, IovOut(2), Int, Long, Long, Flags(fcntl::RWF)) = Full(sys_rw::preadv2);
    287 pwritev2(Fd, IovIn(2), Int, Long, Long, Flags(fcntl::RWF)) = Full(sys_rw::pwritev2);
    288 pkey_mprotect(Ptr, Ulong, Prot, Int) = PKEYS;
    289 pkey_alloc(Hex, Hex) = PKEYS;
    290 pkey_free(Int) = PKEYS;
    291 statx(DirFd, Path, Flags(fcntl::AT), Flags(fcntl::STATX), StatxOut) = Full(sys_stat::statx);
    292 io_pgetevents(Ulong, Long, Long, Ptr, TimespecIn, Ptr) = AIO;
    293 rseq(Ptr, Uint, Hex, Hex) = Refused(Errno::ENOSYS, "one hart: libc does without");
    294 kexec_file_load(Fd, Fd, Ulong, Str, Hex) = MODULES;
    424 pidfd_send_signal(Fd, Signal, SiginfoIn, Hex) = Full(sys_signal::pidfd_send_signal);
    425 io_uring_setup(Uint, Ptr) = URING;
    426 io_uring_enter(Fd, Uint, Uint, Hex, Ptr, Ulong) = URING;
    427 io_uring_register(Fd, Uint, Ptr, Uint) = URING;
    428 open_tree(DirFd, Path, Hex) = NEW_MOUNT;
    429 move_mount(DirFd, Path, DirFd, Path, Hex) = NEW_MOUNT;
    430 fsopen(Str, Hex) = NEW_MOUNT;
    431 fsconfig(Fd, Uint, Str, Ptr, Int) = NEW_MOUNT;
    432 fsmount(Fd, Hex, Hex) = NEW_MOUNT;
    433 fspick(DirFd, Path, Hex) = NEW_MOUNT;
    434 pidfd_open(Int, Hex) = Full(sys_process::pidfd_open);
    435 clone3(CloneArgs, Ulong) = Partial(sys_process::clone3, "of namespaces only UTS (others EPERM), no cgroups, no set_tid");
    436 close_range(Uint, Uint, Flags(fcntl::CLOSE_RANGE)) = Full(sys_file::close_range);
    437 openat2(DirFd, Path, Ptr, Ulong) = Full(sys_file::openat2);
    438 pidfd_getfd(Fd, Fd, Hex) = Full(sys_process_vm::pidfd_getfd);
    439 faccessat2(DirFd, Path, Access, AccessFlags) = Full(sys_stat::faccessat2);
    440 process_madvise(Fd, Ptr, Ulong, OneOf(mman::MADV), Hex) = PTRACE;
    441 epoll_pwait2(Fd, EpollOut, Int, TimespecIn, SigsetIn, Ulong) = Full(sys_poll::epoll_pwait2);
    442 mount_setattr(DirFd, Path, Hex, Ptr, Ulong) = NEW_MOUNT;
    443 quotactl_fd(Fd, Hex, Int, Ptr) = QUOTA;
    444 landlock_create_ruleset(Ptr, Ulong, Hex) = LANDLOCK;
    445 landlock_add_rule(Fd, Int, Ptr, Hex) = LANDLOCK;
    446 landlock_restrict_self(Fd, Hex) = LANDLOCK;
    447 memfd_secret(Hex) = Refused(Errno::ENOSYS, "no secret memory (secretmem.enable)");
    448 process_mrelease(Fd, Hex) = Refused(Errno::ENOSYS, "memory is freed at exit");
    449 futex_waitv(Ptr, Uint, Hex, TimespecIn, OneOf(time::CLOCK)) = Full(sys_futex::futex_waitv);
    450 set_mempolicy_home_node(Ptr, Ulong, Ulong, Hex) = NUMA;
    451 cachestat(Fd, Ptr, Ptr, Hex) = Refused(Errno::ENOSYS, "no page cache to report on");
    452 fchmodat2(DirFd, Path, Mode, Flags(fcntl::AT)) = Full(sys_stat::fchmodat2);
    453 map_shadow_stack(Ptr, Ulong, Hex) = Refused(Errno::EOPNOTSUPP, "no shadow stacks");
    454 futex_wake(Ptr, Hex, Int, Hex) = Full(sys_futex::futex_wake);
    455 futex_wait(Ptr, Ulong, Hex, Hex, TimespecIn, OneOf(time::CLOCK)) = Full(sys_futex::futex_wait);
    456 futex_requeue(Ptr, Hex, Int, Int) = Full(sys_futex::futex_requeue);
    457 statmount(Ptr, Ptr, Ulong, Hex) = NEW_MOUNT;
    458 listmount(Ptr, Ptr, Ulong, Hex) = NEW_MOUNT;
    459 lsm_get_self_attr(Uint, Ptr, Ptr, Hex) = LSM;
    460 lsm_set_self_attr(Uint, Ptr, Uint, Hex) = LSM;
    461 lsm_list_modules(Ptr, Ptr, Hex) = LSM;
    462 mseal(Ptr, Ulong, Hex) = Full(sys_mm::mseal);
}

/// One past the highest number in the table.
const NUMBERS: usize = 463;

/// Row index plus one by number, 0 for none: built at compile time, so that dispatch is one load.
static INDEX: [u16; NUMBERS] = {
    let mut index = [0; NUMBERS];
    let mut i = 0;
    while i < TABLE.len() {
        index[TABLE[i].number as usize] = i as u16 + 1;
        i += 1;
    }
    index
};

/// The row of system call `number`.
pub fn row(number: u64) -> Option<&'static Row> {
    let index = *INDEX.get(usize::try_from(number).ok()?)?;
    TABLE.get(usize::from(index).checked_sub(1)?)
}

/// docs/SYSCALLS.md: the table as a page.
pub fn page() -> String {
    let count = |wanted: fn(&Support) -> bool| TABLE.iter().filter(|row| wanted(&row.support)).count();
    let mut page = format!(
        "# System calls\n\n\
         Every riscv64 Linux system call through Linux 6.12, as `runtime/src/syscall/table.rs` has it. This page is \
         generated; `UPDATE_DOCS=1 cargo test -p friscy-runtime syscalls_page` writes it anew.\n\n\
         {} work as Linux does, {} with a note, {} always return an error on purpose.\n\n\
         | number | name | support | note |\n|---:|---|---|---|\n",
        count(|s| matches!(s, Support::Full(_))),
        count(|s| matches!(s, Support::Partial(..))),
        count(|s| matches!(s, Support::Refused(..))),
    );
    for row in TABLE {
        let (support, note) = match row.support {
            Support::Full(_) => ("full".to_string(), ""),
            Support::Partial(_, note) => ("partial".to_string(), note),
            Support::Refused(errno, reason) => (errno.name().to_string(), reason),
        };
        page += &format!("| {} | {} | {support} | {note} |\n", row.number, row.name);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syscalls_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SYSCALLS.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).expect("docs/ is there");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/SYSCALLS.md is stale: UPDATE_DOCS=1 cargo test -p friscy-runtime syscalls_page"
        );
    }

    #[test]
    fn numbers_ascend_and_are_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.number < b.number));
        assert!(TABLE.iter().all(|r| r.args.len() <= 6));
        assert_eq!(row(64).map(|r| r.name), Some("write"));
        assert_eq!(row(221).map(|r| r.name), Some("execve"));
        assert!(row(38).is_none(), "riscv64 never had renameat");
        assert!(row(244).is_none() && row(403).is_none() && row(463).is_none() && row(u64::MAX).is_none());
        assert_eq!(TABLE.len(), 319);
    }
}
