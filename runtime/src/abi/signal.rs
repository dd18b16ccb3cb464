//! Signals: `asm-generic/signal.h`, `asm-generic/siginfo.h`, riscv's `asm/ucontext.h`, `asm/sigcontext.h`. See signal(7).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

names!(SIGNALS: u32 {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9,
    SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGSTKFLT = 16,
    SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGURG = 23, SIGXCPU = 24,
    SIGXFSZ = 25, SIGVTALRM = 26, SIGPROF = 27, SIGWINCH = 28, SIGIO = 29, SIGPWR = 30, SIGSYS = 31,
});
/// First real-time signal, as the kernel counts.
pub const SIGRTMIN: u32 = 32;
/// Number of signals, and the last one.
pub const NSIG: u32 = 64;

names!(SA: u64 {
    SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_RESTORER = 0x0400_0000, SA_ONSTACK = 0x0800_0000,
    SA_RESTART = 0x1000_0000, SA_NODEFER = 0x4000_0000, SA_RESETHAND = 0x8000_0000,
});
names!(SIGPROCMASK: u32 { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 });
pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;
names!(SS: u32 { SS_ONSTACK = 1, SS_DISABLE = 2, SS_AUTODISARM = 0x8000_0000 });
pub const MINSIGSTKSZ: u64 = 2048;

pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_MESGQ: i32 = -3;
pub const SI_ASYNCIO: i32 = -4;
pub const SI_SIGIO: i32 = -5;
pub const SI_TKILL: i32 = -6;
pub const ILL_ILLOPC: i32 = 1;
pub const FPE_INTDIV: i32 = 1;
pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;
pub const TRAP_BRKPT: i32 = 1;
pub const POLL_IN: i32 = 1;
pub const POLL_ERR: i32 = 4;
pub const POLL_PRI: i32 = 5;
pub const POLL_HUP: i32 = 6;
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_TRAPPED: i32 = 4;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;
names!(SIGEV: u32 { SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2, SIGEV_THREAD_ID = 4 });

/// `struct sigaction` as rt_sigaction(2) takes it on riscv64 (no restorer).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub mask: u64,
}
const _: () = assert!(size_of::<SigAction>() == 24);

/// `stack_t`, see sigaltstack(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackT {
    pub sp: u64,
    pub flags: u32,
    pub pad: u32,
    pub size: u64,
}
const _: () = assert!(size_of::<StackT>() == 24);

/// `siginfo_t`: three ints, then a union by signal and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    pub signo: i32,
    pub errno: i32,
    pub code: i32,
    pub pad: i32,
    /// The union `_sifields`.
    pub fields: [u64; 14],
}
const _: () = assert!(size_of::<SigInfo>() == 128);

/// `struct sigevent`, see timer_create(2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigEvent {
    pub value: u64,
    pub signo: u32,
    pub notify: u32,
    pub tid: u32,
    pub pad: [u32; 11],
}
const _: () = assert!(size_of::<SigEvent>() == 64);

/// `ucontext_t` on riscv64 with its `mcontext_t`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ucontext {
    pub flags: u64,
    pub link: u64,
    pub stack: StackT,
    pub sigmask: u64,
    /// Room for a larger mask, and alignment of the context to 16.
    pub unused: [u64; 16],
    /// pc, x1..x31.
    pub gregs: [u64; 32],
    /// The double state of the floating-point union.
    pub fpregs: [u64; 32],
    pub fcsr: u32,
    /// The rest of the union (the quad state, and the extension header that ends it: all zero).
    pub reserved: [u32; 67],
}
const _: () = assert!(size_of::<Ucontext>() == 960);
const _: () = assert!(core::mem::offset_of!(Ucontext, gregs) == 176);

/// What lies on the stack of a signal handler: `struct rt_sigframe`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtSigframe {
    pub info: SigInfo,
    pub uc: Ucontext,
}
const _: () = assert!(size_of::<RtSigframe>() == 1088);
