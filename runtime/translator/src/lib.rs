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
//! 32 bits; [`emit`] and [`walk`] write the body, with [`ops`], [`mem`] and [`fp`]
//! for single instructions.
//!
//! Translated code is position independent (a function is told where its first
//! page lies) and knows pages by their contents: on each edge to another page it
//! asks whether that still is the page that was translated.
#![forbid(unsafe_code)]

mod cfg;
mod emit;
mod flow;
mod fma;
mod fp;
mod mem;
pub mod module;
mod ops;
mod structure;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::collections::BTreeMap;

use friscy_formats::aot::{Entry, PAGE, Profile, TranslatedPage, Translations};
use wasm_encoder::ValType;

use cfg::{Code, End, Region};
use emit::Context;
use flow::Flow;
use structure::Graph;
use words::Words;

/// Bodies above this are halved: JavaScriptCore stops optimising at 100,000 bytes.
const BODY_MAX: usize = 64 << 10;

/// How much to translate, and where it will stand.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Leave out what was never sampled, and regions with more bytes of body than so many for each sample: compiling
    /// them takes longer than interpreting did. `None`: leave out nothing.
    pub bytes_per_sample: Option<u64>,
    /// Most bytes of bodies.
    pub budget_bytes: usize,
    /// Table slot of the first function; the others follow.
    pub first_slot: u32,
    /// Index of [`CHECK_TYPE`] in the module.
    pub check_type: u32,
}

/// Parameters and results of a function type.
pub type FunctionType = (&'static [ValType], &'static [ValType]);

/// Type of the first function: the exact memory check.
pub const CHECK_TYPE: FunctionType = (&[ValType::I32, ValType::I64, ValType::I32], &[ValType::I32]);
/// Type of all others.
pub const REGION_TYPE: FunctionType =
    (&[ValType::I32, ValType::I32, ValType::I64, ValType::I32, ValType::I64], &[ValType::I64]);

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
    /// Body of the exact memory check, which has the first slot.
    pub check: Vec<u8>,
    /// The regions, which have the next slots.
    pub functions: Vec<Translated>,
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
    let mut output = Output { check: mem::check_body(), ..Output::default() };
    output.samples =
        profile.pages.iter().flat_map(|page| &page.samples).map(|&(_, count)| u64::from(count)).sum();
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
    let mut regions: Vec<(usize, Region)> = Vec::new();
    for (space, code) in spaces.iter().enumerate() {
        let found = cfg::regions(profile, code, &ops::supported);
        regions.extend(found.into_iter().map(|region| (space, region)));
    }
    regions
        .retain(|(_, region)| worth(region) && (options.bytes_per_sample.is_none() || region.samples() > 0));
    // Hottest first; a stable sort, so that the order is that of addresses otherwise.
    regions.sort_by_key(|(_, region)| std::cmp::Reverse(region.samples()));
    let mut spent = 0;
    for (space, region) in regions {
        let mut work = vec![region];
        while let Some(region) = work.pop() {
            let slot = options.first_slot + 1 + output.functions.len() as u32;
            let Some((body, entries)) = function(&spaces[space], &region, options) else { continue };
            if body.len() > BODY_MAX
                && let Some((first, rest)) = region.clone().halve()
            {
                work.push(rest);
                work.push(first);
                continue;
            }
            let most = options.bytes_per_sample.map_or(u64::MAX, |bytes| bytes * region.samples());
            if body.len() as u64 > most {
                continue;
            }
            if spent + body.len() > options.budget_bytes {
                return finish(output, profile, &spaces);
            }
            spent += body.len();
            record(&mut output, &spaces[space], &region, &entries, slot);
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
    }
    finish(output, profile, &spaces)
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

/// Entering costs some thirty instructions: less than a few of them are the interpreter's.
fn worth(region: &Region) -> bool {
    region.instructions() >= 3 && region.blocks.iter().any(|block| block.entry)
}

fn page_of(address: u64) -> u64 {
    address / PAGE as u64
}

/// Enter `entries` (blocks, in the order of their indexes) and the region's extent into the map.
fn record(output: &mut Output, code: &Code, region: &Region, entries: &[usize], slot: u32) {
    let first = page_of(region.blocks[0].start);
    let end = region.blocks.iter().flat_map(|block| &block.insns).map(|insn| insn.next() - 1).max();
    let last = page_of(end.unwrap_or(region.blocks[0].start));
    let longest = longest(region);
    for (index, &block) in entries.iter().enumerate() {
        let start = region.blocks[block].start;
        let number = page_of(start);
        let page = &mut output.map.pages[code.pages[&number] as usize];
        page.below = page.below.max((number - first) as u32);
        page.above = page.above.max((last - number) as u32);
        page.entries.push(Entry {
            at: (start % PAGE as u64) as u16,
            rise: (number - first) as u16,
            slot,
            index: index as u32,
            longest,
        });
    }
}

/// Every way between two looks at the budget executes an instruction at most once.
fn longest(region: &Region) -> u32 {
    region.instructions() as u32 + 1
}

/// The body of a region's function and its entries.
fn function(code: &Code, region: &Region, options: Options) -> Option<(Vec<u8>, Vec<usize>)> {
    let blocks = &region.blocks;
    let by_address: BTreeMap<u64, usize> = blocks.iter().enumerate().map(|(i, b)| (b.start, i)).collect();
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
    let mut leaves = vec![false; blocks.len()];
    for (i, block) in blocks.iter().enumerate() {
        let (targets, other) = match block.end {
            End::Fall(to) | End::Jump(to) => (vec![to], false),
            End::Branch { taken, fall } => (vec![taken, fall], false),
            End::Call { .. } | End::Indirect | End::Interpret(_) => (vec![], true),
        };
        leaves[i] = other || targets.iter().any(|to| !by_address.contains_key(to));
        successors[i] = targets.iter().filter_map(|to| by_address.get(to).copied()).collect();
    }
    let flow = Flow::of(region, &successors, &leaves);
    let entries = entries(region, &successors);
    if entries.is_empty() {
        return None;
    }
    // Nodes: root, entries, blocks.
    let first_block = 1 + entries.len();
    let mut edges = vec![(1..first_block).collect::<Vec<_>>()];
    edges.extend(entries.iter().map(|&block| vec![first_block + block]));
    edges.extend(successors.iter().map(|list| list.iter().map(|&to| first_block + to).collect::<Vec<_>>()));
    let mut graph = Graph::new(edges);
    graph.reduce();
    let layout = graph.layout()?;
    let mut block_of = vec![0; graph.successors.len()];
    entries.iter().enumerate().for_each(|(i, &block)| block_of[1 + i] = block);
    (0..blocks.len()).for_each(|block| block_of[first_block + block] = block);
    let node_of: Vec<usize> = (0..blocks.len()).map(|block| first_block + block).collect();
    let identity = |address: u64| code.identities[&page_of(address)];
    let body = emit::body(Context {
        region,
        flow: &flow,
        words: &Words::of(region, &successors, &entries),
        graph: &graph,
        layout: &layout,
        block_of: &block_of,
        node_of: &node_of,
        by_address: &by_address,
        entries: entries.len(),
        origin: page_of(blocks[0].start) * PAGE as u64,
        longest: longest(region),
        identity: &identity,
        check: (options.first_slot, options.check_type),
    });
    Some((body, entries))
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
    // What begins with an instruction of the interpreter's is its own.
    (0..region.blocks.len()).filter(|&block| entry[block] && !region.blocks[block].insns.is_empty()).collect()
}
