//! The one linear memory that all address spaces of a machine lie in.
//!
//! Hands out pages: an arena's, which need not be neighbours, and an arena's
//! permission table. Natively it is one large, lazily committed allocation; on
//! wasm32 it is what `memory.grow` adds. Nothing is ever given back to the
//! host: freed pages are reused, the lowest that fit. Every free page is zero, so
//! what is handed out needs no clearing and a snapshot contains none of the old bytes.
//!
//! Next: `arena.rs`, which gives an extent guest addresses.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::PAGE;
use super::runs::Runs;

/// Limit on guest memory when [`Boot::memory_bytes`](friscy_formats::boot::Boot::memory_bytes) is 0.
pub const DEFAULT_LIMIT_BYTES: u64 = 1 << 30;

/// Bytes of wasm32's addresses that are left to the kernel's own allocator: for it there is no ENOMEM, only a trap.
const KERNEL_BYTES: u64 = 256 << 20;
/// Where linear memory stops growing for guests.
const CAPACITY_BYTES: u64 = (4 << 30) - KERNEL_BYTES;

/// Least growth, so that small requests do not each cost a call to the host.
const GROWTH_PAGES: u64 = 256;

/// Linear memory: a page allocator and the count of pages in use.
#[derive(Debug)]
pub struct Linear {
    host: Host,
    free: RefCell<Runs>,
    /// One past the last page ever handed out.
    end: Cell<u64>,
    /// Pages present in arenas.
    resident: Cell<u64>,
    /// Most pages that may be present.
    limit: Cell<u64>,
    next_id: Cell<u64>,
}

impl Linear {
    /// An empty memory that will hold at most `limit_bytes` of guest pages (0: the default).
    pub fn new(limit_bytes: u64) -> Linear {
        let host = Host::new();
        let limit = if limit_bytes == 0 { DEFAULT_LIMIT_BYTES } else { limit_bytes };
        Linear {
            host,
            free: RefCell::default(),
            end: Cell::new(0),
            resident: Cell::new(0),
            limit: Cell::new(limit / PAGE),
            next_id: Cell::new(1),
        }
    }

    /// Change the limit; what is present already stays.
    pub fn set_limit_bytes(&self, bytes: u64) {
        self.limit.set(bytes / PAGE);
    }

    /// Most bytes of guest pages (MemTotal).
    pub fn limit_bytes(&self) -> u64 {
        self.limit.get() * PAGE
    }

    /// Bytes of guest pages present now.
    pub fn resident_bytes(&self) -> u64 {
        self.resident.get() * PAGE
    }

    /// Bytes of addresses taken from the host so far, in use or free.
    pub fn size_bytes(&self) -> u64 {
        self.end.get() * PAGE
    }

    /// A number that nothing else in this machine has: identities of address spaces and shared objects.
    pub fn unique(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Pages that may still become present.
    pub(super) fn room(&self) -> u64 {
        self.limit.get().saturating_sub(self.resident.get())
    }

    /// Count pages that became present (or absent, when negative).
    pub(super) fn count(&self, pages: i64) {
        self.resident.set(self.resident.get().saturating_add_signed(pages));
    }

    /// Zeroed pages at the distances that `wanted` has between its pages: where the first of them lies. `None` when
    /// addresses are used up.
    pub(super) fn place(&self, wanted: &Runs) -> Option<u64> {
        let span = wanted.end() - wanted.start();
        loop {
            let at = self.fit(wanted);
            if at + span <= self.end.get() {
                let mut free = self.free.borrow_mut();
                let there = |page: u64| at + page - wanted.start();
                wanted.iter().for_each(|run| free.remove(there(run.start)..there(run.end)));
                return Some(at);
            }
            // Where the engine's own allocator has grown memory in between, there is a gap, and another place.
            self.grow(at + span - self.end.get())?;
        }
    }

    /// `pages` zeroed pages in a row; the first. `None` when addresses are used up.
    pub(super) fn alloc(&self, pages: u64) -> Option<u64> {
        let mut wanted = Runs::default();
        wanted.insert(0..pages);
        self.place(&wanted)
    }

    /// Take exactly `pages`, when they are free or can be had. They are zero.
    pub(super) fn take(&self, pages: &Range<u64>) -> bool {
        // Distances may lead below page 0, modulo 2^64.
        if pages.start >= pages.end || pages.end > CAPACITY_BYTES / PAGE {
            return false;
        }
        let (end, tail) = (self.end.get(), self.tail());
        if pages.end > end && (pages.start < tail || self.grow(pages.end - end).is_none()) {
            return false;
        }
        let mut free = self.free.borrow_mut();
        let all = free.contains(pages);
        if all {
            free.remove(pages.clone());
        }
        all
    }

    /// Give pages back. They are zero.
    pub(super) fn free(&self, pages: Range<u64>) {
        self.free.borrow_mut().insert(pages);
    }

    /// From here on nothing is taken.
    fn tail(&self) -> u64 {
        let end = self.end.get();
        self.free.borrow().from(end.saturating_sub(1)).next().map_or(end, |run| run.start)
    }

    /// The lowest place where all of `wanted` is free or not there yet (row displacement: Tarjan and Yao, "Storing a
    /// Sparse Table", 1979).
    fn fit(&self, wanted: &Runs) -> u64 {
        let (free, tail, first) = (self.free.borrow(), self.tail(), wanted.start());
        let mut at = 0;
        // A run that does not fit at `at` says how much higher it would; then all are asked again.
        while let Some(higher) = wanted.iter().find_map(|run| {
            let (from, pages) = (at + run.start - first, run.end - run.start);
            let fits = |it: &Range<u64>| it.start.max(from) + pages <= it.end || it.start >= tail;
            let place = free.from(from).find(fits).map_or(from.max(tail), |it| it.start.max(from));
            (place > from).then_some(place - from)
        }) {
            at += higher;
        }
        at
    }

    /// Get at least `pages` more from the host.
    fn grow(&self, pages: u64) -> Option<()> {
        let end = self.end.get();
        let new = self.host.grow(end, pages.max(GROWTH_PAGES)).or_else(|| self.host.grow(end, pages))?;
        self.end.set(new.end);
        self.free(new);
        Some(())
    }

    /// Host address of byte `offset` of linear memory page `page`.
    pub(super) fn address(&self, page: u64) -> *mut u8 {
        self.host.address(page)
    }
}

/// Natively: one allocation, used from its start.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
struct Host {
    allocation: *mut u8,
    layout: std::alloc::Layout,
    /// Pages in it, counted from its first whole page.
    pages: u64,
}

#[cfg(not(target_arch = "wasm32"))]
impl Host {
    fn new() -> Host {
        use std::alloc::{Layout, alloc_zeroed};
        // Half of it when the system refuses. Alignment stays small: more would make std clear
        // (and so commit) every page itself instead of taking fresh zero pages.
        let mut bytes = CAPACITY_BYTES as usize;
        while bytes >= 16 << 20 {
            if let Ok(layout) = Layout::from_size_align(bytes, 16) {
                // SAFETY: the layout's size is not zero.
                let allocation = unsafe { alloc_zeroed(layout) };
                if !allocation.is_null() {
                    return Host { allocation, layout, pages: bytes as u64 / PAGE - 1 };
                }
            }
            bytes /= 2;
        }
        Host { allocation: std::ptr::null_mut(), layout: Layout::new::<()>(), pages: 0 }
    }

