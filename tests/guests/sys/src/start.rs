//! From the kernel's first instruction to `main`: the stack that execve built.
//!
//! Source: the RISC-V ELF psABI, "process initialization": sp points at argc,
//! argv[], NULL, envp[], NULL, auxv.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use alloc::vec::Vec;

core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "  mv a0, sp",
    "  andi sp, sp, -16",
    "  li ra, 0",
    "  li s0, 0",
    "  call {entry}",
    "  unimp",
    entry = sym entry,
);

static ARGC: AtomicUsize = AtomicUsize::new(0);
static ARGV: AtomicPtr<*const u8> = AtomicPtr::new(core::ptr::null_mut());

unsafe extern "Rust" {
    /// Defined by [`main!`](crate::main) in the program.
    safe fn guest_main() -> i32;
}

extern "C" fn entry(stack: *mut usize) -> ! {
    // SAFETY: the kernel put argc there, and argv begins right after it.
    let (argc, argv) = unsafe { (*stack, stack.add(1)) };
    ARGC.store(argc, Relaxed);
    ARGV.store(argv.cast(), Relaxed);
    let code = guest_main();
    crate::io::flush();
    crate::process::exit(code)
}

/// Names the program's main function: `fn main() -> i32`, its exit code.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn guest_main() -> i32 {
            $main()
        }
    };
}

/// The bytes of a NUL-terminated string.
///
/// # Safety
/// `text` must point to such a string, which must live for ever.
pub unsafe fn c_string(text: *const u8) -> &'static [u8] {
    // SAFETY: the caller says that it is NUL-terminated and lives for ever.
    unsafe { core::ffi::CStr::from_ptr(text.cast()) }.to_bytes()
}

/// The argument vector; `[0]` is the name that the program was called by.
pub fn args() -> Vec<&'static [u8]> {
    let argv = ARGV.load(Relaxed);
    // SAFETY: argv has ARGC strings, on a stack that outlives everything.
    (0..ARGC.load(Relaxed)).map(|i| unsafe { c_string(*argv.add(i)) }).collect()
}

/// The environment, `NAME=value` each.
pub fn env() -> Vec<&'static [u8]> {
    // SAFETY: envp begins after argv's NULL, and ends with its own.
    let mut at = unsafe { ARGV.load(Relaxed).add(ARGC.load(Relaxed) + 1) };
    let mut list = Vec::new();
    // SAFETY: as above.
    while let Some(text) = core::ptr::NonNull::new(unsafe { *at }.cast_mut()) {
        // SAFETY: each entry is a string on the initial stack.
        list.push(unsafe { c_string(text.as_ptr()) });
        // SAFETY: not yet past the NULL.
        at = unsafe { at.add(1) };
    }
    list
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::eprintln!("{info}");
    crate::process::exit(134)
}
