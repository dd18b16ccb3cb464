//! Decoded code of an address space, page by page.
//!
//! A page is decoded lazily, in runs from where control enters to the next
//! unconditional transfer; each instruction gets one op ([`super::op`]) and an
//! entry in the index, so control can enter anywhere. An instruction that lies in
//! two pages belongs to the first, which then goes when the second does.
//!
//! **Coherence.** A page with decoded code is not writable as far as the hot
//! paths see: decoding turns `perm::W` into `perm::CODE`, so that a store leaves the
//! hot function, its page's ops are dropped and it is writable again
//! ([`CodeCache::unguard`]). The memory manager calls [`CodeCache::invalidate`]
//! before it sets `W`, unmaps, remaps, takes `X` from or itself writes to a page. So
//! decoded code is never stale and `fence.i` has nothing to do.

use std::cell::Cell;

use friscy_formats::aot::Entry;

use super::heat::{Heat, PageHeat};
use super::isa::{Format, Instr};
use super::library::{Found, Library};
use super::lower::{self, Source};
use super::memory::Ram;
use super::op::{Code, Op};
use super::translated::{Target, target};
use super::{Exit, exec};
use crate::mm::{Access, PAGE, perm};

/// Instructions in a run, at most: less than `hot::SLACK`, and fits `Op::before`.
const RUN_MAX: usize = 240;

/// In an index: no indirect jump has gone there yet, as far as anyone has seen.
const PASSED: u16 = 1 << 15;

/// Room for so many ops in a new page.
const OPS_FIRST: usize = 64;

/// Ops kept in all, about 64 MB of them; when there are more, everything is dropped and decoded anew.
const OPS_MAX: usize = 4 << 20;

/// None: no address is odd.
const NO_TARGET: Target = Target { pc: 1, origin: 0, slot: 0, index: 0, longest: 0 };

/// One page of decoded code.
pub(super) struct Page {
    /// Op 0 is never executed, so that 0 can mean "none" in the index.
    ops: Vec<Op>,
    /// Op of the instruction at each halfword, or 0; and [`PASSED`].
    index: [u16; (PAGE / 2) as usize],
    /// Its last instruction ends in the next page.
    straddles: bool,
    /// Where translated code can be entered.
    translated: Option<Found>,
    /// Hash of its contents, once somebody asked.
    digest: Option<[u8; 32]>,
    /// Its index in the profile.
    profiled: Option<u32>,
    /// Where control came in, and where samples found it.
    heat: PageHeat,
}

/// Decoded code of one address space.
#[derive(Default)]
pub struct CodeCache {
    pages: Vec<Option<Box<Page>>>,
    /// Ops in all pages.
    ops: usize,
    /// Identity of each page that has translated code, 0 for others: what translated code asks for before it
    /// goes to another page. As long as that code may look.
    identities: Vec<u32>,
    /// Where translated code was entered lately, by address; empty as long as there is none.
    targets: Vec<Cell<Target>>,
    /// Number of this space in the profile, 0 for none.
    space: u32,
    /// Edition of the library that pages were met with.
    edition: u32,
    /// What samples found.
    heat: Heat,
    /// Room for decoding.
    scratch: Scratch,
}

/// Lists that decoding a run fills: kept, because thousands of runs are decoded before a shell is at its prompt.
#[derive(Default)]
struct Scratch {
    run: Vec<Source>,
    /// Direct transfers: op, offset in the page that it goes to, instructions of the run that are done there.
    transfers: Vec<(u16, i32, u8)>,
    /// Page offsets of the instructions.
    starts: Vec<u16>,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache").field("ops", &self.ops).finish_non_exhaustive()
    }
}

impl CodeCache {
    /// Nothing decoded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forget the code of these page numbers: they are about to become writable, to change or to go.
    pub fn invalidate(&mut self, pages: std::ops::Range<u64>) {
        let end = pages.end.min(self.pages.len() as u64);
        let below = pages.start.saturating_sub(1);
        let straddles = self.pages.get(below as usize).and_then(Option::as_ref).is_some_and(|p| p.straddles);
        let start = if straddles { below } else { pages.start };
        for page in start..end {
            if let Some(gone) = self.pages[page as usize].take() {
                self.ops -= gone.ops.len();
            }
            if let Some(identity) = self.identities.get_mut(page as usize)
                && std::mem::take(identity) != 0
            {
                self.targets
                    .iter()
                    .filter(|target| target.get().pc / PAGE == page)
                    .for_each(|target| target.set(NO_TARGET));
            }
        }
    }

    /// See [`super::translated`].
    pub(super) fn identities(&self) -> &[u32] {
        &self.identities
    }

