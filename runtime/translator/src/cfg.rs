//! From what ran to blocks, and from blocks to regions.
//!
//! A *block* is straight-line code inside one page. A *region* is what becomes
//! one Wasm function: blocks that reach each other without calls, which is a
//! guest function with its jump-table cases, or a part of a very large one.

use std::collections::{BTreeMap, BTreeSet};

use friscy_formats::aot::{PAGE, Profile, marked};
use friscy_runtime::hart::expand;
use friscy_runtime::hart::isa::{self, Format, Instr, Row, field};

/// Most blocks in a region: engines' optimisers are super-linear.
pub(crate) const BLOCKS_MAX: usize = 256;
/// Most instructions in a region: JavaScriptCore stops optimising at bodies of 100,000 bytes.
const INSNS_MAX: usize = 2500;
/// Most pages from the first to the last of a region: exit sites hold offsets of 20 bits.
const SPAN_PAGES: u64 = 64;

/// Address of a block that has no instructions: no instruction lies there.
const NOWHERE: u64 = u64::MAX;

/// One guest instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insn {
    /// Guest address.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) len: u8,
    /// Its 32 bits, expanded.
    pub(crate) raw: u32,
    /// Which it is.
    pub(crate) row: &'static Row,
}

impl Insn {
    pub(crate) fn next(&self) -> u64 {
        self.at + u64::from(self.len)
    }

    /// A jump that will be returned from: x1 and x5 are link registers by convention. A PLT entry's t1 is not.
    pub(crate) fn links(&self) -> bool {
        matches!(field::rd(self.raw), 1 | 5)
    }

    /// An indirect jump that neither calls nor returns.
    pub(crate) fn switches(&self) -> bool {
        field::rd(self.raw) == 0 && !matches!(field::rs1(self.raw), 1 | 5)
    }

    /// It ends in the page after the one that it begins in.
    pub(crate) fn straddles(&self) -> bool {
        self.len == 4 && self.at % PAGE as u64 == PAGE as u64 - 2
    }
}

/// How a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on at this address.
    Fall(u64),
    /// Its last instruction is a conditional branch.
    Branch { taken: u64, fall: u64 },
    /// Its last instruction is a direct jump without link.
    Jump(u64),
    /// Its last instruction is a direct call.
    Call { target: u64, back: u64 },
    /// Its last instruction is an indirect jump or call.
    Indirect,
    /// It stands for all indirect jumps of the region: they come here, and go on where the address that they jump to
    /// is a target ([`Block::jumped`]).
    Switch,
    /// The instruction at this address is the interpreter's.
    Interpret(u64),
}

/// A basic block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Address of its first instruction.
    pub(crate) start: u64,
    pub(crate) insns: Vec<Insn>,
    pub(crate) end: End,
    /// Samples taken in it.
    pub(crate) samples: u64,
    /// Control may come in from outside of the region.
    pub(crate) entry: bool,
    /// Control came in by an indirect jump that probably was the region's own, a `switch`.
    pub(crate) jumped: bool,
}

