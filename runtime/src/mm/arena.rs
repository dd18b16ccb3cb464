//! An arena: one address space's contiguous memory and its table of permission bytes.
//!
//! Knows pages, not mappings: `fault.rs` and `mmap.rs` decide what a page's
//! byte is. All methods take `&self`: pages of an arena also change when
//! another process takes a shared page away (`shared.rs`).
//!
//! # Why a table per address space
//! The alternative is one global table indexed by host page, with only the
//! running process's bytes set. That costs a copy of every process's bytes at
//! each context switch, and neighbours in linear memory share bytes. With a
//! table for each address space a switch changes two pointers, bytes are exact
//! for all spaces at all times, and kernel copies test the same bytes as the
//! guest. The table has an entry for each page of the 32-bit guest space, so
//! `perms + ((addr as u32) >> 12)` is always in bounds and an address beyond
//! the arena simply finds 0; untouched entries are zero pages that nobody
//! commits. The price is 1 MiB of addresses a process.
//!
//! # Why a slot does not begin at guest address 0
//! A stack needs addresses below it that few programs ever touch. Where it is
//! the lowest area (`kernel/exec.rs`), the slot begins in the middle of it and
//! moves when the stack gets there: `base` is then an address that no page has,
//! and only base plus the address of a present page is one.
//!
//! # Invariants
//! - A page without [`PRESENT`] is all zero bytes, so demand-zero costs one byte.
//! - A page with [`PRESENT`] lies within the slot.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::Range;
use std::rc::Rc;

use super::linear::{Extent, Linear};
use super::{PAGE, Window, perm};
use crate::hart::CodeCache;

/// The page is in the arena (kernel's own bit beside the [`perm`] bits).
pub(super) const PRESENT: u8 = 32;
/// The page differs from what its mapping would be filled with: fork copies it, msync writes it back.
pub(super) const DIRTY: u8 = 64;

/// Pages of the 32-bit guest space, hence bytes in the table.
pub(super) const GUEST_PAGES: u64 = 1 << 20;
const TABLE_PAGES: u64 = GUEST_PAGES / PAGE;
/// Slots grow in steps of this.
const STEP_PAGES: u64 = 256;
/// A slot that must move because it became longer gets at most so much more.
const ABOVE_PAGES: u64 = (256 << 20) / PAGE;
/// A slot that must begin lower begins this much lower: the default RLIMIT_STACK, so that a stack moves it once.
const BELOW_PAGES: u64 = (8 << 20) / PAGE;

/// One address space's memory.
#[derive(Debug)]
pub(super) struct Arena {
    linear: Rc<Linear>,
    slot: Cell<Extent>,
    /// The guest page that the slot begins with.
    first: Cell<u64>,
    table: Extent,
    /// First page and one past the last page that the first slot has at least.
    expected: Cell<(u64, u64)>,
    /// Present pages.
    resident: Cell<u64>,
    /// Decoded instructions of pages that are executable and not writable.
    code: RefCell<CodeCache>,
}

