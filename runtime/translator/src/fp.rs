//! Floating point, where the engine's arithmetic gives the same value and flags.
//!
//! That is in rounding mode nearest-even, with the inexact flag accrued already or
//! exact ([`crate::exact`]), for results that exclude every other flag: the conditions of the runtime's
//! `hart::fpu::fast`, of which this takes the common part. For anything else
//! the function leaves, and the interpreter decides. Fused multiplication and
//! addition is [`crate::fma`]'s.

use friscy_runtime::hart::isa::{Format, Instr, field};
use wasm_encoder::{Ieee32, Ieee64};

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::exact::{self, Exactness};
use crate::flow::{Set, writes};
use crate::{fma, words};

const INFINITY: u64 = 0x7ff << 52;
const SMALLEST_NORMAL: u64 = 1 << 52;
const SMALLEST_NORMAL_S: u32 = 1 << 23;
const BOX: i64 = -1 << 32;

/// Whether this instruction is translated at all.
pub(crate) fn supported(insn: &Insn) -> bool {
    use Instr::*;
    let nearest = matches!(field::rm(insn.raw), 0 | 7);
    match insn.row.instr {
        FaddD | FsubD | FmulD | FdivD | FsqrtD | FcvtDW | FcvtDWu | FcvtDL => nearest,
        FaddS | FsubS | FmulS | FdivS | FsqrtS | FcvtSW | FcvtSWu | FcvtSL | FcvtSD | FcvtDS => nearest,
        FmaddD | FmsubD | FnmsubD | FnmaddD | FmaddS | FmsubS | FnmsubS | FnmaddS => nearest,
        FsgnjD | FsgnjnD | FsgnjxD | FmvDX | FmvWX | FsgnjS | FsgnjnS | FsgnjxS => true,
        FminD | FmaxD | FminS | FmaxS => true,
        FmvXD | FmvXW | FeqD | FltD | FleD | FeqS | FltS | FleS => field::rd(insn.raw) != 0,
        // Truncating only.
        FcvtWD | FcvtLD | FcvtWS | FcvtLS => field::rm(insn.raw) == 1 && field::rd(insn.raw) != 0,
        _ => false,
    }
}

/// Emit one; see [`Emitter::insn`].
pub(crate) fn operation(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    use Instr::*;
    let unknown = exact::exactness(insn.row.instr) == Exactness::Unknown;
    if insn.row.format.rounds() && !(state.simple_fp || state.nearest && !unknown) {
        emitter.uses.simple_fp = true;
        emitter.op().local_get(local::SIMPLE_FP).i32_const(1);
        if unknown {
            emitter.op().i32_ne();
        } else {
            emitter.op().i32_gt_u();
        }
        emitter.exit_if(insn.at, set, state);
        state.nearest = true;
        state.simple_fp = unknown;
    }
    let single = match insn.row.instr {
        FmvDX | FmvXD | FmvXW => false,
        FmvWX => true,
        FaddS | FsubS | FmulS | FdivS | FsqrtS | FsgnjS | FsgnjnS | FsgnjxS | FminS | FmaxS | FmaddS
        | FmsubS | FnmsubS | FnmaddS | FeqS | FltS | FleS | FcvtWS | FcvtLS | FcvtDS => {
            unboxed(emitter, insn, set, state);
            binary32(emitter, insn, set, state);
            insn.row.instr != FcvtDS
        }
        FcvtSW | FcvtSWu | FcvtSL | FcvtSD => {
            binary32(emitter, insn, set, state);
            true
        }
        _ => {
            binary64(emitter, insn, set, state);
            false
        }
    };
    let rd = field::rd(insn.raw);
    let a = emitter.registers[32 + field::rs1(insn.raw)];
    match insn.row.instr {
        FmvDX => {
            emitter.get(field::rs1(insn.raw), state.words);
            emitter.op().f64_reinterpret_i64();
        }
        FmvWX => {
            emitter.get(field::rs1(insn.raw), state.words);
            emitter.op().i64_const(BOX).i64_or().f64_reinterpret_i64();
        }
        FmvXD => {
            emitter.op().local_get(a).i64_reinterpret_f64();
        }
        FmvXW => {
            emitter.op().local_get(a).i64_reinterpret_f64().i32_wrap_i64();
        }
        _ => {}
    }
    if matches!(insn.row.format, Format::Xf | Format::XfRm | Format::Xff) {
        emitter.set(rd, words::result(insn, state.words), state);
    } else {
        let register = emitter.registers[32 + rd];
        emitter.op().local_set(register);
        state.boxed &= !writes(insn);
        if single {
            state.boxed |= writes(insn);
        }
    }
}

