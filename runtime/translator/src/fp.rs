//! Floating point, where the engine's arithmetic gives the same value and flags.
//!
//! That is in rounding mode nearest-even, with the inexact flag accrued already,
//! for results that exclude every other flag: the conditions of the runtime's
//! `hart::fpu::fast`, of which this takes the common part. For anything else
//! the function leaves, and the interpreter decides.

use friscy_runtime::hart::isa::{Format, Instr, field};
use wasm_encoder::Ieee64;

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::words;

const INFINITY: u64 = 0x7ff << 52;
const SMALLEST_NORMAL: u64 = 1 << 52;

/// Whether this instruction is translated at all.
pub(crate) fn supported(insn: &Insn) -> bool {
    use Instr::*;
    let nearest = matches!(field::rm(insn.raw), 0 | 7);
    match insn.row.instr {
        FaddD | FsubD | FmulD | FdivD | FsqrtD | FcvtDW | FcvtDWu | FcvtDL => nearest,
        FsgnjD | FsgnjnD | FsgnjxD | FmvDX | FmvWX => true,
        FmvXD | FmvXW | FeqD | FltD | FleD => field::rd(insn.raw) != 0,
        // Truncating only.
        FcvtWD | FcvtLD => field::rm(insn.raw) == 1 && field::rd(insn.raw) != 0,
        _ => false,
    }
}

/// Emit one; see [`Emitter::insn`].
pub(crate) fn operation(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    use Instr::*;
    let raw = insn.raw;
    let (rd, rs1, rs2) = (field::rd(raw), field::rs1(raw), field::rs2(raw));
    let f = |emitter: &Emitter<'_>, n: usize| emitter.registers[32 + n];
    let (a, b) = (f(emitter, rs1), f(emitter, rs2));
    if insn.row.format.rounds() && !state.simple_fp {
        emitter.op().local_get(local::SIMPLE_FP).i32_eqz();
        emitter.exit_if(insn.at, set, state);
        state.simple_fp = true;
    }
    let infinity = Ieee64::new(INFINITY);
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
            op.local_tee(result).f64_abs().f64_const(infinity).f64_lt().i32_eqz();
            emitter.exit_if(insn.at, set, state);
            emitter.op().local_get(result);
        }
        FmulD | FdivD | FsqrtD => {
            let mut op = emitter.op();
            op.local_get(a);
            match insn.row.instr {
                FmulD => op.local_get(b).f64_mul(),
                FdivD => op.local_get(b).f64_div(),
                _ => op.f64_sqrt(),
            };
            // Normal and not the smallest: rounding cannot have hidden an underflow.
            op.local_tee(result).f64_abs().local_tee(local::F[1]);
            op.f64_const(Ieee64::new(SMALLEST_NORMAL)).f64_gt();
            op.local_get(local::F[1]).f64_const(infinity).f64_lt().i32_and().i32_eqz();
            if insn.row.instr == FmulD {
                // A zero factor gives an exact zero, if the other one is finite (else the product is a NaN).
                let zero = Ieee64::new(0);
                emitter.if_();
                let mut op = emitter.op();
                op.local_get(result).f64_const(zero).f64_eq();
                op.local_get(a).f64_const(zero).f64_eq();
                op.local_get(b).f64_const(zero).f64_eq();
                op.i32_or().i32_and().i32_eqz();
                emitter.exit_if(insn.at, set, state);
                emitter.end();
            } else {
                emitter.exit_if(insn.at, set, state);
            }
            emitter.op().local_get(result);
        }
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
        FmvDX => {
            emitter.get(rs1, state.words);
            emitter.op().f64_reinterpret_i64();
        }
        FmvWX => {
            emitter.get(rs1, state.words);
            emitter.op().i64_const(-1 << 32).i64_or().f64_reinterpret_i64();
        }
        FmvXD => {
            emitter.op().local_get(a).i64_reinterpret_f64();
        }
        FmvXW => {
            emitter.op().local_get(a).i64_reinterpret_f64().i32_wrap_i64();
        }
        FeqD | FltD | FleD => {
            // Without NaNs there are no flags.
            emitter.op().local_get(a).local_get(a).f64_ne().local_get(b).local_get(b).f64_ne().i32_or();
            emitter.exit_if(insn.at, set, state);
            let mut op = emitter.op();
            op.local_get(a).local_get(b);
            match insn.row.instr {
                FeqD => op.f64_eq(),
                FltD => op.f64_lt(),
                _ => op.f64_le(),
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
            // Inexact is accrued already, so rounding is no matter.
            emitter.get(rs1, state.words);
            emitter.op().f64_convert_i64_s();
        }
        _ => {
            // fcvt.w.d and fcvt.l.d: below 2^31 or 2^63 in magnitude, which excludes NaNs.
            let bits = if insn.row.instr == FcvtWD { 31 } else { 63 };
            let limit = Ieee64::new((1023 + bits) << 52);
            emitter.op().local_get(a).f64_abs().f64_const(limit).f64_lt().i32_eqz();
            emitter.exit_if(insn.at, set, state);
            let mut op = emitter.op();
            op.local_get(a);
            if insn.row.instr == FcvtWD {
                op.i32_trunc_f64_s()
            } else {
                op.i64_trunc_f64_s()
            };
        }
    }
    if matches!(insn.row.format, Format::Xf | Format::XfRm | Format::Xff) {
        emitter.set(rd, words::result(insn, state.words), state);
    } else {
        let register = f(emitter, rd);
        emitter.op().local_set(register);
    }
}
