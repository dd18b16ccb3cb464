//! An app.wasm, opened: what it says of itself and where its parts are. Every
//! byte is checked against the seal, nothing is run and nothing copied. The
//! outside of the file (manifest, seal) is `formats::app`; this is the inside.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use friscy_formats::app;
use friscy_formats::boot::Boot;
use friscy_formats::manifest::Manifest;
use wasmparser::{DataKind, Operator, Parser, Payload};

use crate::mapped::Mapped;

/// First bytes of every Wasm module.
pub const WASM_MAGIC: &[u8] = b"\0asm";
/// Custom section: `formats::boot::Boot`, as `friscy_boot` takes it.
pub const BOOT_SECTION: &str = "friscy.boot";
/// Custom section: stored length of each chunk, little-endian `u32`s; the chunks follow each other in the store.
pub const CHUNKS_SECTION: &str = "friscy.chunks";

/// An app.wasm.
#[derive(Debug)]
pub struct App {
    bytes: Mapped,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it started.
    pub boot: Boot,
    /// blake3 of the file, in hexadecimal.
    pub digest: String,
    /// Sections in order: name, where in the file.
    pub sections: Vec<(String, Range<usize>)>,
    /// Linear memory at open, in pages of 64 KiB.
    pub memory_pages: u64,
    /// Active segments: address, and where their bytes are.
    runs: Vec<(u32, Range<usize>)>,
    store: Range<usize>,
    /// Start of each chunk in the store, and the end of the last.
    chunk_starts: Vec<u64>,
}

impl App {
    /// The app.wasm at `path`.
    pub fn open(path: &Path) -> Result<App> {
        App::new(Mapped::open(path)?).with_context(|| path.display().to_string())
    }

    /// The app.wasm that `bytes` is.
    pub fn new(bytes: Mapped) -> Result<App> {
        let outside = app::open(&bytes)?;
        outside.verify()?;
        let digest = outside.digest();
        let manifest = outside.manifest;
        let Layout { sections, runs, store, memory_pages } = Layout::read(&bytes)?;
        let boot = Boot::from_unaligned_bytes(custom(&bytes, BOOT_SECTION)?)
            .context("its boot section cannot be read; pack the image again")?;
        let mut chunk_starts = vec![0u64];
        let mut end = 0;
        for len in custom(&bytes, CHUNKS_SECTION)?.chunks_exact(4) {
            end += u64::from(u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
            chunk_starts.push(end);
        }
        Ok(App { manifest, boot, digest, sections, memory_pages, runs, store, chunk_starts, bytes })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Memory at the freeze point: address and bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.runs.iter().map(|(at, range)| (*at, &self.bytes[range.clone()]))
    }

    /// The stored form of a chunk.
    pub fn chunk(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let start = usize::try_from(*self.chunk_starts.get(number)?).ok()?;
        let end = usize::try_from(*self.chunk_starts.get(number + 1)?).ok()?;
        self.bytes[self.store.clone()].get(start..end)
    }

    /// Bytes of the chunk store.
    pub fn store_bytes(&self) -> usize {
        self.store.len()
    }
}

fn custom<'b>(bytes: &'b [u8], name: &str) -> Result<&'b [u8]> {
    for section in app::sections(bytes)? {
        let section = section?;
        if section.name == Some(name) {
            return Ok(section.contents);
        }
    }
    bail!("its section {name} is missing; pack the image again")
}

/// Where everything is.
#[derive(Default)]
struct Layout {
    sections: Vec<(String, Range<usize>)>,
    runs: Vec<(u32, Range<usize>)>,
    store: Range<usize>,
    memory_pages: u64,
}

/// Names of the standard sections by number.
const NAMES: [&str; 14] = [
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
];

impl Layout {
    fn read(bytes: &[u8]) -> Result<Layout> {
        let mut layout = Layout::default();
        for section in app::sections(bytes)? {
            let section = section?;
            let standard = NAMES.get(usize::from(section.id)).copied().unwrap_or("unknown");
            layout.sections.push((section.name.unwrap_or(standard).to_string(), section.range));
        }
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::MemorySection(section) => {
                    for memory in section {
                        layout.memory_pages = memory?.initial;
                    }
                }
                Payload::DataSection(section) => {
                    for segment in section {
                        layout.segment(&segment?)?;
                    }
                }
                _ => {}
            }
        }
        Ok(layout)
    }

    fn segment(&mut self, segment: &wasmparser::Data<'_>) -> Result<()> {
        let end = usize::try_from(segment.range.end)?;
        let range = end - segment.data.len()..end;
        match &segment.kind {
            DataKind::Passive => self.store = range,
            DataKind::Active { offset_expr, .. } => match offset_expr.get_operators_reader().read()? {
                Operator::I32Const { value } => self.runs.push((value.cast_unsigned(), range)),
                _ => bail!("a data segment has no plain address; pack the image again"),
            },
        }
        Ok(())
    }
}
