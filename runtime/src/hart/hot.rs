//! The hot function: one `match` loop over decoded ops.
//!
//! It contains no calls: whatever is rare leaves to [`super::run`]'s loop, which
//! does it and comes back (measured: V8 and JavaScriptCore keep the loop's state in
//! machine registers then). Instructions are counted at taken transfers only.

use super::Registers;
use super::code::Page;
use super::exec::{div, divuw, divw, rem, remuw, remw};
use super::fpu::{fast, nan_box};
use super::memory::{Cursor, Ram};
use super::op::Code;
use crate::mm::PAGE;

/// The hot function returns when fewer instructions than this are left: more than a run can have.
pub(super) const SLACK: i64 = 256;

/// Why the hot function returned; `regs.pc` says where.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leave {
    /// The slice is nearly used up.
    Slice,
    /// No op at pc.
    Decode,
    /// No op at pc, where this op of the same page goes.
    Link(u16),
    /// The reference interpreter must execute these 32 bits, which have `len` bytes at pc.
    Exec { raw: u32, len: u8 },
    /// The reference interpreter must fetch and execute at pc.
    Step,
    /// There is translated code for pc.
    Translated,
}

const fn word(value: u64) -> u64 {
    value as i32 as i64 as u64
}

/// High half of the unsigned product, without a 128-bit multiplication (a library call on Wasm).
#[inline(always)]
fn mulhu(a: u64, b: u64) -> u64 {
    if cfg!(target_arch = "wasm32") {
        let (a1, a0, b1, b0) = (a >> 32, a & 0xffff_ffff, b >> 32, b & 0xffff_ffff);
        let low = a0 * b0;
        let mid = a1 * b0 + (low >> 32);
        let mid2 = a0 * b1 + (mid & 0xffff_ffff);
        a1 * b1 + (mid >> 32) + (mid2 >> 32)
    } else {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    }
}

