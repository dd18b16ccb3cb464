//! Integer instructions, and what to do with each instruction in turn.

use friscy_runtime::hart::isa::{Format, Instr, field};

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::words::{self, Cut, is_word};
use crate::{fp, mem, step};

/// Whether an instruction has a translation. The others are [`step`]s or the interpreter's.
pub(crate) fn supported(insn: &Insn) -> bool {
    match insn.row.format {
        Format::R
        | Format::I
        | Format::Shift
        | Format::ShiftW
        | Format::U
        | Format::B
        | Format::J
        | Format::Jalr => true,
        // A load into x0 still touches memory.
        Format::Load => field::rd(insn.raw) != 0,
        Format::Store | Format::LoadF | Format::StoreF => true,
        // One hart runs at a time, and code that changes is no longer this code.
        Format::None => matches!(insn.row.instr, Instr::Fence | Instr::FenceI),
        Format::Csr | Format::CsrI | Format::Lr | Format::Amo => false,
        _ => fp::supported(insn),
    }
}

impl Emitter<'_> {
    /// Emit an instruction that does not transfer. `rest` starts with it; `set` is stored when it cannot be done here.
    pub(crate) fn insn(&mut self, insn: &Insn, rest: &[Insn], set: Set, state: &mut State) {
        let raw = insn.raw;
        let (rd, rs1) = (field::rd(raw), field::rs1(raw));
        match insn.row.format {
            _ if !supported(insn) => step::operation(self, insn, set, state),
            Format::Load | Format::LoadF | Format::Store | Format::StoreF => {
                mem::access(self, insn, rest, set, state);
            }
            Format::None => {}
            Format::R | Format::I | Format::Shift | Format::ShiftW | Format::U => {
                if let Some(cut) = Cut::at(rest) {
                    self.cut(cut, insn, state);
                } else if rd != 0 {
                    let word = words::result(insn, state.words);
                    self.integer(insn, word, state.words);
                    self.set(rd, word, state);
                }
            }
            _ => fp::operation(self, insn, set, state),
        }
        let written = crate::flow::writes(insn);
        if written as u32 != 0 {
            let moved = insn.row.instr == Instr::Addi && rs1 != 0;
            mem::forget(state, rd, moved.then(|| (rs1, i64::from(field::imm_i(raw)))));
        }
    }

    /// Both instructions of a cut.
    fn cut(&mut self, cut: Cut, insn: &Insn, state: &mut State) {
        let Cut { bits, left, signed } = cut;
        self.get_word(field::rs1(insn.raw), state.words);
        let mut op = self.op();
        let away = (32 - bits).cast_signed();
        match (signed, bits, left) {
            (_, 32, _) | (true, 8 | 16, 0) | (false, _, 0) => {}
            _ => {
                op.i32_const(away).i32_shl();
            }
        }
        let back = away - left.cast_signed();
        match (signed, bits, left) {
            (true, 32, 0) => {}
            (true, 16, 0) => {
                op.i32_extend16_s();
            }
            (true, 8, 0) => {
                op.i32_extend8_s();
            }
            (true, ..) => {
                op.i32_const(back).i32_shr_s();
            }
            (false, 32, _) => {
                op.i64_extend_i32_u();
            }
            (false, _, 0) => {
                op.i32_const(((1_u32 << bits) - 1).cast_signed()).i32_and();
            }
            (false, ..) if cut.is_word() => {
                op.i32_const(back).i32_shr_u();
            }
            (false, ..) => {
                op.i32_const(away).i32_shr_u().i64_extend_i32_u();
            }
        }
        if !cut.is_word() && left != 0 {
            op.i64_const(left.into()).i64_shl();
        }
        self.set(field::rd(insn.raw), cut.is_word(), state);
    }

    /// Push the condition of a branch.
    pub(crate) fn condition(&mut self, insn: &Insn, words: Set) {
        use Instr::*;
        let (a, b) = (field::rs1(insn.raw), field::rs2(insn.raw));
        let word = is_word(words, a) && is_word(words, b);
        if b == 0 && matches!(insn.row.instr, Beq | Bne) {
            if word {
                self.get_word(a, words);
                if insn.row.instr == Beq {
                    self.op().i32_eqz();
                }
                return;
            }
            self.get(a, words);
            self.op().i64_eqz();
            if insn.row.instr == Bne {
                self.op().i32_eqz();
            }
            return;
        }
        self.operands(a, b, word, words);
        let mut op = self.op();
        match (insn.row.instr, word) {
            (Beq, true) => op.i32_eq(),
            (Bne, true) => op.i32_ne(),
            (Blt, true) => op.i32_lt_s(),
            (Bge, true) => op.i32_ge_s(),
            // Sign extension keeps the unsigned order.
            (Bltu, true) => op.i32_lt_u(),
            (_, true) => op.i32_ge_u(),
            (Beq, false) => op.i64_eq(),
            (Bne, false) => op.i64_ne(),
            (Blt, false) => op.i64_lt_s(),
            (Bge, false) => op.i64_ge_s(),
            (Bltu, false) => op.i64_lt_u(),
            (_, false) => op.i64_ge_u(),
        };
    }

    /// Push two registers, both as words or both in full.
    fn operands(&mut self, a: usize, b: usize, word: bool, words: Set) {
        for n in [a, b] {
            if word {
                self.get_word(n, words);
            } else {
                self.get(n, words);
            }
        }
    }

    /// Push the result of an instruction: an i32 if it is a word.
    #[allow(clippy::too_many_lines, reason = "one line per instruction")]
    fn integer(&mut self, insn: &Insn, word: bool, words: Set) {
        use Instr::*;
        let raw = insn.raw;
        let (a, b) = (field::rs1(raw), field::rs2(raw));
        let imm = i64::from(field::imm_i(raw));
        let shamt = field::shamt(raw);
        match insn.row.instr {
            Lui => {
                self.op().i32_const(field::imm_u(raw));
            }
            Auipc => {
                let to = insn.at.wrapping_add_signed(field::imm_u(raw).into());
                let distance = to.wrapping_sub(self.cx.origin).cast_signed();
                self.op().local_get(local::ORIGIN).i64_const(distance).i64_add();
            }
            Addi if a == 0 => {
                self.op().i32_const(imm as i32);
            }
            Addi if word => self.get_word(a, words),
            Addi if imm == 0 => self.get(a, words),
            Xori | Ori | Andi if word => {
                self.get_word(a, words);
                let mut op = self.op();
                op.i32_const(imm as i32);
                match insn.row.instr {
                    Xori => op.i32_xor(),
                    Ori => op.i32_or(),
                    _ => op.i32_and(),
                };
            }
            Slti | Sltiu if is_word(words, a) => {
                self.get_word(a, words);
                let mut op = self.op();
                op.i32_const(imm as i32);
                if insn.row.instr == Slti {
                    op.i32_lt_s()
                } else {
                    op.i32_lt_u()
                };
            }
            Addi | Xori | Ori | Andi | Slti | Sltiu => {
                self.get(a, words);
                let mut op = self.op();
                op.i64_const(imm);
                match insn.row.instr {
                    Addi => op.i64_add(),
                    Xori => op.i64_xor(),
                    Ori => op.i64_or(),
                    Andi => op.i64_and(),
                    Slti => op.i64_lt_s(),
                    _ => op.i64_lt_u(),
                };
            }
            Srai if is_word(words, a) => {
                self.get_word(a, words);
                self.op().i32_const(shamt.min(31).cast_signed()).i32_shr_s();
            }
            Slli | Srli | Srai => {
                self.get(a, words);
                let mut op = self.op();
                op.i64_const(shamt.into());
                match insn.row.instr {
                    Slli => op.i64_shl(),
                    Srli => op.i64_shr_u(),
                    _ => op.i64_shr_s(),
                };
                if word {
                    op.i32_wrap_i64();
                }
            }
            Addiw => {
                self.get_word(a, words);
                if imm != 0 {
                    self.op().i32_const(imm as i32).i32_add();
                }
            }
            Slliw | Srliw | Sraiw => {
                self.get_word(a, words);
                let mut op = self.op();
                op.i32_const((shamt & 31).cast_signed());
                match insn.row.instr {
                    Slliw => op.i32_shl(),
                    Srliw => op.i32_shr_u(),
                    _ => op.i32_shr_s(),
                };
            }
            Slt | Sltu => {
                let narrow = is_word(words, a) && is_word(words, b);
                self.operands(a, b, narrow, words);
                let mut op = self.op();
                match (insn.row.instr, narrow) {
                    (Slt, true) => op.i32_lt_s(),
                    (_, true) => op.i32_lt_u(),
                    (Slt, false) => op.i64_lt_s(),
                    (_, false) => op.i64_lt_u(),
                };
            }
            Add if a == 0 => self.get(b, words),
            Add | Sub | Sll | Xor | Srl | Sra | Or | And | Mul if !word => {
                self.operands(a, b, false, words);
                let mut op = self.op();
                match insn.row.instr {
                    Add => op.i64_add(),
                    Sub => op.i64_sub(),
                    Sll => op.i64_shl(),
                    Xor => op.i64_xor(),
                    Srl => op.i64_shr_u(),
                    Sra => op.i64_shr_s(),
                    Or => op.i64_or(),
                    And => op.i64_and(),
                    _ => op.i64_mul(),
                };
            }
            Addw | Subw | Sllw | Srlw | Sraw | Mulw | Xor | Or | And => {
                self.operands(a, b, true, words);
                let mut op = self.op();
                match insn.row.instr {
                    Addw => op.i32_add(),
                    Subw => op.i32_sub(),
                    Sllw => op.i32_shl(),
                    Srlw => op.i32_shr_u(),
                    Sraw => op.i32_shr_s(),
                    Mulw => op.i32_mul(),
                    Xor => op.i32_xor(),
                    Or => op.i32_or(),
                    _ => op.i32_and(),
                };
            }
            Mulhu => self.mulhu(a, b, words),
            Mulh => {
                // Signed from unsigned: each negative factor added 2^64 times the other.
                self.mulhu(a, b, words);
                self.less_if_negative(a, b, words);
                self.less_if_negative(b, a, words);
            }
            Mulhsu => {
                self.mulhu(a, b, words);
                self.less_if_negative(a, b, words);
            }
            _ => self.divide(insn.row.instr, a, b, words),
        }
    }

    /// Subtract `b` from what is on the stack if `a` is negative.
    fn less_if_negative(&mut self, a: usize, b: usize, words: Set) {
        self.get(a, words);
        self.op().i64_const(63).i64_shr_s();
        self.get(b, words);
        self.op().i64_and().i64_sub();
    }

    /// Push the high half of the unsigned product, from products of halves.
    fn mulhu(&mut self, a: usize, b: usize, words: Set) {
        const LOW: i64 = 0xffff_ffff;
        let [a0, b0, mid, mid2] = local::T;
        self.get(a, words);
        self.op().i64_const(LOW).i64_and().local_set(a0);
        self.get(b, words);
        self.op().i64_const(LOW).i64_and().local_set(b0);
        // mid = a1 * b0 + (a0 * b0 >> 32)
        self.get(a, words);
        self.op().i64_const(32).i64_shr_u().local_get(b0).i64_mul();
        self.op().local_get(a0).local_get(b0).i64_mul().i64_const(32).i64_shr_u().i64_add().local_set(mid);
        // mid2 = a0 * b1 + low half of mid
        self.op().local_get(a0);
        self.get(b, words);
        self.op().i64_const(32).i64_shr_u().i64_mul();
        self.op().local_get(mid).i64_const(LOW).i64_and().i64_add().local_set(mid2);
        // a1 * b1 + high halves
        self.get(a, words);
        self.op().i64_const(32).i64_shr_u();
        self.get(b, words);
        self.op().i64_const(32).i64_shr_u().i64_mul();
        self.op().local_get(mid).i64_const(32).i64_shr_u().i64_add();
        self.op().local_get(mid2).i64_const(32).i64_shr_u().i64_add();
    }

    /// Division never traps: by zero it gives all ones and the dividend, on overflow the dividend and zero.
    fn divide(&mut self, instr: Instr, a: usize, b: usize, words: Set) {
        use Instr::*;
        use wasm_encoder::{BlockType, ValType};
        let wide = matches!(instr, Div | Divu | Rem | Remu);
        let signed = matches!(instr, Div | Rem | Divw | Remw);
        let remainder = matches!(instr, Rem | Remu | Remw | Remuw);
        let kind = BlockType::Result(if wide { ValType::I64 } else { ValType::I32 });
        let operand =
            |emitter: &mut Self, n| if wide { emitter.get(n, words) } else { emitter.get_word(n, words) };
        let constant = |emitter: &mut Self, value: i32| {
            let mut op = emitter.op();
            if wide {
                op.i64_const(value.into())
            } else {
                op.i32_const(value)
            };
        };
        let zero = |emitter: &mut Self| {
            let mut op = emitter.op();
            if wide {
                op.i64_eqz()
            } else {
                op.i32_eqz()
            };
        };
        // Divisors 0 and, for signed division, -1 are special.
        operand(self, b);
        match (wide, signed) {
            (true, true) => {
                self.op().i64_const(1).i64_add().i64_const(2).i64_lt_u();
            }
            (false, true) => {
                self.op().i32_const(1).i32_add().i32_const(2).i32_lt_u();
            }
            (_, false) => zero(self),
        }
        self.op().if_(kind);
        match (remainder, signed) {
            // a % 0 = a, a % -1 = 0
            (true, true) => {
                operand(self, a);
                constant(self, 0);
                operand(self, b);
                zero(self);
                self.op().select();
            }
            (true, false) => operand(self, a),
            // a / 0 = -1, a / -1 = -a
            (false, true) => {
                constant(self, -1);
                constant(self, 0);
                operand(self, a);
                let mut op = self.op();
                if wide {
                    op.i64_sub()
                } else {
                    op.i32_sub()
                };
                operand(self, b);
                zero(self);
                self.op().select();
            }
            (false, false) => constant(self, -1),
        }
        self.else_();
        operand(self, a);
        operand(self, b);
        let mut op = self.op();
        match instr {
            Div => op.i64_div_s(),
            Divu => op.i64_div_u(),
            Rem => op.i64_rem_s(),
            Remu => op.i64_rem_u(),
            Divw => op.i32_div_s(),
            Divuw => op.i32_div_u(),
            Remw => op.i32_rem_s(),
            _ => op.i32_rem_u(),
        };
        op.end();
    }
}
