//! One random case: the items of its body and their bytes.

use friscy_runtime::hart::isa::{Format, Instr, ROWS, Row, field, find};
use friscy_runtime::hart::{disasm, expand};

use super::Rng;
use super::program::asm;

/// Middle of the scratch memory, at a page end so that accesses straddle it.
pub const SCRATCH: u8 = 31;
/// Middle of the table of interesting values.
pub const TABLE: u8 = 30;
/// Counts the rounds of the body.
pub const ROUNDS: u8 = 29;
/// Counts the rounds of a loop in the body.
const INNER: u8 = 28;
/// State of the generator that picks fresh operands each round.
const LCG: u8 = 27;
/// Address or other passing value.
pub const TEMP: u8 = 26;
/// All registers of all rounds so far.
const SUM: u8 = 25;
/// Another passing value.
const TEMP2: u8 = 24;
/// Hold SCRATCH as well: sp for the c.*sp forms, s1 for the short ones.
const BASES: [u8; 3] = [SCRATCH, 2, 9];

/// A step of the body. Branches name items, so that any prefix of a body is a body.
#[derive(Debug, Clone)]
enum Item {
    /// Instructions that fall through.
    Plain(Vec<u8>),
    /// A branch or jump over this many of the next items.
    Skip { raw: Transfer, items: usize },
    /// Count down and perhaps go back to this item.
    Back { to: usize },
}

/// A transfer whose offset is not known yet.
#[derive(Debug, Clone, Copy)]
enum Transfer {
    Branch(u32),
    Jal {
        rd: u8,
    },
    /// auipc, addi, jalr.
    Jalr {
        rd: u8,
    },
    CompressedJump,
    /// c.beqz or c.bnez.
    CompressedBranch(u16),
    /// auipc, addi, c.jr or c.jalr.
    CompressedJr {
        link: bool,
    },
}

impl Transfer {
    fn len(self) -> usize {
        match self {
            Self::Branch(_) | Self::Jal { .. } => 4,
            Self::Jalr { .. } => 12,
            Self::CompressedJump | Self::CompressedBranch(_) => 2,
            Self::CompressedJr { .. } => 10,
        }
    }

    fn encode(self, offset: i32, out: &mut Vec<u8>) {
        let word = |out: &mut Vec<u8>, raw: u32| out.extend(raw.to_le_bytes());
        match self {
            Self::Branch(raw) => word(out, raw | asm::imm_b(offset)),
            Self::Jal { rd } => word(out, asm::jal(rd, offset)),
            Self::Jalr { rd } => {
                word(out, asm::auipc(TEMP));
                word(out, asm::addi(TEMP, TEMP, offset - 8));
                word(out, asm::jalr(rd, TEMP, 8));
            }
            Self::CompressedJump => {
                let o = offset as u32;
                let bits = [
                    (11, 12),
                    (4, 11),
                    (9, 10),
                    (8, 9),
                    (10, 8),
                    (6, 7),
                    (7, 6),
                    (3, 5),
                    (2, 4),
                    (1, 3),
                    (5, 2),
                ];
                out.extend((0xa001 | asm::scatter(o, &bits) as u16).to_le_bytes());
            }
            Self::CompressedBranch(half) => {
                let bits = [(8, 12), (4, 11), (3, 10), (7, 6), (6, 5), (2, 4), (1, 3), (5, 2)];
                out.extend((half | asm::scatter(offset as u32, &bits) as u16).to_le_bytes());
            }
            Self::CompressedJr { link } => {
                word(out, asm::auipc(TEMP));
                word(out, asm::addi(TEMP, TEMP, offset));
                let half = 0x8002 | u16::from(TEMP) << 7 | u16::from(link) << 12;
                out.extend(half.to_le_bytes());
            }
        }
    }
}

/// A generated body.
#[derive(Debug, Clone)]
pub struct Body {
    items: Vec<Item>,
    /// Starting value of the operand generator.
    lcg: u64,
    fresh: Vec<u32>,
}

fn dest(rng: &mut Rng) -> u8 {
    loop {
        let rd = rng.below(24) as u8;
        if !BASES.contains(&rd) && (rd != 0 || rng.one_in(4)) {
            return rd;
        }
    }
}

fn any(rng: &mut Rng) -> u32 {
    rng.below(32) as u32
}

