//! RISC-V code and what is known about it in, bodies of Wasm functions out.
//!
//! No I/O, no unsafe, no state. [`translate`] takes a profile of what ran
//! ([`friscy_formats::aot::Profile`]) and gives functions and the map that tells
//! the engine where they can be entered. What a function promises is in
//! [`friscy_runtime::hart::translated`].
//!
//! The path of an instruction: [`cfg`](mod@cfg) finds blocks and cuts them into
//! regions, one Wasm function each; [`structure`] makes their control flow
//! structured; [`flow`] says what is loaded and stored, [`words`] what needs only
//! 32 bits; [`emit`], [`walk`] and [`calls`] write the body, with [`ops`], [`mem`], [`fp`] and
//! [`step`] for single instructions.
//!
//! Translated code is position independent (a function is told where its first
//! page lies) and knows pages by their contents: on each edge to another page it
//! asks whether that still is the page that was translated.
#![forbid(unsafe_code)]

mod calls;
mod cfg;
mod emit;
mod exact;
mod flow;
mod fma;
mod fp;
mod mem;
pub mod module;
mod ops;
mod step;
mod structure;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use friscy_formats::aot::{Entry, PAGE, Profile, TranslatedPage, Translations};
use wasm_encoder::ValType;

use cfg::{Code, End, Region};
use emit::Context;
use flow::Flow;
use structure::Graph;
use words::Words;

/// How much to translate, and where it will stand.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Leave out what was never sampled, and regions with more bytes of body than so many for each sample: compiling
    /// them takes longer than interpreting did. `None`: leave out nothing.
    pub bytes_per_sample: Option<u64>,
    /// Most bytes of bodies.
    pub budget_bytes: usize,
    /// Most functions.
    pub functions_max: usize,
    /// Table slot of the first function; the others follow.
    pub first_slot: u32,
    /// Index of [`STEP_TYPE`] in the module; the next is [`REGION_TYPE`].
    pub step_type: u32,
    /// What becomes of fused multiplication and addition.
    pub fma: Fma,
}

/// How a fused multiplication and addition of binary64 numbers is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fma {
    /// In some thirty instructions, for any host.
    Software,
    /// As one, for a host that has [`module::probe`] fuse.
    Fused,
    /// In software, and functions with one a second time ([`Output::fused`]).
    Both,
}

/// No body has fewer bytes for one of guest code: what could not be worth it is not written.
const EXPANSION_MIN: u64 = 3;

/// Parameters and results of a function type.
pub type FunctionType = (&'static [ValType], &'static [ValType]);

/// Type of what executes single instructions for translated code.
pub const STEP_TYPE: FunctionType = (&[ValType::I32, ValType::I64, ValType::I32], &[ValType::I32]);
/// Type of all translated functions.
pub const REGION_TYPE: FunctionType =
    (&[ValType::I32, ValType::I32, ValType::I64, ValType::I32, ValType::I64, ValType::I64], &[ValType::I64]);

/// One translated region.
#[derive(Debug, Clone)]
pub struct Translated {
    /// Locals and instructions.
    pub body: Vec<u8>,
    /// Guest address of its first instruction, where it was seen.
    pub address: u64,
    /// Bytes of guest code in it.
    pub guest_bytes: u64,
    /// Guest instructions in it.
    pub instructions: usize,
    /// Samples that hit it.
    pub samples: u64,
}

/// What [`translate`] makes.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The regions, in the order of their slots.
    pub functions: Vec<Translated>,
    /// With [`Fma::Both`]: slots, ascending, and the bodies that belong there where the host fuses. They have
    /// [`STEP_TYPE`] and [`REGION_TYPE`] at 0 and 1.
    pub fused: Vec<(u32, Vec<u8>)>,
    /// For the engine.
    pub map: Translations,
    /// Samples in all code, translated or not.
    pub samples: u64,
    /// Stretches of guest code that were translated, where they were seen.
    covered: Vec<(u64, u64)>,
    /// Samples outside of translated code: guest address and how many, most first.
    pub missed: Vec<(u64, u64)>,
}

