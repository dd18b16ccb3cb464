//! Body of one Wasm function: its shape, locals and exits. The code between is [`crate::walk`]'s.
//!
//! # Shape
//!
//! ```text
//! (func (param regs view: i32, origin: i64, entry: i32, left room: i64) (result i64)
//!   block $dynamic (result i32)          ;; exits whose pc is in a local
//!     block $static (result i32)         ;; exits at a constant distance from origin
//!       block $stub… (result i32)        ;; one for each set of registers to store; returns give no value
//!         loop $root
//!           block $dispatch
//!             block $jump
//!               br_table to the entries, each of which loads what it needs
//!               …blocks of guest code, structured; direct calls among them…
//!             end: br $root, to the entry at pc; or return
//!           end: call dispatch until pc is where a call returns to
//!           br $root, to the entry there; or return
//!       end: store the set, br $static or $dynamic; or regs.pc = pc; return left
//!     end: pc = origin + distance
//!   end: regs.pc = pc; return left, complemented if the interpreter must execute at pc
//! ```
//!
//! An exit is one constant and a branch: the constant holds distance, instructions
//! not yet counted, and that flag. Instructions are counted where paths meet, at
//! calls and at exits; the budget is looked at on edges that go back, where functions
//! begin and when calls return, and the caller gives at least as much as
//! the longest way between two of these.
//!
//! Calls of regions in the same translation go straight to their slots; all others,
//! and returns to unexpected places, go through $dispatch. Indirect jumps (`switch`)
//! come together in one block, which looks whether their target is in this function
//! and goes there with all registers in their locals; if it does not know, $jump
//! does. See [`friscy_runtime::hart::translated`].

use std::collections::BTreeMap;

use friscy_runtime::hart::translated::{regs, view};
use wasm_encoder::{BlockType, InstructionSink, MemArg, MemArgTarget, ValType};

use crate::Callee;
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
    pub(crate) const ROOM: u32 = 5;
    pub(crate) const BASE: u32 = 6;
    pub(crate) const PERMS: u32 = 7;
    pub(crate) const IDS: u32 = 8;
    pub(crate) const EXIT: u32 = 9;
    pub(crate) const LABEL: u32 = 10;
    /// Rounding to nearest: 0, and 1 with the inexact flag accrued already. Anything else: not to nearest.
    pub(crate) const SIMPLE_FP: u32 = 11;
    pub(crate) const PC: u32 = 12;
    /// Passing 64-bit values.
    pub(crate) const T: [u32; 4] = [13, 14, 15, 16];
    /// Passing binary64 values.
    pub(crate) const F: [u32; 8] = [17, 18, 19, 20, 21, 22, 23, 24];
    pub(crate) const FIRST_FREE: u32 = 25;
    /// Types after the parameters and up to [`FIRST_FREE`]: so many i32, i64, f64.
    pub(crate) const FIXED: [u32; 3] = [6, 5, 8];
}

/// Bytes of the host's stack that a call takes at most besides its locals, in any engine.
const FRAME: u32 = 256;
const RESULT_I32: BlockType = BlockType::Result(ValType::I32);
/// Most uncounted instructions that an exit's constant can hold.
pub(crate) const PENDING_MAX: u32 = 900;

/// Where a stub goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// pc lies at the distance that the exit's constant holds.
    Static,
    /// pc is in [`local::PC`].
    Dynamic,
    /// pc is in [`local::PC`] and everything is counted: there is no constant.
    Return,
}

