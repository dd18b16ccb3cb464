//! Contents of a regular file: pages written since the image was made, over the image's own bytes.
//!
//! A page is in the map once it was written (or punched out: `None`, a hole).
//! Everything else is the base file up to `base_len`, and zeros beyond: a
//! sparse file costs what was written to it, whatever its size.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Base, Quota};
use crate::abi::Errno;

/// Bytes per page of contents.
pub(super) const PAGE: u64 = 4096;
/// The largest file: what a signed 64-bit offset can say, in whole pages.
pub(super) const MAX_SIZE: u64 = (i64::MAX as u64) & !(PAGE - 1);

static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// What a page takes from the quota: itself and its place in the map.
const PAGE_COST: u64 = PAGE + 64;

type Page = Box<[u8; PAGE as usize]>;

/// Contents of one regular file.
pub(super) struct FileData {
    size: Cell<u64>,
    /// Bytes of the base file that still show where no page was written; it only shrinks.
    base_len: Cell<u64>,
    /// The base file.
    base: Option<(Rc<Base>, u32)>,
    pages: RefCell<BTreeMap<u64, Option<Page>>>,
    /// Pages of the map that hold bytes.
    held: Cell<u64>,
    quota: Rc<Quota>,
}

impl FileData {
    /// An empty file.
    pub(super) fn new(quota: Rc<Quota>) -> FileData {
        FileData {
            size: Cell::new(0),
            base_len: Cell::new(0),
            base: None,
            pages: RefCell::default(),
            held: Cell::new(0),
            quota,
        }
    }

    /// The file `ino` of the base, `size` bytes long.
    pub(super) fn of_base(quota: Rc<Quota>, base: Rc<Base>, ino: u32, size: u64) -> FileData {
        let mut data = FileData::new(quota);
        data.base = Some((base, ino));
        data.size.set(size);
        data.base_len.set(size);
        data
    }

    pub(super) fn size(&self) -> u64 {
        self.size.get()
    }

    /// 512-byte units: pages held, and what the base file takes.
    pub(super) fn blocks(&self) -> u64 {
        (self.held.get() + self.base_len.get().div_ceil(PAGE)) * 8
    }

