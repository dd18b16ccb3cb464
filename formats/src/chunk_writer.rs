//! Cuts file contents into chunks and writes the chunk store. Host only.
//!
//! Files of [`CUT_BYTES`] / 2 and more get chunks of their own, of equal size
//! between 64 and 128 KiB, cut at multiples of a guest page. Smaller files
//! share chunks in the order in which they come: that compresses better and
//! needs fewer fetches than a chunk for each, and neighbours in an image are
//! used together. Such a chunk ends where a file's contents say so
//! ([`ends_a_chunk`]), so that one more file moves one boundary and not all that
//! follow. Equal chunks and equal small files are stored once.
//!
//! Compression runs on all cores, a batch at a time; what is written does not
//! depend on how many there are. What is in a [`ChunkCache`] is not compressed again.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::chunk::{Chunk, Encoding};

/// Raw bytes in a chunk, at most.
pub const CUT_BYTES: usize = 128 << 10;
/// Chunks cut at multiples of this, so that a page is never in two chunks.
const PAGE: u64 = 4096;
/// Chunks compressed at a time: enough for every core, 8 MiB of memory.
const BATCH: usize = 64;

/// A chunk as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Whether compression helped.
    pub encoding: Encoding,
    /// The bytes for the store.
    pub stored: Vec<u8>,
}

