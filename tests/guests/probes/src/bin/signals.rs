//! Catches SIGUSR1 sent to itself and SIGSEGV of a bad address, and says so.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use sys::signal::{self, Action};

const USR1: i32 = 10;
static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: i32) {
    SEEN.fetch_add(1, Relaxed);
}

extern "C" fn fault(signal: i32) {
    let _ = sys::io::write_all(1, b"caught the fault\n");
    sys::process::exit(signal);
}

fn main() -> i32 {
    if signal::on(USR1, Action::Call(count)).is_err()
        || signal::on(signal::SEGV, Action::Call(fault)).is_err()
    {
        return 1;
    }
    // What floating-point registers hold must survive the handler.
    let mut sum = 0.0;
    for step in 1..=5 {
        sum += 1.0 / f64::from(step);
        let _ = sys::process::kill(sys::process::id(), USR1);
    }
    sys::println!("handled {} signals, sum {sum:.6}", SEEN.load(Relaxed));
    sys::io::flush();
    // SAFETY: not safe: the handler ends the program.
    unsafe { core::arch::asm!("ld zero, 0(zero)") };
    0
}

sys::main!(main);