/// Make a body of `length` items.
pub fn body(rng: &mut Rng, length: usize) -> Body {
    let mut items = Vec::new();
    let mut loop_start = None;
    for at in 0..length {
        let item = match rng.below(24) {
            0 | 1 => Item::Skip { raw: transfer(rng), items: 1 + rng.below(5) as usize },
            2 if loop_start.is_none() => {
                loop_start = Some(at + 1);
                Item::Plain(asm::addi(INNER, 0, rng.below(6) as i32).to_le_bytes().to_vec())
            }
            3 => match loop_start.take() {
                Some(to) if at - to < 60 => Item::Back { to },
                _ => Item::Plain(compressed(rng)),
            },
            4..12 => Item::Plain(compressed(rng)),
            12 if rng.one_in(6) => Item::Plain(patch(rng)),
            _ => Item::Plain(instruction(rng)),
        };
        items.push(item);
    }
    Body { items, lcg: rng.next(), fresh: fresh_operands(rng) }
}

fn transfer(rng: &mut Rng) -> Transfer {
    match rng.below(10) {
        0 => Transfer::Jal { rd: dest(rng) },
        1 => Transfer::Jalr { rd: dest(rng) },
        2 => Transfer::CompressedJump,
        3 | 4 => {
            let half = rng.pick(&[0xc001, 0xe001]) | (rng.below(8) as u16) << 7;
            Transfer::CompressedBranch(half)
        }
        5 => Transfer::CompressedJr { link: rng.one_in(2) },
        _ => {
            let funct3 = rng.pick(&[0, 1, 4, 5, 6, 7]);
            Transfer::Branch(0x63 | funct3 << 12 | any(rng) << 15 | any(rng) << 20)
        }
    }
}

/// Loads of some registers from places of the table that the round's number chooses.
fn fresh_operands(rng: &mut Rng) -> Vec<u32> {
    let mut code = Vec::new();
    for _ in 0..8 {
        // LCG = LCG * (TABLE's odd neighbour) + SUM; TEMP = TABLE + (LCG >> s & 0x7f8)
        code.push(asm::addi(TEMP2, 0, rng.below(2048) as i32 | 5));
        code.push(asm::mul(LCG, LCG, TEMP2));
        code.push(asm::addi(LCG, LCG, rng.below(2048) as i32));
        code.push(asm::srli(TEMP, LCG, 20 + rng.below(20) as i32));
        code.push(asm::andi(TEMP, TEMP, 0x7f8));
        code.push(asm::add(TEMP, TEMP, TABLE));
        let offset = rng.pick(&[0, 0, 0, -2048, -1024]);
        if rng.one_in(4) {
            code.push(asm::ld(dest(rng), TEMP, offset));
        } else if rng.one_in(3) {
            code.push(asm::flw(any(rng) as u8, TEMP, offset));
        } else {
            code.push(asm::fld(any(rng) as u8, TEMP, offset));
        }
    }
    code
}

/// A random 16-bit instruction that leaves the reserved registers alone.
fn compressed(rng: &mut Rng) -> Vec<u8> {
    loop {
        let half = rng.next() as u16;
        if half & 3 == 3 {
            continue;
        }
        let Some(raw) = expand(half) else { continue };
        let Some(row) = find(raw) else { continue };
        let (rd, rs1) = (field::rd(raw) as u8, field::rs1(raw) as u8);
        let ours = rd < 24 && (!BASES.contains(&rd) || rd == 2);
        let accepted = match row.format {
            Format::R | Format::I | Format::Shift | Format::ShiftW | Format::U => ours,
            Format::Load => ours && rd != 2 && BASES.contains(&rs1),
            Format::LoadF | Format::Store | Format::StoreF => BASES.contains(&rs1),
            _ => false,
        };
        if accepted {
            let mut bytes = half.to_le_bytes().to_vec();
            if rd == 2 && !matches!(row.format, Format::LoadF | Format::Store | Format::StoreF) {
                bytes.extend(asm::addi(5, 2, 0).to_le_bytes());
                bytes.extend(asm::addi(2, SCRATCH, 0).to_le_bytes());
            }
            return bytes;
        }
    }
}

