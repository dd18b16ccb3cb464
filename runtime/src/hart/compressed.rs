//! The C extension: each 16-bit instruction stands for a 32-bit one.
//!
//! Source: unprivileged manual, chapter "C", tables of RVC quadrants 0 to 2 (RV64DC).

use super::isa::{Instr, ROWS};

const fn base(instr: Instr) -> u32 {
    ROWS[instr as usize].bits
}

/// `width` bits of `half` from bit `from`, moved to bit `to`.
const fn field(half: u32, from: u32, width: u32, to: u32) -> u32 {
    (half >> from & ((1 << width) - 1)) << to
}

const fn r(instr: Instr, rd: u32, rs1: u32, rs2: u32) -> u32 {
    base(instr) | rd << 7 | rs1 << 15 | rs2 << 20
}
const fn i(instr: Instr, rd: u32, rs1: u32, imm: u32) -> u32 {
    base(instr) | rd << 7 | rs1 << 15 | imm << 20
}
const fn s(instr: Instr, rs1: u32, rs2: u32, imm: u32) -> u32 {
    base(instr) | rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 127) << 25
}
const fn b(instr: Instr, rs1: u32, imm: u32) -> u32 {
    base(instr)
        | rs1 << 15
        | field(imm, 1, 4, 8)
        | field(imm, 5, 6, 25)
        | field(imm, 11, 1, 7)
        | field(imm, 12, 1, 31)
}
const fn j(instr: Instr, rd: u32, imm: u32) -> u32 {
    base(instr)
        | rd << 7
        | field(imm, 1, 10, 21)
        | field(imm, 11, 1, 20)
        | field(imm, 12, 8, 12)
        | field(imm, 20, 1, 31)
}
/// Sign-extend from bit `bit`.
const fn sext(value: u32, bit: u32) -> u32 {
    ((value << (31 - bit)) as i32 >> (31 - bit)) as u32
}

