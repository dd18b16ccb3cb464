//! Changing what is mapped where: the objects' side of mmap(2), munmap(2), mprotect(2), mremap(2), brk(2).
//!
//! Arguments have been decoded by `syscall/sys_mm.rs`; ranges are still the guest's and are checked here.

use std::ops::Range;

use super::arena::PRESENT;
use super::fault::byte;
use super::{AREAS_MAX, Area, AreaFlags, Areas, Backing, GUEST_END, GUEST_START, Mm, PAGE};
use crate::abi::Errno;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};

/// How far above everything that is mapped an address may lie that the program merely tries.
const REACH_BYTES: u64 = 64 << 20;

/// From here on a PROT_NONE mapping is a reservation of which little will be used: the JVM's for classes is 1 GiB, V8's
/// for a Wasm memory 3 GiB (and less when it cannot have that).
const RESERVATION_BYTES: u64 = 512 << 20;
/// Addresses above the mmap base that reservations leave free: what is mapped later must neither fail nor lie above
/// (of the JVM, its heap, 130 MB of modules, and 64 MiB for the malloc of each of eight threads).
const LOW_BYTES: u64 = 1280 << 20;

/// Where a new mapping goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anywhere, at this address when it is free (0: no wish).
    Hint(u64),
    /// Exactly here; what is there goes (MAP_FIXED).
    Fixed(u64),
    /// Exactly here, or EEXIST (MAP_FIXED_NOREPLACE). ENOMEM far above everything else.
    FixedNoReplace(u64),
}

/// What to map.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// PROT_*.
    pub prot: u32,
    /// What mprotect may raise `prot` to.
    pub may: u32,
    /// Shared, growing down…
    pub flags: AreaFlags,
    /// Where pages come from.
    pub backing: Backing,
    /// Byte offset in the backing.
    pub offset: u64,
}

impl Mapping {
    /// Private anonymous memory.
    pub fn anonymous(len: u64, prot: u32) -> Mapping {
        let may = PROT_READ | PROT_WRITE | PROT_EXEC;
        Mapping { len, prot, may, flags: AreaFlags::empty(), backing: Backing::Anonymous, offset: 0 }
    }
}

/// The pages of `len` bytes at page-aligned `addr`. EINVAL when not aligned; ENOMEM when it ends beyond the guest space.
pub(super) fn page_range(addr: u64, len: u64) -> Result<Range<u64>, Errno> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let len = round_up(len).ok_or(Errno::ENOMEM)?;
    let end = addr.checked_add(len).filter(|&end| end <= GUEST_END).ok_or(Errno::ENOMEM)?;
    Ok(addr..end)
}

/// Bytes rounded up to whole pages.
pub(super) fn round_up(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(PAGE)
}

impl Mm {
    /// Map; returns the address. EINVAL, ENOMEM, EEXIST, EPERM.
    pub fn map(&self, place: Place, mapping: Mapping) -> Result<u64, Errno> {
        let len = round_up(mapping.len).ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        if matches!(mapping.backing, Backing::File(_)) && mapping.offset.checked_add(len).is_none() {
            return Err(Errno::EOVERFLOW);
        }
        let start = match place {
            Place::Hint(hint) => self.choose(hint, len, mapping.prot)?,
            Place::Fixed(addr) | Place::FixedNoReplace(addr) => {
                let range = page_range(addr, len)?;
                if addr < GUEST_START {
                    return Err(Errno::EPERM);
                }
                if matches!(place, Place::FixedNoReplace(_)) {
                    let areas = self.areas.borrow();
                    if !areas.is_free(range.clone()) {
                        return Err(Errno::EEXIST);
                    }
                    if range.end > self.reach(&areas) {
                        return Err(Errno::ENOMEM);
                    }
                }
                self.unsealed(&range)?;
                addr
            }
        };
        let range = start..start + len;
        let replaced: u64 = self
            .areas
            .borrow()
            .overlapping(range.clone())
            .map(|a| a.end.min(range.end) - a.start.max(range.start))
            .sum();
        self.may_grow(len - replaced, &mapping)?;
        self.unmap_range(range.clone());
        let mut flags = mapping.flags;
        flags.set(AreaFlags::LOCKED, flags.contains(AreaFlags::LOCKED) || self.lock_future.get());
        let area = Area {
            start,
            end: range.end,
            prot: mapping.prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
            may: mapping.may,
            flags,
            backing: mapping.backing,
            offset: mapping.offset,
        };
        let mut areas = self.areas.borrow_mut();
        areas.insert(area);
        self.peak_bytes.set(self.peak_bytes.get().max(areas.bytes()));
        Ok(start)
    }

