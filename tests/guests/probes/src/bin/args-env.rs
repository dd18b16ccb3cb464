//! Prints its arguments and environment, one a line.
#![no_std]
#![no_main]

extern crate alloc;

use sys::text::lossy;

fn main() -> i32 {
    for (at, arg) in sys::args().iter().enumerate().skip(1) {
        sys::println!("arg {at}: {}", lossy(arg));
    }
    for entry in sys::env() {
        sys::println!("env: {}", lossy(entry));
    }
    0
}

sys::main!(main);
