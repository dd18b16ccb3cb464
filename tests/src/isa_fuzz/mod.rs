//! Random RV64GC programs, run by `qemu-riscv64` and by our hart, compared byte by byte.
//!
//! [`generate`] makes a case: registers from a table of interesting values, a
//! loop over a random body, all registers folded into an accumulator each time
//! round, and the final state stored. [`program`] puts many cases into one static ELF
//! that writes all states and its scratch memory to stdout; [`machine`] runs it
//! with both. [`triples`] makes programs of fused multiplication and addition alone, for operands that are hard to
//! round. The test is `tests/tests/isa_fuzz.rs`.

pub mod generate;
pub mod machine;
pub mod program;
pub mod triples;

/// SplitMix64: small, seedable, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an endless source is no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
