//! Loads and stores through the permission bytes.
//!
//! One look at the table serves all accesses off a register that the block will
//! certainly make: when the page of the first byte and that of the last one allow
//! them, they go straight through. If not, the function leaves before the first of
//! the accesses, and the interpreter finds out which of them faults, and how.
//! Nothing is called, whatever the answer: a call inside a loop makes engines keep
//! the loop's values on the stack.
//!
//! An access of its own asks for one page and a natural alignment, which compiled code keeps: on RISC-V hardware
//! a misaligned access may be a trap. What is misaligned is the interpreter's. Copying is an exception, since libraries
//! copy by words whatever the alignment, if they are told that it is not slow.
//!
//! What was found holds as long as the register does, also where ways meet that all come from there. Stack frames
//! are looked at as a whole.
//!
//! The pair bits of the table (R2, W2) are not used: they refuse everything in the
//! last page of an area, which for many programs is all of their stack or heap.

use friscy_formats::aot::PAGE;
use friscy_runtime::hart::isa::{Format, Instr, field};
use friscy_runtime::mm::perm;

use crate::cfg::{Insn, Region};
use crate::emit::{Emitter, Fact, State, at, local};
use crate::flow::{Set, reads, writes, x};
use crate::words;

/// Longest stretch that one check covers: it never touches a third page, and rarely a second.
const STRETCH_MAX: i64 = 512;
/// Most facts kept: each is a live value.
const FACTS_MAX: usize = 6;
/// The stack pointer's register.
const SP: usize = 2;

/// Bytes and offset of an access.
fn extent(insn: &Insn) -> (i64, i64, bool) {
    let store = matches!(insn.row.format, Format::Store | Format::StoreF);
    let imm = if store { field::imm_s(insn.raw) } else { field::imm_i(insn.raw) };
    let size = match insn.row.instr {
        Instr::Lb | Instr::Lbu | Instr::Sb => 1,
        Instr::Lh | Instr::Lhu | Instr::Sh => 2,
        Instr::Lw | Instr::Lwu | Instr::Sw | Instr::Flw | Instr::Fsw => 4,
        _ => 8,
    };
    (imm.into(), size, store)
}

fn is_access(insn: &Insn) -> bool {
    matches!(insn.row.format, Format::Load | Format::LoadF | Format::Store | Format::StoreF)
}

/// Emit a load or store; see [`Emitter::insn`].
pub(crate) fn access(emitter: &mut Emitter<'_>, insn: &Insn, rest: &[Insn], set: Set, state: &mut State) {
    let base = field::rs1(insn.raw);
    let (imm, size, store) = extent(insn);
    let covers = |fact: &&Fact| {
        fact.reg == base && fact.low <= imm && imm + size <= fact.high && (fact.write || !store)
    };
    let fact = match state.facts.iter().find(covers) {
        Some(fact) => *fact,
        None => check(emitter, rest, set, state),
    };
    let written = x(field::rd(insn.raw));
    if insn.row.format == Format::Load {
        state.copied = if copies(rest) { state.copied | written } else { state.copied & !written };
    }
    let offset = (imm - fact.low) as u64;
    let memory = at(offset, 0);
    emitter.op().local_get(fact.host);
    match insn.row.format {
        Format::Load => {
            let mut op = emitter.op();
            match insn.row.instr {
                Instr::Lb => op.i32_load8_s(memory),
                Instr::Lh => op.i32_load16_s(memory),
                Instr::Lw => op.i32_load(memory),
                Instr::Lbu => op.i32_load8_u(memory),
                Instr::Lhu => op.i32_load16_u(memory),
                Instr::Lwu => op.i64_load32_u(memory),
                _ => op.i64_load(memory),
            };
            emitter.set(field::rd(insn.raw), words::result(insn, state.words), state);
        }
        Format::Store => {
            let rs2 = field::rs2(insn.raw);
            if insn.row.instr == Instr::Sd {
                emitter.get(rs2, state.words);
            } else {
                emitter.get_word(rs2, state.words);
            }
            let mut op = emitter.op();
            match insn.row.instr {
                Instr::Sb => op.i32_store8(memory),
                Instr::Sh => op.i32_store16(memory),
                Instr::Sw => op.i32_store(memory),
                _ => op.i64_store(memory),
            };
        }
        Format::LoadF => {
            let register = emitter.registers[32 + field::rd(insn.raw)];
            let mut op = emitter.op();
            if insn.row.instr == Instr::Fld {
                op.f64_load(memory);
            } else {
                // NaN-boxed.
                op.i64_load32_u(memory).i64_const(-1 << 32).i64_or().f64_reinterpret_i64();
            }
            op.local_set(register);
            state.boxed &= !writes(insn);
            if insn.row.instr == Instr::Flw {
                state.boxed |= writes(insn);
            }
        }
        _ => {
            let register = emitter.registers[32 + field::rs2(insn.raw)];
            let mut op = emitter.op();
            op.local_get(register);
            if insn.row.instr == Instr::Fsd {
                op.f64_store(memory);
            } else {
                op.i64_reinterpret_f64().i64_store32(memory);
            }
        }
    }
}

