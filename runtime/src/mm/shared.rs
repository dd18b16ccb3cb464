//! Pages shared between address spaces (MAP_SHARED).
//!
//! One hart runs at a time, so a shared page is kept coherent the way
//! distributed shared memory is: it lies in the arena of the process that uses
//! it, and moves when another one faults on it (many readers or one writer).
//! The fast path stays flat.
//!
//! The object itself ([`Pages`]) is the home of every page. An arena that may
//! write holds the page with `DIRTY` set and is then its only holder; before
//! anyone else looks at the page it is written home ("recalled").

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::{Rc, Weak};

use super::PAGE;
use super::arena::{Arena, DIRTY};
use super::linear::Linear;
use super::perm;
use crate::abi::Errno;
use crate::fs::Pages;

/// Which address spaces hold copies of an object's pages. One per [`Pages`] object.
#[derive(Default)]
pub struct Sharers {
    /// Given on first use; 0 before.
    id: Cell<u64>,
    /// By page number within the object.
    holders: RefCell<BTreeMap<u64, Vec<Holder>>>,
}

#[derive(Clone)]
struct Holder {
    arena: Weak<Arena>,
    /// Guest page at which the object's page is mapped.
    page: u64,
}

impl Sharers {
    /// Identity of the object, for futexes.
    pub(super) fn id(&self, linear: &Linear) -> u64 {
        if self.id.get() == 0 {
            self.id.set(linear.unique());
        }
        self.id.get()
    }

    /// read(2) of `len` bytes at `offset` is about to copy from `object`: bring home what is newer elsewhere.
    pub fn before_read(&self, object: &dyn Pages, offset: u64, len: u64) -> Result<(), Errno> {
        self.recall(object, pages_of(offset, len))
    }

    /// write(2), ftruncate(2) or fallocate(2) is about to change `len` bytes at
    /// `offset` (`u64::MAX`: to the end): bring home what is newer, and let
    /// nobody keep a copy.
    pub fn before_write(&self, object: &dyn Pages, offset: u64, len: u64) -> Result<(), Errno> {
        let pages = pages_of(offset, len);
        self.recall(object, pages.clone())?;
        self.revoke(pages, None);
        Ok(())
    }

    /// Write dirty copies home; their holders keep them to read. PENDING, EIO… of [`Pages::write_page`].
    pub(super) fn recall(&self, object: &dyn Pages, pages: Range<u64>) -> Result<(), Errno> {
        let holders = self.holders.borrow();
        if holders.is_empty() || pages.is_empty() {
            return Ok(());
        }
        for (&index, sharers) in holders.range(pages) {
            for holder in sharers {
                if let Some(arena) = holder.arena.upgrade() {
                    write_home(&arena, holder.page, object, index)?;
                }
            }
        }
        Ok(())
    }

    /// Take clean copies away from everyone but `keep`.
    pub(super) fn revoke(&self, pages: Range<u64>, keep: Option<(&Rc<Arena>, u64)>) {
        let mut holders = self.holders.borrow_mut();
        if holders.is_empty() || pages.is_empty() {
            return;
        }
        let indexes: Vec<u64> = holders.range(pages).map(|(&index, _)| index).collect();
        for index in indexes {
            let Some(sharers) = holders.get_mut(&index) else { continue };
            sharers.retain(|holder| {
                let Some(arena) = holder.arena.upgrade() else { return false };
                if keep.is_some_and(|(kept, page)| Rc::ptr_eq(kept, &arena) && page == holder.page) {
                    return true;
                }
                arena.clear(holder.page);
                false
            });
            if sharers.is_empty() {
                holders.remove(&index);
            }
        }
    }

    /// Nobody has any page.
    pub fn is_unused(&self) -> bool {
        self.holders.borrow().is_empty()
    }

    /// Somebody else has the page now.
    pub(super) fn held(&self, index: u64) -> bool {
        self.holders.borrow().contains_key(&index)
    }

