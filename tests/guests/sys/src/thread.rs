//! Threads: clone(2) with shared memory, and futex(2) to wait for them.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;

use crate::call::call;
use crate::{Error, Result};

const STACK_BYTES: usize = 64 << 10;

/// clone(2) for a thread: the child begins on its own stack in `run` with the
/// argument that lies on top of it.
///
/// a0 flags, a1 stack, a2 parent tid, a3 tls, a4 child tid: the order of riscv64.
#[unsafe(naked)]
unsafe extern "C" fn clone_thread(
    _flags: usize,
    _stack: usize,
    _ptid: usize,
    _tls: usize,
    _ctid: usize,
) -> isize {
    core::arch::naked_asm!(
        "li a7, 220",
        "ecall",
        "bnez a0, 1f",
        "ld a0, 0(sp)",
        "call {run}",
        "unimp",
        "1: ret",
        run = sym run,
    )
}

type Work = Box<dyn FnOnce() + Send>;

extern "C" fn run(work: *mut Work) -> ! {
    // SAFETY: `spawn` leaked this box for this thread alone.
    let work = unsafe { Box::from_raw(work) };
    work();
    loop {
        let _ = call!(EXIT, 0);
    }
}

/// A started thread. Its stack is not given back: the programs here start few.
#[derive(Debug)]
pub struct Thread {
    /// The kernel writes 0 here and wakes the futex when the thread has ended.
    alive: &'static AtomicU32,
}

/// Starts a thread.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> Result<Thread> {
    // VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | CHILD_CLEARTID, from linux/sched.h.
    const FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000 | 0x20_0000;
    let alive: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(1)));
    let work: Work = Box::new(work);
    let work = Box::into_raw(Box::new(work));
    // SAFETY: a layout of nonzero size.
    let stack = unsafe { alloc(Layout::from_size_align_unchecked(STACK_BYTES, 16)) };
    if stack.is_null() {
        return Err(Error::ENOMEM);
    }
    // SAFETY: the top 16 bytes are inside the new stack, which nobody else uses.
    let result = unsafe {
        let top = stack.add(STACK_BYTES - 16);
        top.cast::<*mut Work>().write(work);
        clone_thread(FLAGS, top as usize, 0, 0, alive.as_ptr() as usize)
    };
    if result < 0 { Err(Error(-result as i32)) } else { Ok(Thread { alive }) }
}

impl Thread {
    /// Waits for its end.
    pub fn join(self) {
        while self.alive.load(Ordering::Acquire) != 0 {
            let _ = futex_wait(self.alive, 1);
        }
    }
}

/// Sleeps while `word` holds `value`. The kernel's own wake at a thread's end is not private, so this is not either.
pub fn futex_wait(word: &AtomicU32, value: u32) -> Result<()> {
    const FUTEX_WAIT: usize = 0;
    call!(FUTEX, word.as_ptr(), FUTEX_WAIT, value, 0).map(drop)
}

/// Wakes up to `count` sleepers; how many there were.
pub fn futex_wake(word: &AtomicU32, count: u32) -> Result<usize> {
    const FUTEX_WAKE: usize = 1;
    call!(FUTEX, word.as_ptr(), FUTEX_WAKE, count)
}

/// A lock that sleeps when it is taken: 0 free, 1 taken, 2 taken with sleepers.
#[derive(Debug, Default)]
pub struct Lock(AtomicU32);

impl Lock {
    /// A free lock.
    pub const fn new() -> Lock {
        Lock(AtomicU32::new(0))
    }

    /// Runs `action` while nobody else holds the lock.
    pub fn with<T>(&self, action: impl FnOnce() -> T) -> T {
        if self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.0.swap(2, Ordering::Acquire) != 0 {
                let _ = futex_wait(&self.0, 2);
            }
        }
        let result = action();
        if self.0.swap(0, Ordering::Release) == 2 {
            let _ = futex_wake(&self.0, 1);
        }
        result
    }
}
