//! Stage *link*: from Wizer's module to the one that is shipped.
//!
//! - The data section is cut again: Wizer cuts at every few zero bytes (up to
//!   10,000 segments), we cut at runs of [`GAP`] zeros.
//! - The chunk store and the warm blocks are passive segments, each with an accessor
//!   function that copies from it, in a table slot of its own at the end.
//! - Translated code follows, each function in a slot. What has a second form, for hosts that fuse multiplication and
//!   addition, has it in a module of its own ([`module::fused`]).
//! - Names and other custom sections go.
//!
//! Everything is appended at the end of its index space, so nothing is
//! renumbered and the code section is copied as it is.

use anyhow::{Context, Result, bail};
use friscy_translator::{Output, module};
use wasm_encoder::Encode;
use wasmparser::{DataKind, Operator, Parser, Payload, TableType};

/// Zero bytes that are cheaper to store than to start a new segment for: they compress to nothing, and
/// facts measured on 53 MB give 15 segments instead of 10,002 at the same compressed size.
const GAP: usize = 4096;

/// Index of the data segment that holds the chunk store.
const STORE_SEGMENT: u32 = 0;
/// Index of the data segment that holds the warm blocks.
const WARM_SEGMENT: u32 = 1;
/// Passive segments.
pub(crate) const PASSIVE: u32 = 2;
/// Accessors that are appended before translated code.
pub(crate) const ACCESSORS: u32 = 2;

/// Section numbers of the binary format.
pub(crate) mod id {
    pub(super) const TYPE: u8 = 1;
    pub(crate) const IMPORT: u8 = 2;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const TABLE: u8 = 4;
    pub(super) const MEMORY: u8 = 5;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const START: u8 = 8;
    pub(super) const ELEMENT: u8 = 9;
    pub(super) const CODE: u8 = 10;
    pub(super) const DATA: u8 = 11;
    pub(super) const DATA_COUNT: u8 = 12;
}

/// A run of initialised memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Address.
    pub at: u32,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// A module in parts, ready to be written.
#[derive(Debug)]
pub struct Linked {
    /// All sections before data, each with its header.
    pub code: Vec<u8>,
    /// Header of the data section and of its first segment, whose contents are the chunk store.
    pub data_head: Vec<u8>,
    /// The segment of warm blocks, with its header.
    pub data_warm: Vec<u8>,
    /// The rest of the data section: the active segments.
    pub data_tail: Vec<u8>,
    /// The module of second forms, when there are any.
    pub fused: Option<Vec<u8>>,
    /// Active segments.
    pub segments: usize,
    /// Bytes in the active segments.
    pub hot_bytes: u64,
    /// Bytes in bodies of the engine's functions.
    pub code_bytes: u64,
    /// Bytes in bodies of translated functions.
    pub translated_bytes: u64,
    /// Linear memory at open.
    pub memory_pages: u64,
}

/// Where [`link`] will put what it appends.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Table slot of the chunk store's accessor: the first behind the engine's.
    pub chunk_slot: u32,
    /// Table slot of the warm segment's accessor.
    pub warm_slot: u32,
    /// Table slot of the first translated function.
    pub translated_slot: u32,
    /// Index of the accessor's type.
    accessor_type: u32,
    /// Index of [`friscy_translator::STEP_TYPE`]; the next is [`friscy_translator::REGION_TYPE`].
    pub step_type: u32,
}

/// The places in what becomes of this engine.
pub fn places(engine: &[u8]) -> Result<Places> {
    let facts = facts(engine)?;
    let chunk_slot = u32::try_from(table_of(engine)?.initial)?;
    let (accessor_type, step_type) = match facts.accessor_type {
        Some(found) => (found, facts.types),
        None => (facts.types, facts.types + 1),
    };
    let (warm_slot, translated_slot) = (chunk_slot + 1, chunk_slot + ACCESSORS);
    Ok(Places { chunk_slot, warm_slot, translated_slot, accessor_type, step_type })
}

fn table_of(module: &[u8]) -> Result<TableType> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::TableSection(tables) = payload? {
            let tables = tables.into_iter().collect::<Result<Vec<_>, _>>()?;
            match tables.as_slice() {
                [table] => return Ok(table.ty),
                _ => bail!("the engine has {} tables instead of one", tables.len()),
            }
        }
    }
    bail!("the engine has no table")
}