/// Run from `regs.pc` until something rare. `left` falls by the instructions retired. With `interpret`, the first
/// instruction is executed here although there is translated code for it.
#[inline(never)]
#[allow(clippy::too_many_lines, reason = "one line per instruction")]
pub(super) fn run(
    regs: &mut Registers,
    pages: &[Option<Box<Page>>],
    ram: Ram,
    left_out: &mut i64,
    mut interpret: bool,
) -> Leave {
    let Registers { x, f, pc: pc_out, fcsr, .. } = regs;
    let mut pc = *pc_out;
    let mut left = *left_out;
    // An indirect jump goes to pc.
    let mut jumped = false;
    let leave = 'leave: loop {
        // Enter at pc.
        if pc / PAGE >= pages.len() as u64 {
            break Leave::Decode;
        }
        let Some(page) = &pages[(pc / PAGE) as usize] else { break Leave::Decode };
        let index = if std::mem::take(&mut jumped) { page.index_of_target(pc) } else { page.index(pc) };
        if index == 0 {
            break Leave::Decode;
        }
        let mut ip = Cursor::new(page.ops(), index);
        let base = pc & !(PAGE - 1);
        if left < SLACK {
            break Leave::Slice;
        }
        left += i64::from(ip.op().before);
        if interpret {
            interpret = false;
            if ip.op().code == Code::Enter {
                ip.next();
            }
        }

        macro_rules! leave {
            ($op:expr, $why:expr) => {{
                pc = base.wrapping_add($op.at());
                left -= i64::from($op.before);
                break 'leave $why;
            }};
        }
        macro_rules! exec {
            ($op:expr) => {
                leave!($op, Leave::Exec { raw: $op.aux, len: $op.len() })
            };
        }
        macro_rules! jump {
            ($op:expr) => {{
                left -= $op.delta();
                ip.jump($op.target());
                if left < SLACK {
                    let op = ip.op();
                    left -= i64::from(op.before);
                    pc = match op.code {
                        Code::Link | Code::FarStub => base.wrapping_add(op.imm()),
                        _ => base.wrapping_add(op.at()),
                    };
                    break 'leave Leave::Slice;
                }
                continue;
            }};
        }
        macro_rules! branch {
            ($op:expr, $condition:expr) => {
                if $condition { jump!($op) } else { ip.next() }
            };
        }
        macro_rules! alu {
            ($op:expr, $value:expr) => {{
                x[$op.rd as usize] = $value;
                ip.next();
            }};
        }
        macro_rules! addr {
            ($op:expr) => {
                x[$op.rs1 as usize].wrapping_add($op.imm())
            };
        }
        macro_rules! load {
            ($op:expr, $file:ident, $type:ty, $extend:expr) => {
                match ram.load(addr!($op)) {
                    Some(bytes) => {
                        $file[$op.rd as usize] = $extend(<$type>::from_le_bytes(bytes));
                        ip.next();
                    }
                    None => exec!($op),
                }
            };
        }
        macro_rules! store {
            ($op:expr, $file:ident, $type:ty) => {
                if ram.store(addr!($op), ($file[$op.rs2 as usize] as $type).to_le_bytes()) {
                    ip.next();
                } else {
                    exec!($op)
                }
            };
        }

        macro_rules! float {
            ($op:expr, $file:ident, $value:expr) => {
                match $value {
                    Some(value) => {
                        $file[$op.rd as usize] = value;
                        ip.next();
                    }
                    None => exec!($op),
                }
            };
        }

        loop {
            let op = ip.op();
            let a = op.rs1 as usize;
            let b = op.rs2 as usize;
            match op.code {
                Code::Exec => exec!(op),
                Code::Step => leave!(op, Leave::Step),
                Code::Enter => {
                    if left - i64::from(op.before) >= i64::from(op.imm) {
                        leave!(op, Leave::Translated);
                    }
                    ip.next();
                }
                Code::Link => {
                    pc = base.wrapping_add(op.imm());
                    break 'leave Leave::Link(op.target());
                }
                Code::Far | Code::FarStub => {
                    left -= op.delta();
                    pc = base.wrapping_add(op.imm());
                    break;
                }
                Code::J => jump!(op),
                Code::Jal => {
                    x[op.rd as usize] = base.wrapping_add(op.imm());
                    jump!(op)
                }
                Code::JalFar => {
                    x[op.rd as usize] = base.wrapping_add(op.at() + u64::from(op.len()));
                    left -= op.delta();
                    pc = base.wrapping_add(op.imm());
                    break;
                }
                Code::Jr => {
                    left -= op.delta();
                    pc = addr!(op) & !1;
                    jumped = true;
                    break;
                }
                Code::Jalr => {
                    left -= op.delta();
                    pc = addr!(op) & !1;
                    x[op.rd as usize] = base.wrapping_add(op.at() + u64::from(op.len()));
                    jumped = true;
                    break;
                }
                Code::Beq => branch!(op, x[a] == x[b]),
                Code::Bne => branch!(op, x[a] != x[b]),
                Code::Blt => branch!(op, (x[a] as i64) < x[b] as i64),
                Code::Bge => branch!(op, x[a] as i64 >= x[b] as i64),
                Code::Bltu => branch!(op, x[a] < x[b]),
                Code::Bgeu => branch!(op, x[a] >= x[b]),
                Code::Nop => ip.next(),
                Code::Li => alu!(op, op.imm()),
                Code::Mv => alu!(op, x[a]),
                Code::Auipc => alu!(op, base.wrapping_add(op.imm())),
                Code::Addi => alu!(op, x[a].wrapping_add(op.imm())),
                Code::Slti => alu!(op, u64::from((x[a] as i64) < op.imm() as i64)),
                Code::Sltiu => alu!(op, u64::from(x[a] < op.imm())),
                Code::Xori => alu!(op, x[a] ^ op.imm()),
                Code::Ori => alu!(op, x[a] | op.imm()),
                Code::Andi => alu!(op, x[a] & op.imm()),
                Code::Slli => alu!(op, x[a] << (op.imm & 63)),
                Code::Srli => alu!(op, x[a] >> (op.imm & 63)),
                Code::Srai => alu!(op, (x[a] as i64 >> (op.imm & 63)) as u64),
                Code::Addiw => alu!(op, word(x[a].wrapping_add(op.imm()))),
                Code::Slliw => alu!(op, word(u64::from((x[a] as u32) << (op.imm & 31)))),
                Code::Srliw => alu!(op, word(u64::from(x[a] as u32 >> (op.imm & 31)))),
                Code::Sraiw => alu!(op, i64::from(x[a] as i32 >> (op.imm & 31)) as u64),
                Code::Add => alu!(op, x[a].wrapping_add(x[b])),
                Code::Sub => alu!(op, x[a].wrapping_sub(x[b])),
                Code::Sll => alu!(op, x[a] << (x[b] & 63)),
                Code::Slt => alu!(op, u64::from((x[a] as i64) < x[b] as i64)),
                Code::Sltu => alu!(op, u64::from(x[a] < x[b])),
                Code::Xor => alu!(op, x[a] ^ x[b]),
                Code::Srl => alu!(op, x[a] >> (x[b] & 63)),
                Code::Sra => alu!(op, (x[a] as i64 >> (x[b] & 63)) as u64),
                Code::Or => alu!(op, x[a] | x[b]),
                Code::And => alu!(op, x[a] & x[b]),
                Code::Addw => alu!(op, word(x[a].wrapping_add(x[b]))),
                Code::Subw => alu!(op, word(x[a].wrapping_sub(x[b]))),
                Code::Sllw => alu!(op, word(u64::from((x[a] as u32) << (x[b] & 31)))),
                Code::Srlw => alu!(op, word(u64::from(x[a] as u32 >> (x[b] & 31)))),
                Code::Sraw => alu!(op, i64::from(x[a] as i32 >> (x[b] & 31)) as u64),
                Code::Mul => alu!(op, x[a].wrapping_mul(x[b])),
                Code::Mulh => {
                    // Signed from unsigned: each negative factor added 2^64 times the other.
                    let high = mulhu(x[a], x[b])
                        .wrapping_sub((x[a] as i64 >> 63) as u64 & x[b])
                        .wrapping_sub((x[b] as i64 >> 63) as u64 & x[a]);
                    alu!(op, high)
                }
                Code::Mulhsu => {
                    alu!(op, mulhu(x[a], x[b]).wrapping_sub((x[a] as i64 >> 63) as u64 & x[b]))
                }
                Code::Mulhu => alu!(op, mulhu(x[a], x[b])),
                Code::Div => alu!(op, div(x[a], x[b])),
                Code::Divu => alu!(op, x[a].checked_div(x[b]).unwrap_or(u64::MAX)),
                Code::Rem => alu!(op, rem(x[a], x[b])),
                Code::Remu => alu!(op, x[a].checked_rem(x[b]).unwrap_or(x[a])),
                Code::Mulw => alu!(op, word(x[a].wrapping_mul(x[b]))),
                Code::Divw => alu!(op, divw(x[a], x[b])),
                Code::Divuw => alu!(op, divuw(x[a], x[b])),
                Code::Remw => alu!(op, remw(x[a], x[b])),
                Code::Remuw => alu!(op, remuw(x[a], x[b])),
                Code::Lb => load!(op, x, i8, |v| v as u64),
                Code::Lh => load!(op, x, i16, |v| v as u64),
                Code::Lw => load!(op, x, i32, |v| v as u64),
                Code::Ld => load!(op, x, u64, |v| v),
                Code::Lbu => load!(op, x, u8, u64::from),
                Code::Lhu => load!(op, x, u16, u64::from),
                Code::Lwu => load!(op, x, u32, u64::from),
                Code::Sb => store!(op, x, u8),
                Code::Sh => store!(op, x, u16),
                Code::Sw => store!(op, x, u32),
                Code::Sd => store!(op, x, u64),
                Code::Flw => load!(op, f, u32, nan_box),
                Code::Fld => load!(op, f, u64, |v| v),
                Code::Fsw => store!(op, f, u32),
                Code::Fsd => store!(op, f, u64),
                Code::FaddD => float!(op, f, fast::add_d(f[a], f[b], fcsr)),
                Code::FsubD => float!(op, f, fast::sub_d(f[a], f[b], fcsr)),
                Code::FmulD => float!(op, f, fast::mul_d(f[a], f[b], fcsr)),
                Code::FdivD => float!(op, f, fast::div_d(f[a], f[b], fcsr)),
                Code::FsqrtD => float!(op, f, fast::sqrt_d(f[a], fcsr)),
                // One copy of the sequence: signs as in a · b + c.
                Code::FmaddD | Code::FmsubD | Code::FnmsubD | Code::FnmaddD => {
                    let product = u64::from(matches!(op.code, Code::FnmsubD | Code::FnmaddD)) << 63;
                    let addend = u64::from(matches!(op.code, Code::FmsubD | Code::FnmaddD)) << 63;
                    let c = f[op.rd2 as usize] ^ addend;
                    float!(op, f, fast::fma_d(f[a] ^ product, f[b], c, fcsr))
                }
                Code::FaddS => float!(op, f, fast::add_s(f[a], f[b], fcsr)),
                Code::FsubS => float!(op, f, fast::sub_s(f[a], f[b], fcsr)),
                Code::FmulS => float!(op, f, fast::mul_s(f[a], f[b], fcsr)),
                Code::FdivS => float!(op, f, fast::div_s(f[a], f[b], fcsr)),
                Code::FsqrtS => float!(op, f, fast::sqrt_s(f[a], fcsr)),
                Code::FmaddS | Code::FmsubS | Code::FnmsubS | Code::FnmaddS => {
                    let product = u64::from(matches!(op.code, Code::FnmsubS | Code::FnmaddS)) << 31;
                    let addend = u64::from(matches!(op.code, Code::FmsubS | Code::FnmaddS)) << 31;
                    let c = f[op.rd2 as usize] ^ addend;
                    float!(op, f, fast::fma_s(f[a] ^ product, f[b], c, fcsr))
                }
                Code::FsgnjD => float!(op, f, Some(fast::with_sign_d(f[a], f[b]))),
                Code::FsgnjnD => float!(op, f, Some(fast::with_sign_d(f[a], !f[b]))),
                Code::FsgnjxD => float!(op, f, Some(fast::with_sign_d(f[a], f[a] ^ f[b]))),
                Code::FsgnjS => float!(op, f, fast::with_sign_s(f[a], f[b], |_, b| b)),
                Code::FsgnjnS => float!(op, f, fast::with_sign_s(f[a], f[b], |_, b| !b)),
                Code::FsgnjxS => float!(op, f, fast::with_sign_s(f[a], f[b], |a, b| a ^ b)),
                Code::FeqD => float!(op, x, fast::compare_d(f[a], f[b], |a, b| a == b)),
                Code::FltD => float!(op, x, fast::compare_d(f[a], f[b], |a, b| a < b)),
                Code::FleD => float!(op, x, fast::compare_d(f[a], f[b], |a, b| a <= b)),
                Code::FeqS => float!(op, x, fast::compare_s(f[a], f[b], |a, b| a == b)),
                Code::FltS => float!(op, x, fast::compare_s(f[a], f[b], |a, b| a < b)),
                Code::FleS => float!(op, x, fast::compare_s(f[a], f[b], |a, b| a <= b)),
                Code::FmvXD => alu!(op, f[a]),
                Code::FmvDX => float!(op, f, Some(x[a])),
                Code::FmvXW => alu!(op, word(f[a])),
                Code::FmvWX => float!(op, f, Some(nan_box(x[a] as u32))),
                Code::FcvtDW => float!(op, f, fast::long_to_d(word(x[a]), fcsr)),
                Code::FcvtDWu => float!(op, f, fast::long_to_d(u64::from(x[a] as u32), fcsr)),
                Code::FcvtDL => float!(op, f, fast::long_to_d(x[a], fcsr)),
                Code::FcvtWD => float!(op, x, fast::d_to_int(f[a], 31, fcsr)),
                Code::FcvtLD => float!(op, x, fast::d_to_int(f[a], 63, fcsr)),
                Code::FcvtSD => float!(op, f, fast::d_to_s(f[a], fcsr)),
                Code::FcvtDS => float!(op, f, fast::s_to_d(f[a], fcsr)),
                Code::FcvtSW => float!(op, f, fast::word_to_s(x[a] as i32 as i64, fcsr)),
                Code::FcvtSWu => float!(op, f, fast::word_to_s(i64::from(x[a] as u32), fcsr)),
            }
        }
    };
    *pc_out = pc;
    *left_out = left;
    leave
}
