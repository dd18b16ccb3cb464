//! Calls and indirect jumps: straight to functions of the same translation, or by way of $dispatch and $jump, which
//! stand at the end of the body. See [`crate::emit`] and [`friscy_runtime::hart::translated`].

use friscy_runtime::hart::translated::{FRAME, regs, target, view};

use wasm_encoder::BlockType;

use crate::emit::{Emitter, State, To, at, local};
use crate::flow::Set;

impl Emitter<'_> {
    /// Leave for the address in [`local::PC`].
    pub(crate) fn exit_dynamic(&mut self, set: Set, mut state: State) {
        self.flush(&mut state);
        let stub = self.stub(set, state.words, To::Return);
        let depth = self.depth(stub);
        self.op().br(depth);
    }

    /// Jump to the address in [`local::PC`], which may be in this function.
    pub(crate) fn jump(&mut self, node: usize, dirty: Set, mut state: State) {
        match (self.cx.region.switch(), self.cx.graph.successors[node].first()) {
            (Some(switch), Some(&edge)) => {
                // Whatever one of the jumps may have written would be to be stored wherever any of them goes.
                self.store(dirty, state.words);
                self.flush(&mut state);
                self.agree(self.cx.flow.live_in[switch], self.cx.words.at_start[switch], &mut state);
                self.follow(node, edge, state);
            }
            _ if self.cx.entries.len() > 1 => {
                self.store(dirty, state.words);
                self.flush(&mut state);
                self.br_jump();
            }
            _ => self.exit_dynamic(dirty, state),
        }
    }

    /// Where all indirect jumps come to: on to the block at [`local::PC`], with all registers in their locals, or out.
    pub(crate) fn switch(&mut self, node: usize) {
        let Some(&edge) = self.cx.graph.successors[node].first() else { unreachable!("it has targets") };
        let (entries, targets) = (self.cx.entries.len() as u32, self.cx.targets as u32);
        self.open(BlockType::Empty);
        self.push_my_entry(targets);
        self.op().i32_const(entries.cast_signed()).i32_add().local_set(local::LABEL);
        if self.is_inline(node, edge) {
            self.tree(edge.to, State::default());
        } else {
            let depth = self.label_depth(node, edge.to);
            self.op().br(depth);
        }
        self.end();
        self.br_jump();
    }

    /// To $jump: everything is stored and counted, and pc in its local.
    fn br_jump(&mut self) {
        self.uses.jumps = true;
        let depth = self.depth(self.jump_at);
        self.op().br(depth);
    }

    /// Which entry enters at an address.
    pub(crate) fn entry_at(&self, address: u64) -> Option<usize> {
        let block = self.cx.by_address.get(&address)?;
        self.cx.entries.iter().position(|entry| entry == block)
    }

    /// Call the function at `target`, and go on with an entry at `back`.
    pub(crate) fn call(&mut self, node: usize, target: u64, (back, entry): (u64, usize), mut state: State) {
        let Some(callee) = (self.cx.callee)(target) else {
            self.push_relative(target);
            self.op().local_set(local::PC);
            return self.call_dispatched(node, (back, entry), state);
        };
        let block = self.cx.block_of[node];
        let dirty = self.cx.flow.dirty_out[block];
        self.uses.calls = true;
        if self.leaves_page(block, back) {
            self.expect_page(back, |emitter| emitter.exit(target, dirty, &state, false));
        }
        self.store(dirty, state.words);
        let (step_type, longest) = (self.cx.step_type, self.cx.longest);
        self.op().local_get(local::REGS).local_get(local::VIEW);
        self.push_relative(callee.origin);
        self.op().i32_const(callee.index.cast_signed());
        self.op().local_get(local::LEFT);
        if state.pending > 0 {
            self.op().i64_const(state.pending.into()).i64_sub();
            state.pending = 0;
        }
        self.op()
            .local_get(local::ROOM)
            .i32_const(callee.slot.cast_signed())
            .call_indirect(0, step_type + 1)
            .local_tee(local::LEFT)
            .i64_const(longest.into())
            .i64_lt_s()
            .local_get(local::REGS)
            .i64_load(at(regs::PC, 3));
        self.push_relative(back);
        self.op().local_tee(local::PC).i64_ne().i32_or();
        self.if_();
        self.br_dispatch(entry);
        self.end();
        self.set_simple_fp();
        // From here on as if it had been entered there.
        let edge = self.cx.graph.successors[node].iter().copied().find(|edge| edge.label == 1 + entry);
        let Some(edge) = edge else { unreachable!("a direct call has an edge to its return") };
        self.follow(node, edge, State::default());
    }

    /// Call the address in [`local::PC`] by way of $dispatch.
    pub(crate) fn call_dispatched(&mut self, node: usize, (back, entry): (u64, usize), mut state: State) {
        let block = self.cx.block_of[node];
        let dirty = self.cx.flow.dirty_out[block];
        self.uses.calls = true;
        if self.leaves_page(block, back) {
            self.expect_page(back, |emitter| emitter.exit_dynamic(dirty, state.clone()));
        }
        self.store(dirty, state.words);
        self.op().local_get(local::REGS).local_get(local::PC).i64_store(at(regs::PC, 3));
        self.flush(&mut state);
        self.push_relative(back);
        self.op().local_set(local::PC);
        self.br_dispatch(entry);
    }

    /// To $dispatch, which goes on with an entry when pc is [`local::PC`].
    fn br_dispatch(&mut self, entry: usize) {
        let depth = self.depth(self.dispatch_at);
        self.op().i32_const(entry as i32).local_set(local::ENTRY).br(depth);
    }

    /// Go on at [`local::PC`], which is perhaps an entry of this function.
    pub(crate) fn finish_jumps(&mut self) {
        if !self.known.uses.jumps {
            self.op().unreachable();
            return;
        }
        self.open(BlockType::Empty);
        self.push_my_entry(self.cx.entries.len() as u32);
        self.op().local_set(local::ENTRY);
        let root = self.depth(self.root_at);
        self.op().br(root);
        self.end();
        self.return_at_pc();
    }

    /// Unless [`local::PC`] is remembered as one of the first `count` entries of this function, and there is budget for
    /// it, branch to what was opened last. Pushes which.
    fn push_my_entry(&mut self, count: u32) {
        let (found, entry) = (local::EXIT, local::T[0]);
        let (slot, longest) = (self.cx.slot, self.cx.longest);
        let miss = 0;
        self.op().local_get(local::PC);
        self.push_remembered(found);
        // Branches that are predicted cost less than to combine the conditions.
        self.op().i64_load(at(target::PC, 3)).local_get(local::PC).i64_ne().br_if(miss);
        self.op()
            .local_get(found)
            .i64_load(at(target::ORIGIN, 3))
            .local_get(local::ORIGIN)
            .i64_ne()
            .br_if(miss);
        self.op().local_get(local::LEFT).i64_const(longest.into()).i64_lt_s().br_if(miss);
        // The entry and, above it, how far its slot is from this one's.
        const { assert!(target::INDEX == target::SLOT + 4, "one load serves both") }
        self.op()
            .local_get(found)
            .i64_load(at(target::SLOT, 3))
            .i64_const(slot.into())
            .i64_sub()
            .i64_const(32)
            .i64_rotr()
            .local_tee(entry)
            .i64_const(count.into())
            .i64_ge_u()
            .br_if(miss)
            .local_get(entry)
            .i32_wrap_i64();
    }

    /// Return for good: everything is stored and counted, and control goes on at [`local::PC`].
    pub(crate) fn return_at_pc(&mut self) {
        self.op().local_get(local::REGS).local_get(local::PC).i64_store(at(regs::PC, 3));
        self.op().local_get(local::LEFT).return_();
    }

    /// Pop an address and push where its target is remembered, if it is; the same to a local.
    fn push_remembered(&mut self, found: u32) {
        let (count, size) = (target::COUNT as i32, target::SIZE as i32);
        self.op()
            .i32_wrap_i64()
            .i32_const(size.trailing_zeros().cast_signed() - 1)
            .i32_shl()
            .i32_const((count - 1) * size)
            .i32_and()
            .local_get(local::VIEW)
            .i32_load(at(view::TARGETS, 2))
            .i32_add()
            .local_tee(found);
    }

    /// Go on from `regs.pc` until it is [`local::PC`], which is where [`local::ENTRY`] enters.
    pub(crate) fn dispatch_calls(&mut self) {
        if !self.known.uses.calls {
            self.op().unreachable();
            return;
        }
        let step_type = self.cx.step_type;
        let found = local::EXIT;
        let word = |offset| at(offset, 2);
        // Most are calls by pointer or by a PLT entry, and their targets remembered; or parts of a large function that
        // go on in each other.
        self.op().loop_(BlockType::Empty);
        self.open += 1;
        self.op().local_get(local::REGS).i64_load(at(regs::PC, 3)).local_tee(local::T[0]);
        self.push_remembered(found);
        self.op()
            .i64_load(at(target::PC, 3))
            .local_get(local::T[0])
            .i64_eq()
            .local_get(found)
            .i64_load32_u(word(target::LONGEST))
            .local_get(local::LEFT)
            .i64_le_s()
            .i32_and()
            .local_get(local::ROOM)
            .i64_const(FRAME)
            .i64_gt_s()
            .i32_and();
        self.if_();
        self.op()
            .local_get(local::REGS)
            .local_get(local::VIEW)
            .local_get(found)
            .i64_load(at(target::ORIGIN, 3))
            .local_get(found)
            .i32_load(word(target::INDEX))
            .local_get(local::LEFT)
            .local_get(local::ROOM)
            .local_get(found)
            .i32_load(word(target::SLOT))
            .call_indirect(0, step_type + 1);
        self.return_to_root();
        let again = 1;
        self.op().local_get(local::LEFT).i64_const(0).i64_ge_s().br_if(again);
        self.op().local_get(local::LEFT).return_();
        self.end();
        self.end();
        self.op()
            .local_get(local::REGS)
            .local_get(local::VIEW)
            .local_get(local::PC)
            .i32_const(0)
            .local_get(local::LEFT)
            .local_get(local::ROOM)
            .local_get(local::VIEW)
            .i32_load(word(view::DISPATCH))
            .call_indirect(0, step_type + 1);
        self.return_to_root();
        self.op().local_get(local::LEFT).return_();
    }

    /// Pop what a call has left of the budget; enter again if it has come back to [`local::PC`].
    fn return_to_root(&mut self) {
        let longest = self.cx.longest;
        self.op()
            .local_tee(local::LEFT)
            .i64_const(longest.into())
            .i64_ge_s()
            .local_get(local::REGS)
            .i64_load(at(regs::PC, 3))
            .local_get(local::PC)
            .i64_eq()
            .i32_and();
        self.if_();
        self.set_simple_fp();
        let root = self.depth(self.root_at);
        self.op().br(root);
        self.end();
    }
}