/// Translate what a profile shows, hottest first, until the budget is used up. The same profile gives the same output.
pub fn translate(profile: &Profile, options: Options) -> Output {
    let samples =
        profile.pages.iter().flat_map(|page| &page.samples).map(|&(_, count)| u64::from(count)).sum();
    let mut output = Output { samples, ..Output::default() };
    output.map.pages = profile
        .pages
        .iter()
        .map(|page| TranslatedPage {
            identity: page.identity,
            digest: *blake3::hash(&page.bytes).as_bytes(),
            ..TranslatedPage::default()
        })
        .collect();
    let spaces = cfg::spaces(profile);
    let most = |region: &Region| options.bytes_per_sample.map_or(u64::MAX, |most| most * region.samples());
    let may_be_worth_it =
        |region: &Region| worth(region) && most(region) > region.guest_bytes() * EXPANSION_MIN;
    let mut shapes: Vec<Shape> = Vec::new();
    for (space, code) in spaces.iter().enumerate() {
        let found = cfg::regions(profile, code, &|insn| ops::supported(insn) || step::supported(insn));
        let found = found.into_iter().filter(may_be_worth_it);
        shapes.extend(found.filter_map(|region| Shape::of(space, region)));
    }
    // Hottest first; a stable sort, so that the order is that of addresses otherwise.
    shapes.sort_by_key(|shape| std::cmp::Reverse(shape.region.samples()));
    shapes.truncate(options.functions_max);
    // Functions know the slots of others: when some do not stay, the rest is written anew.
    let bodies = loop {
        let mut spent = 0;
        let written = bodies(&spaces, &shapes, options).zip(&shapes).map(|(body, shape)| {
            let worth_it = body.len() as u64 <= most(&shape.region);
            spent += if worth_it { body.len() } else { 0 };
            (spent <= options.budget_bytes).then_some(worth_it.then_some(body))
        });
        // What is behind the end of the budget is not written.
        let written: Vec<Option<Vec<u8>>> = written.map_while(|body| body).collect();
        let stay: Vec<bool> = written.iter().map(Option::is_some).collect();
        if stay.len() == shapes.len() && !stay.contains(&false) {
            break written.into_iter().flatten().collect::<Vec<_>>();
        }
        let mut stay = stay.into_iter();
        shapes.retain(|_| stay.next() == Some(true));
    };
    let slots = Slots::of(&shapes, options);
    if options.fma == Fma::Both {
        let fused = Options { fma: Fma::Fused, step_type: 0, ..options };
        let fusible = |shape: &Shape| shape.region.blocks.iter().flat_map(|b| &b.insns).any(fma::fusible);
        let second = shapes.iter().zip(options.first_slot..).filter(|(shape, _)| fusible(shape));
        output.fused = second
            .map(|(shape, slot)| (slot, function(&spaces[shape.space], shape, &slots, slot, fused)))
            .collect();
    }
    for (number, (shape, body)) in shapes.iter().zip(bodies).enumerate() {
        record(&mut output, &spaces[shape.space], shape, &slots, options.first_slot + number as u32);
        let region = &shape.region;
        let ends = |block: &cfg::Block| block.insns.last().map_or(block.start, cfg::Insn::next);
        output.covered.extend(region.blocks.iter().map(|block| (block.start, ends(block))));
        output.functions.push(Translated {
            body,
            address: region.blocks[0].start,
            guest_bytes: region.guest_bytes(),
            instructions: region.instructions(),
            samples: region.samples(),
        });
    }
    finish(output, profile, &spaces)
}

/// Most registers that a shared [`End::Switch`] keeps in locals: engines move them all on each way to it. With more of
/// them it costs less to store what has changed and to load what the target needs.
const SWITCH_LIVE_MAX: u32 = 12;

/// A region, how its blocks hang together, and where it can be entered.
struct Shape {
    space: usize,
    region: Region,
    /// Blocks that each block goes to.
    successors: Vec<Vec<usize>>,
    flow: Flow,
    /// Blocks at which it can be entered.
    entries: Vec<usize>,
}

