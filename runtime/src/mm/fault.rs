//! Filling pages: what happens when a permission byte says no.
//!
//! A page's byte is a function of its state (`PRESENT`, `DIRTY`) and its area's
//! protection ([`byte`]); a fault moves the state on or finds that the access is
//! not allowed. Only the hart departs from it, by clearing W when it decodes.

use std::rc::Rc;

use super::arena::{DIRTY, PRESENT};
use super::{Access, Area, AreaFlags, Areas, Backing, Fault, GUEST_END, GUEST_START, Mapped, Mm, PAGE, perm};
use crate::abi::Errno;
use crate::fs::Pages;

/// Pages that one fault fills, when their neighbours are of the same area: the aligned group around the address.
const AROUND: u64 = 16;

/// Unmapped bytes that an area growing down keeps below itself.
const STACK_GAP: u64 = 16 * PAGE;

/// The byte of a page in `state` with the protection of `area`.
pub(super) fn byte(area: &Area, state: u8) -> u8 {
    let mut byte = state & (PRESENT | DIRTY);
    if byte & PRESENT == 0 {
        return 0;
    }
    if area.readable() {
        byte |= perm::R;
    }
    if area.executable() {
        byte |= perm::X;
    }
    if area.writable() && byte & DIRTY != 0 {
        byte |= perm::W;
    }
    byte
}

/// The bit that lets `access` pass.
pub(super) fn needed(access: Access) -> u8 {
    match access {
        Access::Read => perm::R,
        Access::Write => perm::W,
        Access::Exec => perm::X,
    }
}

