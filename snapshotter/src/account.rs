//! What each byte of an app.wasm is for, and each byte of its chunk store: the
//! figures of `friscy-snap inspect`. Nothing of the app is run; what of the frozen memory is the kernel's and what a
//! program's is known only to the engine inside, and not told apart here.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use friscy_formats::vfs::{self, ArchivedVfs};
use serde::Serialize;
use wasmparser::{Parser, Payload};

use crate::app::{App, BOOT_SECTION, FUSED_SECTION};

/// What a byte of app.wasm is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Lengths, names and tables of the Wasm format.
    Format,
    /// The manifest.
    Manifest,
    /// What was started.
    Boot,
    /// Functions of the engine.
    Engine,
    /// Functions made of guest code.
    Translated,
    /// Second forms of some of them, for hosts that fuse multiplication and addition.
    Fused,
    /// The index of files, in the frozen memory.
    Index,
    /// The rest of the frozen memory: the engine's, the kernel's and the programs'.
    Memory,
    /// The chunk store.
    Contents,
    /// Contents of files that are ready for use.
    Warm,
    /// The digest at the end.
    Seal,
}

impl Kind {
    /// All of them, as they are listed.
    pub const ALL: [Kind; 11] = [
        Kind::Engine,
        Kind::Translated,
        Kind::Fused,
        Kind::Memory,
        Kind::Index,
        Kind::Contents,
        Kind::Warm,
        Kind::Manifest,
        Kind::Boot,
        Kind::Seal,
        Kind::Format,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Format => "Wasm format",
            Kind::Manifest => "manifest",
            Kind::Boot => "boot",
            Kind::Engine => "engine code",
            Kind::Translated => "translated code",
            Kind::Fused => "fused code",
            Kind::Index => "file index",
            Kind::Memory => "frozen memory",
            Kind::Contents => "file contents",
            Kind::Warm => "warm blocks",
            Kind::Seal => "seal",
        }
    }
}

/// Of the VFS archive, in bytes.
const ALIGNMENT: usize = 16;

/// The parts of an app.wasm.
#[derive(Debug)]
pub struct Account {
    /// In order, without gaps, from the first byte of the file to the last.
    pub parts: Vec<(Range<usize>, Kind)>,
}

impl Account {
    /// Of `app`.
    pub fn of(app: &App) -> Result<Account> {
        let mut named = Vec::new();
        for (name, range) in &app.sections {
            let kind = match name.as_str() {
                friscy_formats::app::MANIFEST_SECTION => Kind::Manifest,
                friscy_formats::app::SEAL_SECTION => Kind::Seal,
                BOOT_SECTION => Kind::Boot,
                FUSED_SECTION => Kind::Fused,
                _ => continue,
            };
            named.push((range.clone(), kind));
        }
        let mut functions = Vec::new();
        for payload in Parser::new(0).parse_all(app.bytes()) {
            match payload? {
                Payload::CodeSectionEntry(body) => functions.push(in_memory(&body.range())?),
                Payload::DataSection(segments) => {
                    for (segment, kind) in segments.into_iter().zip([Kind::Contents, Kind::Warm]) {
                        let segment = segment?;
                        let end = usize::try_from(segment.range.end)?;
                        named.push((end - segment.data.len()..end, kind));
                    }
                }
                _ => {}
            }
        }
        let translated = functions.len().saturating_sub(app.translated_functions() as usize);
        named.extend(
            functions
                .into_iter()
                .enumerate()
                .map(|(at, range)| (range, if at < translated { Kind::Engine } else { Kind::Translated })),
        );
        let index = Index::find(app)?.addresses();
        for (at, range) in app.pieces() {
            let at = u64::from(*at);
            let cut = |address: u64| {
                range.start + usize::try_from(address.clamp(at, at + range.len() as u64) - at).unwrap_or(0)
            };
            let (from, to) = (cut(index.start), cut(index.end));
            named.extend([
                (range.start..from, Kind::Memory),
                (from..to, Kind::Index),
                (to..range.end, Kind::Memory),
            ]);
        }
        named.retain(|(range, _)| !range.is_empty());
        named.sort_by_key(|(range, _)| range.start);
        let mut parts = Vec::with_capacity(named.len() * 2);
        let mut end = 0;
        for (range, kind) in named.into_iter().chain([(app.bytes().len()..app.bytes().len(), Kind::Format)]) {
            if range.start < end {
                bail!("two parts of the file lie on each other; pack the image again");
            }
            if end < range.start {
                parts.push((end..range.start, Kind::Format));
            }
            end = range.end;
            if !range.is_empty() {
                parts.push((range, kind));
            }
        }
        Ok(Account { parts })
    }

