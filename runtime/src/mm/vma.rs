//! Areas (Linux's VMAs): what a range of addresses would hold, and the sorted, merged list of them.
//!
//! Pure bookkeeping: nothing here touches memory. `mmap.rs` changes the list,
//! `fault.rs` fills pages by it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::PAGE;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::fs::{Dentry, Pages};

bitflags::bitflags! {
    /// Properties of an area beside its protection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct AreaFlags: u16 {
        /// MAP_SHARED.
        const SHARED = 1;
        /// MAP_GROWSDOWN: faults just below extend it.
        const GROWSDOWN = 2;
        /// MAP_NORESERVE.
        const NORESERVE = 4;
        /// MADV_DONTFORK.
        const DONTFORK = 8;
        /// MADV_WIPEONFORK.
        const WIPEONFORK = 16;
        /// mlock(2).
        const LOCKED = 32;
        /// MADV_DONTDUMP.
        const DONTDUMP = 64;
        /// A SysV segment: shmdt(2) finds it by this.
        const SYSV = 128;
        /// mseal(2): what it maps and how stays as it is.
        const SEALED = 256;
    }
}

/// What a file mapping reads from.
pub struct Mapped {
    /// Contents.
    pub pages: Rc<dyn Pages>,
    /// Where it was opened, for /proc/PID/maps; none for the kernel's own objects.
    pub dentry: Option<Rc<Dentry>>,
    /// Name in /proc/PID/maps when there is no dentry.
    pub name: Vec<u8>,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapped({})", String::from_utf8_lossy(&self.name))
    }
}

/// Where an area's pages come from.
#[derive(Debug, Clone)]
pub enum Backing {
    /// Zero pages.
    Anonymous,
    /// A file, or an object that the kernel made.
    File(Rc<Mapped>),
}

