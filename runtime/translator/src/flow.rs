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
//! Loops without calls keep in locals what they write. Everywhere else what a block
//! has written goes to memory where the block ends, unless it is dead there: exits
//! have little to store then, of which each function has hundreds, and engines'
//! optimisers need less time for them than for anything else.
//!
//! A register that is stored was either written on the path or is live from the
//! entry on, hence loaded there: what an exit stores is always right.

use std::collections::BTreeMap;

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
    /// Written in a block.
    pub(crate) written: Vec<Set>,
    /// Dirty at the start of a block.
    pub(crate) dirty_in: Vec<Set>,
    /// Dirty at its end.
    pub(crate) dirty_out: Vec<Set>,
    /// Live at its start.
    pub(crate) live_in: Vec<Set>,
    /// Live at its end.
    pub(crate) live_out: Vec<Set>,
    /// What each edge stores of what is dirty, by its two blocks. Edges inside of loops without calls store nothing.
    pub(crate) stored: BTreeMap<(usize, usize), Set>,
}

impl Flow {
    /// Analyse a region; `successors` are block numbers, `leaves` tells blocks with an exit at their end.
    pub(crate) fn of(region: &Region, successors: &[Vec<usize>], leaves: &[bool]) -> Flow {
        let blocks = &region.blocks;
        let count = blocks.len();
        let written: Vec<Set> =
            blocks.iter().map(|b| b.insns.iter().map(writes).fold(0, |a, b| a | b)).collect();
        let leaves: Vec<bool> =
            (0..count).map(|block| leaves[block] || matches!(blocks[block].end, End::Interpret(_))).collect();
        // Whoever comes after an exit may read anything.
        let ends = |block: usize| if leaves[block] { Set::MAX } else { 0 };
        let (needed, _) = backward(blocks, successors, &ends);
        let mut stored = storing(region, successors);
        stored.iter_mut().for_each(|(&(_, to), set)| *set = needed[to]);
        let (mut dirty_in, mut dirty_out) = (vec![0; count], written.clone());
        let switch = region.switch();
        let mut changed = true;
        while changed {
            changed = false;
            for block in 0..count {
                dirty_out[block] |= dirty_in[block];
                // What jumps to the switch has stored everything.
                for &next in successors[block].iter().filter(|&&next| Some(next) != switch) {
                    let kept = if stored.contains_key(&(block, next)) { 0 } else { dirty_out[block] };
                    changed |= kept & !dirty_in[next] != 0;
                    dirty_in[next] |= kept;
                }
            }
        }
        stored.iter_mut().for_each(|(&(from, _), set)| *set &= dirty_out[from]);
        let ends = |block: usize| {
            let by_edge = successors[block].iter().filter_map(|&next| stored.get(&(block, next)));
            by_edge.fold(if leaves[block] { dirty_out[block] } else { 0 }, |all, set| all | set)
        };
        let (live_in, live_out) = backward(blocks, successors, &ends);
        Flow { written, dirty_in, dirty_out, live_in, live_out, stored }
    }
}

/// Registers that are read before they are written, where each block starts and where it ends, if at their ends these
/// are read.
fn backward(
    blocks: &[Block],
    successors: &[Vec<usize>],
    ends: &dyn Fn(usize) -> Set,
) -> (Vec<Set>, Vec<Set>) {
    let (mut starts, mut out) = (vec![0; blocks.len()], vec![0; blocks.len()]);
    let mut changed = true;
    while changed {
        changed = false;
        for block in (0..blocks.len()).rev() {
            let mut live = successors[block].iter().fold(ends(block), |live, &next| live | starts[next]);
            out[block] = live;
            for insn in blocks[block].insns.iter().rev() {
                live = live & !writes(insn) | reads(insn);
            }
            changed |= starts[block] != live;
            starts[block] = live;
        }
    }
    (starts, out)
}

/// Edges that store, all but those inside of loops without calls and `switch`es.
fn storing(region: &Region, successors: &[Vec<usize>]) -> BTreeMap<(usize, usize), Set> {
    let by_address: BTreeMap<u64, usize> =
        region.blocks.iter().enumerate().map(|(number, block)| (block.start, number)).collect();
    let with_returns = |(block, nexts): (&Block, &Vec<usize>)| {
        let back = block.resumes().and_then(|back| by_address.get(&back));
        nexts.iter().chain(back).copied().collect()
    };
    let edges = region.blocks.iter().zip(successors).map(with_returns).collect();
    let calls: Vec<bool> =
        region.blocks.iter().map(|block| matches!(block.end, End::Call { .. } | End::Indirect)).collect();
    let mut loop_of = vec![None; region.blocks.len()];
    for (number, members) in Graph::new(edges).loops_without(&calls).into_iter().enumerate() {
        members.into_iter().for_each(|block| loop_of[block] = Some(number));
    }
    let edges = successors.iter().enumerate().flat_map(|(from, list)| list.iter().map(move |&to| (from, to)));
    edges
        .filter(|&(from, to)| loop_of[from].is_none() || loop_of[from] != loop_of[to])
        .map(|edge| (edge, 0))
        .collect()
}
