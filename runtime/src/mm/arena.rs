//! An arena: one address space's memory and its table of permission bytes.
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
//! # Why arenas interleave
//! Guest page `p` lies in linear page `p + shift`, for all pages alike: the
//! fast path has one base. But few programs use the addresses between their
//! parts (below a stack, in the 64 MiB that glibc's malloc reserves for each
//! thread), and linear memory has less than 4 GiB of them for all processes.
//! So an arena *claims* only pages that it has or expects, and the gaps
//! between them are other arenas' (row displacement, `Linear::place`). When it
//! needs a page whose place is taken, all of it moves: that costs a copy, and
//! is made rare by claiming what comes next as well. `base` is then an address
//! that no page may have; only base plus the address of a present page is one.
//!
//! # Invariants
//! - A page without [`PRESENT`] is all zero bytes, so demand-zero costs one byte.
//! - A page with [`PRESENT`] is claimed.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::Range;
use std::rc::Rc;

use super::linear::Linear;
use super::runs::Runs;
use super::{PAGE, Window, perm};
use crate::hart::CodeCache;

/// The page is in the arena (kernel's own bit beside the [`perm`] bits).
pub(super) const PRESENT: u8 = 32;
/// The page differs from what its mapping would be filled with: fork copies it, msync writes it back.
pub(super) const DIRTY: u8 = 64;

/// Pages of the 32-bit guest space, hence bytes in the table.
pub(super) const GUEST_PAGES: u64 = 1 << 20;
const TABLE_PAGES: u64 = GUEST_PAGES / PAGE;
/// What one fault claims at most: the aligned block around it.
const BLOCK_PAGES: u64 = 256;
/// What the host gives is a multiple of this, and so is what is claimed.
const LEAST_PAGES: u64 = 16;
/// An arena that must move claims at most so much more above the page that it moves for.
const ABOVE_PAGES: u64 = (256 << 20) / PAGE;
/// And so much below: the default RLIMIT_STACK, so that a stack moves it once.
const BELOW_PAGES: u64 = (8 << 20) / PAGE;

