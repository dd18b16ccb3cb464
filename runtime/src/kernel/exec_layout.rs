//! Where the parts of a new program lie in its address space.
//!
//! Addresses between two parts cost nothing by themselves (`mm/arena.rs`), but linear memory reaches from the lowest
//! page to the highest one, and a machine with one program should have a small one. So what grows lies at the edges
//! where it can:
//!
//! ```text
//! movable   ← stack, RLIMIT_STACK | program | libraries | heap → 4 MiB | mmap area →
//! fixed     program | heap → 4 MiB | ← stack, RLIMIT_STACK | mmap area →
//! ```
//!
//! The mmap area of the first begins with the room for libraries and leaves out the heap.

use std::ops::Range;

use friscy_formats::elf::{Elf, Placement};

use crate::mm::{GUEST_END, GUEST_START, PAGE};

/// Addresses kept for brk(2); beyond, malloc implementations go on with mmap(2).
const HEAP_BYTES: u64 = 4 << 20;
/// What a dynamically linked program is expected to map beside its interpreter: its libraries' first pages.
const LIBRARY_BYTES: u64 = 3 << 20;
/// And of these nearly all do: the C library.
const LIBRARY_START_BYTES: u64 = 2 << 20;
/// What a statically linked one maps: the vDSO, and a little.
const STATIC_BYTES: u64 = 512 << 10;
/// What the heap is expected to take.
const HEAP_START_BYTES: u64 = 256 << 10;
/// The stack's share of the address space, at least and at most, whatever RLIMIT_STACK says.
const STACK_BYTES: (u64, u64) = (256 << 10, 64 << 20);
/// How deep most stacks get.
const STACK_START_BYTES: u64 = 256 << 10;
/// Where a program lies that may lie anywhere and names no interpreter: it may be one (`ld.so PROGRAM`), and then keeps
/// clear of where fixed programs lie.
const LOADER_START: u64 = 16 << 20;

/// Addresses for the parts of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// What is added to the file's own addresses.
    pub(super) bias: u64,
    /// Where the heap may be.
    pub(super) heap: Range<u64>,
    /// One past the stack.
    pub(super) stack_end: u64,
    /// Bytes that the stack may have.
    pub(super) stack_bytes: u64,
    /// Where the mmap area begins.
    pub(super) mmap_base: u64,
    /// Where nearly all pages of a small program will lie.
    pub(super) expected: [Range<u64>; 3],
}