impl Backing {
    fn same(&self, other: &Backing) -> bool {
        match (self, other) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(a), Backing::File(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// One area: page-aligned `start..end`.
#[derive(Debug, Clone)]
pub struct Area {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// PROT_READ, PROT_WRITE, PROT_EXEC.
    pub prot: u32,
    /// What mprotect(2) may raise `prot` to.
    pub may: u32,
    /// Other properties.
    pub flags: AreaFlags,
    /// Where pages come from.
    pub backing: Backing,
    /// Byte offset of `start` in the backing; 0 for anonymous memory.
    pub offset: u64,
}

impl Area {
    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "an area is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// MAP_SHARED.
    pub fn shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    /// Loads are allowed. On RISC-V a writable page is readable.
    pub fn readable(&self) -> bool {
        self.prot & (PROT_READ | PROT_WRITE) != 0
    }

    /// Stores are allowed.
    pub fn writable(&self) -> bool {
        self.prot & PROT_WRITE != 0
    }

    /// Fetches are allowed.
    pub fn executable(&self) -> bool {
        self.prot & PROT_EXEC != 0
    }

    /// Byte offset in the backing of the page at `addr`.
    pub fn offset_of(&self, addr: u64) -> u64 {
        self.offset.wrapping_add(addr.wrapping_sub(self.start))
    }

    fn continues(&self, next: &Area) -> bool {
        let offset = match self.backing {
            Backing::Anonymous => true,
            Backing::File(_) => self.offset_of(self.end) == next.offset,
        };
        self.end == next.start
            && offset
            && (self.prot, self.may, self.flags) == (next.prot, next.may, next.flags)
            && self.backing.same(&next.backing)
    }

    /// Cut at `addr`, which lies inside: this keeps the lower part, the upper is returned.
    fn split(&mut self, addr: u64) -> Area {
        let mut upper = self.clone();
        if matches!(self.backing, Backing::File(_)) {
            upper.offset = self.offset_of(addr);
        }
        upper.start = addr;
        self.end = addr;
        upper
    }
}

/// All areas of an address space.
#[derive(Debug, Default)]
pub struct Areas {
    by_start: BTreeMap<u64, Area>,
    /// Sum of lengths.
    bytes: u64,
}

impl Areas {
    /// The area that `addr` lies in.
    pub fn find(&self, addr: u64) -> Option<&Area> {
        self.by_start.range(..=addr).next_back().map(|(_, area)| area).filter(|area| addr < area.end)
    }

    /// The area that `addr` lies in, or the first above it.
    pub fn at_or_above(&self, addr: u64) -> Option<&Area> {
        self.find(addr).or_else(|| self.by_start.range(addr..).next().map(|(_, area)| area))
    }

    /// The last area that ends at or below `addr`.
    pub fn below(&self, addr: u64) -> Option<&Area> {
        self.by_start.range(..addr).next_back().map(|(_, area)| area)
    }

    /// Areas that overlap `range`, ascending.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Area> {
        let first = self.find(range.start).map_or(range.start, |area| area.start);
        let last = range.end.max(first);
        self.by_start.range(first..last).map(|(_, area)| area)
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.by_start.values()
    }

    /// How many areas there are.
    pub fn count(&self) -> usize {
        self.by_start.len()
    }

    /// One past the last byte of all areas; 0 without any.
    pub fn end(&self) -> u64 {
        self.by_start.last_key_value().map_or(0, |(_, area)| area.end)
    }

    /// Bytes in all areas.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every byte of `range` is in some area.
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for area in self.overlapping(range.clone()) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= range.end
    }

    /// Nothing is mapped in `range`.
    pub fn is_free(&self, range: Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
    }

    /// Add an area where nothing is mapped, joining it with its neighbours.
    pub fn insert(&mut self, mut area: Area) {
        debug_assert!(
            area.start < area.end && area.start.is_multiple_of(PAGE) && area.end.is_multiple_of(PAGE)
        );
        debug_assert!(self.is_free(area.start..area.end));
        self.bytes += area.len();
        let next = area.end;
        if let Some(above) = self.by_start.get(&next)
            && area.continues(above)
        {
            area.end = above.end;
            self.by_start.remove(&next);
        }
        if let Some((_, before)) = self.by_start.range_mut(..area.start).next_back()
            && before.continues(&area)
        {
            before.end = area.end;
            return;
        }
        self.by_start.insert(area.start, area);
    }

    /// Remove whatever lies in `range` and return it, cut at the edges.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<Area> {
        if range.is_empty() {
            return Vec::new();
        }
        self.cut(range.start);
        self.cut(range.end);
        let starts: Vec<u64> = self.by_start.range(range).map(|(&start, _)| start).collect();
        let removed: Vec<Area> = starts.iter().filter_map(|start| self.by_start.remove(start)).collect();
        self.bytes -= removed.iter().map(Area::len).sum::<u64>();
        removed
    }

    /// Change the parts of areas that lie in `range`.
    pub fn change(&mut self, range: Range<u64>, mut change: impl FnMut(&mut Area)) {
        for mut area in self.remove(range) {
            change(&mut area);
            self.insert(area);
        }
    }

    /// Move an area's start down (stack growth). The caller made sure that nothing is in between.
    pub fn grow_down(&mut self, start: u64, to: u64) {
        if let Some(mut area) = self.by_start.remove(&start) {
            self.bytes += start - to;
            area.start = to;
            self.by_start.insert(to, area);
        }
    }

    /// The lowest free range of `len` bytes in `within`.
    pub fn gap(&self, len: u64, within: Range<u64>) -> Option<u64> {
        let mut at = within.start;
        for area in self.overlapping(within.clone()) {
            if area.start >= at && area.start - at >= len {
                return Some(at);
            }
            at = at.max(area.end);
        }
        (at <= within.end && within.end - at >= len).then_some(at)
    }

    fn cut(&mut self, addr: u64) {
        if let Some((_, area)) = self.by_start.range_mut(..addr).next_back()
            && area.end > addr
        {
            let upper = area.split(addr);
            self.by_start.insert(addr, upper);
        }
    }
}
