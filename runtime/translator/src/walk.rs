//! Along the dominator tree: blocks, loops, branches and entries, each where the layout says.

use friscy_formats::aot::PAGE;
use friscy_runtime::hart::isa::field;
use wasm_encoder::BlockType;

use crate::cfg::End;
use crate::emit::{Emitter, Fact, PENDING_MAX, State, at, local};
use crate::flow::{Set, x};
use crate::structure::Edge;
use crate::words::Cut;

impl Emitter<'_> {
    pub(crate) fn tree(&mut self, node: usize, mut state: State) {
        let merges = &self.cx.layout.merges[node];
        state.copied = 0;
        if self.cx.layout.is_loop[node] {
            self.flush(&mut state);
            self.op().loop_(BlockType::Empty);
            self.open += 1;
            self.loop_at[node] = self.open;
            let state = State { held: state.held, ..self.at_start(node) };
            self.within(node, merges, state);
            self.end();
        } else {
            self.within(node, merges, state);
        }
    }

    fn within(&mut self, node: usize, merges: &[usize], state: State) {
        let Some((&last, rest)) = merges.split_last() else { return self.node(node, state) };
        self.block_at[last] = self.open(BlockType::Empty);
        self.within(node, rest, state);
        self.end();
        let mut state = self.at_start(last);
        state.held.clone_from(&self.at_end[node].held);
        state.facts = self.kept(node, last);
        self.tree(last, state);
    }

    /// Facts at the end of a node that still hold where ways from it meet.
    fn kept(&self, node: usize, merge: usize) -> Vec<Fact> {
        let mut facts = self.at_end[node].facts.clone();
        if facts.is_empty() {
            return facts;
        }
        let predecessors = &self.cx.layout.predecessors;
        let mut between = vec![false; predecessors.len()];
        let mut work = vec![merge];
        let mut written = 0;
        while let Some(at) = work.pop() {
            for &from in predecessors[at].iter().filter(|&&from| from != node) {
                if !std::mem::replace(&mut between[from], true) {
                    if !self.cx.graph.is_dispatch(from) {
                        written |= self.cx.flow.written[self.cx.block_of[from]];
                    }
                    work.push(from);
                }
            }
        }
        facts.retain(|fact| written & x(fact.reg) == 0);
        facts
    }

    /// What is known where ways meet.
    fn at_start(&self, node: usize) -> State {
        let known = node > self.cx.entries.len() && !self.cx.graph.is_dispatch(node);
        let words = if known { self.cx.words.at_start[self.cx.block_of[node]] } else { 0 };
        State { words, ..State::default() }
    }

    fn node(&mut self, node: usize, state: State) {
        let graph = self.cx.graph;
        if node == 0 {
            self.root();
        } else if graph.is_dispatch(node) {
            self.dispatch(node);
        } else if self.is_entry(node) {
            self.entry(node, state);
        } else {
            self.block(node, state);
        }
    }

    fn is_entry(&self, node: usize) -> bool {
        (1..=self.cx.entries.len()).contains(&node)
    }

    /// Control comes in here, from the caller or from a call that has returned, and all registers are in memory: load
    /// what the block needs, and see that what it takes for words are words.
    fn entry(&mut self, node: usize, mut state: State) {
        let block = self.cx.block_of[node];
        let start = self.cx.region.blocks[block].start;
        if (self.cx.callee)(start).is_some() {
            // A direct call has asked nothing: not for room, nor budget, nor whether this is the page that it was.
            let longest = self.cx.longest;
            self.op().local_get(local::LEFT).i64_const(longest.into()).i64_sub();
            if self.known.uses.calls {
                // What there was before this function took its part: `dispatch` asks for no more.
                let frame = self.frame();
                self.op().local_get(local::ROOM).i64_const(frame).i64_add().i64_or();
            }
            self.op().i64_const(0).i64_lt_s();
            self.push_other_page(start);
            self.op().i32_or();
            self.if_();
            self.exit(start, 0, &state, false);
            self.end();
        }
        let live = self.cx.flow.live_in[block];
        self.load(live);
        let words = live & self.cx.words.at_start[block];
        for n in (1..32).filter(|n| words >> n & 1 != 0) {
            let (register, word) = (self.registers[n], self.words[n]);
            let mut op = self.op();
            op.local_get(register).i32_wrap_i64().local_tee(word).i64_extend_i32_s();
            op.local_get(register).i64_ne();
            if words & ((1 << n) - 1) != 0 {
                op.i32_or();
            }
        }
        if words != 0 {
            self.exit_if(start, 0, &state);
        }
        state.words = words;
        self.edge(node, self.cx.graph.successors[node][0], state);
    }

    fn root(&mut self) {
        let edges = &self.cx.graph.successors[0];
        if edges.iter().any(|edge| self.cx.graph.is_dispatch(edge.to)) {
            // Entries are the first labels.
            self.op().local_get(local::ENTRY).local_set(local::LABEL);
        }
        let targets: Vec<u32> =
            edges.iter().map(|edge| self.open.wrapping_sub(self.block_at[edge.to])).collect();
        match targets.as_slice() {
            [] => {
                self.op().unreachable();
            }
            [one] => {
                let one = *one;
                self.op().br(one);
            }
            [table @ .., last] => {
                let last = *last;
                let table = table.to_vec();
                self.op().local_get(local::ENTRY).br_table(table, last);
            }
        }
    }

    /// Number of a block as a label of dispatch nodes.
    fn number(&mut self, label: usize) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(label).or_insert(next)
    }

    fn dispatch(&mut self, node: usize) {
        let edges = self.cx.graph.successors[node].clone();
        let mut targets: Vec<(u32, u32)> = Vec::new();
        for edge in edges {
            let number = self.number(edge.label);
            targets.push((number, self.label_depth(node, edge.to)));
        }
        targets.sort_unstable();
        let (first, last) = (targets[0], targets[targets.len() - 1]);
        if targets.len() == 2 {
            self.op()
                .local_get(local::LABEL)
                .i32_const(first.0.cast_signed())
                .i32_eq()
                .br_if(first.1)
                .br(last.1);
            return;
        }
        let mut table = vec![last.1; (last.0 - first.0) as usize];
        for (number, depth) in targets {
            if let Some(place) = table.get_mut((number - first.0) as usize) {
                *place = depth;
            }
        }
        self.op().local_get(local::LABEL).i32_const(first.0.cast_signed()).i32_sub().br_table(table, last.1);
    }

    pub(crate) fn is_back(&self, from: usize, to: usize) -> bool {
        self.cx.layout.order[to] <= self.cx.layout.order[from]
    }

    pub(crate) fn label_depth(&self, from: usize, to: usize) -> u32 {
        let at = if self.is_back(from, to) { self.loop_at[to] } else { self.block_at[to] };
        self.depth(at)
    }

    /// The edge's code stands right here: its target has no other way in.
    pub(crate) fn is_inline(&self, from: usize, edge: Edge) -> bool {
        !self.is_back(from, edge.to) && !self.cx.layout.is_merge[edge.to]
    }

    /// Go along an edge.
    fn edge(&mut self, from: usize, edge: Edge, mut state: State) {
        let (source, target) = (self.cx.block_of[from], self.cx.block_of[edge.label]);
        let back = self.is_back(from, edge.to);
        let inline = self.is_inline(from, edge);
        if !inline {
            self.flush(&mut state);
        }
        // What a block of this region needs that control does not reach after all. Behind an edge that stores nobody
        // keeps in locals what is in memory by then.
        let start = self.cx.region.blocks[target].start;
        let is_entry = self.is_entry(from);
        let dirty = if is_entry { 0 } else { self.cx.flow.dirty_out[source] };
        let stored = if is_entry { None } else { self.cx.flow.stored.get(&(source, target)).copied() };
        let mut set = stored.unwrap_or(dirty & self.cx.flow.live_in[target]) & !state.clean;
        if !is_entry && self.leaves_page(source, start) {
            self.expect_page(start, |emitter| emitter.exit(start, set, &state, false));
        }
        if stored.is_some() {
            self.store(set, state.words);
            set = 0;
        }
        state.clean = 0;
        if !inline {
            self.agree(self.cx.flow.live_in[target], self.cx.words.at_start[target], &mut state);
        }
        if back {
            self.set_label(edge);
            let (longest, depth) = (self.cx.longest, self.label_depth(from, edge.to));
            self.op().local_get(local::LEFT).i64_const(longest.into()).i64_ge_s().br_if(depth);
            return self.exit(start, set, &state, false);
        }
        self.follow(from, edge, state);
    }

    /// Go along an edge without a look at pages or budget.
    pub(crate) fn follow(&mut self, from: usize, edge: Edge, state: State) {
        self.set_label(edge);
        if self.is_inline(from, edge) {
            return self.tree(edge.to, state);
        }
        let depth = self.label_depth(from, edge.to);
        self.op().br(depth);
    }

    fn set_label(&mut self, edge: Edge) {
        if self.cx.graph.is_dispatch(edge.to) {
            let number = self.number(edge.label);
            self.op().i32_const(number.cast_signed()).local_set(local::LABEL);
        }
    }

    /// Push whether the page of `address` no longer is what was translated.
    fn push_other_page(&mut self, address: u64) {
        let rise = (address - self.cx.origin) / PAGE as u64;
        let identity = (self.cx.identity)(address);
        self.uses.identities = true;
        self.op().local_get(local::IDS).i32_load(at(rise * 4, 2)).i32_const(identity.cast_signed()).i32_ne();
    }

    /// Do something when the page of `address` no longer is what was translated.
    pub(crate) fn expect_page(&mut self, address: u64, otherwise: impl FnOnce(&mut Self)) {
        self.push_other_page(address);
        self.if_();
        otherwise(self);
        self.end();
    }

    /// Go on at `address`, in this region or not.
    fn go(&mut self, from: usize, address: u64, state: State) {
        match self.inside(from, address) {
            Some(edge) => self.edge(from, edge, state),
            None => {
                let set = self.cx.flow.dirty_out[self.cx.block_of[from]] & !state.clean;
                self.exit(address, set, &state, false);
            }
        }
    }

    /// What [`Self::go`] stores, whatever comes of it.
    fn stored(&self, from: usize, address: u64) -> Set {
        let (flow, block_of) = (self.cx.flow, self.cx.block_of);
        match self.inside(from, address) {
            Some(edge) => flow.stored.get(&(block_of[from], block_of[edge.label])).copied().unwrap_or(0),
            None => flow.dirty_out[block_of[from]],
        }
    }

    fn inside(&self, from: usize, address: u64) -> Option<Edge> {
        let block = self.cx.by_address.get(&address)?;
        let node = self.cx.node_of[*block];
        self.cx.graph.successors[from].iter().copied().find(|edge| edge.label == node)
    }

    fn block(&mut self, node: usize, mut state: State) {
        let number = self.cx.block_of[node];
        let block = &self.cx.region.blocks[number];
        let mut dirty = self.cx.flow.dirty_in[number];
        let live = self.live_before(number);
        if block.insns.first().is_some_and(crate::cfg::Insn::straddles) {
            let set = dirty & self.cx.flow.live_in[number];
            self.expect_page(block.start + 2, |emitter| emitter.exit(block.start, set, &state, true));
        }
        for (i, insn) in block.insns.iter().enumerate() {
            // The last instruction of these is the terminator's.
            let transfers =
                matches!(block.end, End::Branch { .. } | End::Jump(_) | End::Call { .. } | End::Indirect);
            if transfers && i + 1 == block.insns.len() {
                break;
            }
            // The second half of a cut is done with the first.
            if i == 0 || Cut::at(&block.insns[i - 1..]).is_none() {
                self.insn(insn, &block.insns[i..], dirty & live[i], &mut state);
            }
            dirty |= crate::flow::writes(insn);
            state.pending += 1;
            if state.pending > PENDING_MAX {
                self.flush(&mut state);
            }
        }
        self.terminator(node, state);
    }

    /// Registers that are live before each instruction of a block.
    fn live_before(&self, number: usize) -> Vec<Set> {
        let mut live = self.cx.flow.live_out[number];
        let insns = self.cx.region.blocks[number].insns.iter().rev();
        let mut sets: Vec<Set> = insns
            .map(|insn| {
                live = live & !crate::flow::writes(insn) | crate::flow::reads(insn);
                live
            })
            .collect();
        sets.reverse();
        sets
    }

    fn terminator(&mut self, node: usize, mut state: State) {
        let number = self.cx.block_of[node];
        let block = &self.cx.region.blocks[number];
        let dirty = self.cx.flow.dirty_out[number];
        let last = block.insns.last();
        self.at_end[node] = state.clone();
        for &merge in &self.cx.layout.merges[node] {
            state.held.extend(self.kept(node, merge).iter().map(|fact| fact.host));
        }
        self.at_end[node].held.clone_from(&state.held);
        match (block.end, last) {
            (End::Fall(to), _) => self.go(node, to, state),
            (End::Switch, _) => self.switch(node),
            (End::Interpret(pc), _) => self.exit(pc, dirty, &state, true),
            (End::Jump(to), _) => {
                state.pending += 1;
                self.go(node, to, state);
            }
            (End::Call { target, back }, Some(last)) => {
                state.pending += 1;
                self.set_pc_relative(field::rd(last.raw), back, &mut state);
                match self.entry_at(back) {
                    Some(entry) => self.call(node, target, (back, entry), state),
                    None => self.exit(target, dirty, &state, false),
                }
            }
            (End::Indirect, Some(last)) => {
                state.pending += 1;
                let (rd, imm) = (field::rd(last.raw), field::imm_i(last.raw));
                self.get(field::rs1(last.raw), state.words);
                if imm != 0 {
                    self.op().i64_const(imm.into()).i64_add();
                }
                self.op().i64_const(-2).i64_and().local_set(local::PC);
                if rd != 0 {
                    self.set_pc_relative(rd, last.next(), &mut state);
                }
                match self.entry_at(last.next()).filter(|_| last.links()) {
                    Some(entry) => self.call_dispatched(node, (last.next(), entry), state),
                    None if last.switches() => self.jump(node, dirty, state),
                    None => self.exit_dynamic(dirty, state),
                }
            }
            (End::Branch { taken, fall }, Some(last)) => {
                state.pending += 1;
                let straight = |emitter: &Self, to| match emitter.inside(node, to) {
                    Some(edge) => emitter.is_inline(node, edge),
                    None => true,
                };
                if !(straight(self, taken) && straight(self, fall)) {
                    self.flush(&mut state);
                }
                state.clean = self.stored(node, taken) & self.stored(node, fall);
                self.store(state.clean, state.words);
                self.condition(last, state.words);
                self.if_();
                self.go(node, taken, state.clone());
                self.else_();
                self.go(node, fall, state);
                self.end();
            }
            // These end with an instruction by construction.
            (End::Call { .. } | End::Indirect | End::Branch { .. }, None) => {
                self.op().unreachable();
            }
        }
    }

    /// Whether an address lies in another page than a block.
    pub(crate) fn leaves_page(&self, block: usize, address: u64) -> bool {
        address / PAGE as u64 != self.cx.region.blocks[block].start / PAGE as u64
    }
}
