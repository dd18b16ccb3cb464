//! The chunk store's reading side: file contents of the image, decoded on demand.
//!
//! Blocks that the packer found to be read early lie raw in a segment of the Wasm
//! file ([`friscy_formats::warm`]) and are copied from there, past the cache. Other
//! chunks come from the file's chunk segment at once, or through the ring: then a
//! read fails with `Errno::PENDING`, the chunk is on the list of
//! [`Chunks::take_requests`], and [`Chunks::arrived`] wakes whoever waits.
//! Decoded chunks are kept in a bounded cache, least recently used out first.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use friscy_formats::chunk::{Chunk, ChunkError, decode};
use friscy_formats::vfs::ArchivedVfs;
use friscy_formats::warm::{BLOCK, BlockId};

use crate::abi::Errno;
use crate::kernel::wait::WaitQueue;
use crate::platform::Platform;

/// Raw bytes that the cache may hold.
const CACHE_BYTES: usize = 16 << 20;

/// How often a chunk is fetched before what comes is believed to be what there is.
const ATTEMPTS: u8 = 3;

/// A chunk to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Its number.
    pub index: u32,
    /// Its row.
    pub chunk: Chunk,
    /// What came before was damaged.
    pub again: bool,
}

/// Reader of one archive's chunks.
pub struct Chunks {
    archive: &'static ArchivedVfs,
    platform: Rc<dyn Platform>,
    cache: RefCell<Cache>,
    fetches: RefCell<Fetches>,
    queue: WaitQueue,
    decoded: Cell<u64>,
    touched: RefCell<Option<Touched>>,
}

/// What was read while that was recorded.
#[derive(Default)]
struct Touched {
    seen: BTreeSet<BlockId>,
    order: Vec<BlockId>,
}

#[derive(Default)]
struct Cache {
    chunks: BTreeMap<u32, (u64, Rc<[u8]>)>,
    by_use: BTreeMap<u64, u32>,
    clock: u64,
    bytes: usize,
}

#[derive(Default)]
struct Fetches {
    /// Asked for, not yet given to the host.
    wanted: BTreeSet<u32>,
    /// On their way.
    flying: BTreeSet<u32>,
    /// Came back damaged or not at all: the next read is told so, once.
    failed: BTreeSet<u32>,
    /// Came back damaged so many times, and are asked for again.
    damaged: BTreeMap<u32, u8>,
}

impl Chunks {
    /// A reader for `archive`; requests that the segment cannot serve wake `queue` when they are answered.
    pub fn new(archive: &'static ArchivedVfs, platform: Rc<dyn Platform>, queue: WaitQueue) -> Rc<Chunks> {
        Rc::new(Chunks {
            archive,
            platform,
            cache: RefCell::default(),
            fetches: RefCell::default(),
            queue,
            decoded: Cell::new(0),
            touched: RefCell::default(),
        })
    }

    /// Record from now on which blocks are read.
    pub fn record(&self) {
        self.touched.borrow_mut().get_or_insert_default();
    }

    /// The blocks that were read, in order; recording ends.
    pub fn take_touched(&self) -> Vec<BlockId> {
        self.touched.take().unwrap_or_default().order
    }

    /// Hand bytes `start..start + len` of chunk `index` on to `put`, piece by piece. PENDING, EIO, as [`Chunks::get`];
    /// nothing was handed over then.
    pub fn read(&self, index: u32, start: u32, len: u32, put: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        if let Some(touched) = self.touched.borrow_mut().as_mut() {
            let blocks = start / BLOCK..(start + len).div_ceil(BLOCK);
            for id in blocks.filter_map(|block| BlockId::new(index, block)) {
                if touched.seen.insert(id) {
                    touched.order.push(id);
                }
            }
        }
        if self.warm(index, start, len).is_some_and(|offset| self.copy_warm(offset, len, put)) {
            return Ok(());
        }
        let chunk = self.get(index)?;
        put(chunk.get(start as usize..(start + len) as usize).ok_or(Errno::EIO)?);
        Ok(())
    }

    /// Where these bytes of a chunk lie in the warm segment, if all do.
    fn warm(&self, index: u32, start: u32, len: u32) -> Option<u64> {
        let (offset, there) = self.archive.warm(index).find(start)?;
        (there >= len).then_some(offset)
    }

    /// Hand over bytes of the warm segment; false when there is none here.
    fn copy_warm(&self, offset: u64, len: u32, put: &mut dyn FnMut(&[u8])) -> bool {
        let mut bytes = [0; BLOCK as usize];
        for done in (0..len).step_by(BLOCK as usize) {
            let part = &mut bytes[..BLOCK.min(len - done) as usize];
            if !self.platform.warm_segment(offset + u64::from(done), part) {
                return false;
            }
            put(part);
        }
        true
    }

    /// Whether [`Chunks::read`] may be used for what nobody asked for: it would be a copy, since the bytes are warm or
    /// their chunk was read lately. Never while reads are recorded, so that what is needed afterwards shows.
    pub fn at_hand(&self, index: u32, start: u32, len: u32) -> bool {
        self.touched.borrow().is_none() && self.copied(index, start, len)
    }

