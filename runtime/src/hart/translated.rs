//! Entry to translated code: functions that the packer appended to the engine.
//!
//! A translated function is a slot of the engine's own table. What both sides
//! rely on:
//!
//! - It gets the hart's [`Registers`], a [`View`] of memory, the guest address of
//!   its region's first page, which of its entries to take, how many instructions
//!   may run (at least the entry's `longest`), and how much room the host's stack has.
//! - It loads and stores guest memory only as the permission bytes allow, and
//!   changes none of them. It calls other translated functions, [`dispatch`], and
//!   [`step`] for single instructions.
//! - It returns with pc and all registers that are live there in [`Registers`], and
//!   with the instructions that may still run, or the complement of that (a
//!   negative number) when the interpreter must execute the instruction at pc.
//! - It runs only while the pages that it was made from hold the same bytes: who
//!   calls it knows the entry's page or the function asks, and it asks for the
//!   identity of every other page before it goes there.
//!
//! # Calls
//!
//! A guest call is a call of the host's: registers go to memory, the callee runs,
//! and when it comes back pc says whether it has returned to where the caller
//! goes on. If not (a jump elsewhere, `longjmp`, a stack that was
//! switched), [`dispatch`] goes on from there until it does, or until something
//! is for the interpreter. Then every caller returns in turn to [`super::run`],
//! which loses nothing, since callers keep nothing outside of [`Registers`]. So no page
//! changes while a caller of its code waits: whatever changes one is not
//! translated code.

use super::memory::Ram;
use super::{CodeCache, Registers, exec};
use crate::mm::Window;

/// Where [`Registers`] holds what.
pub mod regs {
    use super::Registers;

    /// x0.
    pub const X: u64 = std::mem::offset_of!(Registers, x) as u64;
    /// f0.
    pub const F: u64 = std::mem::offset_of!(Registers, f) as u64;
    /// pc.
    pub const PC: u64 = std::mem::offset_of!(Registers, pc) as u64;
    /// fcsr.
    pub const FCSR: u64 = std::mem::offset_of!(Registers, fcsr) as u64;
}

/// Where [`View`] holds what.
pub mod view {
    use super::View;

    /// Host address of guest address 0.
    pub const BASE: u64 = std::mem::offset_of!(View, base) as u64;
    /// Host address of the permission bytes.
    pub const PERMS: u64 = std::mem::offset_of!(View, perms) as u64;
    /// Host address of the pages' identities, a `u32` each.
    pub const IDS: u64 = std::mem::offset_of!(View, ids) as u64;
    /// Host address of the targets that are remembered.
    pub const TARGETS: u64 = std::mem::offset_of!(View, targets) as u64;
    /// Table slot of [`super::dispatch`].
    pub const DISPATCH: u64 = std::mem::offset_of!(View, dispatch) as u64;
    /// Table slot of [`super::step`].
    pub const STEP: u64 = std::mem::offset_of!(View, step) as u64;
}

/// Room on the host's stack that calls may take, in the units of [`FRAME`]: less than 256 KiB in every engine.
const ROOM: i64 = 256 << 10;
/// What a call through [`dispatch`] takes of it, and what there must be more than for any call whose target is looked
/// up. Translated functions say themselves what they take.
pub const FRAME: i64 = 256;
/// No guest address: where [`dispatch`] comes back to when nobody waits.
const NOWHERE: u64 = 1;

/// Where a [`Target`] holds what, and how they are found.
pub mod target {
    use super::Target;

    /// Address.
    pub const PC: u64 = std::mem::offset_of!(Target, pc) as u64;
    /// Address of the function's first page.
    pub const ORIGIN: u64 = std::mem::offset_of!(Target, origin) as u64;
    /// Table slot.
    pub const SLOT: u64 = std::mem::offset_of!(Target, slot) as u64;
    /// Which entry.
    pub const INDEX: u64 = std::mem::offset_of!(Target, index) as u64;
    /// The most instructions between two looks at the budget, unsigned.
    pub const LONGEST: u64 = std::mem::offset_of!(Target, longest) as u64;
    /// Bytes of one, a power of two.
    pub const SIZE: u64 = size_of::<Target>() as u64;
    /// How many are remembered, a power of two: each at half its address, modulo this.
    pub const COUNT: u64 = 1024;
}

