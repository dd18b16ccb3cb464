//! Which registers must be in locals, and which of these memory does not know yet.
//!
//! Two analyses over the blocks of a region, in sets of 64 registers (x0..x31,
//! then f0..f31):
//! - *dirty*, forward: written since the function was entered, on some path. An
//!   exit stores these.
//! - *live*, backward: read, or stored by an exit, on some path. An entry loads
//!   these. A fault stores what is dirty and live: what is dead there is written
//!   again before anyone reads it.
//!
//! A register that is stored was either written on the path or is live from the
//! entry on, hence loaded there: what an exit stores is always right.

use std::collections::{BTreeMap, BTreeSet};

use friscy_runtime::hart::isa::{Format, field};

use crate::cfg::{Block, End, Insn, Region};
use crate::structure::Graph;

/// A set of registers: bit n is xn, bit 32 + n is fn.
pub(crate) type Set = u64;

/// The set of one register.
pub(crate) fn x(n: usize) -> Set {
    // x0 is no register.
    (1 << n) & !1
}

/// The set of one floating-point register.
pub(crate) fn f(n: usize) -> Set {
    1 << (32 + n)
}

/// Registers that an instruction reads.
pub(crate) fn reads(insn: &Insn) -> Set {
    let raw = insn.raw;
    let (x1, x2) = (x(field::rs1(raw)), x(field::rs2(raw)));
    let (f1, f2) = (f(field::rs1(raw)), f(field::rs2(raw)));
    match insn.row.format {
        Format::R | Format::B | Format::Store | Format::Amo => x1 | x2,
        Format::I | Format::Shift | Format::ShiftW | Format::Load | Format::LoadF | Format::Jalr => x1,
        Format::StoreF => x1 | f2,
        Format::U | Format::J | Format::None | Format::CsrI => 0,
        Format::Csr | Format::Lr | Format::Fx | Format::FxRm => x1,
        Format::FffRm | Format::Fff | Format::Xff => f1 | f2,
        Format::FfRm | Format::XfRm | Format::Xf => f1,
        Format::Fma => f1 | f2 | f(field::rs3(raw)),
    }
}

/// The register that an instruction writes.
pub(crate) fn writes(insn: &Insn) -> Set {
    let rd = field::rd(insn.raw);
    match insn.row.format {
        Format::Store | Format::StoreF | Format::B | Format::None => 0,
        Format::LoadF
        | Format::FffRm
        | Format::Fff
        | Format::FfRm
        | Format::FxRm
        | Format::Fx
        | Format::Fma => f(rd),
        _ => x(rd),
    }
}

/// The results, by block of the region.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Dirty at the start of a block.
    pub(crate) dirty_in: Vec<Set>,
    /// Dirty at its end.
    pub(crate) dirty_out: Vec<Set>,
    /// Live at its start.
    pub(crate) live_in: Vec<Set>,
    /// Live at its end.
    pub(crate) live_out: Vec<Set>,
    /// Edges on which all that is dirty is stored: those into loops in which it would be, round after round.
    pub(crate) storing: BTreeSet<(usize, usize)>,
}

impl Flow {
    /// Analyse a region; `successors` are block numbers, `leaves` tells blocks with an exit at their end.
    pub(crate) fn of(region: &Region, successors: &[Vec<usize>], leaves: &[bool]) -> Flow {
        let blocks = &region.blocks;
        let count = blocks.len();
        let mut flow = Flow {
            dirty_in: vec![0; count],
            dirty_out: vec![0; count],
            live_in: vec![0; count],
            live_out: vec![0; count],
            storing: storing(region, successors),
        };
        let written: Vec<Set> =
            blocks.iter().map(|b| b.insns.iter().map(writes).fold(0, |a, b| a | b)).collect();
        let switch = region.switch();
        let mut changed = true;
        while changed {
            changed = false;
            for block in 0..count {
                let out = flow.dirty_in[block] | written[block];
                changed |= flow.dirty_out[block] != out;
                flow.dirty_out[block] = out;
                // What jumps to the switch has stored everything.
                let stored = |next| Some(next) == switch || flow.storing.contains(&(block, next));
                let nexts = successors[block].iter().filter(|&&next| !stored(next));
                for &next in nexts.collect::<Vec<_>>() {
                    let new = flow.dirty_in[next] | out;
                    changed |= flow.dirty_in[next] != new;
                    flow.dirty_in[next] = new;
                }
            }
        }
        changed = true;
        while changed {
            changed = false;
            for block in (0..count).rev() {
                let mut live = successors[block].iter().map(|&next| flow.live_in[next]).fold(0, |a, b| a | b);
                let stores = successors[block].iter().any(|&next| flow.storing.contains(&(block, next)));
                if leaves[block] || stores || matches!(blocks[block].end, End::Interpret(_)) {
                    live |= flow.dirty_out[block];
                }
                flow.live_out[block] = live;
                for insn in blocks[block].insns.iter().rev() {
                    live = live & !writes(insn) | reads(insn);
                }
                changed |= flow.live_in[block] != live;
                flow.live_in[block] = live;
            }
        }
        flow
    }
}

/// Edges into loops with calls and `switch`es.
fn storing(region: &Region, successors: &[Vec<usize>]) -> BTreeSet<(usize, usize)> {
    let by_address: BTreeMap<u64, usize> =
        region.blocks.iter().enumerate().map(|(number, block)| (block.start, number)).collect();
    let with_returns = |(block, nexts): (&Block, &Vec<usize>)| {
        let back = block.resumes().and_then(|back| by_address.get(&back));
        nexts.iter().chain(back).copied().collect()
    };
    let edges = region.blocks.iter().zip(successors).map(with_returns).collect();
    let stores: Vec<bool> =
        region.blocks.iter().map(|block| matches!(block.end, End::Call { .. } | End::Indirect)).collect();
    Graph::new(edges).loop_entries_with(&stores)
}