/// No more addresses or no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Arena {
    /// An arena without pages.
    pub(super) fn new(linear: &Rc<Linear>) -> Result<Rc<Arena>, Full> {
        let table = linear.alloc(TABLE_PAGES).ok_or(Full)?;
        Ok(Rc::new(Arena {
            linear: Rc::clone(linear),
            slot: Cell::default(),
            first: Cell::new(0),
            table,
            expected: Cell::default(),
            resident: Cell::new(0),
            code: RefCell::default(),
        }))
    }

    pub(super) fn linear(&self) -> &Rc<Linear> {
        &self.linear
    }

    pub(super) fn window(&self) -> Window {
        let base =
            self.linear.address(self.slot.get().first).wrapping_sub((self.first.get() * PAGE) as usize);
        Window { base, perms: self.linear.address(self.table.first), pages: self.pages().end }
    }

    /// Present pages.
    pub(super) fn resident(&self) -> u64 {
        self.resident.get()
    }

    /// The guest pages that the slot has places for.
    pub(super) fn pages(&self) -> Range<u64> {
        let first = self.first.get();
        first..first + self.slot.get().pages
    }

    /// The arena will need about `pages`: a first slot of that length never has to move, and slots of like
    /// processes are alike, so that each fits where another one was.
    pub(super) fn expect(&self, pages: Range<u64>) {
        self.expected.set((pages.start, pages.end.min(GUEST_PAGES)));
    }

    /// Make the slot contain `pages`, moving it when it must.
    pub(super) fn reserve(&self, pages: Range<u64>) -> Result<(), Full> {
        let now = self.pages();
        if pages.is_empty() || now.start <= pages.start && pages.end <= now.end {
            return Ok(());
        }
        if pages.end > GUEST_PAGES {
            return Err(Full);
        }
        if now.is_empty() {
            let (first, end) = self.expected.get();
            let wished = first.min(pages.start)..end.max(pages.end);
            return if first < end {
                self.seat(&wished).or_else(|_| self.seat(&pages))
            } else {
                self.seat(&pages)
            };
        }
        let least = now.start.min(pages.start)..now.end.max(pages.end);
        if least.start == now.start {
            let mut slot = self.slot.get();
            if self.linear.extend(&mut slot, (least.end - now.end).next_multiple_of(STEP_PAGES)) {
                self.slot.set(slot);
                return Ok(());
            }
        }
        // Having to move once, leave room to grow in the direction that it grew.
        let below = if least.start < now.start { BELOW_PAGES } else { 0 };
        let above = if least.end > now.end { ((least.end - least.start) / 4).min(ABOVE_PAGES) } else { 0 };
        let roomy = least.start.saturating_sub(below)..(least.end + above).min(GUEST_PAGES);
        self.seat(&roomy).or_else(|_| self.seat(&least))
    }

    /// A new slot for `pages`, which takes over what the old one has: they are among them.
    fn seat(&self, pages: &Range<u64>) -> Result<(), Full> {
        let (old, first) = (self.slot.get(), self.first.get());
        let new = self.linear.alloc((pages.end - pages.start).next_multiple_of(STEP_PAGES)).ok_or(Full)?;
        self.each_present(first, first + old.pages, |page, _| {
            let from = self.linear.address(old.first + (page - first));
            let to = self.linear.address(new.first + (page - pages.start));
            // SAFETY: both are whole pages of extents that this arena owns, and the extents are disjoint.
            unsafe {
                to.copy_from_nonoverlapping(from, PAGE as usize);
                from.write_bytes(0, PAGE as usize);
            }
        });
        self.linear.free(old);
        self.slot.set(new);
        self.first.set(pages.start);
        Ok(())
    }

    /// The byte of `page`: [`perm`] bits, [`PRESENT`], [`DIRTY`]. 0 outside the guest space.
    pub(super) fn flags(&self, page: u64) -> u8 {
        if page >= GUEST_PAGES {
            return 0;
        }
        // SAFETY: the table has GUEST_PAGES bytes.
        unsafe { *self.entry(page) }
    }

    fn entry(&self, page: u64) -> *mut u8 {
        debug_assert!(page < GUEST_PAGES);
        self.linear.address(self.table.first).wrapping_add(page as usize)
    }

    /// Set the byte of a page within the slot; R2 and W2, here and one page below, follow from R and W.
    pub(super) fn set_flags(&self, page: u64, flags: u8) {
        assert!(self.pages().contains(&page), "page beyond the arena");
        let old = self.flags(page);
        if old & perm::X != 0 && (flags & perm::W != 0 || flags & perm::X == 0) {
            self.forget_code(page);
        }
        let change = i64::from(flags & PRESENT != 0) - i64::from(old & PRESENT != 0);
        if change != 0 {
            self.linear.count(change);
            self.resident.set(self.resident.get().saturating_add_signed(change));
        }
        let flags = flags & !(perm::R2 | perm::W2);
        let above = self.flags(page + 1);
        // SAFETY: `page` and `page - 1` are below GUEST_PAGES.
        unsafe { *self.entry(page) = flags | pair(flags, above) };
        if page > 0 {
            let below = self.flags(page - 1) & !(perm::R2 | perm::W2);
            // SAFETY: as above.
            unsafe { *self.entry(page - 1) = below | pair(below, flags) };
        }
    }

    /// Call `each(page, flags)` for the present pages in `from..to`.
    pub(super) fn each_present(&self, from: u64, to: u64, mut each: impl FnMut(u64, u8)) {
        let slot = self.pages();
        let (mut page, to) = (from.max(slot.start), to.min(slot.end));
        while page < to {
            // Eight at a time: most of a large reservation is absent.
            if page.is_multiple_of(8) && page + 8 <= to {
                // SAFETY: eight aligned bytes within the table.
                let eight = unsafe { self.entry(page).cast::<u64>().read() };
                if eight == 0 {
                    page += 8;
                    continue;
                }
            }
            let flags = self.flags(page);
            if flags & PRESENT != 0 {
                each(page, flags);
            }
            page += 1;
        }
    }

    /// Make a page absent: zero, and byte 0.
    pub(super) fn clear(&self, page: u64) {
        if self.flags(page) & PRESENT != 0 {
            self.zero(page);
            self.set_flags(page, 0);
        }
    }

    fn zero(&self, page: u64) {
        // SAFETY: `at` gives a whole page of the slot.
        unsafe { self.at(page).write_bytes(0, PAGE as usize) };
    }

    fn at(&self, page: u64) -> *mut u8 {
        let slot = self.pages();
        assert!(slot.contains(&page), "page beyond the arena");
        self.linear.address(self.slot.get().first + (page - slot.start))
    }

    /// Copy a page out, whatever its byte says.
    pub(super) fn read_page(&self, page: u64, to: &mut [u8; PAGE as usize]) {
        // SAFETY: `at` gives a whole page, and `to` is a page of the kernel's.
        unsafe { self.at(page).copy_to_nonoverlapping(to.as_mut_ptr(), PAGE as usize) };
    }

    /// Fill a page, whatever its byte says.
    pub(super) fn write_page(&self, page: u64, from: &[u8; PAGE as usize]) {
        // SAFETY: as in `read_page`.
        unsafe { self.at(page).copy_from_nonoverlapping(from.as_ptr(), PAGE as usize) };
    }

    /// Copy bytes of one page out, whatever its byte says; they must lie within it.
    pub(super) fn read(&self, page: u64, offset: usize, to: &mut [u8]) {
        assert!(offset + to.len() <= PAGE as usize);
        // SAFETY: the bytes lie within the page that `at` gives.
        unsafe { self.at(page).add(offset).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
    }

    /// Copy bytes into one page, whatever its byte says; they must lie within it.
    pub(super) fn write(&self, page: u64, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= PAGE as usize);
        // SAFETY: the bytes lie within the page that `at` gives.
        unsafe { self.at(page).add(offset).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    /// Offset of the first zero byte from `offset` on within one page.
    pub(super) fn find_zero(&self, page: u64, offset: usize) -> Option<usize> {
        let at = self.at(page);
        // SAFETY: a whole page of the slot, and nothing writes to it during the search.
        let bytes = unsafe { std::slice::from_raw_parts(at, PAGE as usize) };
        bytes.get(offset..)?.iter().position(|&b| b == 0).map(|n| offset + n)
    }

    /// The page holds only zeros.
    pub(super) fn is_zero(&self, page: u64) -> bool {
        let at = self.at(page).cast::<u64>();
        // SAFETY: pages are aligned, and nothing writes to this one during the search.
        let words = unsafe { std::slice::from_raw_parts(at, PAGE as usize / 8) };
        words.iter().all(|&w| w == 0)
    }

    /// Copy a whole page from `source` (another arena or this one; a page onto itself stays).
    pub(super) fn copy_from(&self, page: u64, source: &Arena, source_page: u64) {
        let (from, to) = (source.at(source_page), self.at(page));
        // SAFETY: both are whole pages of slots; `copy` allows them to be the same.
        unsafe { to.copy_from(from, PAGE as usize) };
    }

    /// Drop decoded instructions of a page before its contents change.
    pub(super) fn forget_code(&self, page: u64) {
        self.code.borrow_mut().invalidate(page..page + 1);
    }

    pub(super) fn code(&self) -> RefMut<'_, CodeCache> {
        self.code.borrow_mut()
    }
}

/// R2 and W2 of a page, from its own byte and that of the page above.
fn pair(flags: u8, above: u8) -> u8 {
    let both = flags & above & (perm::R | perm::W);
    (if both & perm::R != 0 { perm::R2 } else { 0 }) | (if both & perm::W != 0 { perm::W2 } else { 0 })
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.each_present(0, GUEST_PAGES, |page, _| {
            self.zero(page);
            // SAFETY: `page` is below GUEST_PAGES.
            unsafe { *self.entry(page) = 0 };
        });
        // R2 and W2 need R and W here, so bytes of absent pages are 0 already.
        self.linear.count(-(self.resident.get() as i64));
        self.linear.free(self.slot.get());
        self.linear.free(self.table);
    }
}
