//! The `ecall` instruction and the numbers it takes on riscv64.
//!
//! Source: the kernel's include/uapi/asm-generic/unistd.h; syscall(2).

use crate::error::{Error, Result};

/// Defines one constant for each system call.
macro_rules! numbers {
    ($($name:ident = $number:literal),* $(,)?) => { $(
        #[doc = concat!("Number of `", stringify!($name), "`.")]
        pub const $name: usize = $number;
    )* };
}

numbers! {
    GETCWD = 17, DUP = 23, DUP3 = 24, FCNTL = 25, IOCTL = 29, MKDIRAT = 34, UNLINKAT = 35, SYMLINKAT = 36,
    FTRUNCATE = 46, FACCESSAT = 48, CHDIR = 49, OPENAT = 56, CLOSE = 57, PIPE2 = 59, GETDENTS64 = 61,
    LSEEK = 62, READ = 63, WRITE = 64, PPOLL = 73, READLINKAT = 78, NEWFSTATAT = 79, FSTAT = 80, UTIMENSAT = 88,
    EXIT = 93, EXIT_GROUP = 94, SET_TID_ADDRESS = 96, FUTEX = 98, NANOSLEEP = 101, CLOCK_GETTIME = 113,
    KILL = 129, TGKILL = 131, RT_SIGACTION = 134, RT_SIGPROCMASK = 135, SETPGID = 154, GETPGID = 155,
    UNAME = 160, GETPID = 172, GETPPID = 173, GETTID = 178, SYSINFO = 179, BRK = 214, MUNMAP = 215,
    CLONE = 220, EXECVE = 221, MMAP = 222, MPROTECT = 226, WAIT4 = 260, RENAMEAT2 = 276, GETRANDOM = 278,
}

/// One system call; unused arguments are zero.
///
/// # Safety
/// The arguments must be what the call expects: pointers valid for what the
/// kernel does with them, and no memory unmapped that is still in use.
#[inline]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: an `ecall` changes a0 and, through the kernel, only memory that the caller vouches for.
    unsafe {
        core::arch::asm!(
            "ecall",
            inlateout("a0") args[0] => result,
            in("a1") args[1], in("a2") args[2], in("a3") args[3], in("a4") args[4], in("a5") args[5],
            in("a7") number,
            options(nostack),
        );
    }
    result
}

/// The result of a call as `Result`: errors are -4095..-1.
///
/// # Safety
/// As [`syscall`].
#[inline]
pub unsafe fn checked(number: usize, args: [usize; 6]) -> Result<usize> {
    // SAFETY: passed on to the caller.
    let result = unsafe { syscall(number, args) };
    if (-4095..0).contains(&result) { Err(Error(-result as i32)) } else { Ok(result as usize) }
}

/// Arguments filled up with zeros.
pub fn pad<const N: usize>(args: [usize; N]) -> [usize; 6] {
    core::array::from_fn(|at| args.get(at).copied().unwrap_or(0))
}

/// A system call with up to six arguments: `call!(CLOSE, fd)`. Temporaries
/// among the arguments live until the call is over.
macro_rules! call {
    ($number:ident $(, $arg:expr)* $(,)?) => {
        // SAFETY: every use in this crate passes pointers to live objects of the right shape.
        unsafe { $crate::call::checked($crate::call::$number, $crate::call::pad([$( $arg as usize ),*])) }
    };
}
pub(crate) use call;