/// Registers to store before leaving, and how to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stub {
    set: Set,
    /// Those of the set that are in their i32 locals.
    words: Set,
    to: To,
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
    /// Host addresses of facts that are taken up again further on, where ways from here meet.
    pub(crate) held: Vec<u32>,
    /// Registers whose value the block has loaded, and which it only stores again.
    pub(crate) copied: Set,
    /// Registers that are in their i32 locals; the others are in their i64 locals.
    pub(crate) words: Set,
    /// Registers that were stored since the block wrote them last.
    pub(crate) clean: Set,
    /// [`local::SIMPLE_FP`] is 1.
    pub(crate) simple_fp: bool,
    /// It is 0 or 1.
    pub(crate) nearest: bool,
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
    /// Blocks of the entries, which are the nodes from 1 on.
    pub(crate) entries: &'a [usize],
    /// How many of the entries, the first ones, are targets of indirect jumps in this function.
    pub(crate) targets: usize,
    /// Address of the first page.
    pub(crate) origin: u64,
    /// The most instructions between two looks at the budget.
    pub(crate) longest: u32,
    /// Identity of the page of each address.
    pub(crate) identity: &'a dyn Fn(u64) -> u32,
    /// Its own table slot.
    pub(crate) slot: u32,
    /// The function of this translation that begins at an address, when one is called.
    pub(crate) callee: &'a dyn Fn(u64) -> Option<Callee>,
    /// Type index of [`STEP_TYPE`](crate::STEP_TYPE); the next is that of regions.
    pub(crate) step_type: u32,
    /// The host fuses: [`Fma::Fused`](crate::Fma).
    pub(crate) fused: bool,
}

/// What the code of a function refers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// [`local::BASE`] and [`local::PERMS`].
    pub(crate) memory: bool,
    /// [`local::IDS`].
    pub(crate) identities: bool,
    /// [`local::SIMPLE_FP`].
    pub(crate) simple_fp: bool,
    /// It calls functions.
    pub(crate) calls: bool,
    /// It has indirect jumps that may end in it.
    pub(crate) jumps: bool,
}

/// What one pass tells the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    stubs: u32,
    hosts: u32,
    pub(crate) uses: Uses,
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
    /// Which parts of the prologue and epilogue it takes.
    pub(crate) uses: Uses,
    /// What the pass before found.
    pub(crate) known: Known,
    /// Where $root, $dispatch and $jump were opened.
    pub(crate) root_at: u32,
    pub(crate) dispatch_at: u32,
    pub(crate) jump_at: u32,
    /// i64 local of each integer register, f64 local of each floating-point register.
    pub(crate) registers: Vec<u32>,
    /// i32 local of each integer register that is a word somewhere.
    pub(crate) words: Vec<u32>,
    /// First local for host addresses, and how many were in use at once.
    hosts_from: u32,
    hosts: u32,
    /// Numbers of nodes as labels of dispatch nodes.
    pub(crate) numbers: BTreeMap<usize, u32>,
    /// What is known at the end of each node, for those that it dominates.
    pub(crate) at_end: Vec<State>,
    /// Bytes that the function touches off the stack pointer, if one look can serve all.
    pub(crate) frame: Option<(i64, i64, bool)>,
}

/// The finished body, as the code section wants it, without its length.
pub(crate) fn body(cx: Context<'_>) -> Vec<u8> {
    let used = used_registers(&cx);
    let mut emitter = Emitter::new(cx, used);
    // The first pass finds what there is, the second knows how deep it lies.
    emitter.function();
    loop {
        let known = emitter.found();
        let stubs = std::mem::take(&mut emitter.stubs);
        emitter = Emitter { stubs, known, ..Emitter::new(cx, used) };
        emitter.function();
        if emitter.found() == known {
            return emitter.finish(used);
        }
    }
}

