//! Stage *seal*: manifest and digests, and the file under its name.
//!
//! Files are written beside their place under a temporary name, validated as
//! every engine would, and renamed: nobody ever sees half of one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use friscy_formats::app::{MANIFEST_SECTION, SEAL_SECTION, custom_section, seal_of, sections};
use friscy_formats::boot::Boot;
use friscy_formats::chunk_order::Order;
use friscy_formats::manifest::{ChunkLayout, Manifest};

use crate::app::{BOOT_SECTION, FUSED_SECTION};
use crate::link::Linked;
use crate::mapped::Mapped;

/// Most bytes of a chunk store that are in memory at a time.
const PIECE: usize = 32 << 20;

/// The chunk store, in parts of a file that has it in another order.
#[derive(Debug)]
pub struct Ordered {
    store: Mapped,
    parts: Vec<Range<usize>>,
}

impl Ordered {
    /// `store` in the order that `order` gives it.
    pub fn new(store: Mapped, order: &Order) -> Result<Ordered> {
        let part = |range: &Range<u64>| Ok(usize::try_from(range.start)?..usize::try_from(range.end)?);
        let parts = order.parts.iter().map(part).collect::<Result<_>>()?;
        Ok(Ordered { store, parts })
    }

    /// All of it, piece by piece; a piece that has been dealt with is not kept in memory.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = self.parts.iter().flat_map(|part| self.store[part.clone()].chunks(PIECE));
        pieces.inspect(|_| self.store.forget())
    }

    /// blake3, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces() {
            hasher.update(piece);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Where the chunk store of the app at `path` is, when it is beside it.
pub fn beside(path: &Path) -> PathBuf {
    path.with_extension("chunks")
}

/// Whether [`Sealed::save`] puts a new file at `path`: a device or pipe is written to, not replaced.
pub fn replaces(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.is_file() || metadata.is_dir())
}

/// A finished app.wasm that lies nowhere yet.
#[derive(Debug)]
pub struct Sealed {
    /// What its first section says.
    pub manifest: Manifest,
    /// The Wasm header and our custom sections.
    front: Vec<u8>,
    linked: Linked,
    store: Ordered,
    /// The section of second forms, if there are any, and the one that ends the file.
    back: Vec<u8>,
}

/// Put the parts together.
pub fn seal(linked: Linked, store: Ordered, manifest: Manifest, boot: &Boot) -> Result<Sealed> {
    let json = serde_json::to_vec(&manifest)?;
    let mut front = wasm_encoder::Module::HEADER.to_vec();
    for (name, contents) in [(MANIFEST_SECTION, json), (BOOT_SECTION, boot.to_bytes())] {
        front.extend_from_slice(&custom_section(name, &contents).context("a section passes 4 GiB")?);
    }
    let mut back = match &linked.fused {
        Some(module) => custom_section(FUSED_SECTION, module).context("a section passes 4 GiB")?,
        None => Vec::new(),
    };
    let Linked { code, data_head, data_warm, data_tail, .. } = &linked;
    let start = (front.len() + code.len() + data_head.len()) as u64;
    let len = if manifest.chunks.layout == ChunkLayout::Single { manifest.chunks.stored_bytes } else { 0 };
    let contents = seal_of([&front[..], code, data_head, data_warm, data_tail, &back], start..start + len);
    back.extend(custom_section(SEAL_SECTION, &contents).context("the seal is too long")?);
    Ok(Sealed { manifest, front, linked, store, back })
}

impl Sealed {
    /// Bytes of app.wasm.
    pub fn file_bytes(&self) -> u64 {
        self.pieces().map(|piece| piece.len() as u64).sum()
    }

    /// Linear memory at open, in pages of 64 KiB.
    pub fn memory_pages(&self) -> u64 {
        self.linked.memory_pages
    }

    fn split(&self) -> bool {
        self.manifest.chunks.layout == ChunkLayout::Split
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let Linked { code, data_head, data_warm, data_tail, .. } = &self.linked;
        let store = self.store.pieces().filter(|_| !self.split());
        [&self.front[..], code, data_head].into_iter().chain(store).chain([
            &data_warm[..],
            data_tail,
            &self.back,
        ])
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        write(file, self.pieces())
    }

    /// The app without a name, and its chunk store when that is beside it: for who runs it right away.
    pub fn into_mapped(self) -> Result<(Mapped, Option<Mapped>)> {
        let mapped = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
            write(&mut file, pieces).context("cannot write a temporary file")?;
            Ok::<_, anyhow::Error>(Mapped::of(&file)?)
        };
        let app = mapped(&mut self.pieces())?;
        let store = self.split().then(|| mapped(&mut self.store.pieces())).transpose()?;
        Ok((app, store))
    }

    /// The app at `path`, and its chunk store beside it when it is split. On failure nothing is left behind and
    /// older files stay as they were.
    pub fn save(&self, path: &Path) -> Result<()> {
        let name = path.display();
        if !replaces(path) {
            if self.split() {
                anyhow::bail!("{name} is no file and has nothing beside it; use --layout single");
            }
            let mut file =
                File::options().write(true).open(path).with_context(|| format!("cannot write {name}"))?;
            return self.write(&mut file).with_context(|| format!("cannot write {name}"));
        }
        if path.is_dir() {
            anyhow::bail!("cannot write {name}: it is a directory; give the name of a file in it");
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let temporary = || {
            tempfile::Builder::new()
                .prefix(".friscy-snap-")
                .permissions(std::fs::Permissions::from_mode(0o666))
                .tempfile_in(&directory)
                .with_context(|| format!("cannot write to the directory {}", directory.display()))
        };
        let failed = |path: &Path| format!("cannot write {}", path.display());
        let mut file = temporary()?;
        self.write(file.as_file_mut()).with_context(|| failed(path))?;
        validate(&Mapped::of(file.as_file())?)
            .with_context(|| format!("{name} came out wrong, please report this"))?;
        let beside = beside(path);
        if beside == path {
            anyhow::bail!("{name} is the name that the chunk store beside the app has; give it another one");
        }
        if self.split() {
            let mut store = temporary()?;
            write(store.as_file_mut(), self.store.pieces()).with_context(|| failed(&beside))?;
            store.persist(&beside).map_err(|error| error.error).with_context(|| failed(&beside))?;
        }
        file.persist(path).map_err(|error| error.error).with_context(|| failed(path))?;
        Ok(())
    }
}

fn write<'b>(file: &mut File, pieces: impl Iterator<Item = &'b [u8]>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    for piece in pieces {
        writer.write_all(piece)?;
    }
    writer.flush()
}

/// Whether an engine takes this module, and one with relaxed SIMD what else it holds. The features are those that every
/// engine has; facts measured say which.
pub fn validate(wasm: &[u8]) -> Result<()> {
    use wasmparser::WasmFeatures as F;
    let features = F::WASM2 | F::TAIL_CALL | F::EXTENDED_CONST;
    wasmparser::Validator::new_with_features(features).validate_all(wasm)?;
    for section in sections(wasm)? {
        let section = section?;
        if section.name == Some(FUSED_SECTION) {
            let features = features | F::RELAXED_SIMD;
            wasmparser::Validator::new_with_features(features).validate_all(section.contents)?;
        }
    }
    Ok(())
}