    /// See [`super::translated`].
    pub(super) fn targets(&self) -> &[Cell<Target>] {
        &self.targets
    }

    /// The translated code that can be entered at `pc`.
    #[inline]
    pub(super) fn target(&self, pc: u64) -> Option<Target> {
        let place = self.targets.get((pc / 2 % target::COUNT) as usize)?;
        let known = place.get();
        if known.pc == pc {
            return Some(known);
        }
        let target = self.find_target(pc)?;
        place.set(target);
        Some(target)
    }

    fn find_target(&self, pc: u64) -> Option<Target> {
        let page = self.pages.get(usize::try_from(pc / PAGE).ok()?)?.as_ref()?;
        let op = page.ops[usize::from(page.index(pc))];
        let Entry { rise, slot, index, longest, .. } =
            (op.code == Code::Enter).then(|| page.entry(&op))??;
        Some(Target { pc, origin: (pc & !(PAGE - 1)) - u64::from(rise) * PAGE, slot, index, longest })
    }

    /// Whether a page has decoded code.
    pub fn contains(&self, page: u64) -> bool {
        usize::try_from(page).is_ok_and(|page| self.pages.get(page).is_some_and(Option::is_some))
    }

    /// Forget everything and free it: before a snapshot.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Its pages and what samples found, for who looks at both.
    pub(super) fn parts(&mut self) -> (&mut [Option<Box<Page>>], &mut Heat) {
        (&mut self.pages, &mut self.heat)
    }

    /// Make the page of `addr` writable again if only its decoded code kept it from that.
    pub(super) fn unguard(&mut self, addr: u64, ram: Ram) -> bool {
        let page = addr / PAGE;
        let unguarded = ram.unguard(page);
        if unguarded {
            self.invalidate(page..page + 1);
        }
        unguarded
    }

    #[inline(always)]
    pub(super) fn pages(&self) -> &[Option<Box<Page>>] {
        &self.pages
    }

    /// Decode the run at `pc`, if that is not done; control came there from elsewhere, which is remembered.
    pub(super) fn decode(&mut self, pc: u64, ram: Ram, library: &Library) -> Result<(), Exit> {
        self.decode_run(pc, ram, library, true)
    }

    fn decode_run(&mut self, pc: u64, ram: Ram, library: &Library, entered: bool) -> Result<(), Exit> {
        let number = pc / PAGE;
        if ram.perm(number) & perm::X == 0 {
            return Err(Exit::Fault { addr: pc, access: Access::Exec });
        }
        if self.ops > OPS_MAX {
            self.clear();
        }
        // In range: X on a page means that it is in the arena.
        let slot = number as usize;
        self.meet(number, ram, library);
        let last = pc | (PAGE - 2);
        if exec::fetch(ram, last).is_ok_and(|(_, len)| len == 4) {
            // Guarded before it is decoded for its own sake.
            self.meet(number + 1, ram, library);
        }
        let Some(page) = &mut self.pages[slot] else { return Ok(()) };
        let before = page.ops.len();
        page.decode(pc, ram, &mut self.scratch);
        if entered {
            page.index[halfword(pc)] &= !PASSED;
            page.heat.enter((pc % PAGE) as u16);
        }
        self.ops += page.ops.len() - before;
        if let Some(profiled) = page.profiled {
            library.decoded(profiled, &self.scratch.starts, entered.then_some((pc % PAGE) as u16));
        }
        Ok(())
    }

    /// Begin with a page.
    fn meet(&mut self, number: u64, ram: Ram, library: &Library) {
        let slot = number as usize;
        if self.pages.len() <= slot {
            self.pages.resize_with(slot + 1, || None);
        }
        if self.pages[slot].is_some() {
            return;
        }
        ram.guard(number);
        let mut page = Page::new();
        let contents = || ram.contents(number);
        page.profiled = library.meet(&mut self.space, number, &contents);
        page.translated = page.look_up(number, ram, library);
        self.identify(slot, page.translated.as_ref());
        // A page may be dropped before anything of it is decoded: its first op counts from here on.
        self.ops += page.ops.len();
        self.pages[slot] = Some(page);
    }

    /// Let translated code know the page in this slot.
    fn identify(&mut self, slot: usize, translated: Option<&Found>) {
        let Some(found) = translated else { return };
        let looks_at = slot + found.page.above as usize + 1;
        if self.identities.len() < looks_at {
            self.identities.resize(looks_at, 0);
        }
        self.identities[slot] = found.identity;
        self.targets.resize(target::COUNT as usize, Cell::new(NO_TARGET));
    }

