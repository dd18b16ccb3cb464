//! The reference interpreter: one instruction at a time, exactly.
//!
//! It executes what the hot function ([`super::hot`]) leaves to it: system
//! instructions, atomics, delicate floating point, accesses over a page end, the
//! last few instructions of a budget. It knows every instruction, so that the
//! two can be compared.
//!
//! Each kind of instruction is a function of its own (`inline(never)`): those that
//! programs need all the time are few, and V8 optimises whole functions.

use super::fpu;
use super::isa::{self, Format, Instr, field};
use super::memory::Ram;
use super::{Exit, Registers, Reservation};
use crate::mm::{Access, perm};

/// Fetch, decode and execute the instruction at pc.
pub(super) fn step(regs: &mut Registers, ram: Ram) -> Result<(), Exit> {
    let (raw, len) = fetch(ram, regs.pc)?;
    execute(regs, ram, raw, len)
}

/// The instruction at `pc`, expanded if it is compressed, and its bytes.
pub(super) fn fetch(ram: Ram, pc: u64) -> Result<(u32, u8), Exit> {
    let half = |addr: u64| {
        let bytes = ram.load_exact::<2>(addr, perm::X);
        bytes.map(u16::from_le_bytes).map_err(|addr| Exit::Fault { addr, access: Access::Exec })
    };
    let low = half(pc)?;
    if low & 3 == 3 {
        let high = half(pc.wrapping_add(2))?;
        Ok((u32::from(low) | u32::from(high) << 16, 4))
    } else {
        super::expand(low).map(|raw| (raw, 2)).ok_or(Exit::Illegal(u32::from(low)))
    }
}

/// Execute `raw`, which lies at pc and has `len` bytes there. On an exit nothing has changed.
pub(super) fn execute(regs: &mut Registers, ram: Ram, raw: u32, len: u8) -> Result<(), Exit> {
    let row = isa::find(raw).ok_or(Exit::Illegal(raw))?;
    let mut next = regs.pc.wrapping_add(u64::from(len));
    match row.format {
        Format::R | Format::I | Format::Shift | Format::ShiftW | Format::U => integer(regs, row.instr, raw),
        Format::B => {
            if branches(row.instr, regs.x[field::rs1(raw)], regs.x[field::rs2(raw)]) {
                next = regs.pc.wrapping_add(field::imm_b(raw) as i64 as u64);
            }
        }
        Format::J => {
            let target = regs.pc.wrapping_add(field::imm_j(raw) as i64 as u64);
            set(regs, raw, next);
            next = target;
        }
        Format::Jalr => {
            let target = regs.x[field::rs1(raw)].wrapping_add(field::imm_i(raw) as i64 as u64) & !1;
            set(regs, raw, next);
            next = target;
        }
        Format::Load | Format::LoadF => load(regs, ram, row.instr, raw)?,
        Format::Store | Format::StoreF => store(regs, ram, row.instr, raw)?,
        Format::Csr | Format::CsrI => csr(regs, row.instr, raw)?,
        Format::Lr | Format::Amo => atomic(regs, ram, row.instr, raw)?,
        Format::None => match row.instr {
            Instr::Ecall => return Err(Exit::Ecall),
            Instr::Ebreak => return Err(Exit::Breakpoint),
            // One hart runs at a time and decoded code is never stale, so fences have nothing to do.
            _ => {}
        },
        _ => fpu::execute(regs, row, raw)?,
    }
    regs.pc = next;
    Ok(())
}

fn set(regs: &mut Registers, raw: u32, value: u64) {
    if field::rd(raw) != 0 {
        regs.x[field::rd(raw)] = value;
    }
}

/// Sign-extend the low 32 bits.
const fn word(value: u64) -> u64 {
    value as i32 as i64 as u64
}

fn branches(instr: Instr, a: u64, b: u64) -> bool {
    match instr {
        Instr::Beq => a == b,
        Instr::Bne => a != b,
        Instr::Blt => (a as i64) < b as i64,
        Instr::Bge => a as i64 >= b as i64,
        Instr::Bltu => a < b,
        _ => a >= b,
    }
}

