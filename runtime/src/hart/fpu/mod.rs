//! Floating-point instructions: registers, rounding modes and flags around the arithmetic.
//!
//! [`soft`] is the arithmetic; [`fast`] is the host's, where that is the same.

pub(super) mod fast;
mod soft;
#[cfg(test)]
mod tests;

use super::isa::{Format, Instr, Row, field};
use super::{Exit, Registers};
use soft::{D, Kind, Round, S};

/// A binary32 value in a 64-bit register.
#[inline(always)]
pub(super) const fn nan_box(value: u32) -> u64 {
    0xffff_ffff_0000_0000 | value as u64
}

/// The binary32 value of a register; the canonical NaN when it is not properly boxed.
fn unbox(register: u64) -> u64 {
    if register >> 32 == 0xffff_ffff { register & 0xffff_ffff } else { S.nan() }
}

/// The rounding mode of an instruction: its own or that of fcsr. Reserved ones make it illegal.
fn rounding(fcsr: u32, raw: u32) -> Result<Round, Exit> {
    let mode = match field::rm(raw) {
        7 => fcsr >> 5 & 7,
        mode => mode,
    };
    Ok(match mode {
        0 => Round::Nearest,
        1 => Round::Zero,
        2 => Round::Down,
        3 => Round::Up,
        4 => Round::Away,
        _ => return Err(Exit::Illegal(raw)),
    })
}

/// Execute an instruction of OP-FP or a fused multiply-add. Does not move pc.
#[inline(never)]
pub(super) fn execute(regs: &mut Registers, row: &Row, raw: u32) -> Result<(), Exit> {
    let round = if row.format.rounds() { rounding(regs.fcsr, raw)? } else { Round::Nearest };
    // Bits 26:25 are the format; FCVT.S.D and FCVT.D.S read the other one.
    let kind = if raw >> 25 & 1 == 1 { D } else { S };
    let mut flags = 0;
    let result = match row.format {
        Format::Fx | Format::FxRm => from_int(kind, row.instr, regs.x[field::rs1(raw)], round, &mut flags),
        Format::Xf | Format::XfRm | Format::Xff => {
            let value = to_int(regs, kind, row.instr, raw, round, &mut flags);
            if field::rd(raw) != 0 {
                regs.x[field::rd(raw)] = value;
            }
            regs.fcsr |= flags;
            return Ok(());
        }
        _ => arithmetic(regs, kind, row.instr, raw, round, &mut flags),
    };
    regs.f[field::rd(raw)] = if kind == D { result } else { nan_box(result as u32) };
    regs.fcsr |= flags;
    Ok(())
}

fn read(regs: &Registers, kind: Kind, number: usize) -> u64 {
    if kind == D { regs.f[number] } else { unbox(regs.f[number]) }
}

fn arithmetic(regs: &Registers, kind: Kind, instr: Instr, raw: u32, round: Round, flags: &mut u32) -> u64 {
    use Instr::*;
    let a = read(regs, kind, field::rs1(raw));
    let b = read(regs, kind, field::rs2(raw));
    let c = read(regs, kind, field::rs3(raw));
    match instr {
        FaddS | FaddD => kind.add(a, b, round, flags),
        FsubS | FsubD => kind.sub(a, b, round, flags),
        FmulS | FmulD => kind.mul(a, b, round, flags),
        FdivS | FdivD => kind.div(a, b, round, flags),
        FsqrtS | FsqrtD => kind.sqrt(a, round, flags),
        FmaddS | FmaddD => kind.fma(a, b, c, round, flags),
        FmsubS | FmsubD => kind.fma(a, b, kind.negate(c), round, flags),
        FnmsubS | FnmsubD => kind.fma(kind.negate(a), b, c, round, flags),
        FnmaddS | FnmaddD => kind.fma(kind.negate(a), b, kind.negate(c), round, flags),
        FsgnjS | FsgnjD => kind.with_sign(a, b),
        FsgnjnS | FsgnjnD => kind.with_sign(a, kind.negate(b)),
        FsgnjxS | FsgnjxD => kind.with_sign(a, a ^ b),
        FminS | FminD => kind.min_max(a, b, false, flags),
        FmaxS | FmaxD => kind.min_max(a, b, true, flags),
        FcvtSD => D.to(S, regs.f[field::rs1(raw)], round, flags),
        _ => S.to(D, unbox(regs.f[field::rs1(raw)]), round, flags),
    }
}

fn from_int(kind: Kind, instr: Instr, value: u64, round: Round, flags: &mut u32) -> u64 {
    use Instr::*;
    let (sign, magnitude) = match instr {
        FmvWX => return value & 0xffff_ffff,
        FmvDX => return value,
        FcvtSW | FcvtDW => ((value as i32) < 0, u64::from((value as i32).unsigned_abs())),
        FcvtSWu | FcvtDWu => (false, u64::from(value as u32)),
        FcvtSL | FcvtDL => ((value as i64) < 0, (value as i64).unsigned_abs()),
        _ => (false, value),
    };
    kind.of_int(sign, magnitude, round, flags)
}

fn to_int(regs: &Registers, kind: Kind, instr: Instr, raw: u32, round: Round, flags: &mut u32) -> u64 {
    use Instr::*;
    let a = read(regs, kind, field::rs1(raw));
    let b = read(regs, kind, field::rs2(raw));
    let mut convert = |min: i128, max: i128| kind.to_int(a, min, max, round, flags);
    match instr {
        FcvtWS | FcvtWD => convert(i32::MIN.into(), i32::MAX.into()) as u64,
        // The 32-bit unsigned result is sign-extended, as all 32-bit results are.
        FcvtWuS | FcvtWuD => convert(0, u32::MAX.into()) as i32 as i64 as u64,
        FcvtLS | FcvtLD => convert(i64::MIN.into(), i64::MAX.into()) as u64,
        FcvtLuS | FcvtLuD => convert(0, u64::MAX.into()) as u64,
        FmvXW => regs.f[field::rs1(raw)] as i32 as i64 as u64,
        FmvXD => a,
        FclassS | FclassD => kind.class(a),
        FeqS | FeqD => u64::from(kind.eq(a, b, flags)),
        FltS | FltD => u64::from(kind.lt(a, b, flags)),
        _ => u64::from(kind.le(a, b, flags)),
    }
}
