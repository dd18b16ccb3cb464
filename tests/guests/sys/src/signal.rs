//! Signals: names, handlers, masks.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Result;
use crate::call::call;

/// Names of signals 1 to 31.
pub const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Ctrl-C.
pub const INT: i32 = 2;
/// Ctrl-\.
pub const QUIT: i32 = 3;
/// Cannot be caught.
pub const KILL: i32 = 9;
/// A bad address.
pub const SEGV: i32 = 11;
/// Asked to end.
pub const TERM: i32 = 15;
/// Go on.
pub const CONT: i32 = 18;
/// Ctrl-Z.
pub const TSTP: i32 = 20;
/// Read from the terminal in the background.
pub const TTIN: i32 = 21;
/// Wrote to the terminal in the background.
pub const TTOU: i32 = 22;

/// What happens when a signal comes.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignore,
    /// Remembered for [`taken`]; a blocked call ends with EINTR.
    Note,
    /// This function, on the stack of the interrupted thread.
    Call(extern "C" fn(i32)),
}

static NOTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn note(signal: i32) {
    NOTED.fetch_or(1 << signal, Relaxed);
}

/// Has `signal` come since this was last asked?
pub fn taken(signal: i32) -> bool {
    NOTED.fetch_and(!(1 << signal), Relaxed) >> signal & 1 == 1
}

/// `struct sigaction` of riscv64: no restorer, the kernel's vDSO has the return code.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: usize,
    mask: u64,
}

/// rt_sigaction(2).
pub fn on(signal: i32, action: Action) -> Result<()> {
    let handler = match action {
        Action::Default => 0,
        Action::Ignore => 1,
        Action::Note => note as *const () as usize,
        Action::Call(function) => function as *const () as usize,
    };
    let action = KernelAction { handler, flags: 0, mask: 0 };
    call!(RT_SIGACTION, signal, &raw const action, 0, 8).map(drop)
}

/// The number of `INT`, `SIGINT` or `2`.
pub fn by_name(name: &[u8]) -> Option<i32> {
    let bare = name.strip_prefix(b"SIG").unwrap_or(name);
    match NAMES.iter().position(|known| known.as_bytes() == bare) {
        Some(index) => Some(index as i32 + 1),
        None => crate::text::number(name).map(|number| number as i32),
    }
}