#[rustfmt::skip]
#[inline(never)]
fn integer(regs: &mut Registers, instr: Instr, raw: u32) {
    use Instr::*;
    let a = regs.x[field::rs1(raw)];
    let r = regs.x[field::rs2(raw)];
    let i = field::imm_i(raw) as i64 as u64;
    let shamt = field::shamt(raw);
    let value = match instr {
        Lui => field::imm_u(raw) as i64 as u64,
        Auipc => regs.pc.wrapping_add(field::imm_u(raw) as i64 as u64),
        Addi => a.wrapping_add(i),
        Slti => u64::from((a as i64) < i as i64),
        Sltiu => u64::from(a < i),
        Xori => a ^ i,
        Ori => a | i,
        Andi => a & i,
        Slli => a << shamt,
        Srli => a >> shamt,
        Srai => (a as i64 >> shamt) as u64,
        Add => a.wrapping_add(r),
        Sub => a.wrapping_sub(r),
        Sll => a << (r & 63),
        Slt => u64::from((a as i64) < r as i64),
        Sltu => u64::from(a < r),
        Xor => a ^ r,
        Srl => a >> (r & 63),
        Sra => (a as i64 >> (r & 63)) as u64,
        Or => a | r,
        And => a & r,
        Addiw => word(a.wrapping_add(i)),
        Slliw => word(a << (shamt & 31)),
        Srliw => word(u64::from(a as u32 >> (shamt & 31))),
        Sraiw => (i64::from(a as i32 >> (shamt & 31))) as u64,
        Addw => word(a.wrapping_add(r)),
        Subw => word(a.wrapping_sub(r)),
        Sllw => word(a << (r & 31)),
        Srlw => word(u64::from(a as u32 >> (r & 31))),
        Sraw => i64::from(a as i32 >> (r & 31)) as u64,
        Mul => a.wrapping_mul(r),
        Mulh => ((i128::from(a as i64) * i128::from(r as i64)) >> 64) as u64,
        Mulhsu => (i128::from(a as i64).wrapping_mul(i128::from(r)) >> 64) as u64,
        Mulhu => ((u128::from(a) * u128::from(r)) >> 64) as u64,
        Div => div(a, r),
        Divu => a.checked_div(r).unwrap_or(u64::MAX),
        Rem => rem(a, r),
        Remu => a.checked_rem(r).unwrap_or(a),
        Mulw => word(a.wrapping_mul(r)),
        Divw => divw(a, r),
        Divuw => divuw(a, r),
        Remw => remw(a, r),
        Remuw => remuw(a, r),
        _ => return,
    };
    set(regs, raw, value);
}

// Division never traps: by zero it gives all ones and the dividend, on overflow the dividend and zero.

#[inline(always)]
pub(super) fn div(a: u64, b: u64) -> u64 {
    if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }
}
#[inline(always)]
pub(super) fn rem(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
}
#[inline(always)]
pub(super) fn divw(a: u64, b: u64) -> u64 {
    let (a, b) = (a as i32, b as i32);
    i64::from(if b == 0 { -1 } else { a.wrapping_div(b) }) as u64
}
#[inline(always)]
pub(super) fn divuw(a: u64, b: u64) -> u64 {
    word(u64::from((a as u32).checked_div(b as u32).unwrap_or(u32::MAX)))
}
#[inline(always)]
pub(super) fn remw(a: u64, b: u64) -> u64 {
    let (a, b) = (a as i32, b as i32);
    i64::from(if b == 0 { a } else { a.wrapping_rem(b) }) as u64
}
#[inline(always)]
pub(super) fn remuw(a: u64, b: u64) -> u64 {
    word(u64::from((a as u32).checked_rem(b as u32).unwrap_or(a as u32)))
}

#[inline(never)]
fn load(regs: &mut Registers, ram: Ram, instr: Instr, raw: u32) -> Result<(), Exit> {
    let addr = regs.x[field::rs1(raw)].wrapping_add(field::imm_i(raw) as i64 as u64);
    let fault = |addr| Exit::Fault { addr, access: Access::Read };
    let value = match instr {
        Instr::Lb | Instr::Lbu => u64::from(ram.load_exact::<1>(addr, perm::R).map_err(fault)?[0]),
        Instr::Lh | Instr::Lhu => {
            u64::from(u16::from_le_bytes(ram.load_exact(addr, perm::R).map_err(fault)?))
        }
        Instr::Lw | Instr::Lwu | Instr::Flw => {
            u64::from(u32::from_le_bytes(ram.load_exact(addr, perm::R).map_err(fault)?))
        }
        _ => u64::from_le_bytes(ram.load_exact(addr, perm::R).map_err(fault)?),
    };
    match instr {
        Instr::Lb => set(regs, raw, value as i8 as i64 as u64),
        Instr::Lh => set(regs, raw, value as i16 as i64 as u64),
        Instr::Lw => set(regs, raw, word(value)),
        Instr::Flw => regs.f[field::rd(raw)] = fpu::nan_box(value as u32),
        Instr::Fld => regs.f[field::rd(raw)] = value,
        _ => set(regs, raw, value),
    }
    Ok(())
}