/// What must be known of a module before sections are appended to.
#[derive(Default)]
struct Facts {
    types: u32,
    functions: u32,
    /// Type `(i32, i32, i32) -> ()`, when there is one.
    accessor_type: Option<u32>,
    runs: Vec<(u32, Vec<u8>)>,
    code_bytes: u64,
    memory_pages: u64,
}

fn facts(wasm: &[u8]) -> Result<Facts> {
    let mut facts = Facts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        let i32x3 = [wasmparser::ValType::I32; 3];
                        if let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner
                            && ty.params() == i32x3
                            && ty.results().is_empty()
                        {
                            facts.accessor_type.get_or_insert(facts.types);
                        }
                        facts.types += 1;
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import?.ty, wasmparser::TypeRef::Func(_)) {
                        facts.functions += 1;
                    }
                }
            }
            Payload::FunctionSection(section) => facts.functions += section.count(),
            Payload::MemorySection(section) => {
                for memory in section {
                    facts.memory_pages = memory?.initial;
                }
            }
            Payload::CodeSectionStart { size, .. } => facts.code_bytes = u64::from(size),
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment?;
                    match segment.kind {
                        // Wizer leaves the engine's own segments behind, empty.
                        DataKind::Passive if segment.data.is_empty() => {}
                        DataKind::Passive => bail!("the engine has a passive data segment of its own"),
                        DataKind::Active { memory_index: 0, offset_expr } => {
                            facts.runs.push((constant(&offset_expr)?, segment.data.to_vec()));
                        }
                        DataKind::Active { .. } => bail!("the engine has more than one memory"),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<u32> {
    match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(value.cast_unsigned()),
        other => bail!("an address is {other:?} instead of a constant"),
    }
}

/// `pieces` with `bytes` at the address `at`, whatever was there.
fn replaced(pieces: Vec<(u32, Vec<u8>)>, at: u32, bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let (start, end) = (u64::from(at), u64::from(at) + bytes.len() as u64);
    let mut new = Vec::with_capacity(pieces.len() + 2);
    for (piece_at, mut piece) in pieces {
        let (from, to) = (u64::from(piece_at), u64::from(piece_at) + piece.len() as u64);
        if to > end {
            let tail = piece.split_off((end.max(from) - from) as usize);
            new.push((end.max(from) as u32, tail));
        }
        piece.truncate((start.max(from) - from) as usize);
        new.push((piece_at, piece));
    }
    new.push((at, bytes.to_vec()));
    new
}

/// Cut memory anew: runs with fewer than [`GAP`] zeros inside, neither beginning nor ending with zeros.
fn recut(mut pieces: Vec<(u32, Vec<u8>)>) -> Vec<Run> {
    pieces.sort_by_key(|&(at, _)| at);
    let mut runs: Vec<Run> = Vec::new();
    for (at, bytes) in pieces {
        let mut rest = bytes.as_slice();
        let mut at = at as usize;
        while let Some(start) = rest.iter().position(|&byte| byte != 0) {
            (at, rest) = (at + start, &rest[start..]);
            let len = solid(rest);
            match runs.last_mut() {
                Some(run) if at - (run.at as usize + run.bytes.len()) < GAP => {
                    run.bytes.resize(at - run.at as usize, 0);
                    run.bytes.extend_from_slice(&rest[..len]);
                }
                _ => runs.push(Run { at: at as u32, bytes: rest[..len].to_vec() }),
            }
            (at, rest) = (at + len, &rest[len..]);
        }
    }
    runs
}

/// Length of the beginning of `bytes` (whose first is not zero) up to its first [`GAP`] zeros or its last other byte.
fn solid(bytes: &[u8]) -> usize {
    let mut end = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at..].iter().position(|&byte| byte != 0) {
            Some(zeros) if zeros < GAP || end == 0 => {
                at += zeros;
                at += bytes[at..].iter().position(|&byte| byte == 0).unwrap_or(bytes.len() - at);
                end = at;
            }
            _ => break,
        }
    }
    end
}

/// A section with its header.
pub(crate) fn section(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    out.push(id);
    body.len().encode(out);
    out.extend_from_slice(body);
}