/// Leave unless all floating-point operands are NaN-boxed binary32 values.
fn unboxed(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    let operands = crate::flow::reads(insn) & !state.boxed & !0xffff_ffff;
    for n in (32..64).filter(|n| operands >> n & 1 != 0) {
        let register = emitter.registers[n];
        emitter.op().local_get(register).i64_reinterpret_f64().i64_const(BOX).i64_lt_u();
        if operands & ((1 << n) - 1) != 0 {
            emitter.op().i32_or();
        }
    }
    if operands != 0 {
        emitter.exit_if(insn.at, set, state);
        state.boxed |= operands;
    }
}

/// Leave unless the result in `local::F[0]` is normal and not the smallest: rounding cannot have hidden an
/// underflow. `or` may push a condition that makes up for it.
fn expect_normal(
    emitter: &mut Emitter<'_>,
    insn: &Insn,
    set: Set,
    state: &State,
    single: bool,
    or: Option<&dyn Fn(&mut Emitter<'_>)>,
) {
    let result = local::F[0];
    if single {
        // Comparisons of binary32 values are those of the binary64 values that they become.
        let smallest = f64::from(f32::from_bits(SMALLEST_NORMAL_S));
        let magnitude = local::F[1];
        emitter
            .op()
            .local_get(result)
            .f64_abs()
            .local_tee(magnitude)
            .f64_const(Ieee64::new(smallest.to_bits()))
            .f64_gt()
            .local_get(magnitude)
            .f64_const(Ieee64::new(INFINITY))
            .f64_lt()
            .i32_and()
            .i32_eqz();
    } else {
        push_abnormal(emitter, result);
    }
    match or {
        None => emitter.exit_if(insn.at, set, state),
        Some(or) => {
            emitter.if_();
            or(emitter);
            emitter.op().i32_eqz();
            emitter.exit_if(insn.at, set, state);
            emitter.end();
        }
    }
}

/// Push whether the value in a local is zero, subnormal, infinite, a NaN, or less than 2^-20 above the smallest normal
/// one, by the upper half of its bits: one comparison, and no constant that takes a register of 64 bits.
pub(crate) fn push_abnormal(emitter: &mut Emitter<'_>, value: u32) {
    const SMALLEST: u32 = ((SMALLEST_NORMAL >> 32) as u32 + 1) << 1;
    const RANGE: u32 = ((INFINITY >> 32) as u32) << 1;
    let mut op = emitter.op();
    op.local_get(value).i64_reinterpret_f64().i64_const(32).i64_shr_u().i32_wrap_i64().i32_const(1).i32_shl();
    op.i32_const(SMALLEST.cast_signed()).i32_sub().i32_const((RANGE - SMALLEST).cast_signed()).i32_ge_u();
}

/// Leave unless the value in a local is finite.
pub(crate) fn expect_finite(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State, value: u32) {
    emitter.op().local_get(value).f64_abs().f64_const(Ieee64::new(INFINITY)).f64_lt().i32_eqz();
    emitter.exit_if(insn.at, set, state);
}

/// Leave if one of two f64 or f32 operands, which `push` pushes, is a NaN.
fn expect_numbers(
    emitter: &mut Emitter<'_>,
    insn: &Insn,
    set: Set,
    state: &State,
    push: &dyn Fn(&mut Emitter<'_>, usize),
) {
    let (a, b) = (field::rs1(insn.raw), field::rs2(insn.raw));
    for n in [a, b] {
        push(emitter, n);
        push(emitter, n);
        // Bits 26:25 are the format.
        if insn.raw >> 25 & 1 == 0 {
            emitter.op().f32_ne();
        } else {
            emitter.op().f64_ne();
        }
    }
    emitter.op().i32_or();
    emitter.exit_if(insn.at, set, state);
}

/// Push the result of a binary64 operation.
fn binary64(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    use Instr::*;
    let raw = insn.raw;
    let (rs1, rs2) = (field::rs1(raw), field::rs2(raw));
    let (a, b) = (emitter.registers[32 + rs1], emitter.registers[32 + rs2]);
    let push = |emitter: &mut Emitter<'_>, n: usize| {
        let register = emitter.registers[32 + n];
        emitter.op().local_get(register);
    };
    let result = local::F[0];
    match insn.row.instr {
        FaddD | FsubD => {
            let mut op = emitter.op();
            op.local_get(a).local_get(b);
            if insn.row.instr == FaddD {
                op.f64_add()
            } else {
                op.f64_sub()
            };
            // A finite sum has finite operands, and a subnormal one is exact.
            op.local_set(result);
            expect_finite(emitter, insn, set, state, result);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result);
        }
        FmulD => {
            emitter.op().local_get(a).local_get(b).f64_mul().local_set(result);
            // A zero factor gives an exact zero, if the other one is finite (else the product is a NaN).
            let zero = |emitter: &mut Emitter<'_>| {
                let zero = Ieee64::new(0);
                let mut op = emitter.op();
                op.local_get(result).f64_const(zero).f64_eq();
                op.local_get(a).f64_const(zero).f64_eq();
                op.local_get(b).f64_const(zero).f64_eq().i32_or().i32_and();
            };
            expect_normal(emitter, insn, set, state, false, Some(&zero));
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result);
        }
        FdivD | FsqrtD => {
            let mut op = emitter.op();
            op.local_get(a);
            if insn.row.instr == FdivD {
                op.local_get(b).f64_div()
            } else {
                op.f64_sqrt()
            };
            op.local_set(result);
            expect_normal(emitter, insn, set, state, false, None);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result);
        }
        FmaddD | FmsubD | FnmsubD | FnmaddD => fma::binary64(emitter, insn, set, state),
        FsgnjD if rs1 == rs2 => {
            emitter.op().local_get(a);
        }
        FsgnjD => {
            emitter.op().local_get(a).local_get(b).f64_copysign();
        }
        FsgnjnD => {
            emitter.op().local_get(a).local_get(b).f64_neg().f64_copysign();
        }
        FsgnjxD => {
            emitter
                .op()
                .local_get(a)
                .i64_reinterpret_f64()
                .local_get(b)
                .i64_reinterpret_f64()
                .i64_const(i64::MIN)
                .i64_and()
                .i64_xor()
                .f64_reinterpret_i64();
        }
        FeqD | FltD | FleD | FminD | FmaxD => {
            // Without NaNs there are no flags.
            expect_numbers(emitter, insn, set, state, &push);
            let mut op = emitter.op();
            op.local_get(a).local_get(b);
            match insn.row.instr {
                FeqD => op.f64_eq(),
                FltD => op.f64_lt(),
                FleD => op.f64_le(),
                FminD => op.f64_min(),
                _ => op.f64_max(),
            };
        }
        FcvtDW => {
            emitter.get_word(rs1, state.words);
            emitter.op().f64_convert_i32_s();
        }
        FcvtDWu => {
            emitter.get_word(rs1, state.words);
            emitter.op().f64_convert_i32_u();
        }
        FcvtDL => {
            exact::expect(emitter, insn, set, state);
            emitter.get(rs1, state.words);
            emitter.op().f64_convert_i64_s();
        }
        _ => {
            // fcvt.w.d and fcvt.l.d: below 2^31 or 2^63 in magnitude, which excludes NaNs.
            let word = insn.row.instr == FcvtWD;
            let limit = Ieee64::new((1023 + if word { 31 } else { 63 }) << 52);
            emitter.op().local_get(a).f64_abs().f64_const(limit).f64_lt().i32_eqz();
            emitter.exit_if(insn.at, set, state);
            exact::expect(emitter, insn, set, state);
            let mut op = emitter.op();
            op.local_get(a);
            if word {
                op.i32_trunc_f64_s()
            } else {
                op.i64_trunc_f64_s()
            };
        }
    }
}