impl Shape {
    /// `None` when it could not be entered.
    fn of(space: usize, mut region: Region) -> Option<Shape> {
        let blocks = &region.blocks;
        let by_address: BTreeMap<u64, usize> = blocks.iter().enumerate().map(|(i, b)| (b.start, i)).collect();
        let mut successors: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
        let mut leaves = vec![false; blocks.len()];
        let switch = region.switch();
        for (i, block) in blocks.iter().enumerate() {
            let switches = block.insns.last().is_some_and(cfg::Insn::switches);
            let (targets, other) = match block.end {
                End::Fall(to) | End::Jump(to) => (vec![to], false),
                End::Branch { taken, fall } => (vec![taken, fall], false),
                End::Indirect if switches && switch.is_some() => {
                    successors[i].extend(switch);
                    (vec![], true)
                }
                End::Switch => {
                    successors[i].extend(region.jumped());
                    (vec![], true)
                }
                End::Call { .. } | End::Indirect | End::Interpret(_) => (vec![], true),
            };
            leaves[i] = other || targets.iter().any(|to| !by_address.contains_key(to));
            successors[i].extend(targets.iter().filter_map(|to| by_address.get(to).copied()));
        }
        let flow = Flow::of(&region, &successors, &leaves);
        if switch.is_some_and(|switch| flow.live_in[switch].count_ones() > SWITCH_LIVE_MAX) {
            region.blocks.pop();
            return Shape::of(space, region);
        }
        let entries = entries(&region, &successors);
        (!entries.is_empty()).then_some(Shape { space, region, successors, flow, entries })
    }

    /// Number of its first page.
    fn first_page(&self) -> u64 {
        page_of(self.region.blocks[0].start)
    }
}

/// Where a guest address can be called.
#[derive(Debug, Clone, Copy)]
struct Callee {
    slot: u32,
    /// Which of its entries.
    index: u32,
    /// Address of its first page.
    origin: u64,
}

/// What other functions call, by space and address.
struct Slots(BTreeMap<(usize, u64), Callee>);

impl Slots {
    fn of(shapes: &[Shape], options: Options) -> Slots {
        let called = |shape: &Shape| {
            let space = shape.space;
            let targets = shape.region.blocks.iter().filter_map(|block| match block.end {
                End::Call { target, .. } => Some(target),
                _ => None,
            });
            targets.map(|target| (space, target)).collect::<Vec<_>>()
        };
        let called: BTreeSet<(usize, u64)> = shapes.iter().flat_map(called).collect();
        let mut slots = BTreeMap::new();
        for (shape, slot) in shapes.iter().zip(options.first_slot..) {
            for (&block, index) in shape.entries.iter().zip(0..) {
                let at = (shape.space, shape.region.blocks[block].start);
                if called.contains(&at) {
                    slots.insert(at, Callee { slot, index, origin: shape.first_page() * PAGE as u64 });
                }
            }
        }
        Slots(slots)
    }

    fn callee(&self, space: usize, address: u64) -> Option<Callee> {
        self.0.get(&(space, address)).copied()
    }
}

fn bodies(spaces: &[Code], shapes: &[Shape], options: Options) -> impl Iterator<Item = Vec<u8>> {
    let slots = Slots::of(shapes, options);
    let numbered = shapes.iter().zip(options.first_slot..);
    numbered.map(move |(shape, slot)| function(&spaces[shape.space], shape, &slots, slot, options))
}

fn finish(mut output: Output, profile: &Profile, spaces: &[Code]) -> Output {
    let mut missed: BTreeMap<u64, u64> = BTreeMap::new();
    for (&number, &page) in spaces.iter().flat_map(|code| &code.pages) {
        for &(at, count) in &profile.pages[page as usize].samples {
            *missed.entry(number * PAGE as u64 + u64::from(at)).or_default() += u64::from(count);
        }
    }
    for &(start, end) in &output.covered {
        for (_, count) in missed.range_mut(start..end) {
            *count = 0;
        }
    }
    output.missed = missed.into_iter().filter(|&(_, count)| count > 0).collect();
    output.missed.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    for page in &mut output.map.pages {
        page.entries.sort_unstable_by_key(|entry| entry.at);
    }
    output
}

/// Entering costs some thirty instructions: less than a few of them are the interpreter's, unless they are hot.
fn worth(region: &Region) -> bool {
    region.instructions() >= 3 || region.samples() > 0
}

fn page_of(address: u64) -> u64 {
    address / PAGE as u64
}