/// A `vec(…)` section with more items at its end.
fn append(out: &mut Vec<u8>, id: u8, body: &[u8], items: &[Vec<u8>]) -> Result<()> {
    let mut reader = wasmparser::BinaryReader::new(body, 0);
    let count = reader.read_var_u32()?;
    let old = &body[usize::try_from(reader.original_position())?..];
    let mut new = Vec::with_capacity(body.len() + items.iter().map(Vec::len).sum::<usize>() + 5);
    (count + u32::try_from(items.len())?).encode(&mut new);
    new.extend_from_slice(old);
    items.iter().for_each(|item| new.extend_from_slice(item));
    section(out, id, &new);
    Ok(())
}

/// Encode one thing.
fn encoded(thing: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    thing.encode(&mut bytes);
    bytes
}

fn function_type((params, results): friscy_translator::FunctionType) -> Vec<u8> {
    let mut item = vec![0x60];
    params.encode(&mut item);
    results.encode(&mut item);
    item
}

/// Make the module that opens the snapshot in `wasm`, with a chunk store of `store_bytes` in it (0: beside it) and the
/// segment `warm`, with `archive` in the place of the one at the address `archive_at`, which has the same length, and
/// with translated code.
pub fn link(
    wasm: &[u8],
    (archive_at, archive): (u32, &[u8]),
    store_bytes: u64,
    warm: &[u8],
    translated: Option<&Output>,
) -> Result<Linked> {
    let facts = facts(wasm)?;
    let places = places(wasm)?;
    let runs = recut(replaced(facts.runs, archive_at, archive));
    let mut types = Vec::new();
    if facts.accessor_type.is_none() {
        types.push(function_type((&[wasm_encoder::ValType::I32; 3], &[])));
    }
    let mut functions = vec![places.accessor_type; ACCESSORS as usize];
    let mut bodies = vec![accessor(STORE_SEGMENT), accessor(WARM_SEGMENT)];
    let mut translated_bytes = 0;
    if let Some(output) = translated {
        types.push(function_type(friscy_translator::STEP_TYPE));
        types.push(function_type(friscy_translator::REGION_TYPE));
        functions.resize(functions.len() + output.functions.len(), places.step_type + 1);
        bodies.extend(output.functions.iter().map(|function| encoded(&function.body.as_slice())));
        translated_bytes = bodies.iter().skip(ACCESSORS as usize).map(|body| body.len() as u64).sum();
    }
    let slots = u64::from(places.chunk_slot) + functions.len() as u64;

    let mut code = Vec::with_capacity(wasm.len().min(16 << 20));
    for (id, body) in sections(wasm)? {
        match id {
            id::TYPE => append(&mut code, id, body, &types)?,
            id::FUNCTION => {
                let items: Vec<Vec<u8>> = functions.iter().map(encoded).collect();
                append(&mut code, id, body, &items)?;
            }
            id::TABLE => {
                let mut tables = wasm_encoder::TableSection::new();
                tables.table(wasm_encoder::TableType {
                    element_type: wasm_encoder::RefType::FUNCREF,
                    table64: false,
                    minimum: slots,
                    // Hosts add what they translate while the guest runs.
                    maximum: None,
                    shared: false,
                });
                let mut body = Vec::new();
                tables.encode(&mut body);
                code.push(id);
                code.extend_from_slice(&body);
            }
            id::ELEMENT => {
                // active, table 0, offset slot, functions
                let mut item = vec![0];
                wasm_encoder::ConstExpr::i32_const(places.chunk_slot.cast_signed()).encode(&mut item);
                let count = u32::try_from(functions.len())?;
                count.encode(&mut item);
                (facts.functions..facts.functions + count).for_each(|index| index.encode(&mut item));
                append(&mut code, id, body, &[item])?;
            }
            id::CODE => {
                // The data count stands before the code, since `memory.init` refers to it.
                let mut count = Vec::new();
                (u32::try_from(runs.len())? + PASSIVE).encode(&mut count);
                section(&mut code, id::DATA_COUNT, &count);
                append(&mut code, id, body, &bodies)?;
            }
            id::DATA | id::DATA_COUNT => {}
            id::EXPORT => {
                let mut item = Vec::new();
                module::TABLE.encode(&mut item);
                // table, of which there is one
                item.extend([1, 0]);
                append(&mut code, id, body, &[item])?;
            }
            id::IMPORT | id::MEMORY | id::GLOBAL | id::START => {
                section(&mut code, id, body);
            }
            // Custom sections: names, producers, target features.
            0 => {}
            other => bail!("the engine has a section {other} that the linker does not know"),
        }
    }
    let hot_bytes = runs.iter().map(|run| run.bytes.len() as u64).sum();
    let (data_head, data_warm, data_tail) = data(&runs, store_bytes, warm)?;
    Ok(Linked {
        data_head,
        data_warm,
        data_tail,
        segments: runs.len(),
        hot_bytes,
        fused: translated.and_then(module::fused),
        code_bytes: facts.code_bytes,
        translated_bytes,
        memory_pages: facts.memory_pages,
        code,
    })
}

