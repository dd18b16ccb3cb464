//! The one linear memory that all address spaces of a machine lie in.
//!
//! Hands out runs of pages ("extents"): an arena's slot, an arena's permission
//! table. Natively it is one large, lazily committed allocation; on wasm32 it
//! is what `memory.grow` adds. Nothing is ever given back to the host: freed
//! extents are reused, best fit: the small
//! tables must not break the runs that slots need. Every free page is zero, so
//! a new extent needs no clearing and a snapshot contains none of the old bytes.
//!
//! Next: `arena.rs`, which gives an extent guest addresses.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::PAGE;

/// Limit on guest memory when [`Boot::memory_bytes`](friscy_formats::boot::Boot::memory_bytes) is 0.
pub const DEFAULT_LIMIT_BYTES: u64 = 1 << 30;

/// Bytes of wasm32's addresses that are left to the kernel's own allocator: for it there is no ENOMEM, only a trap.
const KERNEL_BYTES: u64 = 256 << 20;
/// Where linear memory stops growing for guests.
const CAPACITY_BYTES: u64 = (4 << 30) - KERNEL_BYTES;

/// Least growth, so that small requests do not each cost a call to the host.
const GROWTH_PAGES: u64 = 256;

/// A run of pages of linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// First page, counted from the start of linear memory.
    pub first: u64,
    /// Pages.
    pub pages: u64,
}

/// Linear memory: a page allocator and the count of pages in use.
#[derive(Debug)]
pub struct Linear {
    host: Host,
    /// First page to length, never adjacent.
    free: RefCell<BTreeMap<u64, u64>>,
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

    /// `pages` zeroed pages; `None` when addresses are used up.
    pub(super) fn alloc(&self, pages: u64) -> Option<Extent> {
        if let Some(extent) = self.take(pages) {
            return Some(extent);
        }
        self.refill(pages)?;
        self.take(pages)
    }

    /// Give an extent back. Its pages are zero.
    pub(super) fn free(&self, extent: Extent) {
        if extent.pages == 0 {
            return;
        }
        let mut free = self.free.borrow_mut();
        let (mut first, mut pages) = (extent.first, extent.pages);
        if let Some((&before, &len)) = free.range(..first).next_back()
            && before + len == first
        {
            free.remove(&before);
            (first, pages) = (before, pages + len);
        }
        if let Some(len) = free.remove(&(first + pages)) {
            pages += len;
        }
        free.insert(first, pages);
    }

    /// Make `extent` longer in place, when what follows is free or can be had.
    pub(super) fn extend(&self, extent: &mut Extent, more: u64) -> bool {
        let next = extent.first + extent.pages;
        let follows = self.free.borrow().get(&next).copied().unwrap_or(0);
        // Only the last extent can grow into new memory.
        if follows < more && (next + follows != self.end.get() || self.refill(more).is_none()) {
            return false;
        }
        let mut free = self.free.borrow_mut();
        match free.remove(&next) {
            Some(len) if len >= more => {
                if len > more {
                    free.insert(next + more, len - more);
                }
                extent.pages += more;
                true
            }
            Some(len) => {
                free.insert(next, len);
                false
            }
            None => false,
        }
    }

    /// Best fit, of equals the lowest.
    fn take(&self, pages: u64) -> Option<Extent> {
        let mut free = self.free.borrow_mut();
        let fits = free.iter().filter(|&(_, &len)| len >= pages);
        let (&first, &len) = fits.min_by_key(|&(&first, &len)| (len, first))?;
        free.remove(&first);
        if len > pages {
            free.insert(first + pages, len - pages);
        }
        Some(Extent { first, pages })
    }

    /// Get enough from the host that the free run at the end has `pages`.
    fn refill(&self, pages: u64) -> Option<()> {
        let tail = self
            .free
            .borrow()
            .iter()
            .next_back()
            .filter(|&(first, len)| first + len == self.end.get())
            .map_or(0, |(_, &len)| len);
        let least = pages.checked_sub(tail)?;
        let extent = self
            .host
            .grow(self.end.get(), least.max(GROWTH_PAGES))
            .or_else(|| self.host.grow(self.end.get(), least))?;
        self.end.set(extent.first + extent.pages);
        let contiguous = extent.pages + tail >= pages;
        self.free(extent);
        // The engine's own allocator may have grown memory in between: then the new run stands alone.
        if contiguous || extent.pages >= pages { Some(()) } else { self.refill(pages) }
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

    fn grow(&self, end: u64, pages: u64) -> Option<Extent> {
        let left = self.pages.checked_sub(end)?;
        (pages <= left).then_some(Extent { first: end, pages })
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

    fn grow(&self, _end: u64, pages: u64) -> Option<Extent> {
        let wasm_pages = (pages * PAGE).div_ceil(Self::WASM_PAGE);
        if core::arch::wasm32::memory_size(0) as u64 + wasm_pages > CAPACITY_BYTES / Self::WASM_PAGE {
            return None;
        }
        let before = core::arch::wasm32::memory_grow(0, usize::try_from(wasm_pages).ok()?);
        if before == usize::MAX {
            return None;
        }
        let per = Self::WASM_PAGE / PAGE;
        Some(Extent { first: before as u64 * per, pages: wasm_pages * per })
    }

    fn address(&self, page: u64) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut((page * PAGE) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_reused_and_join() {
        let linear = Linear::new(0);
        let a = linear.alloc(10).unwrap();
        let b = linear.alloc(300).unwrap();
        let c = linear.alloc(5).unwrap();
        assert_eq!(b.first, a.first + 10);
        linear.free(a);
        linear.free(b);
        let d = linear.alloc(310).unwrap();
        assert_eq!(d, Extent { first: a.first, pages: 310 });
        linear.free(d);
        linear.free(c);
        assert_eq!(linear.free.borrow().len(), 1);
    }

    #[test]
    fn the_last_extent_grows_in_place() {
        let linear = Linear::new(0);
        let mut a = linear.alloc(10).unwrap();
        assert!(linear.extend(&mut a, 5000));
        assert_eq!(a.pages, 5010);
        let b = linear.alloc(1).unwrap();
        assert_eq!(b.first, a.first + 5010);
        assert!(!linear.extend(&mut a, 1));
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let linear = Linear::new(0);
        assert!(linear.alloc(1 << 40).is_none());
        assert!(linear.alloc(1).is_some());
    }
}