    /// Forget the pages that can be entered at other instructions, or by other functions, than when they were met.
    #[inline]
    pub(super) fn refresh(&mut self, ram: Ram, library: &Library) {
        if std::mem::replace(&mut self.edition, library.edition()) != library.edition() {
            self.look_up_all(ram, library);
        }
    }

    // Out of line for the sake of `hart::run`.
    #[inline(never)]
    fn look_up_all(&mut self, ram: Ram, library: &Library) {
        for number in 0..self.pages.len() {
            let Some(page) = &mut self.pages[number] else { continue };
            let found = page.look_up(number as u64, ram, library);
            if found == page.translated {
                continue;
            }
            if found.is_some() && entries(found.as_ref()) == entries(page.translated.as_ref()) {
                // What was decoded and how hot it is stay known.
                page.translated.clone_from(&found);
                self.identify(number, found.as_ref());
            } else {
                self.invalidate(number as u64..number as u64 + 1);
            }
        }
    }

    /// Decode the run at `pc` and let the transfer `op` of the same page go there directly from now on.
    pub(super) fn link(&mut self, op: u16, pc: u64, ram: Ram, library: &Library) -> Result<(), Exit> {
        // When everything is dropped, so is that op.
        let stays = self.ops <= OPS_MAX;
        self.decode_run(pc, ram, library, false)?;
        if stays && let Some(Some(page)) = self.pages.get_mut((pc / PAGE) as usize) {
            page.relink(op, pc);
        }
        Ok(())
    }
}

/// Where a page can be entered.
fn entries(translated: Option<&Found>) -> &[Entry] {
    translated.map_or(&[], |found| &found.page.entries)
}

fn halfword(pc: u64) -> usize {
    (pc % PAGE / 2) as usize
}

impl Page {
    fn new() -> Box<Self> {
        let mut ops = Vec::with_capacity(OPS_FIRST);
        ops.push(Op::new(Code::Step, 0, 2));
        Box::new(Self {
            ops,
            index: [0; _],
            straddles: false,
            translated: None,
            digest: None,
            profiled: None,
            heat: PageHeat::default(),
        })
    }

    /// What samples found in it.
    pub(super) fn heat(&mut self) -> &mut PageHeat {
        &mut self.heat
    }

    /// Its index in the profile.
    pub(super) fn profiled(&self) -> Option<u32> {
        self.profiled
    }

    /// Translated code can be entered at the instruction at `pc`.
    pub(super) fn enters(&self, pc: u64) -> bool {
        self.ops[usize::from(self.index(pc))].code == Code::Enter
    }

    /// Page offsets of the instructions that were decoded.
    pub(super) fn starts(&self) -> impl Iterator<Item = u16> {
        (0..PAGE as u16).step_by(2).filter(|&at| self.index[usize::from(at / 2)] != 0)
    }

    /// Hash of its contents.
    pub(super) fn digest(&mut self, number: u64, ram: Ram) -> [u8; 32] {
        *self.digest.get_or_insert_with(|| *blake3::hash(&*ram.contents(number)).as_bytes())
    }

    /// What the library has for this page, which is number `number`.
    fn look_up(&mut self, number: u64, ram: Ram, library: &Library) -> Option<Found> {
        library.find(|| self.digest(number, ram)).filter(|found| u64::from(found.page.below) <= number)
    }

    /// What an `Enter` op stands for.
    fn entry(&self, op: &Op) -> Option<Entry> {
        self.translated.as_ref()?.page.entries.get(op.aux as usize).copied()
    }

    /// The `Enter` op of an instruction, if translated code can be entered there.
    fn enter(&self, at: u16, before: u8) -> Option<Op> {
        let entries = &self.translated.as_ref()?.page.entries;
        let number = entries.binary_search_by_key(&at, |entry| entry.at).ok()?;
        let mut op = Op::new(Code::Enter, at, 2);
        op.before = before;
        op.imm = i32::try_from(entries[number].longest).ok()?;
        op.aux = number as u32;
        Some(op)
    }

    /// Op of the instruction at this address, 0 for none.
    #[inline(always)]
    pub(super) fn index(&self, pc: u64) -> u16 {
        self.index[halfword(pc)] & !PASSED
    }

    /// The same where an indirect jump goes: 0 also if [`CodeCache::decode`] is to hear of the first one.
    #[inline(always)]
    pub(super) fn index_of_target(&self, pc: u64) -> u16 {
        let index = self.index[halfword(pc)];
        if index < PASSED { index } else { 0 }
    }

    #[inline(always)]
    pub(super) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Add an op. At most a few for each halfword are ever added, so 15 bits number them.
    fn push(&mut self, op: Op) -> u16 {
        self.ops.push(op);
        (self.ops.len() - 1) as u16
    }

