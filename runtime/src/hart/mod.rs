//! The hart: RV64GC user-level registers and what executes them.
//!
//! Knows memory only as a [`crate::mm::Window`]; knows nothing of Linux.
//! Source: The RISC-V Instruction Set Manual, Volume I (unprivileged).
//!
//! The path of an instruction: [`code`] fetches and decodes it once into a
//! [`Page`](code), [`lower`] makes the decoded form,
//! [`hot`] executes it; what is rare or delicate goes to [`exec`], which
//! interprets one instruction at a time, exactly. Names and encodings are rows
//! of [`isa`]. Where the packer translated a page ([`library`]), [`hot`] leaves for
//! the function in the engine's table ([`translated`]).

mod code;
mod compressed;
pub mod disasm;
mod exec;
mod fpu;
mod heat;
mod hot;
pub mod isa;
mod library;
mod lower;
mod memory;
mod op;
#[cfg(test)]
mod tests;
pub mod translated;

pub use code::CodeCache;
pub use compressed::expand;
pub use library::Library;

use crate::mm::{Access, Window};
use memory::Ram;

/// User-visible state of one hart. Laid out as declared: [`translated`] code knows where things are.
#[derive(Debug, Clone, Default)]
#[repr(C)]
pub struct Registers {
    /// x0..x31; x0 stays zero.
    pub x: [u64; 32],
    /// f0..f31, NaN-boxed.
    pub f: [u64; 32],
    /// Address of the next instruction.
    pub pc: u64,
    /// Rounding mode (bits 7:5) and accrued flags (bits 4:0).
    pub fcsr: u32,
    /// What LR reserved. The kernel clears it when another task may run in between (context switch, signal).
    pub reservation: Option<Reservation>,
    /// Instructions retired so far: the `instret` and `cycle` CSRs. [`run`] adds to it.
    pub instret: u64,
    /// The `time` CSR. The caller sets it before [`run`]; it stands still meanwhile.
    pub time: u64,
}

/// What an LR read and where. An SC succeeds when address and width agree and memory still holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Address, naturally aligned.
    pub addr: u64,
    /// Bytes: 4 or 8.
    pub width: u8,
    /// The bytes read, zero-extended.
    pub value: u64,
}

/// Why execution stopped. `pc` is that of the instruction named here, which has had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `ecall`.
    Ecall,
    /// `ebreak`.
    Breakpoint,
    /// Not an instruction of RV64GC; the bits (16 or 32).
    Illegal(u32),
    /// Memory that the permission bytes refuse.
    Fault {
        /// First byte that was refused.
        addr: u64,
        /// How it was touched.
        access: Access,
    },
    /// An LR, SC or AMO that is not naturally aligned (SIGBUS, BUS_ADRALN). Other misaligned accesses just work.
    Misaligned {
        /// The address.
        addr: u64,
    },
    /// The budget is used up; nothing is wrong.
    Budget,
}

/// Instructions per call of the hot function: V8 has no on-stack replacement, so its callers must come back
/// for the optimised code to be entered.
const SLICE: u64 = 1 << 21;

/// Run until something needs the kernel. `budget` falls by exactly the instructions retired, `regs.instret`
/// rises by as many; an instruction that ends in an [`Exit`] has not retired.
// Out of line, as is what it calls and is large: V8's optimising compiler takes each of these loops soon.
#[inline(never)]
pub fn run(
    regs: &mut Registers,
    code: &mut CodeCache,
    window: &Window,
    library: &Library,
    budget: &mut u64,
) -> Exit {
    let ram = Ram::new(window);
    code.refresh(ram, library);
    let sampling = library.sampling();
    let most = sampling.unwrap_or(SLICE);
    // Translated code left at pc for the interpreter, or is not wanted for another reason.
    let mut interpret = false;
    regs.x[0] = 0;
    regs.pc &= !1;
    loop {
        let slice = (*budget).min(most) as i64;
        let leave = if slice >= hot::SLACK {
            let (mut left, from) = (slice, regs.pc);
            let leave = hot::run(regs, code.pages(), ram, &mut left, std::mem::take(&mut interpret));
            let retired = (slice - left) as u64;
            *budget -= retired;
            regs.instret += retired;
            if sampling.is_some() {
                // Where translated code goes on, it is what was before that is hot.
                let at = match leave {
                    hot::Leave::Translated => (from, true),
                    _ => (regs.pc, false),
                };
                code.sample(at, retired, most, ram, library);
            }
            leave
        } else if *budget > 0 {
            hot::Leave::Step
        } else {
            return Exit::Budget;
        };
        let stepped = match leave {
            hot::Leave::Slice => continue,
            hot::Leave::Translated => {
                interpret = translate(regs, code, window, budget);
                continue;
            }
            hot::Leave::Decode => match code.decode(regs.pc, ram, library) {
                Ok(()) => continue,
                Err(exit) => return exit,
            },
            hot::Leave::Link(branch) => match code.link(branch, regs.pc, ram, library) {
                Ok(()) => continue,
                Err(exit) => return exit,
            },
            hot::Leave::Exec { raw, len } => unguarding(code, ram, || exec::execute(regs, ram, raw, len)),
            hot::Leave::Step => unguarding(code, ram, || exec::step(regs, ram)),
        };
        match stepped {
            Ok(()) => {
                *budget -= 1;
                regs.instret += 1;
            }
            Err(exit) => return exit,
        }
    }
}

/// Run translated code from pc on. True when the instruction at pc is the interpreter's.
#[inline(never)]
fn translate(regs: &mut Registers, code: &CodeCache, window: &Window, budget: &mut u64) -> bool {
    let slice = (*budget).min(SLICE) as i64;
    let (left, interpret) = translated::run(regs, &translated::View::new(window, code), slice);
    let retired = (slice - left) as u64;
    *budget -= retired;
    regs.instret += retired;
    interpret
}

/// Execute one instruction; when it stores to a page with decoded code, drop that and execute it at once (going
/// back to decoded code first would decode the page again, if the instruction lies in it).
fn unguarding(code: &mut CodeCache, ram: Ram, mut one: impl FnMut() -> Result<(), Exit>) -> Result<(), Exit> {
    loop {
        match one() {
            Err(Exit::Fault { addr, access: Access::Write }) if code.unguard(addr, ram) => {}
            result => return result,
        }
    }
}

/// Run exactly one instruction by the reference interpreter, without decoded code: for tests and debuggers.
pub fn step(regs: &mut Registers, window: &Window) -> Result<(), Exit> {
    regs.x[0] = 0;
    regs.pc &= !1;
    exec::step(regs, Ram::new(window))?;
    regs.instret += 1;
    Ok(())
}
