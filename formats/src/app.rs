//! app.wasm as a file: its sections, its manifest, its seal. Host only.
//!
//! ```text
//! "\0asm" 01 00 00 00
//! custom "friscy.manifest"   JSON (manifest.rs); first, so that a reader of the stream has it at once
//! ...                        the module, and what else the packer puts in custom sections
//! custom "friscy.seal"       where the chunk store lies, and blake3 of all that is not the chunk store; last
//! ```
//!
//! The chunk store has a digest of its own, in the manifest, and each chunk has
//! one in the VFS archive: opening an app looks at the hot part only.
//!
//! The walk over sections is our own and small, because it must give a clear
//! line for whatever is wrong with a file, and must not need the file to be a
//! valid module.

use std::io::{self, Write};
use std::ops::Range;

use crate::image::clean;
use crate::manifest::{FORMAT, Manifest};

/// Name of the manifest's section.
pub const MANIFEST_SECTION: &str = "friscy.manifest";
/// Name of the seal's section.
pub const SEAL_SECTION: &str = "friscy.seal";
/// Magic and version of a core module.
const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";
/// Id of a custom section.
const CUSTOM: u8 = 0;
/// Longest manifest that is read: real ones have some KB.
const MAX_MANIFEST: usize = 16 << 20;

/// Why a file is no app, or none for this program. One line; the caller puts
/// the file's name in front.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Some other file.
    #[error("not a WebAssembly file; make one with `friscy-snap IMAGE -o APP.wasm`")]
    NotWasm,
    /// A module of someone else's.
    #[error(
        "not a friscy app: it has no {MANIFEST_SECTION} section; make one with `friscy-snap IMAGE -o APP.wasm`"
    )]
    NotAnApp,
    /// The file ends too early.
    #[error("the file is truncated at {0} bytes; copy or download it again")]
    Truncated(u64),
    /// The bytes are wrong.
    #[error("the file is damaged ({0}); copy or download it again")]
    Damaged(&'static str),
    /// The seal does not hold.
    #[error("the file is damaged (its contents do not match its seal); copy or download it again")]
    Seal,
    /// Of another version.
    #[error("made by friscy-snap {made} (format {format}), this is {this} (format {FORMAT}); pack the image again", this = env!("CARGO_PKG_VERSION"))]
    Version {
        /// The version that made it.
        made: String,
        /// Its format.
        format: u64,
    },
    /// The manifest is not JSON, or lacks something.
    #[error("the manifest is damaged ({0}); copy or download it again")]
    Manifest(String),
}

/// A section of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its id (Wasm core specification, binary format of modules); 0 is custom.
    pub id: u8,
    /// Name of a custom section.
    pub name: Option<&'a str>,
    /// All of it in the file, id and length included.
    pub range: Range<usize>,
    /// Its contents, after the name of a custom section.
    pub contents: &'a [u8],
}

/// The sections of a module, in order. Stops after the first error.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// The sections of a module.
pub fn sections(bytes: &[u8]) -> Result<Sections<'_>, AppError> {
    match bytes.split_at_checked(HEADER.len()) {
        Some((header, _)) if header == HEADER => Ok(Sections { bytes, position: HEADER.len() }),
        Some((header, _)) if header.starts_with(&HEADER[..4]) => {
            Err(AppError::Damaged("it is no core module of version 1"))
        }
        None if !bytes.is_empty() && HEADER.starts_with(bytes) => {
            Err(AppError::Truncated(bytes.len() as u64))
        }
        _ => Err(AppError::NotWasm),
    }
}

impl<'a> Sections<'a> {
    fn read(&mut self) -> Result<Section<'a>, AppError> {
        let truncated = AppError::Truncated(self.bytes.len() as u64);
        let start = self.position;
        let (id, rest) = self.bytes[start..].split_first().ok_or(AppError::Damaged("empty section"))?;
        if *id > 13 {
            return Err(AppError::Damaged("unknown section"));
        }
        let (len, used) = match leb128(rest) {
            Leb::Value(len, used) => (len as usize, used),
            Leb::Short => return Err(truncated),
            Leb::Long => return Err(AppError::Damaged("section length")),
        };
        let body = rest[used..].get(..len).ok_or(truncated)?;
        self.position = start + 1 + used + len;
        let range = start..self.position;
        if *id != CUSTOM {
            return Ok(Section { id: *id, name: None, range, contents: body });
        }
        let Leb::Value(name_len, used) = leb128(body) else { return Err(AppError::Damaged("section name")) };
        let name = body[used..].split_at_checked(name_len as usize);
        let (name, contents) = name.ok_or(AppError::Damaged("section name"))?;
        let name = std::str::from_utf8(name).map_err(|_| AppError::Damaged("section name"))?;
        Ok(Section { id: CUSTOM, name: Some(name), range, contents })
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let section = self.read();
        if section.is_err() {
            self.position = self.bytes.len();
        }
        Some(section)
    }
}

enum Leb {
    /// Value and bytes used.
    Value(u32, usize),
    /// The bytes end within it.
    Short,
    /// No 32-bit number.
    Long,
}

fn leb128(bytes: &[u8]) -> Leb {
    let mut value = 0u64;
    for (i, &b) in bytes.iter().take(5).enumerate() {
        value |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            return u32::try_from(value).map_or(Leb::Long, |value| Leb::Value(value, i + 1));
        }
    }
    if bytes.len() < 5 { Leb::Short } else { Leb::Long }
}

fn write_leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes of a custom section. None when it would pass 4 GiB.
pub fn custom_section(name: &str, contents: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(contents.len() + name.len() + 5);
    write_leb128(u32::try_from(name.len()).ok()?, &mut body);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(contents);
    let mut section = vec![CUSTOM];
    write_leb128(u32::try_from(body.len()).ok()?, &mut section);
    section.extend_from_slice(&body);
    Some(section)
}

