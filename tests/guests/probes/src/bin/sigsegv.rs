//! Writes to address 0 (or, with `code`, to its own code): killed by SIGSEGV.
#![no_std]
#![no_main]

extern crate alloc;

fn main() -> i32 {
    let code = sys::args().get(1) == Some(&&b"code"[..]);
    let address = if code { main as *const () as usize } else { 0 };
    sys::println!("about to write");
    sys::io::flush();
    // SAFETY: not safe: the point of this program is that the machine catches it.
    unsafe { core::arch::asm!("sd zero, 0({0})", in(reg) address) };
    sys::println!("still here");
    0
}

sys::main!(main);
