//! What is kept between two calls: compiled engines ([`crate::code`]), other
//! compiled code (wasmtime's own matter), and here the compressed chunks of
//! images, content-addressed, so that packing again after a small change
//! compresses the change.
//!
//! Each pack that compresses something new leaves one file of it, written under
//! a temporary name and renamed when it is complete. Nothing that is there is
//! ever changed, so any number of packs may run at once. When the files are more
//! than [`KEPT_BYTES`], those unused for longest go.
//!
//! A file is records without end: blake3 of the raw chunk (32 bytes), of the
//! stored form (the first 8 bytes), its length (`u32`), its encoding (`u8`), and
//! the stored form. All in one directory for each version of the encoder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use friscy_formats::chunk::Encoding;
use friscy_formats::chunk_writer::{ChunkCache, Encoded};
use tempfile::NamedTempFile;

use crate::mapped::Mapped;

/// Bytes that the cache may hold.
const KEPT_BYTES: u64 = 2 << 30;
/// Files that it may have: each is opened by every pack.
const KEPT_FILES: usize = 256;
/// Bytes of a record before the stored form.
const HEAD: usize = 32 + 8 + 4 + 1;
/// What unfinished files begin with, and when nobody can be writing one any more.
const TEMPORARY: &str = ".writing-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// What files of chunks end in.
const EXTENSION: &str = "chunks";

/// `name` in our directory for caches: below `$XDG_CACHE_HOME` or `~/.cache`. None when there is neither.
pub fn directory(name: &str) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .map(|dir| dir.join("friscy-snap").join(name))
}

/// Compressed chunks in a directory. What was put is kept when this is dropped.
#[derive(Debug)]
pub struct PackCache {
    directory: PathBuf,
    /// Files of earlier packs: path, contents, used by this one.
    packs: Vec<(PathBuf, Mapped, bool)>,
    /// By hash: number of the pack, where its record begins.
    known: HashMap<[u8; 32], (usize, usize)>,
    /// What this pack adds; none once it could not be written.
    new: Option<BufWriter<NamedTempFile>>,
    /// Digest of what was added, for a name.
    added: blake3::Hasher,
    records: usize,
}

impl PackCache {
    /// The cache in `directory`, made when it is missing, of chunks compressed at `level`.
    pub fn open(directory: &Path, level: i32) -> Result<PackCache> {
        let directory = directory.join(format!("zstd{}-{level}", zstd::zstd_safe::version_number()));
        fs::create_dir_all(&directory)?;
        let new = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&directory)?;
        let mut cache = PackCache {
            packs: Vec::new(),
            known: HashMap::new(),
            new: Some(BufWriter::with_capacity(1 << 20, new)),
            added: blake3::Hasher::new(),
            records: 0,
            directory,
        };
        for (path, ..) in cache.files() {
            // Another pack may just have removed it.
            if let Ok(contents) = File::open(&path).and_then(|file| Mapped::of(&file)) {
                cache.learn(path, contents);
            }
        }
        Ok(cache)
    }

    /// Remove what packs that were killed have left.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if temporary && age.is_ok_and(|age| age.is_ok_and(|age| age > ABANDONED)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Files of earlier packs, unused for longest first: path, time of last use, length.
    fn files(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((entry.path(), metadata.modified().ok()?, metadata.len()))
            })
            .collect();
        files.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        files
    }

    fn learn(&mut self, path: PathBuf, contents: Mapped) {
        let mut at = 0;
        while let Some((hash, stored)) = record(&contents, at) {
            self.known.insert(*hash, (self.packs.len(), at));
            at += HEAD + stored;
        }
        self.packs.push((path, contents, false));
    }

    fn write(&mut self, hash: &[u8; 32], encoded: &Encoded) -> std::io::Result<()> {
        let Some(new) = &mut self.new else { return Ok(()) };
        let len = u32::try_from(encoded.stored.len()).map_err(std::io::Error::other)?;
        new.write_all(hash)?;
        new.write_all(&check(&encoded.stored))?;
        new.write_all(&len.to_le_bytes())?;
        new.write_all(&[encoded.encoding as u8])?;
        new.write_all(&encoded.stored)
    }

    /// The new file under its name, and old ones away.
    fn finish(&mut self) -> std::io::Result<()> {
        for (path, _, used) in &self.packs {
            if *used {
                File::options().append(true).open(path)?.set_modified(SystemTime::now())?;
            }
        }
        if let Some(new) = self.new.take().filter(|_| self.records > 0) {
            let new = new.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            let name = self.added.finalize().to_hex();
            new.persist(self.directory.join(format!("{name}.{EXTENSION}")))?;
        }
        self.sweep();
        let files = self.files();
        let mut bytes: u64 = files.iter().map(|file| file.2).sum();
        for (index, (path, _, len)) in files.iter().enumerate() {
            if bytes <= KEPT_BYTES && files.len() - index <= KEPT_FILES {
                break;
            }
            fs::remove_file(path)?;
            bytes -= len;
        }
        Ok(())
    }
}

