//! Stage *seal*: manifest and digests, and the file under its name.
//!
//! The file is written beside its place under a temporary name, validated as
//! every engine would, and renamed: nobody ever sees half of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use friscy_formats::app::{MANIFEST_SECTION, SEAL_SECTION, custom_section};
use friscy_formats::boot::Boot;
use friscy_formats::manifest::Manifest;

use crate::app::{BOOT_SECTION, CHUNKS_SECTION};
use crate::link::Linked;
use crate::mapped::Mapped;

/// A finished app.wasm that lies nowhere yet.
#[derive(Debug)]
pub struct Sealed {
    /// What its first section says.
    pub manifest: Manifest,
    /// The Wasm header and our custom sections.
    front: Vec<u8>,
    linked: Linked,
    store: Mapped,
    /// The section that ends the file.
    seal: Vec<u8>,
}

/// Put the parts together. `chunk_lens` is the stored length of each chunk.
pub fn seal(
    linked: Linked,
    store: Mapped,
    manifest: Manifest,
    boot: &Boot,
    chunk_lens: &[u32],
) -> Result<Sealed> {
    let json = serde_json::to_vec(&manifest)?;
    let chunk_table: Vec<u8> = chunk_lens.iter().flat_map(|len| len.to_le_bytes()).collect();
    let mut front = wasm_encoder::Module::HEADER.to_vec();
    for (name, contents) in
        [(MANIFEST_SECTION, json), (BOOT_SECTION, boot.to_bytes()), (CHUNKS_SECTION, chunk_table)]
    {
        front.extend_from_slice(&custom_section(name, &contents).context("a section passes 4 GiB")?);
    }
    let mut sealed = Sealed { manifest, front, linked, store, seal: Vec::new() };
    let mut hasher = blake3::Hasher::new();
    for piece in sealed.pieces() {
        hasher.update(piece);
    }
    sealed.seal =
        custom_section(SEAL_SECTION, hasher.finalize().as_bytes()).context("the seal is too long")?;
    Ok(sealed)
}

impl Sealed {
    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.len() as u64).sum()
    }

    /// Linear memory at open, in pages of 64 KiB.
    pub fn memory_pages(&self) -> u64 {
        self.linked.memory_pages
    }

    fn pieces(&self) -> [&[u8]; 6] {
        let Linked { code, data_head, data_tail, .. } = &self.linked;
        [&self.front, code, data_head, &self.store, data_tail, &self.seal]
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        for piece in self.pieces() {
            writer.write_all(piece)?;
        }
        writer.flush()
    }

    /// The file without a name, for who runs it right away.
    pub fn into_mapped(self) -> Result<Mapped> {
        let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
        self.write(&mut file).context("cannot write a temporary file")?;
        Ok(Mapped::of(&file)?)
    }

    /// The file at `path`. On failure nothing is left behind and an older file stays as it was.
    pub fn save(&self, path: &Path) -> Result<()> {
        let name = path.display();
        // A device or pipe is written to, not replaced.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
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
        let mut file = tempfile::Builder::new()
            .prefix(".friscy-snap-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(&directory)
            .with_context(|| format!("cannot write to the directory {}", directory.display()))?;
        self.write(file.as_file_mut()).with_context(|| format!("cannot write {name}"))?;
        validate(&Mapped::of(file.as_file())?)
            .with_context(|| format!("{name} came out wrong, please report this"))?;
        file.persist(path).map_err(|error| error.error).with_context(|| format!("cannot write {name}"))?;
        Ok(())
    }
}

/// Whether an engine takes this module. The features are those that every engine has; facts measured say which.
pub fn validate(wasm: &[u8]) -> Result<()> {
    use wasmparser::WasmFeatures as F;
    let features = F::WASM2 | F::TAIL_CALL | F::EXTENDED_CONST;
    wasmparser::Validator::new_with_features(features).validate_all(wasm)?;
    Ok(())
}