    /// Decode the run at `pc`; `scratch.starts` has its instructions then, none if they were decoded before.
    fn decode(&mut self, pc: u64, ram: Ram, scratch: &mut Scratch) {
        let Scratch { run, transfers, starts } = scratch;
        run.clear();
        transfers.clear();
        starts.clear();
        if self.index(pc) != 0 {
            return;
        }
        let rest = self.gather(pc, ram, run);
        let mut before = 0;
        for &source in &*run {
            starts.push(source.at);
            let entry = self.enter(source.at, before).map(|op| self.push(op));
            let mut op = lower::single(source);
            op.before = before;
            before += 1;
            let index = self.push(op);
            self.index[usize::from(source.at / 2)] = entry.unwrap_or(index) | PASSED;
            if let Some(target) = source.target() {
                transfers.push((index, target, before));
            } else if matches!(op.code, Code::Jr | Code::Jalr) {
                self.ops[usize::from(index)].set_link(0, i16::from(before));
            }
        }
        match rest {
            Rest::Nothing => {}
            Rest::Step(at) => {
                let mut op = Op::new(Code::Step, at, 2);
                op.before = before;
                let index = self.push(op);
                self.index[usize::from(at / 2)] = index | PASSED;
                starts.push(at);
            }
            Rest::Continue(at) => {
                let mut op = Op::new(Code::J, at % PAGE as u16, 2);
                op.before = before;
                let index = self.push(op);
                transfers.push((index, i32::from(at), before));
            }
        }
        for &(index, target, count) in &*transfers {
            self.transfer(index, target, count);
        }
    }

    /// Adds the instructions from `pc` to the end of the run; what comes then.
    fn gather(&mut self, pc: u64, ram: Ram, run: &mut Vec<Source>) -> Rest {
        let base = pc & !(PAGE - 1);
        let mut at = (pc % PAGE) as u16;
        loop {
            if u64::from(at) >= PAGE {
                return Rest::Continue(at);
            }
            let known = self.index[usize::from(at / 2)] != 0;
            if run.len() == RUN_MAX || known {
                return Rest::Continue(at);
            }
            let Ok((raw, len)) = exec::fetch(ram, base + u64::from(at)) else {
                return Rest::Step(at);
            };
            let Some(row) = super::isa::find(raw) else {
                return Rest::Step(at);
            };
            self.straddles |= u64::from(at) + u64::from(len) > PAGE;
            let source = Source { at, len, raw, row };
            run.push(source);
            if row.format == Format::J || row.instr == Instr::Jalr {
                return Rest::Nothing;
            }
            at += u16::from(len);
        }
    }

    /// Let op `index`, at which `count` instructions of its run are done, go to page offset `target`.
    fn transfer(&mut self, index: u16, target: i32, count: u8) {
        let delta = i16::from(count);
        let in_page = usize::try_from(target).ok().filter(|&target| target < PAGE as usize);
        let op = &mut self.ops[usize::from(index)];
        match (in_page, op.code) {
            (None, Code::J) => {
                (op.code, op.imm) = (Code::Far, target);
                op.set_link(0, delta);
            }
            (None, Code::Jal) => {
                (op.code, op.imm) = (Code::JalFar, target);
                op.set_link(0, delta);
            }
            (None, _) => {
                let mut stub = Op::new(Code::FarStub, 0, 2);
                stub.imm = target;
                let stub = self.push(stub);
                self.ops[usize::from(index)].set_link(stub, delta);
            }
            (Some(target), _) => match self.index[target / 2] {
                0 => {
                    let mut stub = Op::new(Code::Link, 0, 2);
                    stub.imm = target as i32;
                    stub.aux = u32::from(index);
                    let stub = self.push(stub);
                    self.ops[usize::from(index)].set_link(stub, delta);
                }
                known => {
                    let known = known & !PASSED;
                    let before = i16::from(self.ops[usize::from(known)].before);
                    self.ops[usize::from(index)].set_link(known, delta - before);
                }
            },
        }
    }

    /// Replace the link to a stub by one to the op at `pc`.
    fn relink(&mut self, op: u16, pc: u64) {
        let target = self.index(pc);
        let before = i16::from(self.ops[usize::from(target)].before);
        let Some(op) = self.ops.get_mut(usize::from(op)) else { return };
        // Stubs have none before them, so the transfer's delta was its own count.
        let delta = op.delta() as i16 - before;
        op.set_link(target, delta);
    }
}

/// How a run ends.
enum Rest {
    /// With its last instruction, which transfers.
    Nothing,
    /// At something that cannot be decoded here.
    Step(u16),
    /// It goes on at this offset: known already, or in the next page, or the run is long enough.
    Continue(u16),
}
