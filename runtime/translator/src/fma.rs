//! Fused multiplication and addition, with a fused instruction of the host or without.
//!
//! `relaxed_madd` may fuse or not, and not every host has it: it is written only for hosts of which it is known that
//! theirs fuses ([`crate::Fma`], [`crate::module::probe`]). For others a binary64 product and its error (Dekker) are
//! added to the third number with one rounding, and a binary32 product is exact in binary64. What neither form can
//! tell apart from the rare case, with flags of its own, is the interpreter's.

use friscy_runtime::hart::isa::{Instr, field};
use wasm_encoder::Ieee64;

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::fp::{expect_finite, push_abnormal, push_single};

/// 2^27 + 1.
const SPLIT: f64 = 134_217_729.0;
/// The error of a product of at least this magnitude, 2^-900, is a normal number; so is a sum that is not zero, if one
/// of its terms is as large.
const LARGE: f64 = f64::from_bits((1023 - 900) << 52);

/// Whether an instruction has a second form.
pub(crate) fn fusible(insn: &Insn) -> bool {
    use Instr::*;
    matches!(insn.row.instr, FmaddD | FmsubD | FnmsubD | FnmaddD) && crate::fp::supported(insn)
}

/// Signs of product and addend: a · b + c, with these.
fn negated(insn: &Insn) -> (bool, bool) {
    use Instr::*;
    let product = matches!(insn.row.instr, FnmsubD | FnmaddD | FnmsubS | FnmaddS);
    let addend = matches!(insn.row.instr, FmsubD | FnmaddD | FmsubS | FnmaddS);
    (product, addend)
}

/// Push a · b + c of binary64 registers, or leave: the inexact flag is set, and the result raises no other.
pub(crate) fn binary64(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    if emitter.cx.fused { fused(emitter, insn, set, state) } else { unfused(emitter, insn, set, state) }
}

fn operands(emitter: &Emitter<'_>, insn: &Insn) -> [u32; 3] {
    [field::rs1(insn.raw), field::rs2(insn.raw), field::rs3(insn.raw)].map(|n| emitter.registers[32 + n])
}

/// The host's instruction. A zero is exact if it is a factor's, or if the addend is too large for an underflow.
fn fused(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    let [a, b, c] = operands(emitter, insn);
    let (product, addend) = negated(insn);
    let (result, zero) = (local::F[0], Ieee64::new(0));
    let mut op = emitter.op();
    op.local_get(a).f64x2_splat().local_get(b).f64x2_splat().local_get(c);
    if addend {
        op.f64_neg();
    }
    op.f64x2_splat();
    if product {
        op.f64x2_relaxed_nmadd();
    } else {
        op.f64x2_relaxed_madd();
    }
    op.f64x2_extract_lane(0).local_set(result);
    push_abnormal(emitter, result);
    emitter.if_();
    let mut op = emitter.op();
    op.local_get(a).f64_const(zero).f64_eq().local_get(b).f64_const(zero).f64_eq().i32_or();
    op.local_get(c).f64_abs().f64_const(Ieee64::new(LARGE.to_bits())).f64_ge().i32_or();
    op.local_get(result).f64_const(zero).f64_eq().i32_and().i32_eqz();
    emitter.exit_if(insn.at, set, state);
    emitter.end();
    emitter.op().local_get(result);
}