    /// Bytes of one kind.
    pub fn bytes(&self, kind: Kind) -> u64 {
        self.parts.iter().filter(|part| part.1 == kind).map(|(range, _)| range.len() as u64).sum()
    }
}

fn in_memory<N: Copy + TryInto<usize>>(range: &Range<N>) -> Result<Range<usize>> {
    let fit = |n: N| n.try_into().ok().context("a function beyond what this machine can address");
    Ok(fit(range.start)?..fit(range.end)?)
}

/// What a file takes of the chunk store.
#[derive(Debug, Serialize)]
pub struct Share {
    /// Its first name. Empty: what no file has.
    pub path: String,
    /// Bytes in the store. Of a chunk that several files share, each has its part; what equal files share is the
    /// first one's.
    pub stored_bytes: u64,
    /// Bytes of the file that these are.
    pub raw_bytes: u64,
}

/// The chunk store by file, largest first. The sum of `stored_bytes` is the store's length.
pub fn shares(app: &App) -> Result<Vec<Share>> {
    let index = Index::find(app)?;
    let vfs = index.vfs()?;
    let mut claims: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); vfs.chunk_count() as usize];
    for ino in 0..vfs.inode_count() {
        let inode = vfs.inode(ino).context("the index of files is damaged")?;
        for extent in inode.extents() {
            let chunk = claims.get_mut(extent.chunk as usize).context("the index of files is damaged")?;
            chunk.push((extent.chunk_offset, ino, extent.len));
        }
    }
    // One more than there are files, for what no file has.
    let mut sums = vec![(0, 0); vfs.inode_count() as usize + 1];
    let nobody = sums.len() - 1;
    for (number, mut claims) in (0..).zip(claims) {
        let chunk = vfs.chunk(number).context("the index of files is damaged")?;
        let raw_len = u64::from(chunk.raw_len);
        let stored = |raw: u64| u64::from(chunk.stored_len) * raw / raw_len.max(1);
        let mut give = |owner: usize, from: u64, to: u64| {
            sums[owner].0 += stored(to) - stored(from);
            sums[owner].1 += to - from;
        };
        claims.sort_unstable();
        let mut end = 0;
        for (start, ino, len) in claims {
            let (start, to) = (u64::from(start), (u64::from(start) + u64::from(len)).min(raw_len));
            if start > end {
                give(nobody, end, start);
            }
            let from = start.max(end);
            if to > from {
                give(ino as usize, from, to);
            }
            end = end.max(to);
        }
        give(nobody, end, raw_len);
    }
    let names = names(vfs);
    let mut shares: Vec<Share> = sums
        .into_iter()
        .enumerate()
        .filter(|(_, (stored_bytes, raw_bytes))| stored_bytes + raw_bytes > 0)
        .map(|(ino, (stored_bytes, raw_bytes))| {
            let path = names.get(ino).cloned().unwrap_or_default();
            Share { path, stored_bytes, raw_bytes }
        })
        .collect();
    shares.sort_by(|a, b| b.stored_bytes.cmp(&a.stored_bytes).then_with(|| a.path.cmp(&b.path)));
    Ok(shares)
}

/// First name of each inode.
fn names(vfs: &ArchivedVfs) -> Vec<String> {
    let mut names = vec![String::new(); vfs.inode_count() as usize];
    // A directory's number is smaller than those of the directories in it.
    for ino in 0..vfs.inode_count() {
        let Some(directory) = vfs.inode(ino) else { continue };
        let parent = names[ino as usize].clone();
        for (name, child) in directory.iter() {
            if names[child as usize].is_empty() {
                names[child as usize] = format!("{parent}/{}", String::from_utf8_lossy(name));
            }
        }
    }
    names
}

/// The VFS archive in the frozen memory.
struct Index {
    at: u64,
    len: usize,
    /// The archive from [`Index::start`] on.
    room: Vec<u8>,
}

