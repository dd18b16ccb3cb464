//! Which registers hold sign-extended 32-bit values, and where that is worth an i32 local.
//!
//! RV64 keeps every 32-bit result sign-extended. Such a register is kept in an i32
//! local as long as it is one: additions need no extension, comparisons are narrow,
//! and engines see rotations, which they do not through 64-bit values.
//!
//! Forward, what all ways to a block agree on is a word there. Backward, a word
//! that is only wanted in full stays in its i64 local where ways meet. Entries where
//! control also comes from inside the region are not asked: the entry looks whether
//! the values are words, and leaves the first block to the interpreter if not.

use friscy_runtime::hart::isa::{Instr, field};

use crate::cfg::{Block, Insn, Region};
use crate::flow::{Set, reads, writes, x};

/// All integer registers.
const ALL: Set = 0xffff_ffff;

/// A shift to the left and one back: bits cut out of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Low bits that are kept, at most 32.
    pub(crate) bits: u32,
    /// Where their lowest lands.
    pub(crate) left: u32,
    pub(crate) signed: bool,
}

impl Cut {
    /// The cut that begins at `insns[0]`.
    pub(crate) fn at(insns: &[Insn]) -> Option<Cut> {
        let [first, second, ..] = insns else { return None };
        let (raw, raw2) = (first.raw, second.raw);
        let rd = field::rd(raw);
        let same = rd != 0 && field::rd(raw2) == rd && field::rs1(raw2) == rd;
        let signed = second.row.instr == Instr::Srai;
        let back = signed || second.row.instr == Instr::Srli;
        let (up, down) = (field::shamt(raw), field::shamt(raw2));
        let cuts = first.row.instr == Instr::Slli && same && back && up >= 32 && down <= up;
        // Of signed ones, those whose result is a word.
        (cuts && (!signed || down >= 32)).then(|| Cut { bits: 64 - up, left: up - down, signed })
    }

    pub(crate) fn is_word(self) -> bool {
        self.signed || self.bits + self.left < 32
    }
}

pub(crate) fn is_word(words: Set, n: usize) -> bool {
    n == 0 || words >> n & 1 != 0
}

/// Whether the result of an instruction other than a cut is a word, given which registers are.
pub(crate) fn result(insn: &Insn, words: Set) -> bool {
    use Instr::*;
    let raw = insn.raw;
    let (a, b) = (is_word(words, field::rs1(raw)), is_word(words, field::rs2(raw)));
    match insn.row.instr {
        Lui | Addiw | Slliw | Srliw | Sraiw | Addw | Subw | Sllw | Srlw | Sraw | Mulw => true,
        Divw | Divuw | Remw | Remuw | Slt | Sltu | Slti | Sltiu | Lb | Lh | Lw | Lbu | Lhu => true,
        FeqD | FltD | FleD | FeqS | FltS | FleS | FmvXW | FcvtWD | FcvtWS => true,
        Addi => field::rs1(raw) == 0 || field::imm_i(raw) == 0 && a,
        Andi => a || field::imm_i(raw) >= 0,
        Xori | Ori => a,
        And | Or | Xor => a && b,
        Srai => a || field::shamt(raw) >= 32,
        Srli => field::shamt(raw) > 32,
        _ => false,
    }
}

/// Which registers are words after instruction `i` of a block.
fn step(insns: &[Insn], i: usize, words: Set) -> Set {
    if i > 0 && Cut::at(&insns[i - 1..]).is_some() {
        return words;
    }
    let written = writes(&insns[i]) & ALL;
    let word = Cut::at(&insns[i..]).map_or_else(|| result(&insns[i], words), Cut::is_word);
    if word { words | written } else { words & !written }
}