    /// `arena` holds the object's page `index` at guest page `page` from now on.
    pub(super) fn attach(&self, arena: &Rc<Arena>, page: u64, index: u64) {
        let mut holders = self.holders.borrow_mut();
        let sharers = holders.entry(index).or_default();
        let known =
            sharers.iter().any(|h| h.page == page && std::ptr::eq(h.arena.as_ptr(), Rc::as_ptr(arena)));
        if !known {
            sharers.push(Holder { arena: Rc::downgrade(arena), page });
        }
    }

    /// The mapping goes away: write a dirty page home and make it absent.
    pub(super) fn detach(&self, object: &dyn Pages, arena: &Rc<Arena>, page: u64, index: u64) {
        // The object's file system may be out of space or the file cut short: nobody is left to be told.
        let _ = write_home(arena, page, object, index);
        let mut holders = self.holders.borrow_mut();
        if let Some(sharers) = holders.get_mut(&index) {
            sharers.retain(|h| !(h.page == page && std::ptr::eq(h.arena.as_ptr(), Rc::as_ptr(arena))));
            if sharers.is_empty() {
                holders.remove(&index);
            }
        }
        arena.clear(page);
    }
}

fn write_home(arena: &Rc<Arena>, page: u64, object: &dyn Pages, index: u64) -> Result<(), Errno> {
    let flags = arena.flags(page);
    if flags & DIRTY == 0 {
        return Ok(());
    }
    let mut bytes = [0; PAGE as usize];
    arena.read_page(page, &mut bytes);
    let offset = index * PAGE;
    if offset < object.size() {
        object.write_page(offset, &bytes)?;
    }
    arena.set_flags(page, flags & !(DIRTY | perm::W));
    Ok(())
}

/// Numbers of the pages that `len` bytes at `offset` touch.
fn pages_of(offset: u64, len: u64) -> Range<u64> {
    if len == 0 {
        return 0..0;
    }
    let end = offset.saturating_add(len);
    offset / PAGE..end.div_ceil(PAGE)
}

/// An object in memory only: MAP_SHARED | MAP_ANONYMOUS, System V segments.
/// Its pages count against the machine's limit like those of arenas.
pub struct SharedMemory {
    size: u64,
    linear: Rc<Linear>,
    pages: RefCell<BTreeMap<u64, Box<[u8; PAGE as usize]>>>,
    sharers: Sharers,
}

impl SharedMemory {
    /// `size` zero bytes, none of which take memory yet.
    pub fn new(linear: &Rc<Linear>, size: u64) -> Rc<SharedMemory> {
        Rc::new(SharedMemory {
            size,
            linear: Rc::clone(linear),
            pages: RefCell::default(),
            sharers: Sharers::default(),
        })
    }

    /// Pages that have been written home.
    pub fn resident_pages(&self) -> u64 {
        self.pages.borrow().len() as u64
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        self.linear.count(-(self.pages.get_mut().len() as i64));
    }
}

impl Pages for SharedMemory {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_page(&self, offset: u64, page: &mut [u8; PAGE as usize]) -> Result<(), Errno> {
        match self.pages.borrow().get(&(offset / PAGE)) {
            Some(bytes) => page.copy_from_slice(&bytes[..]),
            None => page.fill(0),
        }
        Ok(())
    }

    fn write_page(&self, offset: u64, page: &[u8; PAGE as usize]) -> Result<(), Errno> {
        let mut pages = self.pages.borrow_mut();
        if let Some(bytes) = pages.get_mut(&(offset / PAGE)) {
            bytes.copy_from_slice(page);
            return Ok(());
        }
        if self.linear.room() == 0 {
            return Err(Errno::ENOMEM);
        }
        self.linear.count(1);
        pages.insert(offset / PAGE, Box::new(*page));
        Ok(())
    }

    fn sharers(&self) -> &Sharers {
        &self.sharers
    }
}