/// Enough of a digest to notice a damaged disk.
fn check(stored: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    blake3::Hasher::new().update(stored).finalize_xof().fill(&mut check);
    check
}

/// The record at `at`: hash, and length of the stored form, all of which is there.
fn record(pack: &[u8], at: usize) -> Option<(&[u8; 32], usize)> {
    let head = pack.get(at..)?.get(..HEAD)?;
    let len = u32::from_le_bytes(*head[40..].first_chunk()?) as usize;
    pack.get(at + HEAD..)?.get(..len)?;
    Some((head.first_chunk()?, len))
}

impl ChunkCache for PackCache {
    fn get(&mut self, hash: &[u8; 32]) -> Option<Encoded> {
        let &(number, at) = self.known.get(hash)?;
        let (_, pack, used) = self.packs.get_mut(number)?;
        let (_, len) = record(pack, at)?;
        let (head, stored) = pack[at..at + HEAD + len].split_at(HEAD);
        *used = true;
        let encoding = Encoding::from_u8(head[HEAD - 1])?;
        (head[32..40] == check(stored)).then(|| Encoded { encoding, stored: stored.to_vec() })
    }

    fn put(&mut self, hash: &[u8; 32], encoded: &Encoded) {
        self.added.update(hash);
        self.records += 1;
        // A full disk is no reason not to pack.
        if self.write(hash, encoded).is_err() {
            self.new = None;
        }
    }
}

impl Drop for PackCache {
    fn drop(&mut self) {
        // What cannot be kept is compressed again.
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(byte: u8) -> ([u8; 32], Encoded) {
        ([byte; 32], Encoded { encoding: Encoding::Raw, stored: vec![byte; 100] })
    }

    fn put(directory: &Path, bytes: &[u8]) {
        let mut cache = PackCache::open(directory, 3).expect("it can be made");
        for &byte in bytes {
            let (hash, encoded) = chunk(byte);
            cache.put(&hash, &encoded);
        }
    }

    #[test]
    fn what_several_packs_put_is_there_and_levels_are_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut early = PackCache::open(dir.path(), 3).expect("it can be made");
        put(dir.path(), &[1, 2]);
        put(dir.path(), &[3]);
        assert_eq!(early.get(&[1; 32]), None, "it was opened before");
        early.put(&chunk(4).0, &chunk(4).1);
        drop(early);
        put(dir.path(), &[]);
        let mut cache = PackCache::open(dir.path(), 3).expect("it is there");
        for byte in 1..=4 {
            assert_eq!(cache.get(&[byte; 32]), Some(chunk(byte).1));
        }
        assert_eq!(cache.packs.len(), 3, "a pack that adds nothing leaves nothing");
        assert_eq!(PackCache::open(dir.path(), 4).expect("it can be made").get(&[1; 32]), None);
    }

    #[test]
    fn damage_is_a_miss() {
        let dir = tempfile::tempdir().expect("a directory");
        put(dir.path(), &[1, 2]);
        let path = PackCache::open(dir.path(), 3).expect("it is there").files().remove(0).0;
        let mut bytes = fs::read(&path).expect("it was written");
        bytes[HEAD + 50] ^= 1;
        bytes.truncate(bytes.len() - 1);
        fs::write(&path, bytes).expect("it can be written");
        let mut cache = PackCache::open(dir.path(), 3).expect("it is there");
        assert_eq!((cache.get(&[1; 32]), cache.get(&[2; 32])), (None, None));
    }
}
