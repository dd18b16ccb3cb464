//! An app.wasm, opened: what it says of itself and where its parts are. All but
//! the chunk store is checked against the seal, nothing is run and nothing
//! copied; chunks are checked one by one when the engine reads them. The outside of the file (manifest, seal) is `formats::app`; this is the inside.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use friscy_formats::app;
use friscy_formats::boot::Boot;
use friscy_formats::manifest::{ChunkLayout, Manifest};
use wasmparser::{DataKind, Operator, Parser, Payload};

use crate::mapped::Mapped;
use crate::seal::beside;

/// First bytes of every Wasm module.
pub const WASM_MAGIC: &[u8] = b"\0asm";
/// Custom section: `formats::boot::Boot`, as `friscy_boot` takes it.
pub const BOOT_SECTION: &str = "friscy.boot";
/// Custom section: translated functions for hosts that fuse multiplication and addition, as a module
/// ([`friscy_translator::module::fused`]).
pub const FUSED_SECTION: &str = "friscy.fused";

/// An app.wasm.
#[derive(Debug)]
pub struct App {
    bytes: Arc<Mapped>,
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
    warm: Range<usize>,
    /// The chunk store, when it is not in the file.
    beside: Option<Mapped>,
}

impl App {
    /// The app.wasm at `path`, and what belongs beside it.
    pub fn open(path: &Path) -> Result<App> {
        App::named(Mapped::open(path)?, path).with_context(|| path.display().to_string())
    }

    /// The app.wasm that `bytes` is, which were read from `path`.
    pub fn named(bytes: Mapped, path: &Path) -> Result<App> {
        let split = app::open(&bytes)?.manifest.chunks.layout == ChunkLayout::Split;
        let beside = beside(path);
        let store = match split.then(|| File::open(&beside)) {
            None => None,
            Some(Ok(file)) => {
                Some(Mapped::of(&file).with_context(|| format!("cannot map {}", beside.display()))?)
            }
            Some(Err(error)) => bail!(
                "its files' contents belong beside it, in {} ({error}); keep the two together",
                beside.display()
            ),
        };
        App::new(bytes, store)
    }

    /// The app.wasm that `bytes` is, with its chunk store when that is not in it.
    pub fn new(bytes: Mapped, beside: Option<Mapped>) -> Result<App> {
        let outside = app::open(&bytes)?;
        outside.verify()?;
        let digest = outside.digest();
        let store = outside.store();
        let manifest = outside.manifest;
        let stored = beside.as_ref().map_or(store.len(), |store| store.len()) as u64;
        if stored != manifest.chunks.stored_bytes {
            bail!(
                "its chunk store has {stored} bytes where there should be {}: it is truncated or another app's; copy \
                 both files again",
                manifest.chunks.stored_bytes
            );
        }
        let Layout { sections, runs, passive, memory_pages } = Layout::read(&bytes)?;
        let [_, warm] = passive.as_slice() else {
            bail!("its data is not as this version writes it; pack the image again")
        };
        let warm = warm.clone();
        let boot = Boot::from_unaligned_bytes(custom(&bytes, BOOT_SECTION)?)
            .context("its boot section cannot be read; pack the image again")?;
        Ok(App {
            manifest,
            boot,
            digest,
            sections,
            memory_pages,
            runs,
            store,
            warm,
            beside,
            bytes: Arc::new(bytes),
        })
    }

    /// Look at the chunk store too, all of it.
    pub fn verify_store(&self) -> Result<()> {
        Ok(app::open(&self.bytes)?.verify_store(self.store())?)
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Memory at the freeze point: address and bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.runs.iter().map(|(at, range)| (*at, &self.bytes[range.clone()]))
    }

    /// The same: address, and where in the file.
    pub(crate) fn pieces(&self) -> &[(u32, Range<usize>)] {
        &self.runs
    }

    /// Functions at the end of the file that are translated code.
    pub fn translated_functions(&self) -> u32 {
        self.manifest.translated.as_ref().map_or(0, |translated| translated.functions.len() as u32)
    }

    /// Second forms of some of them, as a module.
    pub fn fused(&self) -> Option<&[u8]> {
        custom(&self.bytes, FUSED_SECTION).ok()
    }

    /// The chunk store, in the file or beside it.
    pub fn store(&self) -> &[u8] {
        self.beside.as_deref().unwrap_or(&self.bytes[self.store.clone()])
    }

    /// The warm blocks.
    pub fn warm(&self) -> Warm {
        Warm { bytes: Arc::clone(&self.bytes), range: self.warm.clone() }
    }

    /// The chunk store, when it is a file of its own.
    pub fn beside(&self) -> Option<&[u8]> {
        self.beside.as_deref()
    }
}

/// The warm segment of an app, for who outlives it.
#[derive(Debug, Clone)]
pub struct Warm {
    bytes: Arc<Mapped>,
    range: Range<usize>,
}

impl std::ops::Deref for Warm {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
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
    passive: Vec<Range<usize>>,
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
            DataKind::Passive => self.passive.push(range),
            DataKind::Active { offset_expr, .. } => match offset_expr.get_operators_reader().read()? {
                Operator::I32Const { value } => self.runs.push((value.cast_unsigned(), range)),
                _ => bail!("a data segment has no plain address; pack the image again"),
            },
        }
        Ok(())
    }
}
