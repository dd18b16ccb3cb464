//! The instruction table: one row per instruction of RV64GC.
//!
//! Compressed instructions are not here: each stands for one of these
//! ([`super::compressed`]). From the rows derive the decoder ([`find`]), the
//! disassembler ([`super::disasm`]) and the generators of tests. What an
//! instruction does is in [`super::exec`]; how it runs fast in [`super::lower`].
//! Source: The RISC-V Instruction Set Manual, Volume I, chapter "RV32/64G
//! Instruction Set Listings".

/// Which fields an instruction has, and which registers they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// rd, rs1, rs2.
    R,
    /// rd, rs1, 12-bit immediate.
    I,
    /// rd, rs1, 6-bit shift amount.
    Shift,
    /// rd, rs1, 5-bit shift amount.
    ShiftW,
    /// rd, offset(rs1).
    Load,
    /// rs2, offset(rs1).
    Store,
    /// Floating-point rd, offset(rs1).
    LoadF,
    /// Floating-point rs2, offset(rs1).
    StoreF,
    /// rs1, rs2, offset from pc.
    B,
    /// rd, upper 20 bits.
    U,
    /// rd, offset from pc.
    J,
    /// rd, offset(rs1), as a jump.
    Jalr,
    /// Nothing that matters.
    None,
    /// rd, CSR, rs1.
    Csr,
    /// rd, CSR, 5-bit immediate.
    CsrI,
    /// rd, (rs1).
    Lr,
    /// rd, rs2, (rs1).
    Amo,
    /// rd, rs1, rs2 floating-point, rounded.
    FffRm,
    /// rd, rs1, rs2 floating-point.
    Fff,
    /// Integer rd; rs1, rs2 floating-point.
    Xff,
    /// rd, rs1 floating-point, rounded.
    FfRm,
    /// Integer rd, floating-point rs1, rounded.
    XfRm,
    /// Floating-point rd, integer rs1, rounded.
    FxRm,
    /// Integer rd, floating-point rs1.
    Xf,
    /// Floating-point rd, integer rs1.
    Fx,
    /// rd, rs1, rs2, rs3 floating-point, rounded.
    Fma,
}

impl Format {
    /// Whether bits 14:12 are a rounding mode.
    pub const fn rounds(self) -> bool {
        matches!(self, Self::FffRm | Self::FfRm | Self::XfRm | Self::FxRm | Self::Fma)
    }
}

/// One row: an instruction's name, fields and fixed bits.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which instruction.
    pub instr: Instr,
    /// Assembler name.
    pub name: &'static str,
    /// Its fields.
    pub format: Format,
    /// Value of the fixed bits.
    pub bits: u32,
    /// Which bits are fixed.
    pub mask: u32,
}

const fn opcode(op: u32) -> (u32, u32) {
    (op, 0x7f)
}
const fn f3(op: u32, funct3: u32) -> (u32, u32) {
    (op | funct3 << 12, 0x707f)
}
const fn f7(op: u32, funct3: u32, funct7: u32) -> (u32, u32) {
    (op | funct3 << 12 | funct7 << 25, 0xfe00_707f)
}
const fn f6(op: u32, funct3: u32, funct6: u32) -> (u32, u32) {
    (op | funct3 << 12 | funct6 << 26, 0xfc00_707f)
}
const fn amo(funct3: u32, funct5: u32) -> (u32, u32) {
    (0x2f | funct3 << 12 | funct5 << 27, 0xf800_707f)
}
const fn lr(funct3: u32) -> (u32, u32) {
    (0x2f | funct3 << 12 | 2 << 27, 0xf9f0_707f)
}
/// OP-FP, rounded, two operands.
const fn fp(funct7: u32) -> (u32, u32) {
    (0x53 | funct7 << 25, 0xfe00_007f)
}
/// OP-FP, rounded, rs2 is part of the operation.
const fn fp1(funct7: u32, rs2: u32) -> (u32, u32) {
    (0x53 | funct7 << 25 | rs2 << 20, 0xfff0_007f)
}
/// OP-FP, bits 14:12 and rs2 are part of the operation.
const fn fp0(funct7: u32, rs2: u32, funct3: u32) -> (u32, u32) {
    (0x53 | funct7 << 25 | rs2 << 20 | funct3 << 12, 0xfff0_707f)
}
const fn fma(op: u32, fmt: u32) -> (u32, u32) {
    (op | fmt << 25, 0x0600_007f)
}
const fn whole(bits: u32) -> (u32, u32) {
    (bits, u32::MAX)
}

