//! Integer instructions, and what to do with each instruction in turn.

use friscy_runtime::hart::isa::{Format, Instr, field};

use crate::cfg::Insn;
use crate::emit::{Emitter, State, local};
use crate::flow::Set;
use crate::{fp, mem};

/// Whether the translator knows an instruction. The others are the interpreter's.
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
            Format::Load | Format::LoadF | Format::Store | Format::StoreF => {
                mem::access(self, insn, rest, set, state);
            }
            Format::None => {}
            Format::R | Format::I | Format::Shift | Format::ShiftW | Format::U => {
                if rd != 0 {
                    self.integer(insn);
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

    fn set(&mut self, rd: usize) {
        let register = self.registers[rd];
        self.op().local_set(register);
    }

    /// Push the low half of a register.
    fn get_word(&mut self, n: usize) {
        if n == 0 {
            self.op().i32_const(0);
        } else {
            self.get(n);
            self.op().i32_wrap_i64();
        }
    }

    /// Push the condition of a branch.
    pub(crate) fn condition(&mut self, insn: &Insn) {
        let (a, b) = (field::rs1(insn.raw), field::rs2(insn.raw));
        if b == 0 && matches!(insn.row.instr, Instr::Beq | Instr::Bne) {
            self.get(a);
            self.op().i64_eqz();
            if insn.row.instr == Instr::Bne {
                self.op().i32_eqz();
            }
            return;
        }
        self.get(a);
        self.get(b);
        let mut op = self.op();
        match insn.row.instr {
            Instr::Beq => op.i64_eq(),
            Instr::Bne => op.i64_ne(),
            Instr::Blt => op.i64_lt_s(),
            Instr::Bge => op.i64_ge_s(),
            Instr::Bltu => op.i64_lt_u(),
            _ => op.i64_ge_u(),
        };
    }

    #[allow(clippy::too_many_lines, reason = "one line per instruction")]
    fn integer(&mut self, insn: &Insn) {
        use Instr::*;
        let raw = insn.raw;
        let (rd, a, b) = (field::rd(raw), field::rs1(raw), field::rs2(raw));
        let imm = i64::from(field::imm_i(raw));
        match insn.row.instr {
            Lui => {
                self.op().i64_const(field::imm_u(raw).into());
            }
            Auipc => {
                return self.set_pc_relative(rd, insn.at.wrapping_add_signed(field::imm_u(raw).into()));
            }
            Addi if a == 0 => {
                self.op().i64_const(imm);
            }
            Addi if imm == 0 => self.get(a),
            Addi | Xori | Ori | Andi | Slti | Sltiu => {
                self.get(a);
                let mut op = self.op();
                op.i64_const(imm);
                match insn.row.instr {
                    Addi => op.i64_add(),
                    Xori => op.i64_xor(),
                    Ori => op.i64_or(),
                    Andi => op.i64_and(),
                    Slti => op.i64_lt_s().i64_extend_i32_u(),
                    _ => op.i64_lt_u().i64_extend_i32_u(),
                };
            }
            Slli | Srli | Srai => {
                self.get(a);
                let mut op = self.op();
                op.i64_const(field::shamt(raw).into());
                match insn.row.instr {
                    Slli => op.i64_shl(),
                    Srli => op.i64_shr_u(),
                    _ => op.i64_shr_s(),
                };
            }
            Addiw => {
                self.get_word(a);
                if imm != 0 {
                    self.op().i32_const(imm as i32).i32_add();
                }
                self.op().i64_extend_i32_s();
            }
            Slliw | Srliw | Sraiw => {
                self.get_word(a);
                let mut op = self.op();
                op.i32_const((field::shamt(raw) & 31).cast_signed());
                match insn.row.instr {
                    Slliw => op.i32_shl(),
                    Srliw => op.i32_shr_u(),
                    _ => op.i32_shr_s(),
                };
                self.op().i64_extend_i32_s();
            }
            Add if a == 0 => self.get(b),
            Add | Sub | Sll | Slt | Sltu | Xor | Srl | Sra | Or | And | Mul => {
                self.get(a);
                self.get(b);
                let mut op = self.op();
                match insn.row.instr {
                    Add => op.i64_add(),
                    Sub => op.i64_sub(),
                    Sll => op.i64_shl(),
                    Slt => op.i64_lt_s().i64_extend_i32_u(),
                    Sltu => op.i64_lt_u().i64_extend_i32_u(),
                    Xor => op.i64_xor(),
                    Srl => op.i64_shr_u(),
                    Sra => op.i64_shr_s(),
                    Or => op.i64_or(),
                    And => op.i64_and(),
                    _ => op.i64_mul(),
                };
            }
            Addw | Subw | Sllw | Srlw | Sraw | Mulw => {
                self.get_word(a);
                self.get_word(b);
                let mut op = self.op();
                match insn.row.instr {
                    Addw => op.i32_add(),
                    Subw => op.i32_sub(),
                    Sllw => op.i32_shl(),
                    Srlw => op.i32_shr_u(),
                    Sraw => op.i32_shr_s(),
                    _ => op.i32_mul(),
                };
                op.i64_extend_i32_s();
            }
            Mulhu => self.mulhu(a, b),
            Mulh => {
                // Signed from unsigned: each negative factor added 2^64 times the other.
                self.mulhu(a, b);
                self.less_if_negative(a, b);
                self.less_if_negative(b, a);
            }
            Mulhsu => {
                self.mulhu(a, b);
                self.less_if_negative(a, b);
            }
            _ => self.divide(insn.row.instr, a, b),
        }
        self.set(rd);
    }

    /// Subtract `b` from what is on the stack if `a` is negative.
    fn less_if_negative(&mut self, a: usize, b: usize) {
        self.get(a);
        self.op().i64_const(63).i64_shr_s();
        self.get(b);
        self.op().i64_and().i64_sub();
    }

    /// Push the high half of the unsigned product, from products of halves.
    fn mulhu(&mut self, a: usize, b: usize) {
        const LOW: i64 = 0xffff_ffff;
        let [a0, b0, mid, mid2] = local::T;
        self.get(a);
        self.op().i64_const(LOW).i64_and().local_set(a0);
        self.get(b);
        self.op().i64_const(LOW).i64_and().local_set(b0);
        // mid = a1 * b0 + (a0 * b0 >> 32)
        self.get(a);
        self.op().i64_const(32).i64_shr_u().local_get(b0).i64_mul();
        self.op().local_get(a0).local_get(b0).i64_mul().i64_const(32).i64_shr_u().i64_add().local_set(mid);
        // mid2 = a0 * b1 + low half of mid
        self.op().local_get(a0);
        self.get(b);
        self.op().i64_const(32).i64_shr_u().i64_mul();
        self.op().local_get(mid).i64_const(LOW).i64_and().i64_add().local_set(mid2);
        // a1 * b1 + high halves
        self.get(a);
        self.op().i64_const(32).i64_shr_u();
        self.get(b);
        self.op().i64_const(32).i64_shr_u().i64_mul();
        self.op().local_get(mid).i64_const(32).i64_shr_u().i64_add();
        self.op().local_get(mid2).i64_const(32).i64_shr_u().i64_add();
    }

    /// Division never traps: by zero it gives all ones and the dividend, on overflow the dividend and zero.
    fn divide(&mut self, instr: Instr, a: usize, b: usize) {
        use Instr::*;
        use wasm_encoder::{BlockType, ValType};
        let wide = matches!(instr, Div | Divu | Rem | Remu);
        let signed = matches!(instr, Div | Rem | Divw | Remw);
        let remainder = matches!(instr, Rem | Remu | Remw | Remuw);
        let kind = BlockType::Result(if wide { ValType::I64 } else { ValType::I32 });
        let operand = |emitter: &mut Self, n| if wide { emitter.get(n) } else { emitter.get_word(n) };
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
        if !wide {
            self.op().i64_extend_i32_s();
        }
    }
}
