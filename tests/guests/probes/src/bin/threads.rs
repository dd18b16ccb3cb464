//! Four threads add to one number under a lock, and to another atomically.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use alloc::vec::Vec;
use sys::thread::{Lock, spawn};

const THREADS: u32 = 4;
const ROUNDS: u32 = 5000;
static LOCK: Lock = Lock::new();
static LOCKED: AtomicU32 = AtomicU32::new(0);
static ATOMIC: AtomicU32 = AtomicU32::new(0);

fn work() {
    for _ in 0..ROUNDS {
        // A load and a store apart: only right when the lock excludes the others.
        LOCK.with(|| LOCKED.store(LOCKED.load(Relaxed) + 1, Relaxed));
        ATOMIC.fetch_add(1, Relaxed);
    }
}

fn main() -> i32 {
    let threads: sys::Result<Vec<_>> = (0..THREADS).map(|_| spawn(work)).collect();
    match threads {
        Ok(threads) => threads.into_iter().for_each(|thread| thread.join()),
        Err(error) => {
            sys::eprintln!("clone: {error}");
            return 1;
        }
    }
    sys::println!("locked {} atomic {}", LOCKED.load(Relaxed), ATOMIC.load(Relaxed));
    i32::from(LOCKED.load(Relaxed) != THREADS * ROUNDS)
}

sys::main!(main);