/// What the block will certainly touch off the same register, from its next access on.
fn stretch(rest: &[Insn]) -> (i64, i64, bool) {
    let base = field::rs1(rest[0].raw);
    let (imm, size, mut write) = extent(&rest[0]);
    let (mut low, mut high) = (imm, imm + size);
    for (i, insn) in rest.iter().enumerate() {
        if i > 0 && is_access(insn) && field::rs1(insn.raw) == base {
            let (imm, size, store) = extent(insn);
            let (new_low, new_high) = (low.min(imm), high.max(imm + size));
            if new_high - new_low > STRETCH_MAX {
                break;
            }
            (low, high) = (new_low, new_high);
            write |= store;
        }
        if writes(insn) & x(base) != 0 {
            break;
        }
    }
    (low, high, write)
}

/// What a function touches off the stack pointer, whichever way it takes: a frame lies on the stack as a whole.
pub(crate) fn frame(region: &Region) -> Option<(i64, i64, bool)> {
    let insns = region.blocks.iter().flat_map(|block| &block.insns);
    let extents = insns.filter(|insn| is_access(insn) && field::rs1(insn.raw) == SP).map(|insn| {
        let (imm, size, store) = extent(insn);
        (imm, imm + size, store)
    });
    let whole = extents.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1), a.2 | b.2));
    whole.filter(|(low, high, _)| high - low <= STRETCH_MAX)
}

/// The value that the first of these instructions loads is only stored again, as it is.
fn copies(rest: &[Insn]) -> bool {
    let [load, then @ ..] = rest else { return false };
    let rd = x(field::rd(load.raw));
    let user = then.iter().find(|insn| (reads(insn) | writes(insn)) & rd != 0);
    load.row.format == Format::Load
        && user.is_some_and(|insn| {
            let (_, size, store) = extent(insn);
            store && is_access(insn) && x(field::rs1(insn.raw)) != rd && size == extent(load).1
        })
}

fn check(emitter: &mut Emitter<'_>, rest: &[Insn], set: Set, state: &mut State) -> Fact {
    let base = field::rs1(rest[0].raw);
    let (low, high, write) = match emitter.frame {
        Some(frame) if base == SP => frame,
        _ => stretch(rest),
    };
    emitter.uses.memory = true;
    state.facts.retain(|fact| fact.reg != base);
    if state.facts.len() >= FACTS_MAX {
        state.facts.remove(0);
    }
    let host = emitter.free_host(state);
    let bit = if write { perm::W } else { perm::R };
    let address = local::T[0];
    emitter.get(base, state.words);
    if low != 0 {
        emitter.op().i64_const(low).i64_add();
    }
    let (_, size, _) = extent(&rest[0]);
    let copied = rest[0].row.format == Format::Store && state.copied & x(field::rs2(rest[0].raw)) != 0;
    let alone = high - low == size && !copied && !copies(rest);
    push_refused(emitter, address, host, bit, high - low, alone);
    emitter.exit_if(rest[0].at, set, state);
    emitter.op().local_get(host).local_get(local::BASE).i32_add().local_set(host);
    let fact = Fact { reg: base, host, low, high, write };
    if base != 0 {
        state.facts.push(fact);
    }
    fact
}

/// Pop an address, keep it and its low half in locals, and push whether memory refuses `len` bytes there. `alone`: one
/// access, for which a misaligned address may be refused too.
fn push_refused(emitter: &mut Emitter<'_>, address: u32, low_half: u32, bit: u8, len: i64, alone: bool) {
    let page = PAGE.trailing_zeros().cast_signed();
    let mut op = emitter.op();
    op.local_tee(address);
    // Rotated, an address that is not aligned is larger than any: what begins in a page then ends in it.
    let rotated = if alone { len.trailing_zeros() } else { 0 };
    if rotated > 0 {
        op.i64_const(rotated.into()).i64_rotr();
    }
    op.local_get(address).i32_wrap_i64().local_tee(low_half);
    op.i32_const(page).i32_shr_u().local_get(local::PERMS).i32_add().i64_load8_u(at(0, 0));
    if !alone {
        op.local_get(low_half).i32_const((len - 1) as i32).i32_add();
        op.i32_const(page).i32_shr_u().local_get(local::PERMS).i32_add().i64_load8_u(at(0, 0)).i64_and();
    }
    // The bit as 2^32 or 0: every address that the table knows is below the one, none is below the other.
    let up = 32 - bit.trailing_zeros() - rotated;
    op.i64_const(bit.into()).i64_and().i64_const(up.into()).i64_shl().i64_ge_u();
}

/// Integer register `rd` was written; with `moved`, it is now that register plus a constant.
pub(crate) fn forget(state: &mut State, rd: usize, moved: Option<(usize, i64)>) {
    let mut copies = Vec::new();
    if let Some((from, by)) = moved {
        for fact in state.facts.iter().filter(|fact| fact.reg == from) {
            copies.push(Fact { reg: rd, low: fact.low - by, high: fact.high - by, ..*fact });
        }
    }
    state.facts.retain(|fact| fact.reg != rd);
    state.facts.append(&mut copies);
}