/// Registers of which an instruction only takes words, and those that it takes in full.
fn demands(insn: &Insn, words: Set) -> (Set, Set) {
    use Instr::*;
    let raw = insn.raw;
    let (a, b) = (x(field::rs1(raw)), x(field::rs2(raw)));
    match insn.row.instr {
        Addiw | Slliw | Srliw | Sraiw | FcvtDW | FcvtDWu | FcvtSW | FcvtSWu | FmvWX => (a, 0),
        Addw | Subw | Sllw | Srlw | Sraw | Mulw | Divw | Divuw | Remw | Remuw => (a | b, 0),
        Sb | Sh | Sw => (b, a),
        And | Or | Xor | Slt | Sltu | Beq | Bne | Blt | Bge | Bltu | Bgeu if (a | b) & !words == 0 => {
            (a | b, 0)
        }
        Andi | Xori | Ori | Slti | Sltiu if a & !words == 0 => (a, 0),
        _ => (0, reads(insn) & ALL),
    }
}

/// Words at the start of each block.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) at_start: Vec<Set>,
    /// Registers that may be words somewhere: each has an i32 local.
    pub(crate) ever: Set,
}

impl Words {
    /// Analyse a region; `successors` are block numbers, `entries` those where control comes from outside.
    pub(crate) fn of(region: &Region, successors: &[Vec<usize>], entries: &[usize]) -> Words {
        let blocks = &region.blocks;
        let mut ways = vec![0; blocks.len()];
        for (from, list) in successors.iter().enumerate() {
            // A way from further down alone says little: the first time, control comes from outside.
            list.iter().for_each(|&to| ways[to] += if from < to { 2 } else { 1 });
        }
        let mut most = vec![ALL; blocks.len()];
        entries.iter().filter(|&&entry| ways[entry] < 2).for_each(|&entry| most[entry] = 0);
        region.switch().into_iter().for_each(|switch| most[switch] = 0);
        let widest = forward(blocks, successors, &most);
        let unwanted = unwanted(blocks, successors, &widest);
        most.iter_mut().zip(unwanted).for_each(|(most, unwanted)| *most &= !unwanted);
        let at_start = forward(blocks, successors, &most);
        // What is not wanted as a word stays one all the same in a block that only one way leads to.
        let mut ever = 0;
        for (block, &start) in blocks.iter().zip(&widest) {
            ever |= start;
            (0..block.insns.len()).fold(start, |words, i| {
                let words = step(&block.insns, i, words);
                ever |= words;
                words
            });
        }
        Words { at_start, ever: ever & !1 }
    }
}

/// Largest sets within `most` that all ways agree on.
fn forward(blocks: &[Block], successors: &[Vec<usize>], most: &[Set]) -> Vec<Set> {
    let mut at_start = most.to_vec();
    let mut changed = true;
    while changed {
        changed = false;
        for (number, block) in blocks.iter().enumerate() {
            let words =
                (0..block.insns.len()).fold(at_start[number], |words, i| step(&block.insns, i, words));
            for &next in &successors[number] {
                changed |= at_start[next] & !words != 0;
                at_start[next] &= words;
            }
        }
    }
    at_start
}

/// Registers that are next wanted in full, and on no way as words.
fn unwanted(blocks: &[Block], successors: &[Vec<usize>], at_start: &[Set]) -> Vec<Set> {
    let mut wanted = vec![(0, 0); blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for number in (0..blocks.len()).rev() {
            let insns = &blocks[number].insns;
            let (mut word, mut full) = successors[number]
                .iter()
                .map(|&next| wanted[next])
                .fold((0, 0), |(a, b): (Set, Set), (c, d)| (a | c, b | d));
            let mut words = Vec::with_capacity(insns.len());
            (0..insns.len()).fold(at_start[number], |known, i| {
                words.push(known);
                step(insns, i, known)
            });
            for (insn, known) in insns.iter().zip(words).rev() {
                let (as_word, in_full) = demands(insn, known);
                let written = writes(insn);
                word = word & !written | as_word;
                full = full & !written | in_full;
            }
            changed |= wanted[number] != (word, full);
            wanted[number] = (word, full);
        }
    }
    wanted.into_iter().map(|(word, full)| full & !word).collect()
}