    /// Copy bytes from `offset` on, which with `bytes.len()` lies within the size. PENDING.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        fill(bytes, |len, put| self.pieces(offset, len, put))
    }

    /// Do `read`, which reads the page at `offset`, if it is at hand; else false. See [`Base::near`].
    pub(super) fn near(&self, offset: u64, read: impl FnOnce() -> bool) -> bool {
        match &self.base {
            Some((base, ino)) if !self.pages.borrow().contains_key(&(offset / PAGE)) => {
                let inside = self.base_len.get().saturating_sub(offset).min(PAGE);
                base.near(*ino, offset, inside, read)
            }
            _ => read(),
        }
    }

    /// Hand `len` bytes from `offset` on to `put`, piece by piece in order, without copying them first. They lie
    /// within the size. PENDING, EIO: what was handed over before stays so.
    pub(super) fn pieces(&self, offset: u64, len: u64, put: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let (mut at, end) = (offset, offset + len);
        // Nothing stays borrowed while `put` runs: guest memory that it stores to may be a mapping of this file.
        let mut copy = [0; PAGE as usize];
        while at < end {
            let within = (at % PAGE) as usize;
            let len = (PAGE - at % PAGE).min(end - at);
            let here = match self.pages.borrow().get(&(at / PAGE)) {
                Some(Some(page)) => {
                    copy[..len as usize].copy_from_slice(&page[within..within + len as usize]);
                    Some(&copy)
                }
                Some(None) => Some(&ZEROS),
                None => None,
            };
            if let Some(bytes) = here {
                put(&bytes[..len as usize]);
                at += len;
                continue;
            }
            // The run of untouched pages ahead is one read of the base.
            let next = self.pages.borrow().range(at / PAGE..).next().map(|(&page, _)| page * PAGE);
            let next = next.map_or(end, |next| next.min(end));
            self.base_pieces(at, next - at, put)?;
            at = next;
        }
        Ok(())
    }

    /// The same, of the base alone: zeros where nothing of it shows.
    fn base_pieces(&self, offset: u64, len: u64, put: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let inside = self.base_len.get().saturating_sub(offset).min(len);
        match &self.base {
            Some((base, ino)) if inside > 0 => base.pieces(*ino, offset, inside, put)?,
            _ => zeros(inside, put),
        }
        zeros(len - inside, put);
        Ok(())
    }

    /// Make sure that the page with index `index` is in the map with its bytes; `whole` when they will all be replaced.
    fn own(&self, index: u64, whole: bool) -> Result<(), Errno> {
        if matches!(self.pages.borrow().get(&index), Some(Some(_))) {
            return Ok(());
        }
        let punched = self.pages.borrow().contains_key(&index);
        let mut page = new_page()?;
        if !whole && !punched {
            fill(&mut page[..], |len, put| self.base_pieces(index * PAGE, len, put))?;
        }
        self.quota.take(PAGE_COST)?;
        self.held.set(self.held.get() + 1);
        self.pages.borrow_mut().insert(index, Some(page));
        Ok(())
    }

    /// Store bytes at `offset`, extending the file; returns how many. EFBIG, ENOSPC, PENDING: none was stored.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let mut rest = bytes;
        self.write_with(offset, bytes.len(), &mut |to| {
            let (now, later) = rest.split_at(to.len());
            to.copy_from_slice(now);
            rest = later;
        })
    }

    /// The same of `count` bytes that `put` gives, in order.
    pub(super) fn write_with(
        &self,
        offset: u64,
        count: usize,
        put: &mut dyn FnMut(&mut [u8]),
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while done < count {
            let at = match offset.checked_add(done as u64) {
                Some(at) if at < MAX_SIZE => at,
                _ if done > 0 => break,
                _ => return Err(Errno::EFBIG),
            };
            let within = (at % PAGE) as usize;
            let len = (PAGE as usize - within).min(count - done);
            match self.own(at / PAGE, len == PAGE as usize) {
                Ok(()) => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
            if let Some(Some(page)) = self.pages.borrow_mut().get_mut(&(at / PAGE)) {
                put(&mut page[within..within + len]);
            }
            done += len;
            self.size.set(self.size.get().max(at + len as u64));
        }
        Ok(done)
    }

    /// Set the size; what lies beyond is gone for good. PENDING.
    pub(super) fn truncate(&self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        if size < self.size.get() {
            // The rest of the last page must read as zeros if the file grows again.
            if !size.is_multiple_of(PAGE) && self.has_bytes(size / PAGE) {
                self.own(size / PAGE, false)?;
                if let Some(Some(page)) = self.pages.borrow_mut().get_mut(&(size / PAGE)) {
                    page[(size % PAGE) as usize..].fill(0);
                }
            }
            self.base_len.set(self.base_len.get().min(size));
            let gone = self.pages.borrow_mut().split_off(&size.div_ceil(PAGE));
            self.count_out(gone.values().filter(|p| p.is_some()).count() as u64);
        }
        self.size.set(size);
        Ok(())
    }

    /// The page may hold something other than zeros.
    fn has_bytes(&self, index: u64) -> bool {
        match self.pages.borrow().get(&index) {
            Some(page) => page.is_some(),
            None => false,
        }
    }

    /// Make a range read as zeros without changing the size (FALLOC_FL_PUNCH_HOLE, ZERO_RANGE). PENDING, ENOSPC.
    pub(super) fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(len).min(self.size.get().next_multiple_of(PAGE));
        if offset >= end {
            return Ok(());
        }
        let (first, last) = (offset.div_ceil(PAGE), end / PAGE);
        if first > last {
            return self.zero(offset, end);
        }
        self.zero(offset, first * PAGE)?;
        self.zero(last * PAGE, end)?;
        // Only the base needs markers that hide it, and not when nothing of it shows after the range.
        if last * PAGE >= self.base_len.get() {
            self.base_len.set(self.base_len.get().min(first * PAGE));
        }
        let base_pages = self.base_len.get().div_ceil(PAGE);
        let mut pages = self.pages.borrow_mut();
        let mut tail = pages.split_off(&first);
        let mut after = tail.split_off(&last);
        let freed = tail.values().filter(|p| p.is_some()).count() as u64;
        for index in first..last.min(base_pages) {
            pages.insert(index, None);
        }
        pages.append(&mut after);
        drop(pages);
        self.count_out(freed);
        Ok(())
    }

    /// Zero a range within one page.
    fn zero(&self, start: u64, end: u64) -> Result<(), Errno> {
        let index = start / PAGE;
        let in_base = index * PAGE < self.base_len.get() && !self.pages.borrow().contains_key(&index);
        if start >= end || !(self.has_bytes(index) || in_base) {
            return Ok(());
        }
        self.own(index, false)?;
        if let Some(Some(page)) = self.pages.borrow_mut().get_mut(&index) {
            page[(start - index * PAGE) as usize..(end - index * PAGE) as usize].fill(0);
        }
        Ok(())
    }

    /// Next offset from `offset` on that is data (or a hole). None: there is no more data.
    pub(super) fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        let (size, base_len) = (self.size.get(), self.base_len.get());
        let mut at = offset;
        while at < size {
            let index = at / PAGE;
            let is_data = match self.pages.borrow().get(&index) {
                Some(page) => page.is_some(),
                None => at < base_len,
            };
            if is_data == data {
                return Some(at);
            }
            let skip = if is_data || self.pages.borrow().contains_key(&index) {
                index + 1
            } else {
                // A hole past the base: up to the next page in the map.
                let next = self.pages.borrow().range(index..).next().map(|(&p, _)| p);
                next.unwrap_or(size.div_ceil(PAGE))
            };
            at = skip * PAGE;
        }
        (!data).then_some(size)
    }

    fn count_out(&self, pages: u64) {
        self.held.set(self.held.get().saturating_sub(pages));
        self.quota.give_back(pages * PAGE_COST);
    }
}

impl Drop for FileData {
    fn drop(&mut self) {
        self.quota.give_back(self.held.get() * PAGE_COST);
    }
}

/// Fill `bytes` with the pieces that `produce` hands over.
fn fill(
    bytes: &mut [u8],
    produce: impl FnOnce(u64, &mut dyn FnMut(&[u8])) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let len = bytes.len() as u64;
    let mut rest = bytes;
    produce(len, &mut |piece| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(piece.len());
        head.copy_from_slice(piece);
        rest = tail;
    })
}

/// Hand over `len` zeros.
pub(super) fn zeros(len: u64, put: &mut dyn FnMut(&[u8])) {
    let mut left = len;
    while left > 0 {
        let n = left.min(PAGE);
        put(&ZEROS[..n as usize]);
        left -= n;
    }
}

/// A zeroed page. ENOSPC when the host has no memory left.
fn new_page() -> Result<Page, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(PAGE as usize).map_err(|_| Errno::ENOSPC)?;
    bytes.resize(PAGE as usize, 0);
    bytes.into_boxed_slice().try_into().map_err(|_| Errno::ENOSPC)
}