/// Overwrite an instruction just ahead, FENCE.I, and run it.
fn patch(rng: &mut Rng) -> Vec<u8> {
    let rd = dest(rng);
    let old = asm::addi(rd, rng.below(24) as u8, rng.below(2048) as i32);
    let new = asm::addi(rd, rng.below(24) as u8, rng.below(2048) as i32);
    let upper = new.wrapping_add(0x800) & 0xffff_f000;
    let lower = new.wrapping_sub(upper) as i32;
    let code = [
        asm::lui(TEMP2, upper),
        asm::addi(TEMP2, TEMP2, lower),
        asm::auipc(TEMP),
        asm::sw(TEMP2, TEMP, 12),
        0x0000_100f,
        old,
    ];
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A random 32-bit instruction, with what must come before it.
fn instruction(rng: &mut Rng) -> Vec<u8> {
    loop {
        let row = &ROWS[rng.below(ROWS.len() as u64) as usize];
        if let Some(mut code) = encode(rng, row) {
            if row.format.rounds() && rng.one_in(3) {
                // Read the flags before others hide them, and set them to none or to NX: csrrwi rd, fflags, 0 or 1.
                code.push(0x0010_5073 | u32::from(dest(rng)) << 7 | (rng.below(2) as u32) << 15);
            }
            return code.iter().flat_map(|word| word.to_le_bytes()).collect();
        }
    }
}

fn encode(rng: &mut Rng, row: &Row) -> Option<Vec<u32>> {
    let rd = u32::from(dest(rng)) << 7;
    let fd = any(rng) << 7;
    let (rs1, rs2, rs3) = (any(rng) << 15, any(rng) << 20, any(rng) << 27);
    let base = u32::from(rng.pick(&BASES));
    let rm = rng.pick(&[0, 0, 1, 2, 3, 4, 7, 7, 7, 7]) << 12;
    let imm = if rng.one_in(4) { rng.below(16) as i32 - 8 } else { rng.below(4096) as i32 - 2048 };
    let imm_i = (imm as u32) << 20;
    let imm_s = (imm as u32 & 31) << 7 | (imm as u32 >> 5 & 127) << 25;
    let bits = row.bits;
    Some(vec![match row.format {
        Format::R => bits | rd | rs1 | rs2,
        Format::I => bits | rd | rs1 | imm_i,
        Format::Shift => bits | rd | rs1 | (rng.below(64) as u32) << 20,
        Format::ShiftW => bits | rd | rs1 | rs2,
        Format::Load => bits | rd | base << 15 | imm_i,
        Format::LoadF if rng.one_in(2) => bits | fd | u32::from(TABLE) << 15 | (imm_i & 0xff80_0000),
        Format::LoadF => bits | fd | base << 15 | imm_i,
        Format::Store | Format::StoreF => bits | base << 15 | rs2 | imm_s,
        Format::U => bits | rd | (rng.next() as u32 & 0xffff_f000),
        Format::None if matches!(row.instr, Instr::Ecall | Instr::Ebreak) => return None,
        Format::None => bits,
        Format::Csr | Format::CsrI => return csr(rng, row, rd, rs1),
        Format::Lr | Format::Amo => return Some(atomic(rng, row, rd, rs2)),
        Format::FffRm => bits | fd | rs1 | rs2 | rm,
        Format::Fff => bits | fd | rs1 | rs2,
        Format::Xff => bits | rd | rs1 | rs2,
        Format::FfRm => bits | fd | rs1 | rm,
        Format::XfRm => bits | rd | rs1 | rm,
        Format::FxRm => bits | fd | rs1 | rm,
        Format::Xf => bits | rd | rs1,
        Format::Fx => bits | fd | rs1,
        Format::Fma => bits | fd | rs1 | rs2 | rs3 | rm,
        Format::B | Format::J | Format::Jalr => return None,
    }])
}

/// CSR instructions that cannot select a reserved rounding mode.
fn csr(rng: &mut Rng, row: &Row, rd: u32, rs1: u32) -> Option<Vec<u32>> {
    let (fflags, frm, fcsr) = (1 << 20, 2 << 20, 3 << 20);
    let mode = (rng.below(5) as u32) << 15;
    Some(vec![match row.instr {
        Instr::Csrrwi if rng.one_in(2) => row.bits | rd | frm | mode,
        Instr::Csrrwi if rng.one_in(2) => row.bits | rd | fcsr | rs1,
        Instr::Csrrs if rng.one_in(2) => row.bits | rd | rng.pick(&[fflags, frm, fcsr]),
        _ => row.bits | rd | fflags | rs1,
    }])
}

/// The instruction with an aligned address; for LR the SC too, at times with a store between.
fn atomic(rng: &mut Rng, row: &Row, rd: u32, rs2: u32) -> Vec<u32> {
    let offset = (rng.below(512) as i32 - 256) * 8 + if row.bits >> 12 & 1 == 0 { 4 } else { 0 };
    let order = (rng.below(4) as u32) << 25;
    let mut code = vec![asm::addi(TEMP, SCRATCH, offset.min(2040))];
    let bits = row.bits | rd | u32::from(TEMP) << 15 | order;
    if row.format == Format::Amo {
        code.push(bits | rs2);
        return code;
    }
    code.push(bits);
    match rng.below(6) {
        0 => code.push(asm::sw(rng.below(32) as u8, TEMP, 0)),
        1 => code.push(asm::addi(TEMP, TEMP, 8)),
        2 => return code,
        _ => {}
    }
    let sc = ROWS.iter().find(|sc| sc.name == if row.bits >> 12 & 1 == 1 { "sc.d" } else { "sc.w" });
    code.extend(sc.map(|sc| sc.bits | u32::from(dest(rng)) << 7 | u32::from(TEMP) << 15 | rs2));
    code
}

impl Body {
    /// How many items it has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Only the items `keep` names; the others become nothing.
    pub fn without(&self, range: std::ops::Range<usize>) -> Self {
        let mut body = self.clone();
        for item in &mut body.items[range] {
            *item = Item::Plain(Vec::new());
        }
        body
    }

    /// The bytes of one case: `rounds` times fresh operands, the items, and the sum over all registers.
    pub fn assemble(&self, rounds: u32, out: &mut Vec<u8>) {
        let word = |out: &mut Vec<u8>, raw: u32| out.extend(raw.to_le_bytes());
        word(out, asm::lui(ROUNDS, rounds << 12));
        word(out, asm::srli(ROUNDS, ROUNDS, 12));
        word(out, asm::lui(LCG, self.lcg as u32 & 0xffff_f000));
        word(out, asm::addi(LCG, LCG, (self.lcg >> 32) as i32 & 2047));
        word(out, asm::addi(SUM, 0, 0));
        for raw in 0..24u8 {
            if raw != 0 {
                let base = if BASES.contains(&raw) { SCRATCH } else { TABLE };
                let load = asm::ld(raw, TABLE, i32::from(raw) * 8 - (self.lcg as i32 & 127) * 8);
                word(out, if base == SCRATCH { asm::addi(raw, SCRATCH, 0) } else { load });
            }
        }
        for f in 0..32u8 {
            word(out, asm::fld(f, TABLE, i32::from(f) * 8 - (self.lcg as i32 >> 8 & 127) * 8));
        }
        word(out, 0x0030_1073); // fscsr zero
        let top = out.len();
        self.fresh.iter().for_each(|&raw| word(out, raw));
        self.assemble_items(out);
        for reg in (1..24u8).filter(|reg| !BASES.contains(reg)) {
            word(out, asm::slli(TEMP, SUM, 7));
            word(out, asm::xor(SUM, SUM, reg));
            word(out, asm::add(SUM, SUM, TEMP));
        }
        for f in 0..32u8 {
            word(out, asm::slli(TEMP, SUM, 5));
            word(out, asm::fmv_x_d(TEMP2, f));
            word(out, asm::xor(SUM, SUM, TEMP2));
            word(out, asm::add(SUM, SUM, TEMP));
        }
        word(out, 0x0030_2073 | u32::from(TEMP) << 7); // frcsr
        word(out, asm::add(SUM, SUM, TEMP));
        word(out, asm::addi(ROUNDS, ROUNDS, -1));
        // Over a jump back, which reaches further than a branch.
        word(out, 0x63 | u32::from(ROUNDS) << 15 | asm::imm_b(8));
        let offset = top as i32 - out.len() as i32;
        word(out, asm::jal(0, offset));
    }

    fn assemble_items(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut at = vec![0];
        for item in &self.items {
            let len = match item {
                Item::Plain(bytes) => bytes.len(),
                Item::Skip { raw, .. } => raw.len(),
                Item::Back { .. } => 12,
            };
            at.push(at[at.len() - 1] + len);
        }
        for (index, item) in self.items.iter().enumerate() {
            debug_assert_eq!(out.len() - start, at[index]);
            match item {
                Item::Plain(bytes) => out.extend(bytes),
                Item::Skip { raw, items } => {
                    let target = at[(index + 1 + items).min(self.items.len())];
                    raw.encode((target - at[index]) as i32, out);
                }
                Item::Back { to } => {
                    out.extend(asm::andi(INNER, INNER, 7).to_le_bytes());
                    out.extend(asm::addi(INNER, INNER, -1).to_le_bytes());
                    let offset = at[*to] as i32 - (at[index] + 8) as i32;
                    // blt zero, INNER
                    out.extend((0x4063 | u32::from(INNER) << 20 | asm::imm_b(offset)).to_le_bytes());
                }
            }
        }
    }

    /// The items that are left, disassembled.
    pub fn listing(&self) -> String {
        let mut bytes = Vec::new();
        self.assemble_items(&mut bytes);
        let mut text = String::new();
        let mut at = 0;
        while at + 2 <= bytes.len() {
            let mut raw = [0; 4];
            let available = bytes.len().min(at + 4) - at;
            raw[..available].copy_from_slice(&bytes[at..at + available]);
            let raw = u32::from_le_bytes(raw);
            let len = if raw & 3 == 3 { 4 } else { 2 };
            let shown = if len == 4 { raw } else { raw & 0xffff };
            text += &format!("  {at:5x}: {shown:08x}  {}\n", disasm::disassemble(shown, at as u64));
            at += len;
        }
        text
    }
}