impl Index {
    fn find(app: &App) -> Result<Index> {
        let len = usize::try_from(app.manifest.sizes.archive)?;
        for (at, run) in app.runs() {
            let first = at as usize % ALIGNMENT;
            for offset in ((ALIGNMENT - first) % ALIGNMENT..run.len()).step_by(ALIGNMENT) {
                if run[offset..].starts_with(&vfs::MAGIC) {
                    let index = Index::read(app, u64::from(at) + offset as u64, len);
                    if index.vfs().is_ok() {
                        return Ok(index);
                    }
                }
            }
        }
        bail!("its index of files is not where it should be; pack the image again")
    }

    /// `len` bytes of the frozen memory at the address `at`.
    fn read(app: &App, at: u64, len: usize) -> Index {
        let mut index = Index { at, len, room: vec![0; len + ALIGNMENT] };
        let first = index.start();
        let bytes = &mut index.room[first..];
        let end = at + len as u64;
        for (start, run) in app.runs() {
            let (start, stop) = (u64::from(start), u64::from(start) + run.len() as u64);
            let (from, to) = (at.max(start), end.min(stop));
            if from < to {
                let place = |address: u64, base: u64| usize::try_from(address - base).unwrap_or(0);
                bytes[place(from, at)..place(to, at)]
                    .copy_from_slice(&run[place(from, start)..place(to, start)]);
            }
        }
        index
    }

    /// The first byte of `room` that is aligned as the archive must be.
    fn start(&self) -> usize {
        self.room.as_ptr().align_offset(ALIGNMENT)
    }

    fn vfs(&self) -> Result<&ArchivedVfs> {
        Ok(vfs::access(&self.room[self.start()..][..self.len])?)
    }

    fn addresses(&self) -> Range<u64> {
        self.at..self.at + self.len as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Layout, ProcessOptions, StoreOptions, TranslateOptions};
    use crate::progress::Progress;
    use crate::{embedded, pack};
    use friscy_formats::boot::Until;

    fn demo(layout: Layout) -> App {
        let store = StoreOptions { layout, no_cache: true, ..StoreOptions::default() };
        let talk = crate::cli::Talk { verbose: false, quiet: true };
        let sealed = pack::pack(
            &embedded::DEMO.into(),
            &ProcessOptions::default(),
            &TranslateOptions::off(),
            &store,
            &Until::Entry.into(),
            true,
            &mut Progress::new(talk),
        )
        .expect("the demo packs");
        let (app, store) = sealed.into_mapped().expect("a temporary file");
        App::new(app, store).expect("it opens")
    }

    #[test]
    fn every_byte_has_one_kind_and_every_stored_byte_one_file() {
        for layout in [Layout::Single, Layout::Split] {
            let app = demo(layout);
            let account = Account::of(&app).expect("an account");
            let mut end = 0;
            for (range, _) in &account.parts {
                assert_eq!(range.start, end);
                end = range.end;
            }
            assert_eq!(end, app.bytes().len());
            let bytes = |kind| account.bytes(kind);
            let sum: u64 = Kind::ALL.into_iter().map(bytes).sum();
            assert_eq!(sum, app.bytes().len() as u64);
            let manifest = &app.manifest;
            assert_eq!(bytes(Kind::Memory) + bytes(Kind::Index), manifest.sizes.data);
            assert!(bytes(Kind::Index) > 0 && bytes(Kind::Index) <= manifest.sizes.archive);
            assert!(bytes(Kind::Engine) > manifest.sizes.code * 9 / 10, "{}", bytes(Kind::Engine));
            // Segments and sections have short heads.
            assert!(bytes(Kind::Format) < 64 << 10, "{}", bytes(Kind::Format));
            assert_eq!(app.beside().is_some(), layout == Layout::Split);
            assert_eq!(bytes(Kind::Warm), manifest.chunks.warm_bytes);
            assert!(bytes(Kind::Warm) > 0, "the shell reads itself");

            let shares = shares(&app).expect("an index");
            assert_eq!(shares.iter().map(|share| share.stored_bytes).sum::<u64>(), app.store().len() as u64);
            assert_eq!(shares.iter().map(|share| share.raw_bytes).sum::<u64>(), manifest.chunks.raw_bytes);
            assert!(shares.iter().all(|share| share.path.starts_with('/')), "{shares:?}");
            assert!(shares.iter().any(|share| share.path.starts_with("/bin/")), "{shares:?}");
        }
    }
}
