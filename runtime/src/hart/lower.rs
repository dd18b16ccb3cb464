//! From instructions to ops.

use super::isa::{self, Format, Instr, field};
use super::op::{Code, Op, Reg};

/// An instruction as the decoder found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// Offset in its page.
    pub(super) at: u16,
    /// Bytes.
    pub(super) len: u8,
    /// Its 32 bits, expanded.
    pub(super) raw: u32,
    /// Which it is.
    pub(super) row: &'static isa::Row,
}

impl Source {
    fn reg(self, number: usize) -> Reg {
        Reg::of(number)
    }

    /// Page offset a direct jump or branch goes to.
    pub(super) fn target(self) -> Option<i32> {
        match self.row.format {
            Format::B => Some(i32::from(self.at) + field::imm_b(self.raw)),
            Format::J => Some(i32::from(self.at) + field::imm_j(self.raw)),
            _ => None,
        }
    }
}

/// The op of one instruction. Transfers get their link from the caller ([`Source::target`]).
pub(super) fn single(source: Source) -> Op {
    let Source { raw, at, len, row } = source;
    let mut op = Op::new(code(row.instr), at, len);
    op.aux = raw;
    op.rd = source.reg(field::rd(raw));
    op.rs1 = source.reg(field::rs1(raw));
    op.rs2 = source.reg(field::rs2(raw));
    let no_rd = field::rd(raw) == 0;
    match row.format {
        // One hart runs at a time and decoded code is never stale, so fences have nothing to do.
        Format::None if matches!(row.instr, Instr::Fence | Instr::FenceI) => op.code = Code::Nop,
        Format::R if no_rd => op.code = Code::Nop,
        Format::I | Format::Shift | Format::ShiftW if no_rd => op.code = Code::Nop,
        Format::I => {
            op.imm = field::imm_i(raw);
            if row.instr == Instr::Addi && field::rs1(raw) == 0 {
                op.code = Code::Li;
            } else if row.instr == Instr::Addi && op.imm == 0 {
                op.code = Code::Mv;
            }
        }
        Format::R if row.instr == Instr::Add && field::rs1(raw) == 0 => {
            op.code = Code::Mv;
            op.rs1 = op.rs2;
        }
        Format::Shift => op.imm = field::shamt(raw) as i32,
        Format::ShiftW => op.imm = (field::shamt(raw) & 31) as i32,
        Format::U if no_rd => op.code = Code::Nop,
        Format::U => {
            op.imm = field::imm_u(raw);
            if row.instr == Instr::Auipc {
                // Never overflows: the low 12 bits of the immediate are zero.
                op.imm |= i32::from(at);
            }
        }
        // A load into x0 still touches memory.
        Format::Load if no_rd => op.code = Code::Exec,
        Format::Load | Format::LoadF => op.imm = field::imm_i(raw),
        Format::Store | Format::StoreF => op.imm = field::imm_s(raw),
        Format::J => {
            op.code = if no_rd { Code::J } else { Code::Jal };
            op.imm = i32::from(at) + i32::from(len);
        }
        Format::Jalr => {
            op.code = if no_rd { Code::Jr } else { Code::Jalr };
            op.imm = field::imm_i(raw);
        }
        Format::Xf | Format::Xff | Format::XfRm if no_rd => op.code = Code::Exec,
        // The hot function truncates only; all else it rounds to nearest, and looks at frm even for exact results,
        // since a reserved mode makes them illegal.
        Format::XfRm if field::rm(raw) != 1 => op.code = Code::Exec,
        Format::XfRm => {}
        format if format.rounds() && !matches!(field::rm(raw), 0 | 7) => op.code = Code::Exec,
        Format::Fma => op.rd2 = source.reg(field::rs3(raw)),
        _ => {}
    }
    op
}

/// What executes an instruction when nothing special is known of its operands.
#[rustfmt::skip]
fn code(instr: Instr) -> Code {
    macro_rules! same {
        ($($name:ident)*) => { match instr { Instr::Lui => Code::Li, $(Instr::$name => Code::$name,)* _ => Code::Exec } };
    }
    same! {
        Auipc Jal Jalr Beq Bne Blt Bge Bltu Bgeu Lb Lh Lw Ld Lbu Lhu Lwu Sb Sh Sw Sd
        Addi Slti Sltiu Xori Ori Andi Slli Srli Srai Add Sub Sll Slt Sltu Xor Srl Sra Or And
        Addiw Slliw Srliw Sraiw Addw Subw Sllw Srlw Sraw
        Mul Mulh Mulhsu Mulhu Div Divu Rem Remu Mulw Divw Divuw Remw Remuw
        Flw Fld Fsw Fsd
        FaddD FsubD FmulD FdivD FsqrtD FmaddD FmsubD FnmsubD FnmaddD
        FaddS FsubS FmulS FdivS FsqrtS FmaddS FmsubS FnmsubS FnmaddS
        FsgnjD FsgnjnD FsgnjxD FsgnjS FsgnjnS FsgnjxS FeqD FltD FleD FeqS FltS FleS
        FmvXD FmvDX FmvXW FmvWX FcvtDW FcvtDWu FcvtDL FcvtWD FcvtLD FcvtSD FcvtDS FcvtSW FcvtSWu
    }
}
