//! Entry to translated code: functions that the packer appended to the engine.
//!
//! A translated function is a slot of the engine's own table. What both sides
//! rely on:
//!
//! - It gets the hart's [`Registers`], a [`View`] of memory, the guest address of
//!   its region's first page, which of its entries to take, and how many
//!   instructions may run: at least the entry's `longest`.
//! - It loads and stores guest memory only as the permission bytes allow, changes
//!   none of them, and calls nothing but its exact memory check.
//! - It returns with pc and all registers that are live there in [`Registers`], and
//!   with the instructions that may still run, doubled, plus one when the
//!   interpreter must execute the instruction at pc.
//! - It runs only while the pages that it was made from hold the same bytes: the
//!   caller knows the entry's page, and the function asks for the identity of
//!   every other page before it goes there.

use super::Registers;
use crate::mm::{PAGE, Window};

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
    /// First guest address beyond the arena.
    pub const LIMIT: u64 = std::mem::offset_of!(View, limit) as u64;
}

/// A [`Window`] as translated code sees it: addresses of wasm32.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct View {
    base: u32,
    perms: u32,
    ids: u32,
    limit: u64,
}

impl View {
    pub(super) fn new(window: &Window, ids: &[u32]) -> Self {
        Self {
            base: window.base.expose_provenance() as u32,
            perms: window.perms.expose_provenance() as u32,
            ids: ids.as_ptr().expose_provenance() as u32,
            limit: window.pages * PAGE,
        }
    }
}

/// What a translated function is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) slot: u32,
    pub(super) origin: u64,
    pub(super) index: u32,
    pub(super) left: i64,
}

/// Call a translated function: instructions left, and whether the interpreter must execute at pc.
#[cfg(target_arch = "wasm32")]
pub(super) fn call(regs: &mut Registers, view: &View, call: Call) -> (i64, bool) {
    type Function = extern "C" fn(&mut Registers, &View, u64, u32, i64) -> i64;
    // SAFETY: on wasm32 a function pointer is a table index; slots come from `Library`, whose caller promises that
    // they hold functions of this type (the table checks it again) that keep the promises above.
    let function = unsafe { std::mem::transmute::<usize, Function>(call.slot as usize) };
    let answer = function(regs, view, call.origin, call.index, call.left);
    (answer >> 1, answer & 1 != 0)
}

/// There is no translated code natively: only an engine's host gives it to a `Library`.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn call(_regs: &mut Registers, view: &View, call: Call) -> (i64, bool) {
    let Call { slot, origin, index, left } = call;
    unreachable!("slot {slot} in a native machine: entry {index} at {origin:#x}, {left} left, {view:?}")
}
