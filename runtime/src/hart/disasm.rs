//! Instructions as text, for diagnostics: objdump's way, without pseudo-instructions.

use super::isa::{self, Format, field};

const X: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];
const F: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4",
    "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8",
    "ft9", "ft10", "ft11",
];
const RM: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "rm5", "rm6", "dyn"];

/// The instruction whose first bytes are the low bits of `raw`, lying at `pc`.
pub fn disassemble(raw: u32, pc: u64) -> String {
    let (wide, compressed) =
        if raw & 3 == 3 { (Some(raw), false) } else { (super::expand(raw as u16), true) };
    let Some((raw32, row)) = wide.and_then(|wide| isa::find(wide).map(|row| (wide, row))) else {
        return if compressed {
            format!(".half {:#06x}", raw & 0xffff)
        } else {
            format!(".word {raw:#010x}")
        };
    };
    let name = if compressed { format!("c:{}", row.name) } else { row.name.to_owned() };
    let operands = operands(row.format, raw32, pc);
    if operands.is_empty() { name } else { format!("{name} {operands}") }
}

fn operands(format: Format, raw: u32, pc: u64) -> String {
    let (rd, rs1, rs2) = (field::rd(raw), field::rs1(raw), field::rs2(raw));
    let rm = RM[field::rm(raw) as usize];
    let imm = field::imm_i(raw);
    match format {
        Format::R => format!("{},{},{}", X[rd], X[rs1], X[rs2]),
        Format::I => format!("{},{},{imm}", X[rd], X[rs1]),
        Format::Shift => format!("{},{},{}", X[rd], X[rs1], field::shamt(raw)),
        Format::ShiftW => format!("{},{},{}", X[rd], X[rs1], field::shamt(raw) & 31),
        Format::Load | Format::Jalr => format!("{},{imm}({})", X[rd], X[rs1]),
        Format::LoadF => format!("{},{imm}({})", F[rd], X[rs1]),
        Format::Store => format!("{},{}({})", X[rs2], field::imm_s(raw), X[rs1]),
        Format::StoreF => format!("{},{}({})", F[rs2], field::imm_s(raw), X[rs1]),
        Format::B => {
            let to = pc.wrapping_add(field::imm_b(raw) as i64 as u64);
            format!("{},{},{to:#x}", X[rs1], X[rs2])
        }
        Format::U => format!("{},{:#x}", X[rd], raw >> 12),
        Format::J => format!("{},{:#x}", X[rd], pc.wrapping_add(field::imm_j(raw) as i64 as u64)),
        Format::None => String::new(),
        Format::Csr => format!("{},{:#x},{}", X[rd], field::csr(raw), X[rs1]),
        Format::CsrI => format!("{},{:#x},{rs1}", X[rd], field::csr(raw)),
        Format::Lr => format!("{},({})", X[rd], X[rs1]),
        Format::Amo => format!("{},{},({})", X[rd], X[rs2], X[rs1]),
        Format::FffRm => format!("{},{},{},{rm}", F[rd], F[rs1], F[rs2]),
        Format::Fff => format!("{},{},{}", F[rd], F[rs1], F[rs2]),
        Format::Xff => format!("{},{},{}", X[rd], F[rs1], F[rs2]),
        Format::FfRm => format!("{},{},{rm}", F[rd], F[rs1]),
        Format::XfRm => format!("{},{},{rm}", X[rd], F[rs1]),
        Format::FxRm => format!("{},{},{rm}", F[rd], X[rs1]),
        Format::Xf => format!("{},{}", X[rd], F[rs1]),
        Format::Fx => format!("{},{}", F[rd], X[rs1]),
        Format::Fma => format!("{},{},{},{},{rm}", F[rd], F[rs1], F[rs2], F[field::rs3(raw)]),
    }
}