/// An app.wasm whose outside is sound.
#[derive(Debug, Clone)]
pub struct App<'a> {
    /// What it says of itself.
    pub manifest: Manifest,
    bytes: &'a [u8],
    seal: [u8; 32],
    /// Where the seal's section begins.
    sealed: usize,
    /// The chunk store, when it is in this file; else empty.
    store: Range<usize>,
}

/// Reads the manifest of app.wasm. Looks at section headers only; [`App::verify`] looks at the contents.
pub fn open(bytes: &[u8]) -> Result<App<'_>, AppError> {
    let truncated = || AppError::Truncated(bytes.len() as u64);
    let mut manifest = None;
    let mut seal = None;
    for section in sections(bytes)? {
        // A file cut off later than its manifest is one of ours, cut off.
        let section = section?;
        match section.name {
            Some(MANIFEST_SECTION) if manifest.is_none() => manifest = Some(section.contents),
            Some(SEAL_SECTION) => seal = Some((section.contents, section.range)),
            _ => {}
        }
    }
    let manifest = parse(manifest.ok_or(AppError::NotAnApp)?)?;
    let (seal, range) = seal.ok_or_else(truncated)?;
    if range.end != bytes.len() {
        return Err(AppError::Damaged("something follows the seal"));
    }
    let number = |at: usize| {
        let field = seal.get(at..)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*field)).ok()
    };
    let parts = (seal.first_chunk(), number(32), number(40));
    let (Some(&seal), Some(start), Some(len), 48) = (parts.0, parts.1, parts.2, seal.len()) else {
        return Err(AppError::Damaged("the seal has a wrong length"));
    };
    let end = start.checked_add(len).filter(|&end| end <= range.start);
    let store = start..end.ok_or(AppError::Damaged("the chunk store is not where the seal says"))?;
    Ok(App { manifest, bytes, seal, sealed: range.start, store })
}

/// What a seal says: `blake3` of all bytes outside of the chunk store, which are `outside` in two pieces, and then of
/// the store's place in the file. The section's contents.
pub fn seal_of<'b>(outside: impl IntoIterator<Item = &'b [u8]>, store: Range<u64>) -> Vec<u8> {
    let place = [store.start.to_le_bytes(), (store.end - store.start).to_le_bytes()].concat();
    let mut hash = blake3::Hasher::new();
    for piece in outside {
        hash.update(piece);
    }
    [hash.update(&place).finalize().as_bytes().as_slice(), &place].concat()
}

/// The manifest in these bytes of JSON, its format checked first.
pub fn parse(json: &[u8]) -> Result<Manifest, AppError> {
    /// What every version's manifest has.
    #[derive(serde::Deserialize)]
    struct Version {
        format: u64,
        #[serde(default)]
        engine: String,
    }
    let damaged = |e: serde_json::Error| AppError::Manifest(e.to_string());
    if json.len() > MAX_MANIFEST {
        return Err(AppError::Manifest("it is too long".to_owned()));
    }
    let version: Version = serde_json::from_slice(json).map_err(damaged)?;
    if version.format != u64::from(FORMAT) {
        return Err(AppError::Version { made: clean(&version.engine), format: version.format });
    }
    serde_json::from_slice(json).map_err(damaged)
}

impl App<'_> {
    /// Every byte but those of the chunk store is what was written.
    pub fn verify(&self) -> Result<(), AppError> {
        let outside = [&self.bytes[..self.store.start], &self.bytes[self.store.end..self.sealed]];
        let store = self.store.start as u64..self.store.end as u64;
        if seal_of(outside, store)[..32] == self.seal { Ok(()) } else { Err(AppError::Seal) }
    }

    /// Every byte of the chunk store is what was written: [`App::store`], or the file beside.
    pub fn verify_store(&self, store: &[u8]) -> Result<(), AppError> {
        if blake3::hash(store).to_hex().as_str() == self.manifest.chunks.digest {
            Ok(())
        } else {
            Err(AppError::Seal)
        }
    }

    /// Where the chunk store is in this file; empty when it is beside it.
    pub fn store(&self) -> Range<usize> {
        self.store.clone()
    }

    /// The seal: what identifies this file, in hexadecimal.
    pub fn digest(&self) -> String {
        blake3::Hash::from_bytes(self.seal).to_hex().to_string()
    }
}

/// Writes `module` as an app: with this manifest in front and a seal at the
/// end, over all of it. A manifest and a seal that it has already are left out.
pub fn seal<W: Write>(module: &[u8], manifest: &Manifest, out: W) -> io::Result<W> {
    let too_long = || io::Error::other("the manifest is too long");
    let json = serde_json::to_vec(manifest)?;
    let mut out = Sealing { out, hash: blake3::Hasher::new() };
    out.write_all(&HEADER)?;
    out.write_all(&custom_section(MANIFEST_SECTION, &json).ok_or_else(too_long)?)?;
    for section in sections(module).map_err(io::Error::other)? {
        let section = section.map_err(io::Error::other)?;
        if !matches!(section.name, Some(MANIFEST_SECTION | SEAL_SECTION)) {
            out.write_all(&module[section.range])?;
        }
    }
    out.hash.update(&[0; 16]);
    let contents = [out.hash.finalize().as_bytes().as_slice(), &[0; 16]].concat();
    let seal = custom_section(SEAL_SECTION, &contents).ok_or_else(too_long)?;
    out.out.write_all(&seal)?;
    out.out.flush()?;
    Ok(out.out)
}

/// Hashes what passes.
struct Sealing<W> {
    out: W,
    hash: blake3::Hasher,
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[path = "app_test.rs"]
mod tests;
