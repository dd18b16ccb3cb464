//! Body of one Wasm function: its shape, locals and exits. The code between is [`crate::walk`]'s.
//!
//! # Shape
//!
//! ```text
//! (func (param regs view: i32, origin: i64, entry: i32, left: i64) (result i64)
//!   block $dynamic (result i32)          ;; exits whose pc is in a local
//!     block $static (result i32)         ;; exits at a constant distance from origin
//!       block $stub… (result i32)        ;; one for each set of registers to store
//!         load what all entries need; br_table to the entries
//!         …blocks of guest code, structured…
//!       end: store the set, br $static or $dynamic
//!     end: pc = origin + distance
//!   end: regs.pc = pc; return left, and whether the interpreter must execute at pc
//! ```
//!
//! An exit is one constant and a branch: the constant holds distance, instructions
//! not yet counted, and that flag. Instructions are counted where paths meet and
//! at exits; the budget is looked at on edges that go back, and the caller gives
//! at least as much as the longest way between two such edges.

use std::collections::BTreeMap;

use friscy_runtime::hart::translated::regs;
use wasm_encoder::{BlockType, InstructionSink, MemArg, MemArgTarget, ValType};

use crate::cfg::Region;
use crate::flow::{Flow, Set};
use crate::structure::{Graph, Layout};
use crate::words::{Words, is_word};

/// Locals: first the parameters.
pub(crate) mod local {
    pub(crate) const REGS: u32 = 0;
    pub(crate) const VIEW: u32 = 1;
    pub(crate) const ORIGIN: u32 = 2;
    pub(crate) const ENTRY: u32 = 3;
    pub(crate) const LEFT: u32 = 4;
    pub(crate) const BASE: u32 = 5;
    pub(crate) const PERMS: u32 = 6;
    pub(crate) const IDS: u32 = 7;
    pub(crate) const EXIT: u32 = 8;
    pub(crate) const LABEL: u32 = 9;
    /// Rounding to nearest and inexact accrued already: 1.
    pub(crate) const SIMPLE_FP: u32 = 10;
    pub(crate) const PC: u32 = 11;
    /// Passing 64-bit values.
    pub(crate) const T: [u32; 4] = [12, 13, 14, 15];
    /// Passing binary64 values.
    pub(crate) const F: [u32; 8] = [16, 17, 18, 19, 20, 21, 22, 23];
    pub(crate) const FIRST_FREE: u32 = 24;
    /// Types after the parameters and up to [`FIRST_FREE`]: so many i32, i64, f64.
    pub(crate) const FIXED: [u32; 3] = [6, 5, 8];
}

const RESULT_I32: BlockType = BlockType::Result(ValType::I32);
/// Most uncounted instructions that an exit's constant can hold.
pub(crate) const PENDING_MAX: u32 = 900;

/// Registers to store, and whether pc is in a local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stub {
    set: Set,
    /// Those of the set that are in their i32 locals.
    words: Set,
    dynamic: bool,
}

/// A checked stretch of memory off a register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact {
    /// The register, which has not changed in a way unknown since.
    pub(crate) reg: usize,
    /// i32 local: host address of offset `low`.
    pub(crate) host: u32,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) write: bool,
}

/// What is known at a place in the code.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Instructions executed and not yet taken off `left`.
    pub(crate) pending: u32,
    pub(crate) facts: Vec<Fact>,
    /// Registers that are in their i32 locals; the others are in their i64 locals.
    pub(crate) words: Set,
    /// [`local::SIMPLE_FP`] holds.
    pub(crate) simple_fp: bool,
    /// Floating-point registers that hold NaN-boxed binary32 values.
    pub(crate) boxed: Set,
}