impl Mm {
    /// Make the page at `addr` accessible, or say why not.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub fn fault(&self, addr: u64, access: Access) -> Result<(), Fault> {
        if addr >= GUEST_END {
            return Err(Fault::NotMapped);
        }
        let page = addr / PAGE;
        if self.arena.flags(page) & needed(access) != 0 {
            return Ok(());
        }
        let area = self.area_for(addr)?;
        let allowed = match access {
            Access::Read => area.readable(),
            Access::Write => area.writable(),
            Access::Exec => area.executable(),
        };
        if !allowed {
            return Err(Fault::Forbidden);
        }
        let result = match &area.backing {
            Backing::Anonymous => self.fault_anonymous(&area, page, access),
            Backing::File(mapped) if area.shared() => self.fault_shared(&area, mapped, page, access),
            Backing::File(mapped) => self.fault_private(&area, mapped, page, access),
        };
        self.peak_pages.set(self.peak_pages.get().max(self.arena.resident()));
        result
    }

    /// The area at `addr`, after growing one down to it where that is allowed.
    fn area_for(&self, addr: u64) -> Result<Area, Fault> {
        let mut areas = self.areas.borrow_mut();
        if let Some(area) = areas.find(addr) {
            return Ok(area.clone());
        }
        let start = grown_start(&areas, addr, self.limits.get().stack).ok_or(Fault::NotMapped)?;
        areas.grow_down(start, addr & !(PAGE - 1));
        areas.find(addr).cloned().ok_or(Fault::NotMapped)
    }

    /// Move a present private page on: a store makes it dirty.
    fn touch(&self, area: &Area, page: u64, access: Access) {
        let mut state = self.arena.flags(page);
        if access == Access::Write {
            state |= DIRTY;
        }
        self.arena.set_flags(page, byte(area, state));
    }

    fn fault_anonymous(&self, area: &Area, page: u64, access: Access) -> Result<(), Fault> {
        if self.arena.flags(page) & PRESENT != 0 {
            self.touch(area, page, access);
            return Ok(());
        }
        let mut group = self.around(area, page);
        if self.arena.linear().room() < group.end - group.start
            || self.arena.reserve(&group, &self.extent(area)).is_err()
        {
            group = page..page + 1;
            self.make_room(area, page)?;
        }
        for page in group {
            if self.arena.flags(page) & PRESENT == 0 {
                self.arena.set_flags(page, byte(area, PRESENT | DIRTY));
            }
        }
        Ok(())
    }

    fn fault_private(&self, area: &Area, mapped: &Mapped, page: u64, access: Access) -> Result<(), Fault> {
        if self.arena.flags(page) & PRESENT == 0 {
            self.fill_around(area, mapped, page)?;
        }
        self.touch(area, page, access);
        Ok(())
    }

    fn fault_shared(&self, area: &Area, mapped: &Mapped, page: u64, access: Access) -> Result<(), Fault> {
        let object = &*mapped.pages;
        let index = area.offset_of(page * PAGE) / PAGE;
        let sharers = object.sharers();
        sharers.recall(object, index..index + 1).map_err(fault_of)?;
        if self.arena.flags(page) & PRESENT == 0 {
            if access == Access::Write {
                self.fill(area, object, page)?;
            } else {
                self.fill_around(area, mapped, page)?;
            }
        } else if index * PAGE >= object.size() {
            return Err(Fault::Bus);
        }
        if access == Access::Write {
            object.about_to_change();
            sharers.revoke(index..index + 1, Some((&self.arena, page)));
            let state = self.arena.flags(page) | DIRTY;
            self.arena.set_flags(page, byte(area, state));
        } else {
            self.arena.set_flags(page, byte(area, self.arena.flags(page)));
        }
        Ok(())
    }

    /// Fill an absent page of a file mapping, and what of its group is at hand.
    fn fill_around(&self, area: &Area, mapped: &Mapped, page: u64) -> Result<(), Fault> {
        let object = &*mapped.pages;
        self.fill(area, object, page)?;
        let mut bytes = [0; PAGE as usize];
        for near in self.around(area, page) {
            let offset = area.offset_of(near * PAGE);
            let wanted = self.arena.flags(near) & PRESENT == 0 && !object.sharers().held(offset / PAGE);
            if !wanted || offset >= object.size() {
                continue;
            }
            if self.make_room(area, near).is_err() {
                break;
            }
            if object.read_near(offset, &mut bytes) {
                self.filled(area, object, near, &bytes);
            }
        }
        Ok(())
    }

    /// Fill one absent page of a file mapping.
    fn fill(&self, area: &Area, object: &dyn Pages, page: u64) -> Result<(), Fault> {
        let offset = area.offset_of(page * PAGE);
        if offset >= object.size() {
            return Err(Fault::Bus);
        }
        self.make_room(area, page)?;
        let index = offset / PAGE;
        object.sharers().recall(object, index..index + 1).map_err(fault_of)?;
        let mut bytes = [0; PAGE as usize];
        object.read_page(offset, &mut bytes).map_err(fault_of)?;
        self.filled(area, object, page, &bytes);
        Ok(())
    }

    /// An absent page of a file mapping is there.
    fn filled(&self, area: &Area, object: &dyn Pages, page: u64, bytes: &[u8; PAGE as usize]) {
        self.arena.write_page(page, bytes);
        self.arena.set_flags(page, byte(area, PRESENT));
        if area.shared() {
            object.sharers().attach(&self.arena, page, area.offset_of(page * PAGE) / PAGE);
        }
    }

    /// Make the page at `addr` present and the process's own, whatever its protection (for [`Mm::poke`]).
    pub(super) fn bring_in(&self, addr: u64) -> Result<(), Fault> {
        let page = addr / PAGE;
        let area = self.areas.borrow().find(addr).cloned().ok_or(Fault::NotMapped)?;
        match &area.backing {
            Backing::File(mapped) if area.shared() => self.fault_shared(&area, mapped, page, Access::Write),
            Backing::File(mapped) => self.fault_private(&area, mapped, page, Access::Write),
            Backing::Anonymous => self.fault_anonymous(&area, page, Access::Write),
        }
    }

    fn make_room(&self, area: &Area, page: u64) -> Result<(), Fault> {
        if self.arena.linear().room() == 0 {
            return Err(Fault::OutOfMemory);
        }
        self.arena.reserve(&(page..page + 1), &self.extent(area)).map_err(|_| Fault::OutOfMemory)
    }

    /// The pages that an area has or, growing down, may get.
    fn extent(&self, area: &Area) -> std::ops::Range<u64> {
        let start = if area.flags.contains(AreaFlags::GROWSDOWN) {
            area.end.saturating_sub(self.limits.get().stack).max(GUEST_START).min(area.start)
        } else {
            area.start
        };
        start / PAGE..area.end / PAGE
    }

    /// The aligned group of pages around `page`, cut to the area.
    fn around(&self, area: &Area, page: u64) -> std::ops::Range<u64> {
        let first = page - page % AROUND;
        first.max(area.start / PAGE)..(first + AROUND).min(area.end / PAGE)
    }

    /// Make every byte of an area what `prot` says, after `mprotect` changed it.
    pub(super) fn refresh(&self, area: &Area) {
        self.arena.each_present(area.start / PAGE, area.end / PAGE, |page, flags| {
            self.arena.set_flags(page, byte(area, flags));
        });
    }

    /// Make every page of an area absent: shared pages go home, private ones are gone.
    pub(super) fn discard(&self, area: &Area) {
        let shared = match &area.backing {
            Backing::File(mapped) if area.shared() => Some(Rc::clone(&mapped.pages)),
            _ => None,
        };
        self.arena.each_present(area.start / PAGE, area.end / PAGE, |page, _| match &shared {
            Some(object) => {
                let index = area.offset_of(page * PAGE) / PAGE;
                object.sharers().detach(&**object, &self.arena, page, index);
            }
            None => self.arena.clear(page),
        });
    }
}

/// The start of the area that may grow down to `addr`. See mmap(2), MAP_GROWSDOWN.
fn grown_start(areas: &Areas, addr: u64, limit: u64) -> Option<u64> {
    let above = areas.at_or_above(addr)?;
    let to = addr & !(PAGE - 1);
    let below = areas.below(addr).map_or(0, |area| area.end);
    let fits = above.flags.contains(AreaFlags::GROWSDOWN)
        && above.end - to <= limit
        && to >= (below + STACK_GAP).max(GUEST_START);
    fits.then_some(above.start)
}

fn fault_of(errno: Errno) -> Fault {
    match errno {
        Errno::PENDING => Fault::Pending,
        Errno::ENOMEM => Fault::OutOfMemory,
        _ => Fault::Bus,
    }
}