impl Plan {
    /// For `elf` and its interpreter, with RLIMIT_STACK in bytes; `None` when it is linked for addresses that the
    /// machine does not have.
    pub(super) fn new(elf: &Elf, interpreter: Option<&Elf>, stack_limit: u64) -> Option<Plan> {
        let span = elf.span();
        let stack_bytes = stack_limit.clamp(STACK_BYTES.0, STACK_BYTES.1).next_multiple_of(PAGE);
        let libraries = |bytes: u64| {
            interpreter.map_or(STATIC_BYTES, |elf| {
                let span = elf.span();
                (span.end - span.start).saturating_add(bytes)
            })
        };
        let libraries_start = libraries(LIBRARY_START_BYTES);
        let plan = match elf.placement {
            Placement::Fixed => {
                let heap = span.end..span.end.saturating_add(HEAP_BYTES);
                // A page between them, so that neither grows into the other unnoticed.
                let stack_end = heap.end.saturating_add(PAGE + stack_bytes).next_multiple_of(PAGE);
                let expected = [
                    span.start..heap.start.saturating_add(HEAP_START_BYTES),
                    stack_end.saturating_sub(STACK_START_BYTES.min(stack_bytes))..stack_end,
                    stack_end..stack_end.saturating_add(libraries_start),
                ];
                Plan { bias: 0, heap, stack_end, stack_bytes, mmap_base: stack_end, expected }
            }
            Placement::Anywhere => {
                // A page between stack and program.
                let lowest = GUEST_START + stack_bytes + PAGE;
                let lowest = if elf.interp.is_some() { lowest } else { lowest.max(LOADER_START + PAGE) };
                let start = lowest.next_multiple_of(elf.align().max(PAGE));
                let bias = start.wrapping_sub(span.start);
                let stack_end = start - PAGE;
                let mmap_base = bias.wrapping_add(span.end).next_multiple_of(PAGE).saturating_add(PAGE);
                let heap_start = mmap_base.saturating_add(libraries(LIBRARY_BYTES)).next_multiple_of(PAGE);
                let heap = heap_start..heap_start.saturating_add(HEAP_BYTES);
                let expected = [
                    stack_end - STACK_START_BYTES.min(stack_bytes)..stack_end,
                    start..mmap_base.saturating_add(libraries_start),
                    heap_start..heap_start.saturating_add(HEAP_START_BYTES),
                ];
                Plan { bias, heap, stack_end, stack_bytes, mmap_base, expected }
            }
        };
        let end = plan.expected.iter().map(|range| range.end).max().unwrap_or(0);
        let fits = plan.bias.wrapping_add(span.start) >= GUEST_START && end <= GUEST_END;
        fits.then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use friscy_formats::elf::Load;

    use super::*;

    fn elf(placement: Placement, start: u64, end: u64, dynamic: bool) -> Elf {
        let (offset, bytes) = (0, end - start);
        let (file_bytes, memory_bytes, align) = (bytes, bytes, PAGE);
        let load = Load {
            offset,
            vaddr: start,
            file_bytes,
            memory_bytes,
            read: true,
            write: true,
            execute: true,
            align,
        };
        Elf {
            placement,
            entry: start,
            loads: vec![load],
            interp: dynamic.then_some(0..20),
            executable_stack: None,
            phdr_vaddr: None,
            phnum: 1,
        }
    }

    fn expected_bytes(plan: &Plan) -> u64 {
        plan.expected.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn a_movable_program_takes_what_it_uses() {
        let (program, ld_so) =
            (elf(Placement::Anywhere, 0, 0x12_3456, true), elf(Placement::Anywhere, 0, 0x2_0000, false));
        let plan = Plan::new(&program, Some(&ld_so), 8 << 20).expect("fits");
        assert_eq!(plan.stack_end - plan.stack_bytes, GUEST_START);
        assert_eq!(plan.bias, plan.stack_end + PAGE);
        assert!(plan.mmap_base > plan.bias + 0x12_3456 && plan.mmap_base < plan.heap.start);
        assert_eq!(plan.heap.end - plan.heap.start, HEAP_BYTES);
        assert!(expected_bytes(&plan) < 4 << 20, "{:?}", plan.expected);
        let huge = Plan::new(&program, Some(&ld_so), u64::MAX).expect("fits");
        assert_eq!(huge.stack_bytes, STACK_BYTES.1);
        let loader = Plan::new(&ld_so, None, 8 << 20).expect("fits");
        assert_eq!(loader.bias, LOADER_START + PAGE, "keeps clear of fixed programs");
    }

    #[test]
    fn a_fixed_program_lies_where_it_was_linked() {
        let plan = Plan::new(&elf(Placement::Fixed, 0x1_0000, 0x8_1234, false), None, 8 << 20).expect("fits");
        assert_eq!((plan.bias, plan.heap.start), (0, 0x8_2000));
        assert!(plan.stack_end - plan.stack_bytes > plan.heap.end && plan.mmap_base == plan.stack_end);
        assert!(expected_bytes(&plan) < 2 << 20, "{:?}", plan.expected);
        assert_eq!(Plan::new(&elf(Placement::Fixed, 0x1000, 0x2000, false), None, 8 << 20), None);
        assert_eq!(Plan::new(&elf(Placement::Fixed, 0xeff0_0000, 0xeff0_1000, false), None, 8 << 20), None);
    }
}