/// Parameters of a translation that are not the region's.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) region: &'a Region,
    pub(crate) flow: &'a Flow,
    pub(crate) words: &'a Words,
    pub(crate) graph: &'a Graph,
    pub(crate) layout: &'a Layout,
    /// Region block of each graph node: entry nodes stand for the block that they enter.
    pub(crate) block_of: &'a [usize],
    /// Graph node of each block.
    pub(crate) node_of: &'a [usize],
    /// Block of each address.
    pub(crate) by_address: &'a BTreeMap<u64, usize>,
    /// Nodes 1 to this one are entries.
    pub(crate) entries: usize,
    /// Address of the first page.
    pub(crate) origin: u64,
    /// The most instructions between two looks at the budget.
    pub(crate) longest: u32,
    /// Identity of the page of each address.
    pub(crate) identity: &'a dyn Fn(u64) -> u32,
    /// Table slot and type index of the function that checks memory exactly.
    pub(crate) check: (u32, u32),
}

/// A function body in the making.
pub(crate) struct Emitter<'a> {
    pub(crate) cx: Context<'a>,
    pub(crate) out: Vec<u8>,
    /// Structures open now.
    pub(crate) open: u32,
    /// Of each node, what `open` was inside its loop or the block that ends where it begins.
    pub(crate) loop_at: Vec<u32>,
    pub(crate) block_at: Vec<u32>,
    stubs: Vec<Stub>,
    known_stubs: u32,
    /// i64 local of each integer register, f64 local of each floating-point register.
    pub(crate) registers: Vec<u32>,
    /// i32 local of each integer register that is a word somewhere.
    pub(crate) words: Vec<u32>,
    /// First local for host addresses, and how many were in use at once.
    hosts_from: u32,
    hosts: u32,
    pub(crate) numbers: BTreeMap<usize, u32>,
}

/// The finished body, as the code section wants it, without its length.
pub(crate) fn body(cx: Context<'_>) -> Vec<u8> {
    let used = used_registers(&cx);
    let mut emitter = Emitter::new(cx, used);
    // The first pass finds the stubs, the second knows how deep they lie.
    emitter.function();
    loop {
        let stubs = std::mem::take(&mut emitter.stubs);
        let count = stubs.len();
        emitter = Emitter { stubs, known_stubs: count as u32, ..Emitter::new(cx, used) };
        emitter.function();
        if emitter.stubs.len() == count {
            return emitter.finish(used);
        }
    }
}

fn used_registers(cx: &Context<'_>) -> Set {
    let insns = cx.region.blocks.iter().flat_map(|block| &block.insns);
    insns.map(|insn| crate::flow::reads(insn) | crate::flow::writes(insn)).fold(0, |a, b| a | b)
}

/// A memory argument: offset and the exponent of the alignment to expect.
pub(crate) fn at(offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, target: MemArgTarget::Memory(0), ordering: None }
}

impl<'a> Emitter<'a> {
    fn new(cx: Context<'a>, used: Set) -> Self {
        let mut registers = vec![0; 64];
        let mut next = local::FIRST_FREE;
        for (n, register) in registers.iter_mut().enumerate() {
            if used >> n & 1 != 0 {
                *register = next;
                next += 1;
            }
        }
        let mut words = vec![0; 32];
        for (n, word) in words.iter_mut().enumerate() {
            if cx.words.ever >> n & 1 != 0 {
                *word = next;
                next += 1;
            }
        }
        let nodes = cx.graph.successors.len();
        Emitter {
            cx,
            out: Vec::new(),
            open: 0,
            loop_at: vec![0; nodes],
            block_at: vec![0; nodes],
            stubs: Vec::new(),
            known_stubs: 0,
            registers,
            words,
            hosts_from: next,
            hosts: 0,
            numbers: BTreeMap::new(),
        }
    }