macro_rules! instructions {
    ($($instr:ident $name:literal $format:ident $key:expr;)*) => {
        /// An instruction of RV64GC, as the manual names it.
        #[allow(missing_docs, reason = "the names are the manual's")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Instr { $($instr),* }

        /// Every instruction, in the order of [`Instr`].
        pub const ROWS: &[Row] = &[$({
            let (bits, mask) = $key;
            Row { instr: Instr::$instr, name: $name, format: Format::$format, bits, mask }
        }),*];
    };
}

instructions! {
    // RV32I and RV64I
    Lui      "lui"       U      opcode(0x37);
    Auipc    "auipc"     U      opcode(0x17);
    Jal      "jal"       J      opcode(0x6f);
    Jalr     "jalr"      Jalr   f3(0x67, 0);
    Beq      "beq"       B      f3(0x63, 0);
    Bne      "bne"       B      f3(0x63, 1);
    Blt      "blt"       B      f3(0x63, 4);
    Bge      "bge"       B      f3(0x63, 5);
    Bltu     "bltu"      B      f3(0x63, 6);
    Bgeu     "bgeu"      B      f3(0x63, 7);
    Lb       "lb"        Load   f3(0x03, 0);
    Lh       "lh"        Load   f3(0x03, 1);
    Lw       "lw"        Load   f3(0x03, 2);
    Ld       "ld"        Load   f3(0x03, 3);
    Lbu      "lbu"       Load   f3(0x03, 4);
    Lhu      "lhu"       Load   f3(0x03, 5);
    Lwu      "lwu"       Load   f3(0x03, 6);
    Sb       "sb"        Store  f3(0x23, 0);
    Sh       "sh"        Store  f3(0x23, 1);
    Sw       "sw"        Store  f3(0x23, 2);
    Sd       "sd"        Store  f3(0x23, 3);
    Addi     "addi"      I      f3(0x13, 0);
    Slti     "slti"      I      f3(0x13, 2);
    Sltiu    "sltiu"     I      f3(0x13, 3);
    Xori     "xori"      I      f3(0x13, 4);
    Ori      "ori"       I      f3(0x13, 6);
    Andi     "andi"      I      f3(0x13, 7);
    Slli     "slli"      Shift  f6(0x13, 1, 0);
    Srli     "srli"      Shift  f6(0x13, 5, 0);
    Srai     "srai"      Shift  f6(0x13, 5, 0x10);
    Add      "add"       R      f7(0x33, 0, 0);
    Sub      "sub"       R      f7(0x33, 0, 0x20);
    Sll      "sll"       R      f7(0x33, 1, 0);
    Slt      "slt"       R      f7(0x33, 2, 0);
    Sltu     "sltu"      R      f7(0x33, 3, 0);
    Xor      "xor"       R      f7(0x33, 4, 0);
    Srl      "srl"       R      f7(0x33, 5, 0);
    Sra      "sra"       R      f7(0x33, 5, 0x20);
    Or       "or"        R      f7(0x33, 6, 0);
    And      "and"       R      f7(0x33, 7, 0);
    Addiw    "addiw"     I      f3(0x1b, 0);
    Slliw    "slliw"     ShiftW f7(0x1b, 1, 0);
    Srliw    "srliw"     ShiftW f7(0x1b, 5, 0);
    Sraiw    "sraiw"     ShiftW f7(0x1b, 5, 0x20);
    Addw     "addw"      R      f7(0x3b, 0, 0);
    Subw     "subw"      R      f7(0x3b, 0, 0x20);
    Sllw     "sllw"      R      f7(0x3b, 1, 0);
    Srlw     "srlw"      R      f7(0x3b, 5, 0);
    Sraw     "sraw"      R      f7(0x3b, 5, 0x20);
    Fence    "fence"     None   f3(0x0f, 0);
    FenceI   "fence.i"   None   f3(0x0f, 1);
    Ecall    "ecall"     None   whole(0x0000_0073);
    Ebreak   "ebreak"    None   whole(0x0010_0073);
    // Zicsr
    Csrrw    "csrrw"     Csr    f3(0x73, 1);
    Csrrs    "csrrs"     Csr    f3(0x73, 2);
    Csrrc    "csrrc"     Csr    f3(0x73, 3);
    Csrrwi   "csrrwi"    CsrI   f3(0x73, 5);
    Csrrsi   "csrrsi"    CsrI   f3(0x73, 6);
    Csrrci   "csrrci"    CsrI   f3(0x73, 7);
    // M
    Mul      "mul"       R      f7(0x33, 0, 1);
    Mulh     "mulh"      R      f7(0x33, 1, 1);
    Mulhsu   "mulhsu"    R      f7(0x33, 2, 1);
    Mulhu    "mulhu"     R      f7(0x33, 3, 1);
    Div      "div"       R      f7(0x33, 4, 1);
    Divu     "divu"      R      f7(0x33, 5, 1);
    Rem      "rem"       R      f7(0x33, 6, 1);
    Remu     "remu"      R      f7(0x33, 7, 1);
    Mulw     "mulw"      R      f7(0x3b, 0, 1);
    Divw     "divw"      R      f7(0x3b, 4, 1);
    Divuw    "divuw"     R      f7(0x3b, 5, 1);
    Remw     "remw"      R      f7(0x3b, 6, 1);
    Remuw    "remuw"     R      f7(0x3b, 7, 1);
    // A
    LrW      "lr.w"      Lr     lr(2);
    ScW      "sc.w"      Amo    amo(2, 0x03);
    AmoswapW "amoswap.w" Amo    amo(2, 0x01);
    AmoaddW  "amoadd.w"  Amo    amo(2, 0x00);
    AmoxorW  "amoxor.w"  Amo    amo(2, 0x04);
    AmoandW  "amoand.w"  Amo    amo(2, 0x0c);
    AmoorW   "amoor.w"   Amo    amo(2, 0x08);
    AmominW  "amomin.w"  Amo    amo(2, 0x10);
    AmomaxW  "amomax.w"  Amo    amo(2, 0x14);
    AmominuW "amominu.w" Amo    amo(2, 0x18);
    AmomaxuW "amomaxu.w" Amo    amo(2, 0x1c);
    LrD      "lr.d"      Lr     lr(3);
    ScD      "sc.d"      Amo    amo(3, 0x03);
    AmoswapD "amoswap.d" Amo    amo(3, 0x01);
    AmoaddD  "amoadd.d"  Amo    amo(3, 0x00);
    AmoxorD  "amoxor.d"  Amo    amo(3, 0x04);
    AmoandD  "amoand.d"  Amo    amo(3, 0x0c);
    AmoorD   "amoor.d"   Amo    amo(3, 0x08);
    AmominD  "amomin.d"  Amo    amo(3, 0x10);
    AmomaxD  "amomax.d"  Amo    amo(3, 0x14);
    AmominuD "amominu.d" Amo    amo(3, 0x18);
    AmomaxuD "amomaxu.d" Amo    amo(3, 0x1c);
    // F
    Flw      "flw"       LoadF  f3(0x07, 2);
    Fsw      "fsw"       StoreF f3(0x27, 2);
    FmaddS   "fmadd.s"   Fma    fma(0x43, 0);
    FmsubS   "fmsub.s"   Fma    fma(0x47, 0);
    FnmsubS  "fnmsub.s"  Fma    fma(0x4b, 0);
    FnmaddS  "fnmadd.s"  Fma    fma(0x4f, 0);
    FaddS    "fadd.s"    FffRm  fp(0x00);
    FsubS    "fsub.s"    FffRm  fp(0x04);
    FmulS    "fmul.s"    FffRm  fp(0x08);
    FdivS    "fdiv.s"    FffRm  fp(0x0c);
    FsqrtS   "fsqrt.s"   FfRm   fp1(0x2c, 0);
    FsgnjS   "fsgnj.s"   Fff    f7(0x53, 0, 0x10);
    FsgnjnS  "fsgnjn.s"  Fff    f7(0x53, 1, 0x10);
    FsgnjxS  "fsgnjx.s"  Fff    f7(0x53, 2, 0x10);
    FminS    "fmin.s"    Fff    f7(0x53, 0, 0x14);
    FmaxS    "fmax.s"    Fff    f7(0x53, 1, 0x14);
    FcvtWS   "fcvt.w.s"  XfRm   fp1(0x60, 0);
    FcvtWuS  "fcvt.wu.s" XfRm   fp1(0x60, 1);
    FcvtLS   "fcvt.l.s"  XfRm   fp1(0x60, 2);
    FcvtLuS  "fcvt.lu.s" XfRm   fp1(0x60, 3);
    FmvXW    "fmv.x.w"   Xf     fp0(0x70, 0, 0);
    FclassS  "fclass.s"  Xf     fp0(0x70, 0, 1);
    FeqS     "feq.s"     Xff    f7(0x53, 2, 0x50);
    FltS     "flt.s"     Xff    f7(0x53, 1, 0x50);
    FleS     "fle.s"     Xff    f7(0x53, 0, 0x50);
    FcvtSW   "fcvt.s.w"  FxRm   fp1(0x68, 0);
    FcvtSWu  "fcvt.s.wu" FxRm   fp1(0x68, 1);
    FcvtSL   "fcvt.s.l"  FxRm   fp1(0x68, 2);
    FcvtSLu  "fcvt.s.lu" FxRm   fp1(0x68, 3);
    FmvWX    "fmv.w.x"   Fx     fp0(0x78, 0, 0);
    // D
    Fld      "fld"       LoadF  f3(0x07, 3);
    Fsd      "fsd"       StoreF f3(0x27, 3);
    FmaddD   "fmadd.d"   Fma    fma(0x43, 1);
    FmsubD   "fmsub.d"   Fma    fma(0x47, 1);
    FnmsubD  "fnmsub.d"  Fma    fma(0x4b, 1);
    FnmaddD  "fnmadd.d"  Fma    fma(0x4f, 1);
    FaddD    "fadd.d"    FffRm  fp(0x01);
    FsubD    "fsub.d"    FffRm  fp(0x05);
    FmulD    "fmul.d"    FffRm  fp(0x09);
    FdivD    "fdiv.d"    FffRm  fp(0x0d);
    FsqrtD   "fsqrt.d"   FfRm   fp1(0x2d, 0);
    FsgnjD   "fsgnj.d"   Fff    f7(0x53, 0, 0x11);
    FsgnjnD  "fsgnjn.d"  Fff    f7(0x53, 1, 0x11);
    FsgnjxD  "fsgnjx.d"  Fff    f7(0x53, 2, 0x11);
    FminD    "fmin.d"    Fff    f7(0x53, 0, 0x15);
    FmaxD    "fmax.d"    Fff    f7(0x53, 1, 0x15);
    FcvtSD   "fcvt.s.d"  FfRm   fp1(0x20, 1);
    FcvtDS   "fcvt.d.s"  FfRm   fp1(0x21, 0);
    FeqD     "feq.d"     Xff    f7(0x53, 2, 0x51);
    FltD     "flt.d"     Xff    f7(0x53, 1, 0x51);
    FleD     "fle.d"     Xff    f7(0x53, 0, 0x51);
    FclassD  "fclass.d"  Xf     fp0(0x71, 0, 1);
    FcvtWD   "fcvt.w.d"  XfRm   fp1(0x61, 0);
    FcvtWuD  "fcvt.wu.d" XfRm   fp1(0x61, 1);
    FcvtLD   "fcvt.l.d"  XfRm   fp1(0x61, 2);
    FcvtLuD  "fcvt.lu.d" XfRm   fp1(0x61, 3);
    FcvtDW   "fcvt.d.w"  FxRm   fp1(0x69, 0);
    FcvtDWu  "fcvt.d.wu" FxRm   fp1(0x69, 1);
    FcvtDL   "fcvt.d.l"  FxRm   fp1(0x69, 2);
    FcvtDLu  "fcvt.d.lu" FxRm   fp1(0x69, 3);
    FmvXD    "fmv.x.d"   Xf     fp0(0x71, 0, 0);
    FmvDX    "fmv.d.x"   Fx     fp0(0x79, 0, 0);
}

