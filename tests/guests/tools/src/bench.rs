//! `bench`: how fast this machine computes, with [`mix`].

use sys::println;
use sys::text::number;
use sys::time::{Clock, now_ns};

use crate::{Args, mix, usage};

pub fn bench(args: &Args) -> i32 {
    let iterations = match args.first() {
        None => 2000,
        Some(text) => match number(text).and_then(|count| u32::try_from(count).ok()) {
            Some(count) => count,
            None => return usage("bench"),
        },
    };
    let start = now_ns(Clock::Monotonic);
    let sum = mix::run(iterations);
    let elapsed_ms = (now_ns(Clock::Monotonic) - start) / 1_000_000;
    println!("iterations {iterations}");
    println!("checksum   {sum:04x}");
    sys::io::flush();
    // Apart, so that the output is the same on every machine.
    sys::eprintln!("time       {elapsed_ms} ms");
    0
}
