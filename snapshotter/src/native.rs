//! What a native host compiles of an app.wasm: two modules.
//!
//! - The engine, with no data and the least memory. Its bytes depend on host and
//!   version and not on the image, so that it is compiled once and every app
//!   maps it ([`crate::code`]); the host grows the memory and writes the data itself.
//! - The translated functions, which are the app's own. They import the engine's
//!   memory and table and put themselves into their slots.

use anyhow::{Context, Result, bail};
use friscy_translator::module;
use wasm_encoder::{ConstExpr, Encode, TableType};
use wasmparser::{ElementItems, ElementKind, FromReader, Operator, Parser, Payload, SectionLimited};

use crate::link::{ACCESSORS, PASSIVE, id, section};

/// An app in parts, each a module.
#[derive(Debug)]
pub struct Parts {
    /// The engine.
    pub engine: Vec<u8>,
    /// The translated functions, and how many.
    pub translated: Option<(Vec<u8>, u32)>,
}

/// Split `app`, whose last `functions` functions are translated ones.
pub fn split(app: &[u8], functions: u32) -> Result<Parts> {
    let mut engine = Vec::with_capacity(4 << 20);
    engine.extend_from_slice(&wasm_encoder::Module::HEADER);
    let mut late = engine.clone();
    for payload in Parser::new(0).parse_all(app) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
        let body = app.get(range.clone()).context("a section ends after the file")?;
        match payload {
            Payload::TypeSection(types) => {
                // Bodies name their types by number: translated code keeps all of them.
                let own = if functions == 0 { 0 } else { 2 };
                let count = types.count().saturating_sub(own);
                section(&mut engine, id, &items(count, &[cut(app, types, own)?.0]));
                section(&mut late, id, body);
                push(&mut late, id::IMPORT, &module::imports());
            }
            Payload::FunctionSection(all) => {
                let count = all.count();
                let (kept, dropped) = cut(app, all, functions)?;
                section(&mut engine, id, &items(count - functions, &[kept]));
                section(&mut late, id, &items(functions, &[dropped]));
            }
            Payload::ElementSection(segments) => {
                let (slot, first) = last_segment(&segments)?;
                let count = segments.count();
                let (others, _) = cut(app, segments, 1)?;
                section(&mut engine, id, &items(count, &[others, &segment(slot, first..first + ACCESSORS)]));
                section(&mut late, id, &items(1, &[&segment(slot + ACCESSORS, 0..functions)]));
            }
            Payload::MemorySection(_) => {
                let mut memories = wasm_encoder::MemorySection::new();
                memories.memory(module::ANY_MEMORY);
                push(&mut engine, id, &memories);
            }
            Payload::TableSection(tables) => {
                let table = tables.into_iter().next().context("the engine has no table")??;
                let own = table.ty.initial.checked_sub(functions.into()).context("the table is too small")?;
                let mut tables = wasm_encoder::TableSection::new();
                tables.table(TableType { minimum: own, ..module::ANY_TABLE });
                push(&mut engine, id, &tables);
            }
            Payload::CodeSectionStart { count, .. } => {
                let reader = wasmparser::BinaryReader::new(body, range.start as u64);
                let (kept, dropped) = cut(app, SectionLimited::<Body>::new(reader)?, functions)?;
                section(&mut engine, id, &items(count - functions, &[kept]));
                section(&mut late, id, &items(functions, &[dropped]));
            }
            // Passive segments of no bytes.
            Payload::DataCountSection { .. } => section(&mut engine, id, &items(PASSIVE, &[])),
            Payload::DataSection(_) => {
                section(&mut engine, id, &items(PASSIVE, &[&[1, 0].repeat(PASSIVE as usize)]));
            }
            Payload::CustomSection(_) => {}
            _ => section(&mut engine, id, body),
        }
    }
    Ok(Parts { engine, translated: (functions > 0).then_some((late, functions)) })
}

/// A body of the code section, which is not looked into.
struct Body;