/// Entries have the numbers that they are known by, and then come the targets of indirect jumps in the same order.
fn labels(cx: &Context<'_>) -> BTreeMap<usize, u32> {
    let targets = cx.entries.iter().take(cx.targets).map(|&block| cx.node_of[block]);
    (1..=cx.entries.len()).chain(targets).zip(0..).collect()
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
            uses: Uses::default(),
            known: Known::default(),
            root_at: 0,
            dispatch_at: 0,
            jump_at: 0,
            registers,
            words,
            hosts_from: next,
            hosts: 0,
            numbers: labels(&cx),
            at_end: vec![State::default(); nodes],
            frame: crate::mem::frame(cx.region),
        }
    }

    fn found(&self) -> Known {
        Known { stubs: self.stubs.len() as u32, hosts: self.hosts, uses: self.uses }
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
        for number in 0..self.known.stubs as usize {
            let returns = self.stubs[number].to == To::Return;
            self.open(if returns { BlockType::Empty } else { RESULT_I32 });
        }
        self.prologue();
        let Uses { calls, jumps, .. } = self.known.uses;
        if calls || jumps {
            self.op().loop_(BlockType::Empty);
            self.open += 1;
            self.root_at = self.open;
            self.dispatch_at = self.open(BlockType::Empty);
            self.jump_at = self.open(BlockType::Empty);
        }
        self.tree(0, State::default());
        if calls || jumps {
            self.op().unreachable();
            self.end();
            self.finish_jumps();
            self.end();
            self.dispatch_calls();
            self.end();
        }
        self.op().unreachable();
        for number in (0..self.known.stubs as usize).rev() {
            self.end();
            let Stub { set, words, to } = self.stubs[number];
            if to == To::Return {
                self.store(set, words);
                self.return_at_pc();
                continue;
            }
            self.op().local_set(local::EXIT);
            self.store(set, words);
            self.op().local_get(local::EXIT);
            let to = self.depth(if to == To::Dynamic { dynamic } else { fixed });
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
            // left - pending, complemented or not
            .local_get(local::LEFT)
            .local_get(local::EXIT)
            .i32_const(1)
            .i32_shr_u()
            .i32_const(0x3ff)
            .i32_and()
            .i64_extend_i32_u()
            .i64_sub()
            .i64_const(0)
            .local_get(local::EXIT)
            .i32_const(1)
            .i32_and()
            .i64_extend_i32_u()
            .i64_sub()
            .i64_xor()
            .end();
    }

    /// What stays as it is during a call.
    fn prologue(&mut self) {
        let word = |offset| at(offset, 2);
        let uses = self.known.uses;
        if uses.memory {
            self.op()
                .local_get(local::VIEW)
                .i32_load(word(view::BASE))
                .local_set(local::BASE)
                .local_get(local::VIEW)
                .i32_load(word(view::PERMS))
                .local_set(local::PERMS);
        }
        if uses.identities {
            // From the region's first page on.
            self.op()
                .local_get(local::VIEW)
                .i32_load(word(view::IDS))
                .local_get(local::ORIGIN)
                .i64_const(10)
                .i64_shr_u()
                .i32_wrap_i64()
                .i32_add()
                .local_set(local::IDS);
        }
        if uses.calls {
            let frame = self.frame();
            self.op().local_get(local::ROOM).i64_const(frame).i64_sub().local_set(local::ROOM);
        }
        self.set_simple_fp();
    }

    /// Bytes of the host's stack that a call of this function takes.
    pub(crate) fn frame(&self) -> i64 {
        (FRAME + 8 * (self.hosts_from + self.known.hosts)).into()
    }

    /// Find out whether floating point is simple now.
    pub(crate) fn set_simple_fp(&mut self) {
        if self.known.uses.simple_fp {
            self.op()
                .local_get(local::REGS)
                .i32_load(at(regs::FCSR, 2))
                .i32_const(0xe1)
                .i32_and()
                .local_set(local::SIMPLE_FP);
        }
    }

    /// Locals of registers to memory.
    pub(crate) fn store(&mut self, set: Set, words: Set) {
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

    pub(crate) fn stub(&mut self, set: Set, words: Set, to: To) -> u32 {
        let stub = Stub { set, words: words & set, to };
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
            self.push_relative(pc);
            self.op().local_set(local::PC);
        }
        let constant = self.exit_constant(if near { pc } else { self.cx.origin }, state.pending, interpret);
        let stub = self.stub(set, state.words, if near { To::Static } else { To::Dynamic });
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
        let used = |host: u32| state.held.contains(&host) || state.facts.iter().any(|fact| fact.host == host);
        while used(self.hosts_from + number) {
            number += 1;
        }
        self.hosts = self.hosts.max(number + 1);
        self.hosts_from + number
    }

    /// Push the address `to`, which lies at a known distance from origin.
    pub(crate) fn push_relative(&mut self, to: u64) {
        let distance = to.wrapping_sub(self.cx.origin).cast_signed();
        self.op().local_get(local::ORIGIN);
        if distance != 0 {
            self.op().i64_const(distance).i64_add();
        }
    }

    /// Write the address `to` to rd.
    pub(crate) fn set_pc_relative(&mut self, rd: usize, to: u64, state: &mut State) {
        self.push_relative(to);
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
