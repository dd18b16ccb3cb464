//! The global allocator: free lists of power-of-two blocks cut from the heap
//! (brk, or mmap where brk has no more), and mmap for what is large.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

const SMALLEST_LOG2: u32 = 4;
const LARGEST_LOG2: u32 = 16;
/// How much the heap grows by.
const STEP_BYTES: usize = 128 << 10;
const PAGE: usize = 4096;

struct Heap {
    /// First free block of each size; a free block holds the address of the next.
    free: [*mut u8; (LARGEST_LOG2 - SMALLEST_LOG2 + 1) as usize],
    /// Memory that was never a block: `next..end`.
    next: usize,
    end: usize,
}

struct Allocator {
    locked: AtomicBool,
    heap: UnsafeCell<Heap>,
}

// SAFETY: `heap` is touched only while `locked` is held.
unsafe impl Sync for Allocator {}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    locked: AtomicBool::new(false),
    heap: UnsafeCell::new(Heap { free: [null_mut(); 13], next: 0, end: 0 }),
};

/// The list for a block of this layout; `None` for what mmap serves.
fn class(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(1 << SMALLEST_LOG2).next_power_of_two();
    (bytes <= 1 << LARGEST_LOG2).then(|| (bytes.trailing_zeros() - SMALLEST_LOG2) as usize)
}

fn map(bytes: usize) -> Option<usize> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    crate::call::call!(MMAP, 0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0).ok()
}

impl Heap {
    /// `STEP_BYTES` more, next to what is there when brk allows.
    fn grow(&mut self) -> Option<()> {
        let old = crate::call::call!(BRK, 0).ok()?;
        let old = old.next_multiple_of(PAGE);
        if crate::call::call!(BRK, old + STEP_BYTES) == Ok(old + STEP_BYTES) {
            if self.end != old {
                self.next = old;
            }
            self.end = old + STEP_BYTES;
        } else {
            self.next = map(STEP_BYTES)?;
            self.end = self.next + STEP_BYTES;
        }
        Some(())
    }

    fn take(&mut self, class: usize) -> Option<*mut u8> {
        let head = self.free[class];
        if !head.is_null() {
            // SAFETY: a free block holds the address of the next one.
            self.free[class] = unsafe { *head.cast::<*mut u8>() };
            return Some(head);
        }
        let bytes = 1usize << (class as u32 + SMALLEST_LOG2);
        loop {
            let at = self.next.next_multiple_of(bytes);
            if self.next != 0 && at + bytes <= self.end {
                self.next = at + bytes;
                return Some(at as *mut u8);
            }
            self.grow()?;
        }
    }
}

impl Allocator {
    fn with<T>(&self, action: impl FnOnce(&mut Heap) -> T) -> T {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        // SAFETY: the lock is held, so this is the only reference.
        let result = action(unsafe { &mut *self.heap.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: blocks are disjoint, aligned to their power-of-two size, and large enough.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some(class) => self.with(|heap| heap.take(class)).unwrap_or(null_mut()),
            None if layout.align() <= PAGE => map(layout.size()).map_or(null_mut(), |at| at as *mut u8),
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            Some(class) => self.with(|heap| {
                // SAFETY: the caller gives the block back; it is at least a pointer long.
                unsafe { *block.cast::<*mut u8>() = heap.free[class] };
                heap.free[class] = block;
            }),
            None => {
                let _ = crate::call::call!(MUNMAP, block, layout.size());
            }
        }
    }
}
