//! The allocator: std's, which until the freeze also wipes what is freed.
//!
//! A snapshot contains freed memory too. Zeros cost nothing in app.wasm, old
//! contents do, and nobody wants the packer's leftovers shipped.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static FROZEN: AtomicBool = AtomicBool::new(false);

/// From here on freed memory is left as it is.
pub(crate) fn freeze() {
    FROZEN.store(true, Relaxed);
}

/// A new allocation of `len` bytes that rkyv archives may stand in; null when memory is short.
pub(crate) fn raw(len: usize) -> *mut u8 {
    match Layout::from_size_align(len.max(1), 16) {
        // SAFETY: the layout's size is not zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Free what [`raw`] gave.
///
/// # Safety
/// `ptr` came from `raw(len)` and is not used again.
pub(crate) unsafe fn free(ptr: *mut u8, len: usize) {
    if let Ok(layout) = Layout::from_size_align(len.max(1), 16) {
        // SAFETY: the caller's promise; `raw` used the same layout.
        unsafe { std::alloc::dealloc(ptr, layout) };
    }
}

struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: every call goes to `System`; wiping touches only the block that is being freed, before it is.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if !FROZEN.load(Relaxed) {
            // SAFETY: the block is `layout.size()` bytes and still ours.
            unsafe { ptr.write_bytes(0, layout.size()) };
        }
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if FROZEN.load(Relaxed) {
            // SAFETY: as above.
            return unsafe { System.realloc(ptr, layout, new_size) };
        }
        // SAFETY: `new_size` is not zero and does not overflow with this alignment (realloc's contract); the
        // copy stays within both blocks, which do not overlap.
        unsafe {
            let new = System.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(ptr, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            new
        }
    }
}