/// Bodies of all sections in order.
fn sections(wasm: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Some((id, range)) = payload?.as_section() {
            sections.push((id, wasm.get(range_of(&range)?).context("a section ends after the file")?));
        }
    }
    Ok(sections)
}

fn range_of<N: Copy + TryInto<usize>>(range: &std::ops::Range<N>) -> Result<std::ops::Range<usize>> {
    let fit = |n: N| n.try_into().ok().context("a section beyond what this machine can address");
    Ok(fit(range.start)?..fit(range.end)?)
}

/// `(dst, offset, len)`: copy from a passive segment to memory.
fn accessor(segment: u32) -> Vec<u8> {
    let mut function = wasm_encoder::Function::new([]);
    function.instructions().local_get(0).local_get(1).local_get(2).memory_init(0, segment).end();
    let mut item = Vec::new();
    function.encode(&mut item);
    item
}

/// The data section in three parts; the chunk store belongs behind the first one. Passive segments come first, so that
/// the code that refers to them is the same in every file.
fn data(runs: &[Run], store_bytes: u64, warm: &[u8]) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut middle = vec![1];
    warm.encode(&mut middle);
    let mut tail = Vec::new();
    for run in runs {
        tail.push(0);
        wasm_encoder::ConstExpr::i32_const(run.at.cast_signed()).encode(&mut tail);
        run.bytes.as_slice().encode(&mut tail);
    }
    let mut body = Vec::new();
    (u32::try_from(runs.len())? + PASSIVE).encode(&mut body);
    body.push(1);
    u32::try_from(store_bytes).context("the chunk store passes 4 GiB")?.encode(&mut body);
    let total = (body.len() + middle.len() + tail.len()) as u64 + store_bytes;
    let mut head = vec![id::DATA];
    u32::try_from(total).context("the module's data passes 4 GiB")?.encode(&mut head);
    head.extend_from_slice(&body);
    Ok((head, middle, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_long_gaps_only() {
        let mut piece = vec![0; 3 * GAP];
        piece[0] = 1;
        piece[GAP - 1] = 2;
        piece[2 * GAP] = 3;
        let runs = recut(vec![(100_000, vec![9, 0, 0]), (8192, piece)]);
        let cut: Vec<(u32, usize)> = runs.iter().map(|run| (run.at, run.bytes.len())).collect();
        assert_eq!(cut, [(8192, GAP), (8192 + 2 * GAP as u32, 1), (100_000, 1)]);
    }

    #[test]
    fn a_stretch_of_memory_is_replaced() {
        let pieces = vec![(0, vec![1; 4]), (6, vec![2; 8]), (14, vec![3; 2]), (30, vec![4; 2])];
        let mut memory = [0; 32];
        for (at, bytes) in replaced(pieces, 8, &[9; 7]) {
            for (byte, place) in bytes.iter().zip(&mut memory[at as usize..]) {
                assert_eq!(*place, 0, "two pieces for one place");
                *place = *byte;
            }
        }
        assert_eq!(memory[..17], [1, 1, 1, 1, 0, 0, 2, 2, 9, 9, 9, 9, 9, 9, 9, 3, 0]);
        assert_eq!(memory[30..], [4, 4]);
    }

    #[test]
    fn neighbours_are_joined_across_short_gaps() {
        let runs = recut(vec![(0, vec![1]), (10, vec![2]), (10 + GAP as u32, vec![3]), (30_000, vec![0; 9])]);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].bytes.len(), 11 + GAP);
        assert_eq!(runs[0].bytes[10 + GAP], 3);
    }
}