#[inline(never)]
fn store(regs: &mut Registers, ram: Ram, instr: Instr, raw: u32) -> Result<(), Exit> {
    let addr = regs.x[field::rs1(raw)].wrapping_add(field::imm_s(raw) as i64 as u64);
    let value = match instr {
        Instr::Fsw | Instr::Fsd => regs.f[field::rs2(raw)],
        _ => regs.x[field::rs2(raw)],
    };
    match instr {
        Instr::Sb => ram.store_exact(addr, [value as u8]),
        Instr::Sh => ram.store_exact(addr, (value as u16).to_le_bytes()),
        Instr::Sw | Instr::Fsw => ram.store_exact(addr, (value as u32).to_le_bytes()),
        _ => ram.store_exact(addr, value.to_le_bytes()),
    }
    .map_err(|addr| Exit::Fault { addr, access: Access::Write })
}

#[inline(never)]
fn csr(regs: &mut Registers, instr: Instr, raw: u32) -> Result<(), Exit> {
    let number = field::csr(raw);
    let old = match number {
        0x001 => u64::from(regs.fcsr & 0x1f),
        0x002 => u64::from(regs.fcsr >> 5 & 7),
        0x003 => u64::from(regs.fcsr & 0xff),
        0xc00 | 0xc02 => regs.instret,
        0xc01 => regs.time,
        _ => return Err(Exit::Illegal(raw)),
    };
    let source = match instr {
        Instr::Csrrwi | Instr::Csrrsi | Instr::Csrrci => field::rs1(raw) as u64,
        _ => regs.x[field::rs1(raw)],
    };
    let new = match instr {
        Instr::Csrrw | Instr::Csrrwi => Some(source),
        // Set and clear with x0 or 0 do not write at all.
        _ if field::rs1(raw) == 0 => None,
        Instr::Csrrs | Instr::Csrrsi => Some(old | source),
        _ => Some(old & !source),
    };
    if let Some(new) = new {
        let new = new as u32;
        match number {
            0x001 => regs.fcsr = regs.fcsr & !0x1f | new & 0x1f,
            0x002 => regs.fcsr = regs.fcsr & !0xe0 | (new & 7) << 5,
            0x003 => regs.fcsr = new & 0xff,
            // The counters are read-only.
            _ => return Err(Exit::Illegal(raw)),
        }
    }
    set(regs, raw, old);
    Ok(())
}

/// LR, SC and AMO. `aq` and `rl` need nothing: harts never run at the same time.
#[inline(never)]
fn atomic(regs: &mut Registers, ram: Ram, instr: Instr, raw: u32) -> Result<(), Exit> {
    use Instr::*;
    let addr = regs.x[field::rs1(raw)];
    let wide = raw >> 12 & 1 == 1;
    let width: u8 = if wide { 8 } else { 4 };
    if addr & u64::from(width - 1) != 0 {
        return Err(Exit::Misaligned { addr });
    }
    let is_lr = matches!(instr, LrW | LrD);
    let access = if is_lr { Access::Read } else { Access::Write };
    let need = if is_lr { perm::R } else { perm::R | perm::W };
    let fault = |addr| Exit::Fault { addr, access };
    let old = if wide {
        u64::from_le_bytes(ram.load_exact(addr, need).map_err(fault)?)
    } else {
        u64::from(u32::from_le_bytes(ram.load_exact(addr, need).map_err(fault)?))
    };
    let here = Some(Reservation { addr, width, value: old });
    let b = regs.x[field::rs2(raw)];
    let (sold, sb, ub) = if wide {
        (old as i64, b as i64, b)
    } else {
        (i64::from(old as i32), i64::from(b as i32), u64::from(b as u32))
    };
    let signed_old = sold as u64;
    let new = match instr {
        LrW | LrD => {
            regs.reservation = here;
            set(regs, raw, signed_old);
            return Ok(());
        }
        ScW | ScD => {
            let held = regs.reservation.take() == here;
            if !held {
                set(regs, raw, 1);
                return Ok(());
            }
            b
        }
        AmoswapW | AmoswapD => b,
        AmoaddW | AmoaddD => old.wrapping_add(b),
        AmoxorW | AmoxorD => old ^ b,
        AmoandW | AmoandD => old & b,
        AmoorW | AmoorD => old | b,
        AmominW | AmominD => sold.min(sb) as u64,
        AmomaxW | AmomaxD => sold.max(sb) as u64,
        AmominuW | AmominuD => old.min(ub),
        _ => old.max(ub),
    };
    let stored = if wide {
        ram.store_exact(addr, new.to_le_bytes())
    } else {
        ram.store_exact(addr, (new as u32).to_le_bytes())
    };
    stored.map_err(fault)?;
    let result = if matches!(instr, ScW | ScD) { 0 } else { signed_old };
    set(regs, raw, result);
    Ok(())
}