/// Compresses chunks, one after the other.
struct Encoder(Option<zstd::bulk::Compressor<'static>>);

impl Encoder {
    fn new(level: i32) -> Encoder {
        Encoder(zstd::bulk::Compressor::new(level).ok())
    }

    /// Keeps a chunk raw when compression does not save at least one byte in
    /// thirty-two (decompression costs time at every open).
    fn encode(&mut self, raw: &[u8]) -> Encoded {
        match self.0.as_mut().map(|compressor| compressor.compress(raw)) {
            Some(Ok(stored)) if stored.len() < raw.len() - raw.len() / 32 => {
                Encoded { encoding: Encoding::Zstd, stored }
            }
            _ => Encoded { encoding: Encoding::Raw, stored: raw.to_vec() },
        }
    }
}

/// Compressed chunks of earlier images. Where and how long they are kept is its own matter; what it gives for a hash
/// must be what was put, of the same level and the same zstd.
pub trait ChunkCache: Send {
    /// The stored form of the chunk with this hash.
    fn get(&mut self, hash: &[u8; 32]) -> Option<Encoded>;
    /// Keep it. Failure is the cache's own matter.
    fn put(&mut self, hash: &[u8; 32], encoded: &Encoded);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

impl ChunkCache for NoCache {
    fn get(&mut self, _hash: &[u8; 32]) -> Option<Encoded> {
        None
    }

    fn put(&mut self, _hash: &[u8; 32], _encoded: &Encoded) {}
}

/// A shared chunk of `len` bytes ends after a file with this hash: about one file in four, once it is half full.
fn ends_a_chunk(len: usize, hash: &[u8; 32]) -> bool {
    len >= CUT_BYTES / 2 && hash[0].is_multiple_of(4)
}

/// How to write chunks.
#[derive(Debug, Clone, Copy)]
pub struct ChunkOptions {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Threads that compress.
    pub threads: usize,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        // Measured on a Debian image in chunks of 128 KiB: 12 takes several times as long as 6 and saves 1 %.
        ChunkOptions { level: 6, threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// A run of bytes in a chunk. `chunk` is provisional until [`ChunkWriter::finish`] says what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index into [`Chunks::renumber`].
    pub chunk: u32,
    /// Where in the raw bytes.
    pub offset: u32,
    /// How many.
    pub len: u32,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Chunks {
    /// The chunk table, in the order of the store.
    pub table: Vec<Chunk>,
    /// Number in `table` of each provisional chunk.
    pub renumber: Vec<u32>,
    /// Bytes in the store.
    pub store_bytes: u64,
    /// Bytes that were given to the writer, before deduplication.
    pub raw_bytes: u64,
}

/// Writes a chunk store to `store`.
pub struct ChunkWriter<W: Write> {
    store: W,
    options: ChunkOptions,
    cache: Box<dyn ChunkCache>,
    /// Small files waiting for company.
    shared: Vec<u8>,
    /// Provisional number of the chunk that `shared` will be; taken when its first file comes.
    shared_chunk: Option<u32>,
    /// Small files by hash.
    small: HashMap<[u8; 32], Piece>,
    /// Chunks by hash: number in the table.
    known: HashMap<[u8; 32], u32>,
    /// Cut but not yet compressed: raw bytes; the last rows of the table without their stored form.
    batch: Vec<Vec<u8>>,
    done: Chunks,
}

impl<W: Write> std::fmt::Debug for ChunkWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkWriter")
            .field("options", &self.options)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<W: Write> ChunkWriter<W> {
    /// A writer to `store`, which should be buffered if it is a file.
    pub fn new(store: W, options: ChunkOptions) -> Self {
        ChunkWriter::with_cache(store, options, Box::new(NoCache))
    }

    /// [`ChunkWriter::new`] that looks into `cache` before it compresses.
    pub fn with_cache(store: W, options: ChunkOptions, cache: Box<dyn ChunkCache>) -> Self {
        ChunkWriter {
            store,
            options,
            cache,
            shared: Vec::new(),
            shared_chunk: None,
            small: HashMap::new(),
            known: HashMap::new(),
            batch: Vec::new(),
            done: Chunks::default(),
        }
    }

    /// Begin a run of exactly `len` bytes.
    pub fn run(&mut self, len: u64) -> Run<'_, W> {
        let chunks = len.div_ceil(CUT_BYTES as u64).max(1);
        let cut = len.div_ceil(chunks).next_multiple_of(PAGE).min(CUT_BYTES as u64);
        let small = len < CUT_BYTES as u64 / 2;
        let buffer = Vec::with_capacity(len.min(cut) as usize);
        Run { writer: self, cut: cut as usize, small, remaining: len, buffer, pieces: Vec::new() }
    }

    /// [`ChunkWriter::run`] of bytes that are there already.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<Vec<Piece>> {
        let mut run = self.run(bytes.len() as u64);
        run.push(bytes)?;
        run.finish()
    }

    fn provisional(&mut self) -> u32 {
        let number = u32::try_from(self.done.renumber.len()).unwrap_or(u32::MAX);
        self.done.renumber.push(u32::MAX);
        number
    }

    fn put_small(&mut self, bytes: Vec<u8>) -> io::Result<Option<Piece>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let hash = *blake3::hash(&bytes).as_bytes();
        if let Some(&piece) = self.small.get(&hash) {
            return Ok(Some(piece));
        }
        if self.shared.len() + bytes.len() > CUT_BYTES {
            self.flush_shared()?;
        }
        let chunk = match self.shared_chunk {
            Some(chunk) => chunk,
            None => {
                let chunk = self.provisional();
                self.shared_chunk = Some(chunk);
                chunk
            }
        };
        let piece = Piece { chunk, offset: self.shared.len() as u32, len: bytes.len() as u32 };
        self.shared.extend_from_slice(&bytes);
        self.small.insert(hash, piece);
        if ends_a_chunk(self.shared.len(), &hash) {
            self.flush_shared()?;
        }
        Ok(Some(piece))
    }

    fn flush_shared(&mut self) -> io::Result<()> {
        let Some(chunk) = self.shared_chunk.take() else { return Ok(()) };
        let raw = std::mem::take(&mut self.shared);
        self.cut(chunk, raw)
    }

    /// Gives provisional chunk `number` its place in the table, new or known.
    fn cut(&mut self, number: u32, raw: Vec<u8>) -> io::Result<()> {
        let hash = *blake3::hash(&raw).as_bytes();
        let next = u32::try_from(self.done.table.len()).map_err(io::Error::other)?;
        let index = *self.known.entry(hash).or_insert(next);
        self.done.renumber[number as usize] = index;
        if index < next {
            return Ok(());
        }
        let raw_len = raw.len() as u32;
        self.done.table.push(Chunk { hash, offset: 0, stored_len: 0, raw_len, encoding: Encoding::Raw });
        self.batch.push(raw);
        if self.batch.len() >= BATCH { self.flush_batch() } else { Ok(()) }
    }

    /// Compresses and writes the batch, in order.
    fn flush_batch(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let first = self.done.table.len() - batch.len();
        let rows = &mut self.done.table[first..];
        let mut known: Vec<Option<Encoded>> = rows.iter().map(|row| self.cache.get(&row.hash)).collect();
        let new: Vec<&[u8]> =
            batch.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(raw, _)| &raw[..]).collect();
        let mut encoded = encode_all(&new, self.options).into_iter();
        for (row, known) in rows.iter_mut().zip(&mut known) {
            let encoded = match known.take() {
                Some(encoded) => encoded,
                None => {
                    let encoded = encoded.next().ok_or_else(|| io::Error::other("a chunk was lost"))?;
                    self.cache.put(&row.hash, &encoded);
                    encoded
                }
            };
            row.offset = self.done.store_bytes;
            row.stored_len = encoded.stored.len() as u32;
            row.encoding = encoded.encoding;
            self.store.write_all(&encoded.stored)?;
            self.done.store_bytes += encoded.stored.len() as u64;
        }
        Ok(())
    }

    /// Writes what is left; the store and its table.
    pub fn finish(mut self) -> io::Result<(W, Chunks)> {
        self.flush_shared()?;
        self.flush_batch()?;
        self.store.flush()?;
        Ok((self.store, self.done))
    }
}

