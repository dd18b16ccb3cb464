//! Raw memory: guest loads and stores through the permission bytes, and the
//! cursor over decoded ops. The only unsafe code of the hart.
//!
//! Everything is inlined into the hot function, so nothing here may grow.

use super::op::Op;
use crate::mm::{PAGE, Window, perm};

/// The running address space.
#[derive(Clone, Copy)]
pub(super) struct Ram {
    base: *mut u8,
    perms: *mut u8,
    pages: u64,
}

impl Ram {
    pub(super) fn new(window: &Window) -> Self {
        Self { base: window.base, perms: window.perms, pages: window.pages }
    }

    /// Permission byte of a page; 0 beyond the arena.
    #[inline(always)]
    pub(super) fn perm(self, page: u64) -> u8 {
        if page < self.pages {
            // SAFETY: a Window has one permission byte for each of its `pages` pages, valid during the run.
            unsafe { *self.perms.add(page as usize) }
        } else {
            0
        }
    }

    /// Change the permission byte of a page.
    fn update(self, page: u64, change: impl FnOnce(u8) -> u8) {
        if page < self.pages {
            // SAFETY: as in `perm`; the bytes are the hart's to change while it runs.
            unsafe { *self.perms.add(page as usize) = change(self.perm(page)) }
        }
    }

    /// Let stores to a page leave the fast path, because its code gets decoded.
    pub(super) fn guard(self, page: u64) {
        let guarded = |byte| if byte & perm::W != 0 { byte & !perm::W | perm::CODE } else { byte };
        self.update(page, |byte| guarded(byte) & !perm::W2);
        self.update(page.wrapping_sub(1), |byte| byte & !perm::W2);
    }

    /// Undo [`Ram::guard`]; false when that is not why the page refuses stores.
    pub(super) fn unguard(self, page: u64) -> bool {
        if self.perm(page) & perm::CODE == 0 {
            return false;
        }
        self.update(page, |byte| byte & !perm::CODE | perm::W);
        for page in [page, page.wrapping_sub(1)] {
            if self.perm(page) & self.perm(page.wrapping_add(1)) & perm::W != 0 {
                self.update(page, |byte| byte | perm::W2);
            }
        }
        true
    }

    /// A copy of an executable page; zeros beyond the arena.
    pub(super) fn contents(self, page: u64) -> Box<[u8; PAGE as usize]> {
        let mut bytes = Box::new([0; PAGE as usize]);
        for (i, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            if let Ok(eight) = self.load_exact::<8>(page * PAGE + i as u64 * 8, perm::X) {
                chunk.copy_from_slice(&eight);
            }
        }
        bytes
    }

    /// Load within one page; `None` when the exact path must look.
    #[inline(always)]
    pub(super) fn load<const N: usize>(self, addr: u64) -> Option<[u8; N]> {
        if addr & (PAGE - 1) <= PAGE - N as u64 && self.perm(addr >> 12) & perm::R != 0 {
            Some(self.get(addr))
        } else {
            None
        }
    }

    /// Store within one page; false when the exact path must look.
    #[inline(always)]
    #[must_use]
    pub(super) fn store<const N: usize>(self, addr: u64, bytes: [u8; N]) -> bool {
        let fits = addr & (PAGE - 1) <= PAGE - N as u64 && self.perm(addr >> 12) & perm::W != 0;
        if fits {
            self.put(addr, bytes);
        }
        fits
    }

    /// Load `N` bytes (1, 2, 4, 8), perhaps over a page end. The error is the first byte without all of `bits`.
    pub(super) fn load_exact<const N: usize>(self, addr: u64, bits: u8) -> Result<[u8; N], u64> {
        self.check(addr, N as u64, bits)?;
        let mut bytes = [0; N];
        for (i, byte) in bytes.iter_mut().enumerate() {
            [*byte] = self.get(addr.wrapping_add(i as u64));
        }
        Ok(bytes)
    }

    /// Store perhaps over a page end. The error is the first byte that is not writable; nothing is stored then.
    pub(super) fn store_exact<const N: usize>(self, addr: u64, bytes: [u8; N]) -> Result<(), u64> {
        self.check(addr, N as u64, perm::W)?;
        for (i, byte) in bytes.into_iter().enumerate() {
            self.put(addr.wrapping_add(i as u64), [byte]);
        }
        Ok(())
    }

    /// Whether the at most two pages of a short access have `bits`, or the first byte of one that has not.
    fn check(self, addr: u64, len: u64, bits: u8) -> Result<(), u64> {
        if self.perm(addr >> 12) & bits != bits {
            return Err(addr);
        }
        let last = addr.wrapping_add(len - 1);
        if last >> 12 != addr >> 12 && self.perm(last >> 12) & bits != bits {
            return Err(last & !(PAGE - 1));
        }
        Ok(())
    }

    #[inline(always)]
    fn get<const N: usize>(self, addr: u64) -> [u8; N] {
        // SAFETY: callers have found permission bits for every byte, so each is of a present page, which `base` plus
        // its address is (`Window`); arrays of bytes have no alignment.
        unsafe { self.base.wrapping_add(addr as usize).cast::<[u8; N]>().read() }
    }

    #[inline(always)]
    fn put<const N: usize>(self, addr: u64, bytes: [u8; N]) {
        // SAFETY: as in `get`; no Rust reference points into the arena while the hart runs.
        unsafe { self.base.wrapping_add(addr as usize).cast::<[u8; N]>().write(bytes) }
    }
}

/// A position in the ops of one page.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    start: *const Op,
    at: *const Op,
    ops: std::marker::PhantomData<&'a [Op]>,
}

impl<'a> Cursor<'a> {
    /// At op `index`, which the decoder or linker gave out for these `ops`.
    #[inline(always)]
    pub(super) fn new(ops: &'a [Op], index: u16) -> Self {
        debug_assert!(usize::from(index) < ops.len());
        let start = ops.as_ptr();
        // SAFETY: indexes stored in a page are those of its ops (`code::Page::push` makes both).
        let at = unsafe { start.add(usize::from(index)) };
        Self { start, at, ops: std::marker::PhantomData }
    }

    #[inline(always)]
    pub(super) fn op(self) -> &'a Op {
        // SAFETY: `at` stays inside the ops: it starts there, `next` follows only ops that do not end a run
        // (each run ends in a transfer or leaving op), `jump` takes indexes as `new` does.
        unsafe { &*self.at }
    }

    #[inline(always)]
    pub(super) fn next(&mut self) {
        // SAFETY: as in `op`.
        self.at = unsafe { self.at.add(1) };
    }

    #[inline(always)]
    pub(super) fn jump(&mut self, index: u16) {
        // SAFETY: as in `new`.
        self.at = unsafe { self.start.add(usize::from(index)) };
    }
}