    fn copied(&self, index: u32, start: u32, len: u32) -> bool {
        self.warm(index, start, len).is_some_and(|at| self.platform.warm_segment(at, &mut [0]))
            || self.cache.borrow().chunks.contains_key(&index)
    }

    /// Whether [`Chunks::read`] would go through without waiting. What is not here is asked for.
    pub fn ready(&self, index: u32, start: u32, len: u32) -> bool {
        let here = self.copied(index, start, len)
            || self.fetches.borrow().failed.contains(&index)
            || self
                .archive
                .chunk(index)
                .is_none_or(|chunk| self.platform.chunk_segment(chunk.offset, &mut [0]));
        if !here {
            self.want(index);
        }
        here
    }

    /// Raw bytes of chunk `index`. PENDING when it must be fetched, EIO when it is damaged.
    fn get(&self, index: u32) -> Result<Rc<[u8]>, Errno> {
        if let Some(bytes) = self.cache.borrow_mut().get(index) {
            return Ok(bytes);
        }
        let chunk = self.archive.chunk(index).ok_or(Errno::EIO)?;
        if self.fetches.borrow_mut().failed.remove(&index) {
            return Err(Errno::EIO);
        }
        let mut stored = Vec::new();
        stored.try_reserve_exact(chunk.stored_len as usize).map_err(|_| Errno::ENOMEM)?;
        stored.resize(chunk.stored_len as usize, 0);
        if !self.platform.chunk_segment(chunk.offset, &mut stored) {
            self.want(index);
            return Err(Errno::PENDING);
        }
        // The segment is part of the file, whose digest the host can check; chunks from outside are verified.
        let raw = decode(chunk.encoding, &stored, chunk.raw_len).map_err(|_| Errno::EIO)?;
        Ok(self.keep(index, raw))
    }

    /// Chunk `index`, which must be fetched, will be needed: ask for it unless it is here or on its way.
    fn want(&self, index: u32) {
        let mut fetches = self.fetches.borrow_mut();
        let here = self.cache.borrow().chunks.contains_key(&index);
        if !here && !fetches.flying.contains(&index) && !fetches.failed.contains(&index) {
            fetches.wanted.insert(index);
        }
    }

    fn keep(&self, index: u32, raw: Vec<u8>) -> Rc<[u8]> {
        self.decoded.set(self.decoded.get() + 1);
        let bytes: Rc<[u8]> = raw.into();
        self.cache.borrow_mut().put(index, Rc::clone(&bytes));
        bytes
    }

    /// Chunks to fetch through the ring. Each is given out once.
    pub fn take_requests(&self) -> Vec<Request> {
        let mut fetches = self.fetches.borrow_mut();
        let wanted = std::mem::take(&mut fetches.wanted);
        fetches.flying.extend(&wanted);
        let request = |index| {
            let again = fetches.damaged.contains_key(&index);
            Some(Request { index, chunk: self.archive.chunk(index)?, again })
        };
        wanted.into_iter().filter_map(request).collect()
    }

    /// The host's answer for chunk `index`: its stored bytes, or none when it could not be had (which the host
    /// tells the user). A damaged one is asked for again; the error is for the last time.
    pub fn arrived(&self, index: u32, stored: Option<&[u8]>) -> Result<(), ChunkError> {
        let mut fetches = self.fetches.borrow_mut();
        fetches.flying.remove(&index);
        let opened = stored.zip(self.archive.chunk(index)).map(|(stored, chunk)| chunk.open(stored));
        let result = match opened {
            Some(Ok(raw)) => {
                fetches.damaged.remove(&index);
                self.keep(index, raw);
                Ok(())
            }
            Some(Err(error)) => {
                let times = fetches.damaged.entry(index).or_default();
                *times += 1;
                if *times < ATTEMPTS {
                    fetches.wanted.insert(index);
                    return Ok(());
                }
                fetches.damaged.remove(&index);
                fetches.failed.insert(index);
                Err(error)
            }
            None => {
                fetches.failed.insert(index);
                Ok(())
            }
        };
        drop(fetches);
        self.queue.wake_all();
        result
    }

    /// Chunks decoded since the start.
    pub fn decoded(&self) -> u64 {
        self.decoded.get()
    }

    /// Forget decoded chunks, and fetches that a freeze cuts off (they are asked for again).
    pub fn drop_cache(&self) {
        self.cache.take();
        self.fetches.take();
    }
}

impl Cache {
    fn get(&mut self, index: u32) -> Option<Rc<[u8]>> {
        let (used, bytes) = self.chunks.get_mut(&index)?;
        self.clock += 1;
        self.by_use.remove(used);
        *used = self.clock;
        self.by_use.insert(self.clock, index);
        Some(Rc::clone(bytes))
    }

    fn put(&mut self, index: u32, bytes: Rc<[u8]>) {
        self.clock += 1;
        self.bytes += bytes.len();
        self.by_use.insert(self.clock, index);
        if let Some((used, old)) = self.chunks.insert(index, (self.clock, bytes)) {
            self.by_use.remove(&used);
            self.bytes -= old.len();
        }
        while self.bytes > CACHE_BYTES && self.chunks.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((_, bytes)) = self.chunks.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
    }
}