/// The stored form of each, on several threads.
fn encode_all(batch: &[&[u8]], options: ChunkOptions) -> Vec<Encoded> {
    let threads = options.threads.clamp(1, 64).min(batch.len());
    let encode = |part: &[&[u8]]| {
        let mut encoder = Encoder::new(options.level);
        part.iter().map(|raw| encoder.encode(raw)).collect::<Vec<_>>()
    };
    if threads <= 1 {
        return encode(batch);
    }
    let share = batch.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> = batch.chunks(share).map(|part| scope.spawn(move || encode(part))).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    })
}

/// A run of bytes being cut. Dropped without [`Run::finish`], its bytes are lost but the writer is sound.
pub struct Run<'w, W: Write> {
    writer: &'w mut ChunkWriter<W>,
    cut: usize,
    small: bool,
    /// Bytes still to come.
    remaining: u64,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
}

impl<W: Write> std::fmt::Debug for Run<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}

impl<W: Write> Run<'_, W> {
    /// The next bytes; an error when there are more than were announced.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let remaining = self.remaining.checked_sub(bytes.len() as u64);
        self.remaining = remaining.ok_or_else(|| io::Error::other("more bytes than the run was to have"))?;
        self.writer.done.raw_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.cut - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == self.cut && !self.small {
                self.cut_own()?;
            }
        }
        Ok(())
    }

    fn cut_own(&mut self) -> io::Result<()> {
        let raw = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.cut));
        let chunk = self.writer.provisional();
        self.pieces.push(Piece { chunk, offset: 0, len: raw.len() as u32 });
        self.writer.cut(chunk, raw)
    }

    /// The pieces, in order; together as long as the run. An error when bytes are missing.
    pub fn finish(mut self) -> io::Result<Vec<Piece>> {
        if self.remaining > 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if self.small {
            let bytes = std::mem::take(&mut self.buffer);
            self.pieces.extend(self.writer.put_small(bytes)?);
        } else if !self.buffer.is_empty() {
            self.cut_own()?;
        }
        Ok(self.pieces)
    }
}