const COUNT: usize = ROWS.len();

/// Rows grouped by major opcode (bits 6:2): group `g` is `ORDER[START[g]..START[g + 1]]`.
const GROUPS: ([u8; 33], [u8; COUNT]) = {
    let (mut start, mut order) = ([0u8; 33], [0u8; COUNT]);
    let (mut group, mut filled) = (0, 0);
    while group < 32 {
        start[group] = filled as u8;
        let mut row = 0;
        while row < COUNT {
            if (ROWS[row].bits >> 2 & 31) as usize == group {
                order[filled] = row as u8;
                filled += 1;
            }
            row += 1;
        }
        group += 1;
    }
    start[32] = filled as u8;
    (start, order)
};
static START: [u8; 33] = GROUPS.0;
static ORDER: [u8; COUNT] = GROUPS.1;

/// The row of a 32-bit instruction, or `None` when it is not one of RV64G. Rounding modes are not judged here.
pub fn find(raw: u32) -> Option<&'static Row> {
    let group = (raw >> 2 & 31) as usize;
    let rows = &ORDER[START[group] as usize..START[group + 1] as usize];
    rows.iter().map(|&row| &ROWS[row as usize]).find(|row| raw & row.mask == row.bits)
}

/// Field accessors of a 32-bit instruction.
pub mod field {
    /// Bits 11:7.
    pub const fn rd(raw: u32) -> usize {
        (raw >> 7 & 31) as usize
    }
    /// Bits 19:15.
    pub const fn rs1(raw: u32) -> usize {
        (raw >> 15 & 31) as usize
    }
    /// Bits 24:20.
    pub const fn rs2(raw: u32) -> usize {
        (raw >> 20 & 31) as usize
    }
    /// Bits 31:27.
    pub const fn rs3(raw: u32) -> usize {
        (raw >> 27) as usize
    }
    /// Bits 14:12.
    pub const fn rm(raw: u32) -> u32 {
        raw >> 12 & 7
    }
    /// I-type immediate.
    pub const fn imm_i(raw: u32) -> i32 {
        raw as i32 >> 20
    }
    /// S-type immediate.
    pub const fn imm_s(raw: u32) -> i32 {
        (raw as i32 >> 25 << 5) | (raw >> 7 & 31) as i32
    }
    /// B-type immediate: an even offset of ±4 KiB.
    pub const fn imm_b(raw: u32) -> i32 {
        (raw as i32 >> 31 << 12)
            | (raw << 4 & 0x800) as i32
            | (raw >> 20 & 0x7e0) as i32
            | (raw >> 7 & 0x1e) as i32
    }
    /// U-type immediate, already shifted.
    pub const fn imm_u(raw: u32) -> i32 {
        (raw & 0xffff_f000) as i32
    }
    /// J-type immediate: an even offset of ±1 MiB.
    pub const fn imm_j(raw: u32) -> i32 {
        (raw as i32 >> 31 << 20)
            | (raw & 0xf_f000) as i32
            | (raw >> 9 & 0x800) as i32
            | (raw >> 20 & 0x7fe) as i32
    }
    /// CSR number.
    pub const fn csr(raw: u32) -> u32 {
        raw >> 20
    }
    /// 6-bit shift amount.
    pub const fn shamt(raw: u32) -> u32 {
        raw >> 20 & 63
    }
}