/// The product and its error, which is exact in this range (too large factors make it a NaN, and so the result),
/// and their sum with the addend. A product with a factor zero is a zero.
fn unfused(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    let [a, b, c] = operands(emitter, insn);
    let (product, addend) = negated(insn);
    let [x, high, xh, xl, yh, yl, low, _] = local::F;
    let zero = Ieee64::new(0);
    let mut op = emitter.op();
    op.local_get(a);
    if product {
        op.f64_neg();
    }
    op.local_tee(x).local_get(b).f64_mul().local_tee(high);
    op.f64_abs().f64_const(Ieee64::new(LARGE.to_bits())).f64_ge();
    emitter.if_();
    let mut op = emitter.op();
    // Halves: t = v · SPLIT; upper = t - (t - v); lower = v - upper.
    for (value, upper, lower) in [(x, xh, xl), (b, yh, yl)] {
        op.local_get(value).f64_const(Ieee64::new(SPLIT.to_bits())).f64_mul().local_tee(upper);
        op.local_get(upper).local_get(value).f64_sub().f64_sub().local_set(upper);
        op.local_get(value).local_get(upper).f64_sub().local_set(lower);
    }
    // low = ((xh · yh - high) + xh · yl + xl · yh) + xl · yl
    op.local_get(xh).local_get(yh).f64_mul().local_get(high).f64_sub();
    op.local_get(xh).local_get(yl).f64_mul().f64_add();
    op.local_get(xl).local_get(yh).f64_mul().f64_add();
    op.local_get(xl).local_get(yl).f64_mul().f64_add().local_set(low);
    let (z, sum, error, rest, rest_error) = (x, xh, xl, yh, yl);
    let addend_to = |emitter: &mut Emitter<'_>| {
        emitter.op().local_get(c);
        if addend {
            emitter.op().f64_neg();
        }
    };
    addend_to(emitter);
    emitter.op().local_set(z);
    // high + z = sum + error, and the result is sum + (error + low). If error is not zero, error + low is at most
    // four units in the sum's last place, so that its own rounding only matters where it ends half-way between two
    // results: a number of six bits at most.
    two_sum(emitter, high, z, sum, error);
    let mut op = emitter.op();
    op.local_get(error).local_get(low).f64_add().local_tee(rest);
    op.i64_reinterpret_f64().i64_const(64 - 47).i64_shl().i64_eqz();
    emitter.if_();
    // An exact product is common, and a branch that is taken at random is expensive.
    emitter.op().local_get(low).f64_const(zero).f64_ne();
    emitter.if_();
    two_sum(emitter, error, low, rest, rest_error);
    to_odd(emitter, rest, rest_error);
    emitter.op().local_set(rest);
    emitter.end();
    emitter.end();
    emitter.op().local_get(sum).local_get(rest).f64_add().local_set(high);
    emitter.else_();
    let mut op = emitter.op();
    op.local_get(a).f64_const(zero).f64_eq().local_get(b).f64_const(zero).f64_eq().i32_or();
    op.i32_eqz();
    emitter.exit_if(insn.at, set, state);
    emitter.op().local_get(high);
    addend_to(emitter);
    emitter.op().f64_add().local_set(high);
    emitter.end();
    expect_finite(emitter, insn, set, state, high);
    emitter.op().local_get(high);
}

/// a · b + c of binary32 registers as a binary64 value in `local::F[2]`, which rounds to the right one if that is normal.
pub(crate) fn binary32(emitter: &mut Emitter<'_>, insn: &Insn) {
    let raw = insn.raw;
    let (product, addend) = negated(insn);
    let [sum, error, wide, x, z, ..] = local::F;
    push_single(emitter, field::rs1(raw));
    emitter.op().f64_promote_f32();
    if product {
        emitter.op().f64_neg();
    }
    push_single(emitter, field::rs2(raw));
    emitter.op().f64_promote_f32().f64_mul().local_set(x);
    push_single(emitter, field::rs3(raw));
    emitter.op().f64_promote_f32();
    if addend {
        emitter.op().f64_neg();
    }
    emitter.op().local_tee(z).local_get(x).f64_add().local_set(wide);
    // Half-way between two normal results, the sum's own rounding counts.
    let below = (1 << 29) - 1;
    let mut op = emitter.op();
    op.local_get(wide).i64_reinterpret_f64().i32_wrap_i64();
    op.i32_const(below).i32_and().i32_const(1 << 28).i32_eq();
    emitter.if_();
    two_sum(emitter, x, z, sum, error);
    to_odd(emitter, sum, error);
    emitter.op().local_set(wide);
    emitter.end();
}

/// a + b as the rounded sum and its exact error (Knuth), in locals of which `sum` and `error` differ from both.
fn two_sum(emitter: &mut Emitter<'_>, a: u32, b: u32, sum: u32, error: u32) {
    let t = error;
    emitter
        .op()
        .local_get(a)
        .local_get(b)
        .f64_add()
        .local_tee(sum)
        .local_get(a)
        .f64_sub()
        .local_set(t)
        .local_get(a)
        .local_get(sum)
        .local_get(t)
        .f64_sub()
        .f64_sub()
        .local_get(b)
        .local_get(t)
        .f64_sub()
        .f64_add()
        .local_set(error);
}

/// Push `sum + error` rounded to odd: one unit towards the error if that is not zero and the last bit is.
fn to_odd(emitter: &mut Emitter<'_>, sum: u32, error: u32) {
    let zero = Ieee64::new(0);
    let mut op = emitter.op();
    op.local_get(sum).i64_reinterpret_f64();
    op.i64_const(1).i64_const(-1);
    op.local_get(error).f64_const(zero).f64_gt().local_get(sum).f64_const(zero).f64_gt().i32_eq().select();
    op.i64_const(0);
    op.local_get(error).f64_const(zero).f64_ne();
    op.local_get(sum).i64_reinterpret_f64().i32_wrap_i64().i32_const(-1).i32_xor().i32_and();
    op.i32_const(1).i32_and().select();
    op.i64_add().f64_reinterpret_i64();
}
