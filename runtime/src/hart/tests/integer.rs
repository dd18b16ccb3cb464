//! Integer instructions one by one: operands and result, by decoded code and by the reference interpreter.

use super::{Board, CODE};
use crate::hart::Exit;
use crate::hart::isa::{Format, ROWS};

const MIN: u64 = 1 << 63;
const MIN_W: u64 = 0xffff_ffff_8000_0000;
const MINUS: u64 = u64::MAX;

/// (name, rs1, rs2 or immediate, result)
#[rustfmt::skip]
const CASES: &[(&str, u64, u64, u64)] = &[
    ("add", MINUS, 1, 0), ("sub", 0, 1, MINUS), ("sll", 1, 64 + 63, MIN), ("slt", MINUS, 0, 1), ("slt", 0, MINUS, 0),
    ("sltu", MINUS, 0, 0), ("sltu", 0, MINUS, 1), ("xor", 0xff00, 0x0ff0, 0xf0f0), ("srl", MIN, 63, 1),
    ("sra", MIN, 63, MINUS), ("sra", MIN, 64, MIN), ("or", 0xf0, 0x0f, 0xff), ("and", 0xf0, 0x3c, 0x30),
    ("addi", 5, -6i64 as u64, MINUS), ("slti", MIN, 0, 1), ("sltiu", 5, -1i64 as u64, 1), ("xori", 5, -1i64 as u64, !5),
    ("ori", 0, -2048i64 as u64, -2048i64 as u64), ("andi", MINUS, 0x7ff, 0x7ff),
    ("slli", 1, 63, MIN), ("srli", MIN, 63, 1), ("srai", MIN, 62, -2i64 as u64),
    ("addiw", 0x7fff_ffff, 1, MIN_W), ("addiw", 0x1_ffff_ffff, 0, MINUS), ("addw", 0x7fff_ffff, 1, MIN_W),
    ("subw", 0x8000_0000, 1, 0x7fff_ffff), ("slliw", 1, 31, MIN_W), ("srliw", MIN_W, 31, 1), ("srliw", MINUS, 0, MINUS),
    ("sraiw", 0x8000_0000, 31, MINUS), ("sllw", 1, 32 + 31, MIN_W), ("srlw", MIN_W, 0, MIN_W),
    ("srlw", MIN_W, 4, 0x0800_0000), ("sraw", 0x8000_0000, 4, 0xffff_ffff_f800_0000),
    ("mul", MINUS, MINUS, 1), ("mulh", MINUS, MINUS, 0), ("mulh", MIN, MIN, 1 << 62), ("mulh", MIN, 2, MINUS),
    ("mulhu", MINUS, MINUS, MINUS - 1), ("mulhsu", MINUS, MINUS, MINUS), ("mulhsu", MIN, MINUS, MIN),
    ("mulhsu", 2, MIN, 1), ("mulw", 0x1_0000_0001, 0x8000_0000, MIN_W),
    ("div", 7, 0, MINUS), ("div", MIN, MINUS, MIN), ("div", -7i64 as u64, 2, -3i64 as u64),
    ("divu", 7, 0, MINUS), ("divu", MINUS, 2, MINUS >> 1), ("rem", 7, 0, 7), ("rem", MIN, MINUS, 0),
    ("rem", -7i64 as u64, 2, MINUS), ("remu", 7, 0, 7), ("remu", MINUS, 10, 5),
    ("divw", 7, 0, MINUS), ("divw", 0x8000_0000, MINUS, MIN_W), ("divw", 0x1_0000_0006, 3, 2),
    ("divuw", 7, 1 << 32, MINUS), ("divuw", MINUS, 1, MINUS), ("remw", 0x8000_0000, MINUS, 0),
    ("remw", 0x8000_0000, 0, MIN_W), ("remuw", 0x8000_0000, 0, MIN_W), ("remuw", MINUS, 16, 15),
];

#[test]
fn results() {
    for &(name, a, b, result) in CASES {
        let row = ROWS.iter().find(|row| row.name == name).expect("a row");
        let registers = row.bits | 10 << 7 | 11 << 15;
        let raw = match row.format {
            Format::R => registers | 12 << 20,
            _ => registers | (b as u32) << 20,
        };
        // Once with rd apart, once into x0, which stays zero.
        for (raw, result) in [(raw, result), (raw & !(31 << 7), 0)] {
            let mut board = Board::new(&[raw, 0x0000_0073]);
            (board.regs.x[11], board.regs.x[12]) = (a, b);
            assert_eq!(board.run(1000), Exit::Ecall);
            let rd = (raw >> 7 & 31) as usize;
            assert_eq!(board.regs.x[rd], result, "{name} {a:#x} {b:#x}");
            (board.regs.pc, board.regs.x[rd]) = (CODE, 99);
            assert_eq!(board.step_all(), Exit::Ecall);
            assert_eq!(board.regs.x[rd], result, "{name} {a:#x} {b:#x}, reference");
        }
    }
}

#[test]
fn jumps_link_and_clear_the_lowest_bit() {
    // jalr a1, 7(a1): link and base are one register. auipc a0, 1.
    let mut board = Board::new(&[0x0075_85e7, 0, 0x0000_1517, 0x0000_0073]);
    board.regs.x[11] = CODE + 2;
    assert_eq!(board.run(1000), Exit::Ecall);
    assert_eq!((board.regs.x[11], board.regs.x[10], board.regs.pc), (CODE + 4, CODE + 8 + 0x1000, CODE + 12));
    // Control may enter the middle of an instruction.
    let mut board = Board::new(&[0x0000_0013 | 0x0505 << 16, 0x0000_0073]);
    board.regs.pc = CODE + 2;
    assert_eq!(board.run(1000), Exit::Ecall, "c.addi a0, 1 lies in the upper half");
    assert_eq!(board.regs.x[10], 1);
    board.regs.pc = CODE;
    assert_eq!(board.run(1000), Exit::Ecall, "and the whole writes x0");
    assert_eq!((board.regs.x[10], board.regs.instret), (1, 2));
}
