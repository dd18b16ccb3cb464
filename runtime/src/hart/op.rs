//! The decoded form: 16 bytes an op, in runs that end in a transfer.
//!
//! Made by [`super::lower`], kept by [`super::code`], executed by [`super::hot`].
//! Position independent: everything that depends on pc is relative to the page.

/// Number of an integer or floating-point register: an enum, so that indexing 32 registers needs no check.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
#[repr(u8)]
pub(super) enum Reg {
    R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15,
    R16, R17, R18, R19, R20, R21, R22, R23, R24, R25, R26, R27, R28, R29, R30, R31,
}

impl Reg {
    #[rustfmt::skip]
    const ALL: [Self; 32] = {
        use Reg::*;
        [
            R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15,
            R16, R17, R18, R19, R20, R21, R22, R23, R24, R25, R26, R27, R28, R29, R30, R31,
        ]
    };

    /// The register of a 5-bit field.
    pub(super) const fn of(field: usize) -> Self {
        Self::ALL[field & 31]
    }
}

/// One decoded instruction.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Op {
    pub(super) code: Code,
    pub(super) rd: Reg,
    pub(super) rs1: Reg,
    pub(super) rs2: Reg,
    /// Second destination or third source.
    pub(super) rd2: Reg,
    /// Instructions of the run before this op.
    pub(super) before: u8,
    /// Offset in the page (even), and in bit 0 whether the instruction has four bytes.
    at: u16,
    pub(super) imm: i32,
    /// Of a transfer: see [`Op::target`] and [`Op::delta`]. Of another instruction: its 32 bits.
    pub(super) aux: u32,
}

const _: () = assert!(size_of::<Op>() == 16);

impl Op {
    pub(super) fn new(code: Code, at: u16, len: u8) -> Self {
        let r = Reg::R0;
        Self { code, rd: r, rs1: r, rs2: r, rd2: r, before: 0, at: at | u16::from(len == 4), imm: 0, aux: 0 }
    }

    /// Offset of the instruction in its page.
    #[inline(always)]
    pub(super) fn at(&self) -> u64 {
        u64::from(self.at & !1)
    }

    /// Bytes of the (first) instruction.
    #[inline(always)]
    pub(super) fn len(&self) -> u8 {
        if self.at & 1 != 0 { 4 } else { 2 }
    }

    /// Sign-extended immediate.
    #[inline(always)]
    pub(super) fn imm(&self) -> u64 {
        i64::from(self.imm) as u64
    }

    /// Transfer: index of the op it goes to.
    #[inline(always)]
    pub(super) fn target(&self) -> u16 {
        self.aux as u16
    }

    /// Transfer: what it takes from the count of instructions left. Counts are kept as "left at the start of
    /// the run", so that nothing is counted between transfers: instructions of this run up to and with this
    /// one, less those before the target in its own run.
    #[inline(always)]
    pub(super) fn delta(&self) -> i64 {
        i64::from((self.aux as i32 >> 16) as i16)
    }

    pub(super) fn set_link(&mut self, target: u16, delta: i16) {
        self.aux = u32::from(target) | u32::from(delta as u16) << 16;
    }
}

/// What an op does. Ops that write x0 do not exist: they become `Nop`, `J`, `Jr` or `Exec`.
#[allow(missing_docs, reason = "the names are the manual's")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
#[repr(u8)]
pub(super) enum Code {
    /// Leave: `aux` is for [`super::exec`].
    Exec,
    /// Leave: [`super::exec`] fetches it again (not an instruction, or it lies in two pages).
    Step,
    /// A transfer to this page offset (`imm`) that has no op yet; `aux` low half: the op to link.
    Link,
    /// Translated code can be entered here, when `imm` instructions may run; the instruction itself follows.
    Enter,
    /// Continue at page offset `imm`, in another page: a jump there or the end of this page.
    Far,
    /// The same on behalf of a branch, which counts for it.
    FarStub,
    /// Continue at op `target`.
    J,
    /// The same, with the page offset `imm` as return address in rd.
    Jal,
    /// To page offset `imm`; return address is that of the next instruction.
    JalFar,
    Jr, Jalr,
    Beq, Bne, Blt, Bge, Bltu, Bgeu,
    Nop, Li, Mv, Auipc,
    Addi, Slti, Sltiu, Xori, Ori, Andi, Slli, Srli, Srai,
    Addiw, Slliw, Srliw, Sraiw,
    Add, Sub, Sll, Slt, Sltu, Xor, Srl, Sra, Or, And,
    Addw, Subw, Sllw, Srlw, Sraw,
    Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu, Mulw, Divw, Divuw, Remw, Remuw,
    Lb, Lh, Lw, Ld, Lbu, Lhu, Lwu, Sb, Sh, Sw, Sd,
    Flw, Fld, Fsw, Fsd,
    FaddD, FsubD, FmulD, FdivD, FsqrtD, FmaddD, FmsubD, FnmsubD, FnmaddD,
    FaddS, FsubS, FmulS, FdivS, FsqrtS, FmaddS, FmsubS, FnmsubS, FnmaddS,
    FsgnjD, FsgnjnD, FsgnjxD, FsgnjS, FsgnjnS, FsgnjxS,
    FeqD, FltD, FleD, FeqS, FltS, FleS,
    FmvXD, FmvDX, FmvXW, FmvWX,
    FcvtDW, FcvtDWu, FcvtDL, FcvtWD, FcvtLD, FcvtSD, FcvtDS, FcvtSW, FcvtSWu,
}