/// The 32-bit instruction that `half` stands for; `None` when it is reserved (bits 1:0 must not be 3).
pub fn expand(half: u16) -> Option<u32> {
    let h = u32::from(half);
    // Registers of the short (x8..x15) and the full fields.
    let (short_d, short_1) = (8 + field(h, 2, 3, 0), 8 + field(h, 7, 3, 0));
    let (full_d, full_2) = (field(h, 7, 5, 0), field(h, 2, 5, 0));
    let offset_w = field(h, 6, 1, 2) | field(h, 10, 3, 3) | field(h, 5, 1, 6);
    let offset_d = field(h, 10, 3, 3) | field(h, 5, 2, 6);
    let imm6 = sext(field(h, 12, 1, 5) | field(h, 2, 5, 0), 5);
    let shamt = field(h, 12, 1, 5) | field(h, 2, 5, 0);
    Some(match (h & 3, h >> 13) {
        (0, 0) => {
            let imm = field(h, 11, 2, 4) | field(h, 7, 4, 6) | field(h, 6, 1, 2) | field(h, 5, 1, 3);
            if imm == 0 {
                return None;
            }
            i(Instr::Addi, short_d, 2, imm)
        }
        (0, 1) => i(Instr::Fld, short_d, short_1, offset_d),
        (0, 2) => i(Instr::Lw, short_d, short_1, offset_w),
        (0, 3) => i(Instr::Ld, short_d, short_1, offset_d),
        (0, 5) => s(Instr::Fsd, short_1, short_d, offset_d),
        (0, 6) => s(Instr::Sw, short_1, short_d, offset_w),
        (0, 7) => s(Instr::Sd, short_1, short_d, offset_d),
        (1, 0) => i(Instr::Addi, full_d, full_d, imm6),
        (1, 1) if full_d != 0 => i(Instr::Addiw, full_d, full_d, imm6),
        (1, 2) => i(Instr::Addi, full_d, 0, imm6),
        (1, 3) if full_d == 2 => {
            let imm = field(h, 12, 1, 9)
                | field(h, 6, 1, 4)
                | field(h, 5, 1, 6)
                | field(h, 3, 2, 7)
                | field(h, 2, 1, 5);
            if imm == 0 {
                return None;
            }
            i(Instr::Addi, 2, 2, sext(imm, 9))
        }
        (1, 3) if imm6 != 0 => base(Instr::Lui) | full_d << 7 | imm6 << 12,
        (1, 4) => arithmetic(h, short_1, short_d, imm6, shamt)?,
        (1, 5) => {
            let imm = field(h, 12, 1, 11)
                | field(h, 11, 1, 4)
                | field(h, 9, 2, 8)
                | field(h, 8, 1, 10)
                | field(h, 7, 1, 6)
                | field(h, 6, 1, 7)
                | field(h, 3, 3, 1)
                | field(h, 2, 1, 5);
            j(Instr::Jal, 0, sext(imm, 11))
        }
        (1, f3 @ (6 | 7)) => {
            let imm = field(h, 12, 1, 8)
                | field(h, 10, 2, 3)
                | field(h, 5, 2, 6)
                | field(h, 3, 2, 1)
                | field(h, 2, 1, 5);
            b(if f3 == 6 { Instr::Beq } else { Instr::Bne }, short_1, sext(imm, 8))
        }
        (2, 0) => i(Instr::Slli, full_d, full_d, shamt),
        (2, 1) => i(Instr::Fld, full_d, 2, field(h, 12, 1, 5) | field(h, 5, 2, 3) | field(h, 2, 3, 6)),
        (2, 2) if full_d != 0 => {
            i(Instr::Lw, full_d, 2, field(h, 12, 1, 5) | field(h, 4, 3, 2) | field(h, 2, 2, 6))
        }
        (2, 3) if full_d != 0 => {
            i(Instr::Ld, full_d, 2, field(h, 12, 1, 5) | field(h, 5, 2, 3) | field(h, 2, 3, 6))
        }
        (2, 4) => match (h >> 12 & 1, full_d, full_2) {
            (0, 0, 0) => return None,
            (0, rs1, 0) => i(Instr::Jalr, 0, rs1, 0),
            (0, rd, rs2) => r(Instr::Add, rd, 0, rs2),
            (_, 0, 0) => base(Instr::Ebreak),
            (_, rs1, 0) => i(Instr::Jalr, 1, rs1, 0),
            (_, rd, rs2) => r(Instr::Add, rd, rd, rs2),
        },
        (2, 5) => s(Instr::Fsd, 2, full_2, field(h, 10, 3, 3) | field(h, 7, 3, 6)),
        (2, 6) => s(Instr::Sw, 2, full_2, field(h, 9, 4, 2) | field(h, 7, 2, 6)),
        (2, 7) => s(Instr::Sd, 2, full_2, field(h, 10, 3, 3) | field(h, 7, 3, 6)),
        _ => return None,
    })
}

/// Quadrant 1, funct3 100: shifts, andi and register-register arithmetic on x8..x15.
fn arithmetic(h: u32, rd: u32, rs2: u32, imm6: u32, shamt: u32) -> Option<u32> {
    Some(match (h >> 10 & 3, h >> 12 & 1, h >> 5 & 3) {
        (0, ..) => i(Instr::Srli, rd, rd, shamt),
        (1, ..) => i(Instr::Srai, rd, rd, shamt),
        (2, ..) => i(Instr::Andi, rd, rd, imm6),
        (_, 0, 0) => r(Instr::Sub, rd, rd, rs2),
        (_, 0, 1) => r(Instr::Xor, rd, rd, rs2),
        (_, 0, 2) => r(Instr::Or, rd, rd, rs2),
        (_, 0, _) => r(Instr::And, rd, rd, rs2),
        (_, _, 0) => r(Instr::Subw, rd, rd, rs2),
        (_, _, 1) => r(Instr::Addw, rd, rd, rs2),
        _ => return None,
    })
}
