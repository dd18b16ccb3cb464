//! Single instructions that the engine's interpreter executes for translated code: atomics, accesses to fcsr,
//! and floating point that has no translation.
//!
//! Registers that the instruction reads go to memory and what it writes comes back. That costs a call; to leave
//! the function would cost all its callers too, which have to return before the interpreter runs.

use friscy_runtime::hart::isa::{Format, field};
use friscy_runtime::hart::translated::view;

use crate::cfg::Insn;
use crate::emit::{Emitter, State, at, local};
use crate::flow::{Set, reads, writes};
use crate::words;

/// fflags, frm and fcsr: the CSRs that a hart can write. Counters are exact between functions only.
const FLOAT_CSRS: std::ops::RangeInclusive<u32> = 1..=3;

/// Whether this can be done for an instruction that has no translation.
pub(crate) fn supported(insn: &Insn) -> bool {
    match insn.row.format {
        Format::Csr | Format::CsrI => FLOAT_CSRS.contains(&field::csr(insn.raw)),
        // System calls and breakpoints are the kernel's.
        Format::None => false,
        _ => true,
    }
}

/// Emit the call; when the instruction has not retired, `set` is stored and the function left.
pub(crate) fn operation(emitter: &mut Emitter<'_>, insn: &Insn, set: Set, state: &mut State) {
    let step_type = emitter.cx.step_type;
    emitter.store(reads(insn), state.words);
    let bits = u64::from(insn.raw) | u64::from(insn.len) << 32;
    emitter
        .op()
        .local_get(local::VIEW)
        .i64_const(bits.cast_signed())
        .local_get(local::REGS)
        .local_get(local::VIEW)
        .i32_load(at(view::STEP, 2))
        .call_indirect(0, step_type);
    emitter.exit_if(insn.at, set, state);
    emitter.load(writes(insn));
    if writes(insn) as u32 != 0 {
        let rd = field::rd(insn.raw);
        let word = words::result(insn, state.words);
        state.words &= !writes(insn);
        if word {
            emitter.get_word(rd, state.words);
            emitter.set(rd, true, state);
        }
    }
    match insn.row.format {
        Format::Lr | Format::Amo | Format::Load => {}
        Format::Csr | Format::CsrI => {
            (state.simple_fp, state.nearest) = (false, false);
            emitter.set_simple_fp();
        }
        // It may have accrued the inexact flag.
        _ => emitter.set_simple_fp(),
    }
}