    fn grow(&self, end: u64, pages: u64) -> Option<Range<u64>> {
        let left = self.pages.checked_sub(end)?;
        (pages <= left).then_some(end..end + pages)
    }

    fn address(&self, page: u64) -> *mut u8 {
        assert!(page <= self.pages);
        let skip = self.allocation.align_offset(PAGE as usize);
        // SAFETY: `pages` whole pages lie in the allocation after its first page boundary.
        unsafe { self.allocation.add(skip + (page * PAGE) as usize) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Host {
    fn drop(&mut self) {
        if !self.allocation.is_null() {
            // SAFETY: allocated in `new` with this layout; arenas hold an `Rc` of their `Linear`, so none is left.
            unsafe { std::alloc::dealloc(self.allocation, self.layout) };
        }
    }
}

/// On wasm32: the module's own memory; page numbers are addresses.
#[cfg(target_arch = "wasm32")]
#[derive(Debug)]
struct Host;

#[cfg(target_arch = "wasm32")]
impl Host {
    const WASM_PAGE: u64 = 65536;

    fn new() -> Host {
        Host
    }

    fn grow(&self, _end: u64, pages: u64) -> Option<Range<u64>> {
        let wasm_pages = (pages * PAGE).div_ceil(Self::WASM_PAGE);
        if core::arch::wasm32::memory_size(0) as u64 + wasm_pages > CAPACITY_BYTES / Self::WASM_PAGE {
            return None;
        }
        let before = core::arch::wasm32::memory_grow(0, usize::try_from(wasm_pages).ok()?);
        if before == usize::MAX {
            return None;
        }
        let per = Self::WASM_PAGE / PAGE;
        Some(before as u64 * per..(before as u64 + wasm_pages) * per)
    }

    fn address(&self, page: u64) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut((page * PAGE) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(ranges: &[Range<u64>]) -> Runs {
        let mut runs = Runs::default();
        ranges.iter().for_each(|range| runs.insert(range.clone()));
        runs
    }

    #[test]
    fn what_is_freed_is_used_again_and_joins() {
        let linear = Linear::new(0);
        let a = linear.alloc(10).unwrap();
        let b = linear.alloc(300).unwrap();
        let c = linear.alloc(5).unwrap();
        assert_eq!(b, a + 10);
        linear.free(a..a + 10);
        linear.free(b..b + 300);
        assert_eq!(linear.alloc(310), Some(a));
        linear.free(a..a + 310);
        linear.free(c..c + 5);
        assert_eq!(linear.free.borrow().iter().count(), 1);
    }

    #[test]
    fn pages_with_gaps_interleave() {
        let linear = Linear::new(0);
        let sparse = runs(&[1000..1010, 1100..1110, 9000..9010]);
        for row in 0..10 {
            assert_eq!(linear.place(&sparse), Some(row * 10));
        }
        // The eleventh would lie upon the second run of the first.
        assert_eq!(linear.place(&sparse), Some(200));
        assert_eq!(linear.alloc(7), Some(210), "a gap");
        assert_eq!(linear.alloc(84), Some(310), "the next one that is large enough");
    }

    #[test]
    fn exact_pages_are_taken_when_nobody_has_them() {
        let linear = Linear::new(0);
        let a = linear.alloc(10).unwrap();
        assert!(linear.take(&(a + 10..a + 5000)) && linear.take(&(a + 7000..a + 7010)));
        assert!(!linear.take(&(a + 4999..a + 5001)) && !linear.take(&(a + 6990..a + 9000)));
        assert!(linear.take(&(a + 5000..a + 7000)));
        assert!(!linear.take(&(0..1 << 40)));
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let linear = Linear::new(0);
        assert!(linear.alloc(1 << 40).is_none());
        assert!(linear.place(&runs(&[0..1, 1 << 40..(1 << 40) + 1])).is_none());
        assert!(linear.alloc(1).is_some());
    }
}