    pub(crate) fn op(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.out)
    }

    pub(crate) fn open(&mut self, kind: BlockType) -> u32 {
        self.op().block(kind);
        self.open += 1;
        self.open
    }

    pub(crate) fn if_(&mut self) {
        self.op().if_(BlockType::Empty);
        self.open += 1;
    }

    pub(crate) fn else_(&mut self) {
        self.op().else_();
    }

    pub(crate) fn end(&mut self) {
        self.op().end();
        self.open -= 1;
    }

    /// Relative depth of a structure. Wrong during the first pass, when stubs are not all known.
    pub(crate) fn depth(&self, at: u32) -> u32 {
        self.open.wrapping_sub(at)
    }

    fn finish(self, used: Set) -> Vec<u8> {
        let (x_used, f_used) = ((used as u32).count_ones(), (used >> 32).count_ones());
        let [i32s, i64s, f64s] = local::FIXED;
        let groups = [
            (i32s, ValType::I32),
            (i64s, ValType::I64),
            (f64s, ValType::F64),
            (x_used, ValType::I64),
            (f_used, ValType::F64),
            (self.cx.words.ever.count_ones() + self.hosts, ValType::I32),
        ];
        let groups: Vec<_> = groups.into_iter().filter(|&(count, _)| count > 0).collect();
        let mut function = wasm_encoder::Function::new(groups);
        function.raw(self.out);
        function.into_raw_body()
    }

    fn function(&mut self) {
        let dynamic = self.open(RESULT_I32);
        let fixed = self.open(RESULT_I32);
        for _ in 0..self.known_stubs {
            self.open(RESULT_I32);
        }
        self.tree(0, State::default());
        self.op().unreachable();
        for number in (0..self.known_stubs as usize).rev() {
            self.end();
            let Stub { set, words, dynamic: pc_known } = self.stubs[number];
            self.op().local_set(local::EXIT);
            self.store(set, words);
            self.op().local_get(local::EXIT);
            let to = self.depth(if pc_known { dynamic } else { fixed });
            self.op().br(to);
        }
        self.end();
        self.op()
            .local_tee(local::EXIT)
            .i32_const(11)
            .i32_shr_s()
            .i64_extend_i32_s()
            .local_get(local::ORIGIN)
            .i64_add()
            .local_set(local::PC)
            .local_get(local::EXIT);
        self.end();
        self.op()
            .local_set(local::EXIT)
            .local_get(local::REGS)
            .local_get(local::PC)
            .i64_store(at(regs::PC, 3))
            // (left - pending) << 1 | interpret
            .local_get(local::LEFT)
            .local_get(local::EXIT)
            .i32_const(1)
            .i32_shr_u()
            .i32_const(0x3ff)
            .i32_and()
            .i64_extend_i32_u()
            .i64_sub()
            .i64_const(1)
            .i64_shl()
            .local_get(local::EXIT)
            .i32_const(1)
            .i32_and()
            .i64_extend_i32_u()
            .i64_or()
            .end();
    }

    /// Locals of registers to memory.
    fn store(&mut self, set: Set, words: Set) {
        for n in (0..64).filter(|n| set >> n & 1 != 0) {
            self.op().local_get(local::REGS);
            if n < 32 {
                self.get(n, words);
                self.op().i64_store(at(regs::X + n as u64 * 8, 3));
            } else {
                let register = self.registers[n];
                self.op().local_get(register).f64_store(at(regs::F + (n - 32) as u64 * 8, 3));
            }
        }
    }

    pub(crate) fn load(&mut self, set: Set) {
        for n in (0..64).filter(|n| set >> n & 1 != 0) {
            let register = self.registers[n];
            self.op().local_get(local::REGS);
            if n < 32 {
                self.op().i64_load(at(regs::X + n as u64 * 8, 3));
            } else {
                self.op().f64_load(at(regs::F + (n - 32) as u64 * 8, 3));
            }
            self.op().local_set(register);
        }
    }

    pub(crate) fn stub(&mut self, set: Set, words: Set, dynamic: bool) -> u32 {
        let stub = Stub { set, words: words & set, dynamic };
        let number = self.stubs.iter().position(|&known| known == stub).unwrap_or_else(|| {
            self.stubs.push(stub);
            self.stubs.len() - 1
        });
        // $dynamic and $static are 1 and 2.
        3 + number as u32
    }

    /// The constant of an exit at `pc`.
    pub(crate) fn exit_constant(&self, pc: u64, pending: u32, interpret: bool) -> i32 {
        let distance = pc.wrapping_sub(self.cx.origin) as i32;
        distance << 11 | (pending << 1) as i32 | i32::from(interpret)
    }

    /// Leave for good: control goes on at `pc`, `set` is stored before.
    pub(crate) fn exit(&mut self, pc: u64, set: Set, state: &State, interpret: bool) {
        let distance = pc.wrapping_sub(self.cx.origin).cast_signed();
        let near = distance.unsigned_abs() < 1 << 20;
        if !near {
            // A long jump out of the region.
            self.op().local_get(local::ORIGIN).i64_const(distance).i64_add().local_set(local::PC);
        }
        let constant = self.exit_constant(if near { pc } else { self.cx.origin }, state.pending, interpret);
        let stub = self.stub(set, state.words, !near);
        let depth = self.depth(stub);
        self.op().i32_const(constant).br(depth);
    }

    /// Leave when the condition on the stack holds, for the interpreter to execute the instruction at `pc`.
    pub(crate) fn exit_if(&mut self, pc: u64, set: Set, state: &State) {
        self.if_();
        self.exit(pc, set, state, true);
        self.end();
    }

    /// Count what is pending.
    pub(crate) fn flush(&mut self, state: &mut State) {
        if state.pending > 0 {
            self.op().local_get(local::LEFT).i64_const(state.pending.into()).i64_sub().local_set(local::LEFT);
            state.pending = 0;
        }
    }

    /// An i32 local for a host address that no fact uses.
    pub(crate) fn free_host(&mut self, state: &State) -> u32 {
        let mut number = 0;
        while state.facts.iter().any(|fact| fact.host == self.hosts_from + number) {
            number += 1;
        }
        self.hosts = self.hosts.max(number + 1);
        self.hosts_from + number
    }

    /// Write the address `to`, which lies at a known distance from origin, to rd.
    pub(crate) fn set_pc_relative(&mut self, rd: usize, to: u64, state: &mut State) {
        let distance = to.wrapping_sub(self.cx.origin).cast_signed();
        self.op().local_get(local::ORIGIN).i64_const(distance).i64_add();
        self.set(rd, false, state);
    }

    /// Push an integer register in full, given which are words.
    pub(crate) fn get(&mut self, n: usize, words: Set) {
        if n == 0 {
            self.op().i64_const(0);
        } else if is_word(words, n) {
            let word = self.words[n];
            self.op().local_get(word).i64_extend_i32_s();
        } else {
            let register = self.registers[n];
            self.op().local_get(register);
        }
    }

    /// Push the low half of an integer register.
    pub(crate) fn get_word(&mut self, n: usize, words: Set) {
        if n == 0 {
            self.op().i32_const(0);
        } else if is_word(words, n) {
            let word = self.words[n];
            self.op().local_get(word);
        } else {
            let register = self.registers[n];
            self.op().local_get(register).i32_wrap_i64();
        }
    }

    /// Pop the new value of an integer register: an i32 for a word.
    pub(crate) fn set(&mut self, n: usize, word: bool, state: &mut State) {
        let local = if word { self.words[n] } else { self.registers[n] };
        self.op().local_set(local);
        state.words = state.words & !(1 << n) | Set::from(word) << n;
    }

    /// Bring a set of registers to where a block wants them.
    pub(crate) fn agree(&mut self, set: Set, wanted: Set, state: &mut State) {
        let widen = set & state.words & !wanted;
        for n in (1..32).filter(|n| widen >> n & 1 != 0) {
            self.get(n, state.words);
            self.set(n, false, state);
        }
    }
}