impl Block {
    /// Successors inside a function: not the callee.
    fn successors(&self) -> impl Iterator<Item = u64> + use<> {
        let (a, b) = match self.end {
            End::Fall(to) | End::Jump(to) => (Some(to), None),
            End::Branch { taken, fall } => (Some(taken), Some(fall)),
            End::Call { .. } | End::Indirect | End::Switch | End::Interpret(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Its last instruction is a jump whose target lies in the function, most likely.
    fn switches(&self) -> bool {
        matches!(self.end, End::Indirect) && self.insns.last().is_some_and(Insn::switches)
    }

    /// It begins as functions do: with a place on the stack.
    fn pushes_frame(&self) -> bool {
        self.insns.first().is_some_and(|insn| {
            let (rd, rs1, imm) = (field::rd(insn.raw), field::rs1(insn.raw), field::imm_i(insn.raw));
            insn.row.instr == Instr::Addi && (rd, rs1) == (2, 2) && imm < 0
        })
    }

    /// Where control comes back to, when it does: after a call, or after an instruction of the interpreter's.
    pub(crate) fn resumes(&self) -> Option<u64> {
        match self.end {
            End::Call { back, .. } => Some(back),
            End::Indirect => self.insns.last().filter(|insn| insn.links()).map(Insn::next),
            _ => None,
        }
    }
}

/// Blocks for one function, ascending by address.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) blocks: Vec<Block>,
}

impl Region {
    /// If it has indirect jumps, and targets for them, add the block that stands for them all.
    fn share_switch(&mut self) {
        if self.blocks.iter().any(Block::switches) && self.jumped().next().is_some() {
            self.blocks.push(Block {
                start: NOWHERE,
                insns: Vec::new(),
                end: End::Switch,
                samples: 0,
                entry: false,
                jumped: false,
            });
        }
    }

    /// The block of [`End::Switch`].
    pub(crate) fn switch(&self) -> Option<usize> {
        let last = self.blocks.len() - 1;
        matches!(self.blocks[last].end, End::Switch).then_some(last)
    }

    /// Targets of [`End::Switch`].
    pub(crate) fn jumped(&self) -> impl Iterator<Item = usize> {
        let is_target = |block: &Block| block.jumped && !block.insns.is_empty();
        let blocks = self.blocks.iter().enumerate().filter(move |(_, block)| is_target(block));
        blocks.map(|(number, _)| number)
    }

    pub(crate) fn samples(&self) -> u64 {
        self.blocks.iter().map(|block| block.samples).sum()
    }

    /// Guest instructions.
    pub(crate) fn instructions(&self) -> usize {
        self.blocks.iter().map(|block| block.insns.len()).sum()
    }

    /// Bytes of guest code.
    pub(crate) fn guest_bytes(&self) -> u64 {
        self.blocks.iter().flat_map(|block| &block.insns).map(|insn| u64::from(insn.len)).sum()
    }
}

/// One address space's executed code. Pages that an earlier space has shown are left out.
pub(crate) struct Code {
    /// Page number to index in the profile.
    pub(crate) pages: BTreeMap<u64, u32>,
    /// What was seen there, owned or not: for looking at neighbours.
    pub(crate) all: BTreeMap<u64, u32>,
    /// Page number to identity.
    pub(crate) identities: BTreeMap<u64, u32>,
}

/// Assign each page content to the first space that shows it.
pub(crate) fn spaces(profile: &Profile) -> Vec<Code> {
    let mut places = profile.places.clone();
    places.sort_unstable();
    places.dedup();
    let mut owned = BTreeSet::new();
    let mut spaces: BTreeMap<u32, Code> = BTreeMap::new();
    for place in places {
        let code = spaces.entry(place.space).or_insert_with(|| Code {
            pages: BTreeMap::new(),
            all: BTreeMap::new(),
            identities: BTreeMap::new(),
        });
        // The latest contents of a page that changed; what they were before is translated elsewhere or not at all.
        code.all.insert(place.number.into(), place.page);
        code.identities.insert(place.number.into(), profile.pages[place.page as usize].identity);
        if owned.insert(place.page) {
            code.pages.insert(place.number.into(), place.page);
        }
    }
    spaces.into_values().filter(|code| !code.pages.is_empty()).collect()
}

/// Cut a space's code into regions.
pub(crate) fn regions(profile: &Profile, code: &Code, supported: &dyn Fn(&Insn) -> bool) -> Vec<Region> {
    let blocks = blocks(profile, code, supported);
    let calls: Addresses = blocks
        .iter()
        .filter_map(|block| match block.end {
            End::Call { target, .. } => Some(target),
            _ => None,
        })
        .collect();
    let mut sets = Sets((0..blocks.len()).collect());
    for (i, block) in blocks.iter().enumerate() {
        let tail_call = |to: &u64| matches!(block.end, End::Jump(_) | End::Fall(_)) && calls.contains(*to);
        let next = match block.end {
            End::Interpret(at) => block_after(profile, code, at),
            _ => None,
        };
        for to in block.successors().filter(|to| !tail_call(to)).chain(block.resumes()).chain(next) {
            if let Ok(j) = blocks.binary_search_by_key(&to, |block| block.start) {
                sets.join(i, j);
            }
        }
    }
    // The cases of a `switch` belong to its function, whether or not anything else leads from one to the other.
    let begins = |block: &Block| calls.contains(block.start) || block.entry && block.pushes_frame();
    let mut first = 0;
    for function in blocks.chunk_by(|_, next| !begins(next)) {
        let members: Vec<usize> =
            (0..function.len()).filter(|&i| function[i].jumped || function[i].switches()).collect();
        if members.iter().any(|&i| function[i].switches()) {
            members.windows(2).for_each(|pair| sets.join(first + pair[0], first + pair[1]));
        }
        first += function.len();
    }
    let mut groups: Vec<Vec<Block>> = vec![Vec::new(); blocks.len()];
    for (i, mut block) in blocks.into_iter().enumerate() {
        let called = calls.contains(block.start);
        block.entry |= called;
        block.jumped &= !called && !block.pushes_frame();
        groups[sets.find(i)].push(block);
    }
    let mut regions = Vec::new();
    for blocks in groups {
        split(blocks, &mut regions);
    }
    // Entries: whatever another region goes to.
    let (mut targets, mut resumed) = (Vec::new(), Vec::new());
    for region in &regions {
        let own = |to: &u64| region.blocks.binary_search_by_key(to, |block| block.start).is_ok();
        for block in &region.blocks {
            targets.extend(block.successors().filter(|to| !own(to)));
            resumed.extend(block.resumes());
            if let End::Interpret(at) = block.end {
                targets.extend(block_after(profile, code, at));
            }
        }
    }
    let (targets, resumed): (Addresses, Addresses) =
        (targets.into_iter().collect(), resumed.into_iter().collect());
    for region in &mut regions {
        // Its first block is most likely the function's beginning, and others call it by pointer.
        region.blocks[0].jumped = false;
        for block in &mut region.blocks {
            let resumes = resumed.contains(block.start);
            block.entry |= resumes || targets.contains(block.start);
            block.jumped &= !resumes;
        }
        region.share_switch();
    }
    regions
}

/// At most [`BLOCKS_MAX`] blocks and [`INSNS_MAX`] instructions, close together, are one region; of more, there are
/// pieces of half the size: control leaves them all the time anyway, and two small ones are optimised in less time
/// than a large one.
fn split(blocks: Vec<Block>, regions: &mut Vec<Region>) {
    let whole = blocks.len() <= BLOCKS_MAX
        && blocks.iter().map(|block| block.insns.len()).sum::<usize>() <= INSNS_MAX;
    let (blocks_max, insns_max) =
        if whole { (BLOCKS_MAX, INSNS_MAX) } else { (BLOCKS_MAX / 2, INSNS_MAX / 2) };
    let mut piece: Vec<Block> = Vec::new();
    let mut insns = 0;
    for block in blocks {
        let far = piece
            .first()
            .is_some_and(|first| block.start / PAGE as u64 - first.start / PAGE as u64 >= SPAN_PAGES);
        if piece.len() == blocks_max || insns + block.insns.len() > insns_max && !piece.is_empty() || far {
            regions.push(Region { blocks: std::mem::take(&mut piece) });
            insns = 0;
        }
        insns += block.insns.len();
        piece.push(block);
    }
    if !piece.is_empty() {
        regions.push(Region { blocks: piece });
    }
}

/// A set that is asked more often than a tree would be worth.
struct Addresses(Vec<u64>);

impl FromIterator<u64> for Addresses {
    fn from_iter<I: IntoIterator<Item = u64>>(addresses: I) -> Addresses {
        let mut list: Vec<u64> = addresses.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        Addresses(list)
    }
}

impl Addresses {
    fn contains(&self, address: u64) -> bool {
        self.0.binary_search(&address).is_ok()
    }
}

/// Disjoint sets.
struct Sets(Vec<usize>);

impl Sets {
    fn find(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

fn half(profile: &Profile, code: &Code, at: u64) -> Option<u16> {
    let page = &profile.pages[*code.pages.get(&(at / PAGE as u64))? as usize];
    let offset = (at % PAGE as u64) as usize;
    Some(u16::from_le_bytes([page.bytes[offset], page.bytes[offset + 1]]))
}

/// The instruction at an address of an owned page. `None` when it is none, or ends in a page that is not owned.
fn decode(profile: &Profile, code: &Code, at: u64) -> Option<Insn> {
    let low = half(profile, code, at)?;
    let (raw, len) = if low & 3 == 3 {
        (u32::from(low) | u32::from(half(profile, code, at + 2)?) << 16, 4)
    } else {
        (expand(low)?, 2)
    };
    Some(Insn { at, len, raw, row: isa::find(raw)? })
}

/// Where execution goes on after the interpreter has executed the instruction at `at`.
fn block_after(profile: &Profile, code: &Code, at: u64) -> Option<u64> {
    let low = half(profile, code, at)?;
    Some(at + if low & 3 == 3 { 4 } else { 2 })
}

/// All blocks, ascending.
fn blocks(profile: &Profile, code: &Code, supported: &dyn Fn(&Insn) -> bool) -> Vec<Block> {
    let started = |at: u64| {
        code.pages
            .get(&(at / PAGE as u64))
            .is_some_and(|&page| marked(&profile.pages[page as usize].starts, (at % PAGE as u64) as u16))
    };
    // Ascending, since pages are; what is not translated has none.
    let mut insns: Vec<(u64, Option<Insn>)> = Vec::new();
    // Where blocks begin, and whether control came in there.
    let mut leaders: Vec<(u64, bool)> = Vec::new();
    let mut samples: Vec<(u64, u64)> = Vec::new();
    for (&number, &page) in &code.pages {
        let base = number * PAGE as u64;
        let page = &profile.pages[page as usize];
        for at in (0..PAGE as u16).step_by(2).filter(|&at| marked(&page.starts, at)) {
            let address = base + u64::from(at);
            insns.push((address, decode(profile, code, address).filter(|insn| supported(insn))));
            if marked(&page.entered, at) {
                leaders.push((address, true));
            }
        }
        // Blocks end with their page.
        leaders.push((base, false));
        samples.extend(page.samples.iter().map(|&(at, count)| (base + u64::from(at), u64::from(count))));
    }
    for (at, insn) in &insns {
        let Some(insn) = insn else {
            leaders.extend(block_after(profile, code, *at).map(|next| (next, false)));
            continue;
        };
        if insn.straddles() {
            // A block of its own, in front of which its second page is asked for.
            leaders.extend([(*at, false), (insn.next(), false)]);
        }
        let target = match insn.row.format {
            Format::B => Some(insn.at.wrapping_add_signed(field::imm_b(insn.raw).into())),
            Format::J => Some(insn.at.wrapping_add_signed(field::imm_j(insn.raw).into())),
            _ => None,
        };
        if target.is_some() || insn.row.instr == Instr::Jalr {
            leaders.push((insn.next(), false));
        }
        leaders.extend(target.map(|target| (target, false)));
    }
    samples.sort_unstable();
    // Those at which control came in first, so that they stay.
    leaders.sort_unstable_by_key(|&(at, entered)| (at, !entered));
    leaders.dedup_by_key(|&mut (at, _)| at);
    let ends: Addresses = leaders.iter().map(|&(at, _)| at).collect();
    let mut blocks = Vec::new();
    for &(start, entry) in leaders.iter().filter(|&&(at, _)| started(at)) {
        let block = block(start, entry, &insns, &ends);
        let end = block.insns.last().map_or(start + 1, Insn::next);
        let from = samples.partition_point(|&(at, _)| at < start);
        let hits = samples[from..].iter().take_while(|&&(at, _)| at < end);
        blocks.push(Block { samples: hits.map(|&(_, count)| count).sum(), ..block });
    }
    blocks
}

fn block(start: u64, entry: bool, insns: &[(u64, Option<Insn>)], leaders: &Addresses) -> Block {
    let mut list: Vec<Insn> = Vec::new();
    let mut at = start;
    let mut rest = insns[insns.partition_point(|&(at, _)| at < start)..].iter();
    let end = loop {
        if at != start && leaders.contains(at) {
            break End::Fall(at);
        }
        let insn = match rest.find(|&&(other, _)| other >= at) {
            Some(&(found, insn)) if found == at => match insn {
                Some(insn) => insn,
                None => break End::Interpret(at),
            },
            // Never decoded: it was not executed.
            _ => break End::Fall(at),
        };
        list.push(insn);
        at = insn.next();
        let to = |offset: i32| insn.at.wrapping_add_signed(offset.into());
        match insn.row.format {
            Format::B => break End::Branch { taken: to(field::imm_b(insn.raw)), fall: at },
            Format::J if field::rd(insn.raw) == 0 => break End::Jump(to(field::imm_j(insn.raw))),
            Format::J => break End::Call { target: to(field::imm_j(insn.raw)), back: at },
            Format::Jalr => break End::Indirect,
            _ => {}
        }
    };
    Block { start, insns: list, end, samples: 0, entry, jumped: entry }
}