    /// Whether `more` bytes may be added: RLIMIT_AS, the number of areas, and memory that could never be there.
    fn may_grow(&self, more: u64, mapping: &Mapping) -> Result<(), Errno> {
        let areas = self.areas.borrow();
        let total = areas.bytes().checked_add(more).ok_or(Errno::ENOMEM)?;
        let wants_memory = mapping.prot & PROT_WRITE != 0
            && !mapping.flags.intersects(AreaFlags::NORESERVE | AreaFlags::SHARED)
            && more > self.linear().limit_bytes();
        if total > self.limits.get().address_space || areas.count() >= AREAS_MAX || wants_memory {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// An address for `len` bytes: the hint when it is free and near, else the lowest gap above the mmap base. ENOMEM.
    fn choose(&self, hint: u64, len: u64, prot: u32) -> Result<u64, Errno> {
        let areas = self.areas.borrow();
        let hint = hint & !(PAGE - 1);
        let layout = self.layout.get();
        let base = layout.mmap_base.max(GUEST_START);
        if hint >= GUEST_START
            && let Some(end) = hint.checked_add(len).filter(|&end| end <= self.reach(&areas))
            && areas.is_free(hint..end)
        {
            return Ok(hint);
        }
        if prot == 0 && len >= RESERVATION_BYTES {
            return areas.gap(len, base.saturating_add(LOW_BYTES)..GUEST_END).ok_or(Errno::ENOMEM);
        }
        let below_heap = (base < layout.brk_start).then(|| areas.gap(len, base..layout.brk_start)).flatten();
        below_heap.or_else(|| areas.gap(len, base.max(layout.brk_max)..GUEST_END)).ok_or(Errno::ENOMEM)
    }

    /// Where addresses end that a program gets without insisting. Linear memory reaches up to the highest page: a random
    /// hint (V8's are), or the JVM's attempts to have its heap just below 4 GiB, must not make it gigabytes long.
    fn reach(&self, areas: &Areas) -> u64 {
        let base = self.layout.get().mmap_base.max(GUEST_START);
        areas.end().max(base).saturating_add(REACH_BYTES).min(GUEST_END)
    }

    /// munmap(2). EINVAL.
    pub fn unmap(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let range = page_range(addr, len).map_err(|_| Errno::EINVAL)?;
        if range.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.unsealed(&range)?;
        self.unmap_range(range);
        Ok(())
    }

    /// mseal(2). EINVAL, ENOMEM where nothing is mapped.
    pub fn seal(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let range = page_range(addr, len).map_err(|_| Errno::EINVAL)?;
        if !self.areas.borrow().covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        self.areas.borrow_mut().change(range, |area| area.flags.insert(AreaFlags::SEALED));
        Ok(())
    }

    /// EPERM when something in the range is sealed.
    pub(super) fn unsealed(&self, range: &Range<u64>) -> Result<(), Errno> {
        let areas = self.areas.borrow();
        let sealed = areas.overlapping(range.clone()).any(|area| area.flags.contains(AreaFlags::SEALED));
        if sealed { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Unmap whatever lies in an aligned range.
    pub(super) fn unmap_range(&self, range: Range<u64>) {
        let removed = self.areas.borrow_mut().remove(range);
        for area in &removed {
            self.discard(area);
        }
    }

    /// mprotect(2). ENOMEM where nothing is mapped (what comes before it is changed), EACCES beyond what the mapping may be.
    pub fn protect(&self, addr: u64, len: u64, prot: u32) -> Result<(), Errno> {
        let range = page_range(addr, len)?;
        self.unsealed(&range)?;
        let mut at = range.start;
        while at < range.end {
            let part = match self.areas.borrow().find(at) {
                None => return Err(Errno::ENOMEM),
                Some(area) if prot & !area.may != 0 => return Err(Errno::EACCES),
                Some(area) => at..area.end.min(range.end),
            };
            at = part.end;
            self.areas.borrow_mut().change(part.clone(), |area| area.prot = prot);
            let mut changed = match self.areas.borrow().find(part.start) {
                Some(area) => area.clone(),
                None => continue,
            };
            (changed.start, changed.end) = (part.start, part.end);
            self.refresh(&changed);
        }
        Ok(())
    }

    /// brk(2): the new break, or the old one when it cannot be had.
    pub fn brk(&self, to: u64) -> u64 {
        let mut layout = self.layout.get();
        if to < layout.brk_start || to > layout.brk_max {
            return layout.brk;
        }
        if to - layout.brk_start > self.limits.get().data {
            return layout.brk;
        }
        let (Some(old), Some(new)) = (round_up(layout.brk), round_up(to)) else { return layout.brk };
        if new < old {
            if self.unsealed(&(new..old)).is_err() {
                return layout.brk;
            }
            self.unmap_range(new..old);
        } else if new > old {
            let free = self.areas.borrow().is_free(old..new);
            let mapped = free
                && self.map(Place::Fixed(old), Mapping::anonymous(new - old, PROT_READ | PROT_WRITE)).is_ok();
            if !mapped {
                return layout.brk;
            }
        }
        layout.brk = to;
        self.layout.set(layout);
        to
    }

    /// mremap(2). `fixed`: MREMAP_FIXED's new address. EINVAL, EFAULT, ENOMEM.
    pub fn remap(&self, addr: u64, old_len: u64, new_len: u64, how: Remap) -> Result<u64, Errno> {
        let new_len = round_up(new_len).filter(|&n| n > 0).ok_or(Errno::EINVAL)?;
        let old = page_range(addr, old_len).map_err(|_| Errno::EINVAL)?;
        let area = self.areas.borrow().find(addr).cloned().ok_or(Errno::EFAULT)?;
        let old_len = old.end - old.start;
        if old_len == 0 {
            // A second mapping of the same object; only shared ones have one.
            if !area.shared() || !how.may_move {
                return Err(Errno::EINVAL);
            }
            let place = how.fixed.map_or(Place::Hint(0), Place::Fixed);
            return self.map(place, like(&area, addr, new_len));
        }
        if old.end > area.end {
            return Err(Errno::EFAULT);
        }
        self.unsealed(&old)?;
        if how.dont_unmap && (new_len != old_len || !how.may_move) {
            return Err(Errno::EINVAL);
        }
        if let Some(to) = how.fixed {
            let target = page_range(to, new_len).map_err(|_| Errno::EINVAL)?;
            if !how.may_move || to < GUEST_START || (target.start < old.end && old.start < target.end) {
                return Err(Errno::EINVAL);
            }
            return self.relocate(&area, old, target, how.dont_unmap);
        }
        if !how.dont_unmap {
            if new_len <= old_len {
                self.unmap_range(old.start + new_len..old.end);
                return Ok(addr);
            }
            if self.grow_in_place(&area, &old, new_len)? {
                return Ok(addr);
            }
            if !how.may_move {
                return Err(Errno::ENOMEM);
            }
        }
        let to = self.choose(0, new_len, area.prot)?;
        self.relocate(&area, old, to..to + new_len, how.dont_unmap)
    }

    fn grow_in_place(&self, area: &Area, old: &Range<u64>, new_len: u64) -> Result<bool, Errno> {
        let Some(end) = old.start.checked_add(new_len).filter(|&end| end <= GUEST_END) else {
            return Ok(false);
        };
        if area.end != old.end || !self.areas.borrow().is_free(old.end..end) {
            return Ok(false);
        }
        self.map(Place::Fixed(old.end), like(area, old.end, end - old.end))?;
        Ok(true)
    }

    /// Move the pages of `old`, which lies in `area`, to `target`, which does not overlap it.
    fn relocate(&self, area: &Area, old: Range<u64>, target: Range<u64>, keep: bool) -> Result<u64, Errno> {
        let mapping = like(area, old.start, target.end - target.start);
        let moved = (old.end - old.start).min(target.end - target.start);
        self.reserve_for_present(&old, &target)?;
        self.map(Place::Fixed(target.start), mapping)?;
        let placed = self.areas.borrow().find(target.start).cloned().ok_or(Errno::ENOMEM)?;
        if area.shared() {
            // Shared pages go home and are found again at the new place.
            self.discard(&Area {
                start: old.start,
                end: old.end,
                offset: area.offset_of(old.start),
                ..area.clone()
            });
        } else {
            self.arena.each_present(old.start / PAGE, (old.start + moved) / PAGE, |page, flags| {
                let to = target.start / PAGE + (page - old.start / PAGE);
                self.arena.set_flags(to, byte(&placed, flags));
                self.arena.copy_from(to, &self.arena, page);
                self.arena.clear(page);
            });
        }
        if keep {
            self.unlock(&old);
        } else {
            self.unmap_range(old);
        }
        Ok(target.start)
    }

    /// Places in `target` for what is present of `old`. ENOMEM.
    fn reserve_for_present(&self, old: &Range<u64>, target: &Range<u64>) -> Result<(), Errno> {
        let (mut result, area) = (Ok(()), target.start / PAGE..target.end / PAGE);
        self.arena.each_present(old.start / PAGE, old.end / PAGE, |page, _| {
            let page = area.start + (page - old.start / PAGE);
            if result.is_ok() && page < area.end {
                result = self.arena.reserve(&(page..page + 1), &area).map_err(|_| Errno::ENOMEM);
            }
        });
        result
    }

    fn unlock(&self, range: &Range<u64>) {
        self.areas.borrow_mut().change(range.clone(), |area| area.flags.remove(AreaFlags::LOCKED));
    }

    /// Each page of the range: present or not (mincore(2)). ENOMEM where nothing is mapped.
    pub fn residency(&self, addr: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let range = page_range(addr, len)?;
        if !self.areas.borrow().covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        Ok((range.start / PAGE..range.end / PAGE)
            .map(|page| u8::from(self.arena.flags(page) & PRESENT != 0))
            .collect())
    }
}

/// How mremap(2) may go about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remap {
    /// MREMAP_MAYMOVE.
    pub may_move: bool,
    /// MREMAP_FIXED and its address.
    pub fixed: Option<u64>,
    /// MREMAP_DONTUNMAP.
    pub dont_unmap: bool,
}

/// A mapping with the properties of `area`, of what `area` has at `at`.
fn like(area: &Area, at: u64, len: u64) -> Mapping {
    let offset = if matches!(area.backing, Backing::File(_)) { area.offset_of(at) } else { 0 };
    Mapping { len, prot: area.prot, may: area.may, flags: area.flags, backing: area.backing.clone(), offset }
}