/// Enter a shape's entries and the pages that it asks about into the map.
fn record(output: &mut Output, code: &Code, shape: &Shape, slots: &Slots, slot: u32) {
    let blocks = &shape.region.blocks;
    let first = shape.first_page();
    let ends = blocks.iter().flat_map(|block| &block.insns).map(|insn| insn.next() - 1);
    // A callee asks about its own page.
    let callees = blocks.iter().filter_map(|block| match block.end {
        End::Call { target, .. } => slots.callee(shape.space, target).map(|_| target),
        _ => None,
    });
    let (low, high) = ends
        .chain(callees)
        .map(page_of)
        .fold((first, first), |(low, high), page| (low.min(page), high.max(page)));
    for (&block, index) in shape.entries.iter().zip(0..) {
        let start = blocks[block].start;
        let number = page_of(start);
        let page = &mut output.map.pages[code.pages[&number] as usize];
        page.below = page.below.max((number - low) as u32);
        page.above = page.above.max((high - number) as u32);
        page.entries.push(Entry {
            at: (start % PAGE as u64) as u16,
            rise: (number - first) as u16,
            slot,
            index,
            longest: longest(&shape.region),
        });
    }
}

/// Every way between two looks at the budget executes an instruction at most once.
fn longest(region: &Region) -> u32 {
    region.instructions() as u32 + 1
}

/// The body of a region's function.
fn function(code: &Code, shape: &Shape, slots: &Slots, slot: u32, options: Options) -> Vec<u8> {
    let Shape { space, region, successors, flow, entries } = shape;
    let blocks = &region.blocks;
    let by_address: BTreeMap<u64, usize> = blocks.iter().enumerate().map(|(i, b)| (b.start, i)).collect();
    // Nodes: root, entries, blocks.
    let first_block = 1 + entries.len();
    let mut edges = vec![(1..first_block).collect::<Vec<_>>()];
    edges.extend(entries.iter().map(|&block| vec![first_block + block]));
    for (block, list) in blocks.iter().zip(successors) {
        let back = returns(block, *space, slots).and_then(|back| by_address.get(&back));
        let entry = back.and_then(|back| entries.iter().position(|entry| entry == back));
        edges.push(list.iter().map(|&to| first_block + to).chain(entry.map(|entry| 1 + entry)).collect());
    }
    let mut graph = Graph::new(edges);
    if let Some(switch) = region.switch() {
        graph.dispatch_from(first_block + switch);
    }
    graph.reduce();
    let layout = graph.layout();
    let mut block_of = vec![0; graph.successors.len()];
    entries.iter().enumerate().for_each(|(i, &block)| block_of[1 + i] = block);
    (0..blocks.len()).for_each(|block| block_of[first_block + block] = block);
    let node_of: Vec<usize> = (0..blocks.len()).map(|block| first_block + block).collect();
    let identity = |address: u64| code.identities[&page_of(address)];
    let callee = |address: u64| slots.callee(*space, address);
    emit::body(Context {
        region,
        flow,
        words: &Words::of(region, successors, entries),
        graph: &graph,
        layout: &layout,
        block_of: &block_of,
        node_of: &node_of,
        by_address: &by_address,
        entries,
        targets: region.switch().map_or(0, |_| region.jumped().count()),
        origin: shape.first_page() * PAGE as u64,
        longest: longest(region),
        identity: &identity,
        slot,
        callee: &callee,
        step_type: options.step_type,
        fused: options.fma == Fma::Fused,
    })
}

/// Where a block goes on after its call, when it calls a function of ours directly.
fn returns(block: &cfg::Block, space: usize, slots: &Slots) -> Option<u64> {
    match block.end {
        End::Call { target, back } => slots.callee(space, target).map(|_| back),
        _ => None,
    }
}

/// Blocks at which the function can be entered: where control comes from outside, and where a slice may end.
fn entries(region: &Region, successors: &[Vec<usize>]) -> Vec<usize> {
    let mut entry: Vec<bool> = region.blocks.iter().map(|block| block.entry).collect();
    // A loop in address order goes back to its header; that is where the budget sends control away.
    for (from, list) in successors.iter().enumerate() {
        for &to in list.iter().filter(|&&to| to <= from) {
            entry[to] = true;
        }
    }
    // What begins with an instruction of the interpreter's is its own. Targets of its indirect jumps come first.
    let blocks =
        (0..region.blocks.len()).filter(|&block| entry[block] && !region.blocks[block].insns.is_empty());
    let jumped: BTreeSet<usize> = region.jumped().collect();
    let mut entries: Vec<usize> = blocks.collect();
    entries.sort_by_key(|block| !jumped.contains(block));
    entries
}