/// Push a register that is known to hold a binary32 value.
pub(crate) fn push_single(emitter: &mut Emitter<'_>, n: usize) {
    let register = emitter.registers[32 + n];
    emitter.op().local_get(register).i64_reinterpret_f64().i32_wrap_i64().f32_reinterpret_i32();
}

/// From an f32 on the stack to what a register holds.
fn boxed(emitter: &mut Emitter<'_>) {
    emitter.op().i32_reinterpret_f32().i64_extend_i32_u().i64_const(BOX).i64_or().f64_reinterpret_i64();
}

/// Push the result of an operation on or to binary32 values, NaN-boxed if it is one. Operands are.
fn binary32(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    use Instr::*;
    let raw = insn.raw;
    let (rs1, rs2) = (field::rs1(raw), field::rs2(raw));
    let result = local::F[0];
    // Results wait as binary64 values, which hold them exactly.
    match insn.row.instr {
        FaddS | FsubS => {
            push_single(emitter, rs1);
            push_single(emitter, rs2);
            let mut op = emitter.op();
            if insn.row.instr == FaddS {
                op.f32_add()
            } else {
                op.f32_sub()
            };
            op.f64_promote_f32().local_set(result);
            expect_finite(emitter, insn, set, state, result);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result).f32_demote_f64();
        }
        FmulS => {
            push_single(emitter, rs1);
            push_single(emitter, rs2);
            emitter.op().f32_mul().f64_promote_f32().local_set(result);
            let zero = |emitter: &mut Emitter<'_>| {
                let zero = Ieee32::new(0);
                emitter.op().local_get(result).f64_const(Ieee64::new(0)).f64_eq();
                push_single(emitter, rs1);
                emitter.op().f32_const(zero).f32_eq();
                push_single(emitter, rs2);
                emitter.op().f32_const(zero).f32_eq().i32_or().i32_and();
            };
            expect_normal(emitter, insn, set, state, true, Some(&zero));
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result).f32_demote_f64();
        }
        FdivS | FsqrtS => {
            push_single(emitter, rs1);
            if insn.row.instr == FdivS {
                push_single(emitter, rs2);
                emitter.op().f32_div();
            } else {
                emitter.op().f32_sqrt();
            }
            emitter.op().f64_promote_f32().local_set(result);
            expect_normal(emitter, insn, set, state, true, None);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result).f32_demote_f64();
        }
        FmaddS | FmsubS | FnmsubS | FnmaddS => {
            fma::binary32(emitter, insn);
            narrow(emitter, insn, set, state);
        }
        FcvtSD => {
            let a = emitter.registers[32 + rs1];
            emitter.op().local_get(a).local_set(local::F[2]);
            narrow(emitter, insn, set, state);
        }
        FsgnjS | FsgnjnS => {
            push_single(emitter, rs1);
            push_single(emitter, rs2);
            if insn.row.instr == FsgnjnS {
                emitter.op().f32_neg();
            }
            emitter.op().f32_copysign();
        }
        FsgnjxS => {
            push_single(emitter, rs1);
            emitter.op().i32_reinterpret_f32();
            push_single(emitter, rs2);
            emitter.op().i32_reinterpret_f32().i32_const(i32::MIN).i32_and().i32_xor().f32_reinterpret_i32();
        }
        FeqS | FltS | FleS | FminS | FmaxS => {
            expect_numbers(emitter, insn, set, state, &push_single);
            push_single(emitter, rs1);
            push_single(emitter, rs2);
            let mut op = emitter.op();
            match insn.row.instr {
                FeqS => op.f32_eq(),
                FltS => op.f32_lt(),
                FleS => op.f32_le(),
                FminS => op.f32_min(),
                _ => op.f32_max(),
            };
        }
        FcvtSW => {
            emitter.get_word(rs1, state.words);
            emitter.op().f32_convert_i32_s().f64_promote_f32().local_set(result);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result).f32_demote_f64();
        }
        FcvtSWu => {
            emitter.get_word(rs1, state.words);
            emitter.op().f32_convert_i32_u().f64_promote_f32().local_set(result);
            exact::expect(emitter, insn, set, state);
            emitter.op().local_get(result).f32_demote_f64();
        }
        FcvtSL => {
            emitter.get(rs1, state.words);
            emitter.op().f32_convert_i64_s();
        }
        FcvtDS => {
            push_single(emitter, rs1);
            emitter.op().f64_promote_f32().local_tee(result).local_get(result).f64_ne();
            emitter.exit_if(insn.at, set, state);
            emitter.op().local_get(result);
        }
        _ => {
            let word = insn.row.instr == FcvtWS;
            let limit = Ieee32::new((127 + if word { 31 } else { 63 }) << 23);
            push_single(emitter, rs1);
            emitter.op().f32_abs().f32_const(limit).f32_lt().i32_eqz();
            emitter.exit_if(insn.at, set, state);
            exact::expect(emitter, insn, set, state);
            push_single(emitter, rs1);
            let mut op = emitter.op();
            if word {
                op.i32_trunc_f32_s()
            } else {
                op.i64_trunc_f32_s()
            };
        }
    }
    if writes(insn) >> 32 != 0 && insn.row.instr != FcvtDS {
        boxed(emitter);
    }
}

/// Push what is in `local::F[2]` as a binary32 value: it is one rounded to odd, or is to be rounded.
fn narrow(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    let (result, wide) = (local::F[0], local::F[2]);
    emitter.op().local_get(wide).f32_demote_f64().f64_promote_f32().local_set(result);
    let zero = |emitter: &mut Emitter<'_>| {
        emitter.op().local_get(wide).f64_const(Ieee64::new(0)).f64_eq();
    };
    expect_normal(emitter, insn, set, state, true, Some(&zero));
    exact::expect(emitter, insn, set, state);
    emitter.op().local_get(result).f32_demote_f64();
}