/// One address space's memory.
#[derive(Debug)]
pub(super) struct Arena {
    linear: Rc<Linear>,
    /// Guest pages whose places in linear memory are this arena's.
    claims: RefCell<Runs>,
    /// What added to a guest page gives its linear page; modulo 2^64.
    shift: Cell<u64>,
    /// Linear page of the table.
    table: u64,
    /// Pages that are claimed together with the first one.
    expected: RefCell<Runs>,
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
            claims: RefCell::default(),
            shift: Cell::new(0),
            table,
            expected: RefCell::default(),
            resident: Cell::new(0),
            code: RefCell::default(),
        }))
    }

    pub(super) fn linear(&self) -> &Rc<Linear> {
        &self.linear
    }

    pub(super) fn window(&self) -> Window {
        let (first, pages) = {
            let claims = self.claims.borrow();
            (claims.start(), claims.end())
        };
        let base = self.linear.address(self.linear_page(first)).wrapping_sub((first * PAGE) as usize);
        Window { base, perms: self.linear.address(self.table), pages }
    }

    fn linear_page(&self, page: u64) -> u64 {
        page.wrapping_add(self.shift.get())
    }

    /// Present pages.
    pub(super) fn resident(&self) -> u64 {
        self.resident.get()
    }

    /// The guest pages that have places.
    #[cfg(test)]
    pub(super) fn claims(&self) -> Runs {
        self.claims.borrow().clone()
    }

    /// The arena will need about these pages: they are claimed with the first one, so that it need not move for them,
    /// and arenas of like processes are alike, so that each fits where another one was.
    pub(super) fn expect(&self, pages: Range<u64>) {
        self.expected.borrow_mut().insert(whole(&(pages.start..pages.end.min(GUEST_PAGES))));
    }

    /// What this arena has near `page` is expected of `child`; one past what counts as near.
    pub(super) fn expect_alike(&self, child: &Arena, page: u64) -> u64 {
        let near = block(&(page..page + 1));
        for run in self.claims.borrow().from(near.start).take_while(|run| run.start < near.end) {
            child.expect(run.start.max(near.start)..run.end.min(near.end));
        }
        near.end
    }

    /// Places for all that is expected, of an arena that has none.
    pub(super) fn seat_expected(&self) -> Result<(), Full> {
        let expected = self.expected.borrow().clone();
        if expected.is_empty() { Ok(()) } else { self.seat(expected) }
    }

    /// Give `pages` places, moving everything when theirs are taken. What lies near them within `area` will be needed
    /// as well.
    pub(super) fn reserve(&self, pages: &Range<u64>, area: &Range<u64>) -> Result<(), Full> {
        if self.claims.borrow().contains(pages) {
            return Ok(());
        }
        if pages.end > GUEST_PAGES {
            return Err(Full);
        }
        let least = whole(pages);
        let mut claims = self.claims.borrow().clone();
        if claims.is_empty() {
            let mut wished = self.expected.borrow().clone();
            wished.insert(least.clone());
            claims.insert(least);
            return self.seat(wished).or_else(|_| self.seat(claims));
        }
        let near = block(pages);
        let near = least.start.min(near.start.max(area.start))..least.end.max(near.end.min(area.end));
        if self.claim(&whole(&near)) || self.claim(&least) {
            return Ok(());
        }
        // Having to move once, leave room to grow. Areas grow upwards unnoticed, so what is above is not cut to it.
        let below = least.start.saturating_sub(BELOW_PAGES).max(area.start).min(least.start);
        let above = least.end + (claims.count() / 4).min(ABOVE_PAGES);
        let mut wished = claims.clone();
        wished.insert(whole(&(below..above.min(GUEST_PAGES))));
        claims.insert(least);
        self.seat(wished).or_else(|_| self.seat(claims))
    }

    /// Claim what of `pages` is not yet, where the arena is; false, and nothing is, when others have some of them.
    fn claim(&self, pages: &Range<u64>) -> bool {
        let mut claims = self.claims.borrow_mut();
        let missing = claims.missing(pages);
        let taken = missing.iter().take_while(|run| self.linear.take(&self.in_linear(run))).count();
        let all = taken == missing.iter().count();
        for run in missing.iter().take(taken) {
            if all {
                claims.insert(run);
            } else {
                self.linear.free(self.in_linear(&run));
            }
        }
        all
    }

    /// New places for `claims`, which take over what the old ones have.
    fn seat(&self, claims: Runs) -> Result<(), Full> {
        let at = self.linear.place(&claims).ok_or(Full)?;
        let shift = at.wrapping_sub(claims.start());
        self.each_present(0, GUEST_PAGES, |page, _| {
            let from = self.linear.address(self.linear_page(page));
            let to = self.linear.address(page.wrapping_add(shift));
            // SAFETY: both are whole pages that this arena has claimed, the new ones while the old ones were not free.
            unsafe {
                to.copy_from_nonoverlapping(from, PAGE as usize);
                from.write_bytes(0, PAGE as usize);
            }
        });
        self.release();
        self.shift.set(shift);
        self.claims.replace(claims);
        Ok(())
    }

    /// Give all places back; no page is present any more.
    fn release(&self) {
        self.claims.borrow().iter().for_each(|run| self.linear.free(self.in_linear(&run)));
    }

    fn in_linear(&self, run: &Range<u64>) -> Range<u64> {
        self.linear_page(run.start)..self.linear_page(run.end)
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
        self.linear.address(self.table).wrapping_add(page as usize)
    }

    /// Set the byte of a page that has a place; R2 and W2, here and one page below, follow from R and W.
    pub(super) fn set_flags(&self, page: u64, flags: u8) {
        let old = self.flags(page);
        assert!(self.has(page, old), "page without a place");
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
        let mut at = from;
        // Nothing is borrowed while `each` is called.
        while let Some(run) = self.next_claim(at).filter(|run| run.start.max(at) < to) {
            let (mut page, end) = (run.start.max(at), run.end.min(to));
            while page < end {
                // Eight at a time: much of what is claimed is absent.
                if page.is_multiple_of(8) && page + 8 <= end {
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
            at = end;
        }
    }

    fn next_claim(&self, page: u64) -> Option<Range<u64>> {
        self.claims.borrow().from(page).next()
    }

    /// Make a page absent: zero, and byte 0.
    pub(super) fn clear(&self, page: u64) {
        if self.flags(page) & PRESENT != 0 {
            self.zero(page);
            self.set_flags(page, 0);
        }
    }

    fn zero(&self, page: u64) {
        // SAFETY: `at` gives a whole page of the arena's.
        unsafe { self.at(page).write_bytes(0, PAGE as usize) };
    }

    fn at(&self, page: u64) -> *mut u8 {
        assert!(self.has(page, self.flags(page)), "page without a place");
        self.linear.address(self.linear_page(page))
    }

    /// The page, whose byte is `flags`, has a place in linear memory.
    fn has(&self, page: u64, flags: u8) -> bool {
        flags & PRESENT != 0 || self.claims.borrow().contains(&(page..page + 1))
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
        // SAFETY: a whole page of the arena's, and nothing writes to it during the search.
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
        // SAFETY: both are whole pages of arenas; `copy` allows them to be the same.
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

/// Whole units of what is claimed around `pages`.
fn whole(pages: &Range<u64>) -> Range<u64> {
    pages.start - pages.start % LEAST_PAGES..pages.end.next_multiple_of(LEAST_PAGES)
}

/// The whole blocks that `pages` lie in.
fn block(pages: &Range<u64>) -> Range<u64> {
    pages.start - pages.start % BLOCK_PAGES..pages.end.next_multiple_of(BLOCK_PAGES)
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
        self.release();
        self.linear.free(self.table..self.table + TABLE_PAGES);
    }
}