impl<'a> FromReader<'a> for Body {
    fn from_reader(reader: &mut wasmparser::BinaryReader<'a>) -> wasmparser::Result<Body> {
        reader.read_reader().map(|_| Body)
    }
}

/// The bytes of a section's items without the last `count`, and of those.
fn cut<'a, 'b, T: FromReader<'a>>(
    app: &'b [u8],
    items: SectionLimited<'a, T>,
    count: u32,
) -> Result<(&'b [u8], &'b [u8])> {
    let Some(keep) = items.count().checked_sub(count) else { bail!("fewer items than are translated") };
    let end = items.range().end;
    let mut starts = items.into_iter_with_offsets().map(|item| item.map(|(at, _)| at));
    let start = starts.next().transpose()?.unwrap_or(end);
    let at = match keep.checked_sub(1) {
        None => start,
        Some(others) => starts.nth(others as usize).transpose()?.unwrap_or(end),
    };
    let bytes = |from, to| {
        let range = usize::try_from(from)?..usize::try_from(to)?;
        app.get(range).context("a section ends after the file")
    };
    Ok((bytes(start, at)?, bytes(at, end)?))
}

/// The contents of a `vec(…)` section.
fn items(count: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 5);
    count.encode(&mut body);
    parts.iter().for_each(|part| body.extend_from_slice(part));
    body
}

/// A section as the encoder has it.
fn push(out: &mut Vec<u8>, id: u8, section: &impl Encode) {
    out.push(id);
    section.encode(out);
}

/// Slot of the first function that the linker appended, and that function.
fn last_segment(segments: &SectionLimited<'_, wasmparser::Element<'_>>) -> Result<(u32, u32)> {
    let last = segments.clone().into_iter().last().context("no element segment")??;
    let (ElementKind::Active { offset_expr, .. }, ElementItems::Functions(functions)) =
        (last.kind, last.items)
    else {
        bail!("the last element segment is not the linker's");
    };
    let first = functions.into_iter().next().context("the last element segment is empty")??;
    match offset_expr.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok((value.cast_unsigned(), first)),
        other => bail!("a slot is {other:?} instead of a constant"),
    }
}

/// An active segment of the first table.
fn segment(slot: u32, functions: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut item = vec![0];
    ConstExpr::i32_const(slot.cast_signed()).encode(&mut item);
    let functions: Vec<u32> = functions.into_iter().collect();
    functions.as_slice().encode(&mut item);
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{embedded, link};
    use friscy_formats::aot::Profile;
    use friscy_translator::{Fma, Options, Output, Translated};

    fn app(translated: Option<&Output>) -> Vec<u8> {
        let linked = link::link(embedded::ENGINE, (0, &[]), 0, &[], translated).expect("it can be linked");
        let header = wasm_encoder::Module::HEADER;
        [&header[..], &linked.code, &linked.data_head, &linked.data_warm, &linked.data_tail].concat()
    }

    #[test]
    fn all_apps_have_the_same_engine() {
        // No locals; unreachable; end.
        let body = vec![0, 0, 0x0b];
        let places = link::places(embedded::ENGINE).expect("an engine");
        let options = Options {
            bytes_per_sample: None,
            budget_bytes: 0,
            functions_max: 0,
            first_slot: places.translated_slot,
            step_type: places.step_type,
            fma: Fma::Both,
        };
        let mut output = friscy_translator::translate(&Profile::default(), options);
        for _ in 0..300 {
            let body = body.clone();
            output.functions.push(Translated {
                body,
                address: 0,
                guest_bytes: 4,
                instructions: 1,
                samples: 1,
            });
        }
        let plain = split(&app(None), 0).expect("it can be split");
        let parts = split(&app(Some(&output)), 300).expect("it can be split");
        assert!(parts.engine == plain.engine, "one engine to compile");
        assert!(plain.translated.is_none());
        let (code, functions) = parts.translated.expect("translated code");
        assert_eq!(functions, 300);
        for module in [&parts.engine, &code] {
            wasmparser::Validator::new().validate_all(module).expect("valid");
        }
        assert!(split(&app(None), 1 << 20).is_err(), "more than there are");
    }
}
