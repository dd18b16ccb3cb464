//! Fused multiplication and addition without a fused instruction.
//!
//! The engine's `relaxed_madd` may fuse or not, and not every host has it. These
//! are the sequences of the runtime's `hart::fpu::fast`: for binary64, Dekker's exact
//! product and the sum of three numbers with one rounding (Boldo and Melquiond);
//! for binary32, an exact product and a sum rounded to odd.

use friscy_runtime::hart::isa::{Instr, field};
use wasm_encoder::Ieee64;

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::fp::push_single;

const SPLIT: f64 = 134_217_729.0;

/// Signs of product and addend: a · b + c, with these.
fn negated(insn: &Insn) -> (bool, bool) {
    use Instr::*;
    let product = matches!(insn.row.instr, FnmsubD | FnmaddD | FnmsubS | FnmaddS);
    let addend = matches!(insn.row.instr, FmsubD | FnmaddD | FmsubS | FnmaddS);
    (product, addend)
}

/// Push a · b + c of binary64 registers, or leave when exponents are extreme.
pub(crate) fn binary64(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    let raw = insn.raw;
    let f = |emitter: &Emitter<'_>, n: usize| emitter.registers[32 + n];
    let (a, b) = (f(emitter, field::rs1(raw)), f(emitter, field::rs2(raw)));
    let c = f(emitter, field::rs3(raw));
    let (product, addend) = negated(insn);
    // Exponents of the factors within ±400, of c at most 900: nothing on the way overflows or underflows.
    let mut op = emitter.op();
    for factor in [a, b] {
        op.local_get(factor).i64_reinterpret_f64().i64_const(1).i64_shl();
        op.i64_const((1023 - 400) << 53).i64_sub().i64_const(801 << 53).i64_lt_u();
    }
    op.i32_and().local_get(c).i64_reinterpret_f64().i64_const(1).i64_shl();
    op.i64_const(((1023_u64 + 900) << 53).cast_signed()).i64_lt_u().i32_and().i32_eqz();
    emitter.exit_if(insn.at, set, state);
    let [x, high, xh, xl, yh, yl, low, th] = local::F;
    let mut op = emitter.op();
    op.local_get(a);
    if product {
        op.f64_neg();
    }
    op.local_tee(x).local_get(b).f64_mul().local_set(high);
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
    op.local_get(c);
    if addend {
        op.f64_neg();
    }
    let (z, tl, vh, vl) = (xh, xl, yh, yl);
    op.local_set(z);
    two_sum(emitter, z, low, th, tl);
    two_sum(emitter, high, th, vh, vl);
    let (sum, error) = (high, low);
    two_sum(emitter, tl, vl, sum, error);
    to_odd(emitter, sum, error);
    emitter.op().local_get(vh).f64_add();
}

/// a · b + c of binary32 registers as a binary64 value rounded to odd, in `local::F[2]`; leaves when it is not finite.
pub(crate) fn binary32(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
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
    emitter.op().local_set(z);
    two_sum(emitter, x, z, sum, error);
    emitter.op().local_get(sum).f64_abs().f64_const(Ieee64::new(0x7ff << 52)).f64_lt().i32_eqz();
    emitter.exit_if(insn.at, set, state);
    to_odd(emitter, sum, error);
    emitter.op().local_set(wide);
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