/// A [`Window`] as translated code sees it, with addresses and table slots of wasm32, and what its helpers need.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct View<'a> {
    base: u32,
    perms: u32,
    ids: u32,
    targets: u32,
    dispatch: u32,
    step: u32,
    window: &'a Window,
    code: &'a CodeCache,
}

impl<'a> View<'a> {
    pub(super) fn new(window: &'a Window, code: &'a CodeCache) -> Self {
        Self {
            base: window.base.expose_provenance() as u32,
            perms: window.perms.expose_provenance() as u32,
            ids: code.identities().as_ptr().expose_provenance() as u32,
            targets: code.targets().as_ptr().expose_provenance() as u32,
            // On wasm32 a function pointer is a table index.
            dispatch: dispatch as Function as usize as u32,
            step: step as Step as usize as u32,
            window,
            code,
        }
    }
}

/// A place where translated code can be entered now.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Target {
    /// Where.
    pub(super) pc: u64,
    /// Guest address of the function's first page.
    pub(super) origin: u64,
    pub(super) slot: u32,
    /// Which of the function's entries.
    pub(super) index: u32,
    /// The most instructions that it executes between two looks at its budget.
    pub(super) longest: u32,
}

/// What a translated function is. Also [`dispatch`], so that two types serve all.
type Function = extern "C" fn(&mut Registers, &View<'_>, u64, u32, i64, i64) -> i64;
/// What [`step`] is.
type Step = extern "C" fn(&View<'_>, u64, &mut Registers) -> u32;

/// Run translated code from pc on as long as there is some: the instructions of `left` that may still run, and
/// whether the interpreter must execute the one at pc.
pub(super) fn run(regs: &mut Registers, view: &View<'_>, left: i64) -> (i64, bool) {
    let left = dispatch(regs, view, NOWHERE, 0, left, ROOM);
    if left < 0 { (!left, true) } else { (left, false) }
}

/// Go on from pc, function after function, until pc is `back`. Returns as a translated function does.
extern "C" fn dispatch(
    regs: &mut Registers,
    view: &View<'_>,
    back: u64,
    _index: u32,
    mut left: i64,
    room: i64,
) -> i64 {
    while left >= 0 && regs.pc != back && room > FRAME {
        match view.code.target(regs.pc) {
            Some(target) if i64::from(target.longest) <= left => {
                left = call(regs, view, target, left, room - FRAME);
            }
            _ => break,
        }
    }
    left
}

/// Execute one instruction by the interpreter: its bits in the low half of `insn`, its bytes in the high one; pc
/// does not matter. Not 0 when it has not retired, and nothing has changed.
extern "C" fn step(view: &View<'_>, insn: u64, regs: &mut Registers) -> u32 {
    exec::execute(regs, Ram::new(view.window), insn as u32, (insn >> 32) as u8).is_err().into()
}

#[cfg(target_arch = "wasm32")]
fn call(regs: &mut Registers, view: &View<'_>, target: Target, left: i64, room: i64) -> i64 {
    // SAFETY: on wasm32 a function pointer is a table index; slots come from `Library`, whose caller promises that
    // they hold functions of this type (the table checks it again) that keep the promises above.
    let function = unsafe { std::mem::transmute::<usize, Function>(target.slot as usize) };
    function(regs, view, target.origin, target.index, left, room)
}

/// There is no translated code natively: only an engine's host gives it to a `Library`.
#[cfg(not(target_arch = "wasm32"))]
fn call(_regs: &mut Registers, view: &View<'_>, target: Target, left: i64, room: i64) -> i64 {
    let Target { pc, origin, slot, index, longest } = target;
    unreachable!(
        "slot {slot} in a native machine: {pc:#x}, entry {index} of {origin:#x}, {longest}, {left}, {room}, {view:?}"
    )
}
