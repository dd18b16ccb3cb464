//! Exact results while the inexact flag is clear.
//!
//! Programs that count in floating point (interpreters of languages without integers do) never accrue it. So
//! where it is clear, a result that is found to be exact is as good as with the flag set; what is not, or is not
//! found to be, is the interpreter's, which sets the flag for good. Operands and results here are finite, and the
//! results are those of nearest-even rounding.

use friscy_runtime::hart::isa::{Instr, field};
use wasm_encoder::Ieee64;

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::fp::push_single;

/// How the operation can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exactness {
    /// Its results are always exact.
    Always,
    /// [`expect`] finds out.
    Found,
    /// It does not: the flag must be set.
    Unknown,
}

pub(crate) fn exactness(instr: Instr) -> Exactness {
    use Instr::*;
    match instr {
        FcvtDW | FcvtDWu | FcvtDS => Exactness::Always,
        FaddD | FsubD | FmulD | FdivD | FsqrtD | FcvtDL | FcvtWD | FcvtLD | FaddS | FsubS | FmulS | FdivS
        | FsqrtS | FcvtSW | FcvtSWu | FcvtSD | FcvtWS | FcvtLS => Exactness::Found,
        _ => Exactness::Unknown,
    }
}

/// Leave unless the flag is set or the result, which is in `local::F[0]` if it is a floating-point one, is exact.
pub(crate) fn expect(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &State) {
    if state.simple_fp || exactness(insn.row.instr) != Exactness::Found {
        return;
    }
    emitter.op().local_get(local::SIMPLE_FP).i32_eqz();
    emitter.if_();
    push_inexact(emitter, insn, state);
    emitter.exit_if(insn.at, set, state);
    emitter.end();
}

/// Push whether the result is perhaps inexact.
fn push_inexact(emitter: &mut Emitter<'_>, insn: &Insn, state: &State) {
    use Instr::*;
    let [result, _, a, b, ..] = local::F;
    let (rs1, rs2) = (field::rs1(insn.raw), field::rs2(insn.raw));
    let single = matches!(insn.row.instr, FaddS | FsubS | FmulS | FdivS | FsqrtS | FcvtWS | FcvtLS);
    match insn.row.instr {
        FcvtDL => {
            // Within ±2^53.
            emitter.get(rs1, state.words);
            emitter.op().i64_const(1 << 53).i64_add().i64_const(1 << 54).i64_gt_u();
            return;
        }
        FcvtSW | FcvtSWu => {
            emitter.get_word(rs1, state.words);
            let mut op = emitter.op();
            if insn.row.instr == FcvtSW {
                op.f64_convert_i32_s()
            } else {
                op.f64_convert_i32_u()
            };
            op.local_get(result).f64_ne();
            return;
        }
        FcvtSD => {
            let wide = emitter.registers[32 + rs1];
            emitter.op().local_get(result).local_get(wide).f64_ne();
            return;
        }
        _ => {}
    }
    let unary = matches!(insn.row.instr, FsqrtD | FsqrtS | FcvtWD | FcvtLD | FcvtWS | FcvtLS);
    for (n, operand) in [(rs1, a), (rs2, b)].into_iter().take(if unary { 1 } else { 2 }) {
        if single {
            push_single(emitter, n);
            emitter.op().f64_promote_f32();
        } else {
            let register = emitter.registers[32 + n];
            emitter.op().local_get(register);
        }
        emitter.op().local_set(operand);
    }
    match insn.row.instr {
        FaddD | FsubD | FaddS | FsubS => {
            if matches!(insn.row.instr, FsubD | FsubS) {
                emitter.op().local_get(b).f64_neg().local_set(b);
            }
            // The rounded sum is the one of binary64, and its error (Knuth) is nothing.
            let t = local::F[1];
            let mut op = emitter.op();
            op.local_get(result).local_get(a).f64_sub().local_set(t);
            op.local_get(a).local_get(result).local_get(t).f64_sub().f64_sub();
            op.local_get(b).local_get(t).f64_sub().f64_add().f64_const(Ieee64::new(0)).f64_ne();
            if single {
                op.local_get(a).local_get(b).f64_add().local_get(result).f64_ne().i32_or();
            }
        }
        // A product of binary32 values is exact in binary64.
        FmulS => {
            emitter.op().local_get(a).local_get(b).f64_mul().local_get(result).f64_ne();
        }
        FmulD => push_long_product(emitter, a, b),
        // The result times the divisor, or itself, is what it was made of.
        FdivD | FdivS | FsqrtD | FsqrtS => {
            let by = if unary { result } else { b };
            emitter.op().local_get(result).local_get(by).f64_mul().local_get(a).f64_ne();
            if !single {
                push_long_product(emitter, result, by);
                emitter.op().i32_or();
            }
        }
        _ => {
            emitter.op().local_get(a).f64_trunc().local_get(a).f64_ne();
        }
    }
}

/// Push whether the product of two binary64 values may have more significant bits than one holds: two factors of
/// p and q bits have one of p + q at most, and a power of two adds none.
fn push_long_product(emitter: &mut Emitter<'_>, a: u32, b: u32) {
    let mut op = emitter.op();
    for factor in [a, b] {
        // Zeros at the end of 53 bits; a power of two counts as having 53.
        op.local_get(factor).i64_reinterpret_f64().i64_const((1 << 52) - 1).i64_and();
        op.i64_const(1 << 53).i64_or().i64_ctz();
    }
    op.i64_add().i64_const(53).i64_lt_u();
}
