//! Encodings, as an assembler gives them, against the disassembler; and the table against itself.

use crate::hart::disasm::disassemble;
use crate::hart::expand;
use crate::hart::isa::{ROWS, find};

const PC: u64 = 0x1000;

#[test]
#[rustfmt::skip]
fn each_format_reads_as_written() {
    for (raw, text) in [
        (0x1234_5537, "lui a0,0x12345"), (0xffff_f497, "auipc s1,0xfffff"), (0x0010_00ef, "jal ra,0x1800"),
        (0xffc7_82e7, "jalr t0,-4(a5)"), (0xfeb5_08e3, "beq a0,a1,0xff0"), (0x7ff4_7fe3, "bgeu s0,t6,0x1ffe"),
        (0xfff1_0503, "lb a0,-1(sp)"), (0x7ff1_de03, "lhu t3,2047(gp)"), (0x0007_e703, "lwu a4,0(a5)"),
        (0x81b5_3023, "sd s11,-2048(a0)"), (0xff95_a513, "slti a0,a1,-7"), (0x03f6_9613, "slli a2,a3,63"),
        (0x4216_d613, "srai a2,a3,33"), (0x41f6_d61b, "sraiw a2,a3,31"), (0x40c5_853b, "subw a0,a1,a2"),
        (0x0000_100f, "fence.i"), (0x0035_9573, "csrrw a0,0x3,a1"), (0x001f_e073, "csrrsi zero,0x1,31"),
        (0x02c5_a533, "mulhsu a0,a1,a2"), (0x02c5_f53b, "remuw a0,a1,a2"), (0x1605_b52f, "lr.d a0,(a1)"),
        (0x1ac5_a52f, "sc.w a0,a2,(a1)"), (0xe0c5_b52f, "amomaxu.d a0,a2,(a1)"), (0xffc1_2507, "flw fa0,-4(sp)"),
        (0x7fb4_bc27, "fsd fs11,2040(s1)"), (0x68c5_9543, "fmadd.s fa0,fa1,fa2,fa3,rtz"),
        (0x1a20_f04b, "fnmsub.d ft0,ft1,ft2,ft3,dyn"), (0x02c5_c553, "fadd.d fa0,fa1,fa2,rmm"),
        (0x5805_f553, "fsqrt.s fa0,fa1,dyn"), (0x22c5_a553, "fsgnjx.d fa0,fa1,fa2"), (0x28c5_8553, "fmin.s fa0,fa1,fa2"),
        (0xc235_1553, "fcvt.lu.d a0,fa0,rtz"), (0x4015_f553, "fcvt.s.d fa0,fa1,dyn"),
        (0xd215_8553, "fcvt.d.wu fa0,a1,rne"), (0xe005_0553, "fmv.x.w a0,fa0"), (0xe205_1553, "fclass.d a0,fa0"),
        (0xa0c5_8553, "fle.s a0,fa1,fa2"),
        (0x1fe8, "c:addi a0,sp,1020"), (0x3fe8, "c:fld fa0,248(a5)"), (0x5fe8, "c:lw a0,124(a5)"),
        (0xe504, "c:sd s1,8(a0)"), (0x1881, "c:addi a7,a7,-32"), (0x297d, "c:addiw s2,s2,31"),
        (0x5ffd, "c:addi t6,zero,-1"), (0x7101, "c:addi sp,sp,-512"), (0x7505, "c:lui a0,0xfffe1"),
        (0x917d, "c:srli a0,a0,63"), (0x8485, "c:srai s1,s1,1"), (0x9b81, "c:andi a5,a5,-32"),
        (0x8d0d, "c:sub a0,a0,a1"), (0x9fb9, "c:addw a5,a5,a4"), (0xb001, "c:jal zero,0x800"),
        (0xed7d, "c:bne a0,zero,0x10fe"), (0x12fe, "c:slli t0,t0,63"), (0x70fe, "c:ld ra,504(sp)"),
        (0xbfa2, "c:fsd fs0,504(sp)"), (0x8782, "c:jalr zero,0(a5)"), (0x9302, "c:jalr ra,0(t1)"),
        (0x857e, "c:add a0,zero,t6"), (0x9426, "c:add s0,s0,s1"), (0x9002, "c:ebreak"), (0xdffe, "c:sw t6,252(sp)"),
        (0x0000, ".half 0x0000"), (0xffff_ffff, ".word 0xffffffff"),
    ] {
        assert_eq!(disassemble(raw, PC), text, "{raw:#x}");
    }
}

#[test]
fn each_row_is_found_by_its_bits_and_by_no_other() {
    for row in ROWS {
        assert_eq!(row.bits & row.mask, row.bits, "{}", row.name);
        let found = |raw| find(raw).map(|row| row.name);
        assert_eq!(found(row.bits), Some(row.name));
        assert_eq!(found(row.bits | !row.mask), Some(row.name));
        for other in ROWS {
            let common = row.mask & other.mask;
            assert!(
                row.name == other.name || (row.bits ^ other.bits) & common != 0,
                "{} {}",
                row.name,
                other.name
            );
        }
    }
}

#[test]
fn reserved_compressed_encodings_stay_illegal() {
    // c.addi4spn 0, c.addiw x0, c.addi16sp 0, c.lui 0, c.lwsp x0, c.ldsp x0, c.jr x0, both reserved of c.*w, quadrant 0 funct3 4.
    for half in [0x0000, 0x0004, 0x2001, 0x6101, 0x6081, 0x4002, 0x6002, 0x8002, 0x9c41, 0x9c61, 0x8000] {
        assert_eq!(expand(half), None, "{half:#06x}");
    }
    // Hints are instructions: c.nop 1, c.addi 0, c.li x0, c.lui x0, c.mv x0, c.add x0, c.slli x0 and by 0.
    for half in [0x0005, 0x0081, 0x4001, 0x6005, 0x8006, 0x9006, 0x0006, 0x0082] {
        assert!(expand(half).is_some(), "{half:#06x}");
    }
}
