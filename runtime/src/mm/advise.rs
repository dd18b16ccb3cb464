//! madvise(2), msync(2), mlock(2): what does not change where things are mapped.

use super::arena::DIRTY;
use super::mmap::page_range;
use super::{Access, Area, AreaFlags, Backing, Mm, PAGE};
use crate::abi::Errno;

/// What to do with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Only check the range.
    Nothing,
    /// MADV_WILLNEED.
    WillNeed,
    /// MADV_DONTNEED: private pages are what their mapping says anew.
    DontNeed,
    /// MADV_FREE: the same, for private anonymous memory only.
    Free,
    /// MADV_REMOVE: punch a hole in a shared mapping's object.
    Remove,
    /// MADV_POPULATE_READ, MADV_POPULATE_WRITE.
    Populate(Access),
    /// Set or clear a flag.
    Set(AreaFlags, bool),
}

impl Mm {
    /// madvise(2). What is mapped is done even when ENOMEM says that some is not. EINVAL, EIO, EFAULT, PENDING.
    pub fn advise(&self, addr: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        let range =
            page_range(addr, len).map_err(|errno| if len > 1 << 63 { Errno::EINVAL } else { errno })?;
        let parts: Vec<Area> = self
            .areas
            .borrow()
            .overlapping(range.clone())
            .map(|area| clip(area, range.start, range.end))
            .collect();
        for part in &parts {
            self.advise_part(part, advice)?;
        }
        let whole: u64 = parts.iter().map(Area::len).sum();
        if whole < range.end - range.start { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Make private pages of files absent that were not written to: they come again from their file, where they
    /// are needed. For a snapshot, which has the file too.
    pub fn drop_clean(&self) {
        for area in self.areas.borrow().iter() {
            if area.shared() || matches!(area.backing, Backing::Anonymous) {
                continue;
            }
            self.arena.each_present(area.start / PAGE, area.end / PAGE, |page, flags| {
                if flags & DIRTY == 0 {
                    self.arena.clear(page);
                }
            });
        }
    }

    fn advise_part(&self, part: &Area, advice: Advice) -> Result<(), Errno> {
        let anonymous = matches!(part.backing, Backing::Anonymous);
        match advice {
            Advice::Nothing => {}
            // What nobody may write stays as it is.
            Advice::DontNeed | Advice::Free
                if anonymous && part.flags.contains(AreaFlags::SEALED) && !part.writable() =>
            {
                return Err(Errno::EPERM);
            }
            // The pages that come without waiting; the others on demand.
            Advice::WillNeed => {
                if !anonymous && part.readable() {
                    let _ = self.fault_in_part(part.start, part.len().min(64 * PAGE), Access::Read);
                }
            }
            Advice::DontNeed => self.discard(part),
            Advice::Free if anonymous => self.discard(part),
            Advice::Free => return Err(Errno::EINVAL),
            Advice::Remove => self.punch(part)?,
            Advice::Populate(access) => self.fault_in(part.start, part.len(), access)?,
            Advice::Set(AreaFlags::WIPEONFORK, true) if !anonymous => return Err(Errno::EINVAL),
            Advice::Set(flag, on) => {
                self.areas.borrow_mut().change(part.start..part.end, |area| area.flags.set(flag, on));
            }
        }
        Ok(())
    }

    /// Zero the object's pages under a shared mapping.
    fn punch(&self, part: &Area) -> Result<(), Errno> {
        let Backing::File(mapped) = &part.backing else { return Err(Errno::EINVAL) };
        if !part.shared() {
            return Err(Errno::EINVAL);
        }
        if part.may & crate::abi::mman::PROT_WRITE == 0 {
            return Err(Errno::EACCES);
        }
        let object = &*mapped.pages;
        object.sharers().before_write(object, part.offset, part.len())?;
        for offset in (part.offset..part.offset + part.len()).step_by(PAGE as usize) {
            if offset < object.size() {
                object.write_page(offset, &[0; PAGE as usize])?;
            }
        }
        Ok(())
    }

    /// msync(2): shared pages go home. ENOMEM where nothing is mapped; EBUSY when something that is locked is to be
    /// invalidated; EIO, ENOSPC of the object.
    pub fn sync(&self, addr: u64, len: u64, invalidate: bool) -> Result<(), Errno> {
        let range = page_range(addr, len)?;
        let parts: Vec<Area> = self
            .areas
            .borrow()
            .overlapping(range.clone())
            .map(|area| clip(area, range.start, range.end))
            .collect();
        if invalidate && parts.iter().any(|part| part.flags.contains(AreaFlags::LOCKED)) {
            return Err(Errno::EBUSY);
        }
        for part in parts.iter().filter(|part| part.shared()) {
            if let Backing::File(mapped) = &part.backing {
                let pages = part.offset / PAGE..(part.offset + part.len()) / PAGE;
                mapped.pages.sharers().recall(&*mapped.pages, pages)?;
            }
        }
        let whole: u64 = parts.iter().map(Area::len).sum();
        if whole < range.end - range.start { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Bytes locked (VmLck).
    pub fn locked_bytes(&self) -> u64 {
        self.areas.borrow().iter().filter(|area| area.flags.contains(AreaFlags::LOCKED)).map(Area::len).sum()
    }

    /// mlockall(2).
    pub fn lock_all(&self, current: bool, future: bool) {
        self.lock_future.set(future);
        if current {
            self.areas.borrow_mut().change(0..super::GUEST_END, |area| area.flags.insert(AreaFlags::LOCKED));
        }
    }

    /// munlockall(2).
    pub fn unlock_all(&self) {
        self.lock_future.set(false);
        self.areas.borrow_mut().change(0..super::GUEST_END, |area| area.flags.remove(AreaFlags::LOCKED));
    }
}

/// The part of an area within `start..end`, which overlaps it.
fn clip(area: &Area, start: u64, end: u64) -> Area {
    let mut part = area.clone();
    part.start = area.start.max(start);
    part.end = area.end.min(end);
    if matches!(area.backing, Backing::File(_)) {
        part.offset = area.offset_of(part.start);
    }
    part
}
