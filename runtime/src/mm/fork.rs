//! fork(2): a second address space with the same areas and the same private contents.
//!
//! Present pages that were written are copied at once; pages that are still
//! what their file holds, and pages of zeros, are left absent and come back by
//! faulting. Copy-on-write would need a page table in the fast path
//! (docs/RATIONALE); vfork(2) and posix_spawn(3), which share the space, cost nothing.

use std::rc::Rc;

use super::arena::{DIRTY, PRESENT};
use super::fault::byte;
use super::{AreaFlags, Backing, Mm, PAGE};
use crate::abi::Errno;

impl Mm {
    /// The child's address space. ENOMEM.
    pub fn fork(&self) -> Result<Rc<Mm>, Errno> {
        let child = Mm::new(self.linear())?;
        child.layout.set(self.layout.get());
        child.limits.set(self.limits.get());
        child.auxv.replace(self.auxv.borrow().clone());
        let areas = self.areas.borrow();
        let inherited = || areas.iter().filter(|area| !area.flags.contains(AreaFlags::DONTFORK));
        let copied =
            || inherited().filter(|area| !area.shared() && !area.flags.contains(AreaFlags::WIPEONFORK));

        // Where the parent has places near what is copied the child has, for it will go on in the same way.
        let (mut near, mut count) = (0, 0);
        for area in copied() {
            self.arena.each_present(area.start / PAGE, area.end / PAGE, |page, flags| {
                if flags & DIRTY != 0 {
                    if page >= near {
                        near = self.arena.expect_alike(&child.arena, page);
                    }
                    count += 1;
                }
            });
        }
        if count > self.linear().room() {
            return Err(Errno::ENOMEM);
        }
        child.arena.seat_expected().map_err(|_| Errno::ENOMEM)?;

        for area in inherited() {
            let mut area = area.clone();
            area.flags.remove(AreaFlags::LOCKED);
            child.areas.borrow_mut().insert(area);
        }
        for area in copied() {
            let anonymous = matches!(area.backing, Backing::Anonymous);
            self.arena.each_present(area.start / PAGE, area.end / PAGE, |page, flags| {
                if flags & DIRTY != 0 && !(anonymous && self.arena.is_zero(page)) {
                    child.arena.set_flags(page, byte(area, PRESENT | DIRTY));
                    child.arena.copy_from(page, &self.arena, page);
                }
            });
        }
        child.peak_bytes.set(areas.bytes());
        Ok(child)
    }
}

impl Mm {
    /// Zero what MADV_WIPEONFORK names: a machine that is opened is a copy as well, and what libraries keep there
    /// (the state of random number generators) must not be in two of them.
    pub(crate) fn wipe(&self) {
        let areas = self.areas.borrow();
        areas
            .iter()
            .filter(|area| area.flags.contains(AreaFlags::WIPEONFORK))
            .for_each(|area| self.discard(area));
    }
}

impl Drop for Mm {
    /// Shared pages go home; the arena clears and returns the rest.
    fn drop(&mut self) {
        let areas = std::mem::take(self.areas.get_mut());
        for area in areas.iter().filter(|area| area.shared()) {
            self.discard(area);
        }
    }
}
