//! A native host's end of the ring: plain reads and writes of the engine's
//! memory. The layout is `formats::ring`; every address comes from the engine
//! and is checked, because a damaged file is still only a bad file.

use anyhow::{Context, Result, bail};
use friscy_formats::ring::{ENTRIES, MAGIC, Submission, VERSION};

/// Byte offsets of the fields of `formats::ring::Header`.
mod field {
    use friscy_formats::ring::Header;
    use std::mem::offset_of;

    pub(super) const MAGIC: usize = offset_of!(Header, magic);
    pub(super) const VERSION: usize = offset_of!(Header, version);
    pub(super) const SQ_HEAD: usize = offset_of!(Header, sq_head);
    pub(super) const SQ_TAIL: usize = offset_of!(Header, sq_tail);
    pub(super) const CQ_HEAD: usize = offset_of!(Header, cq_head);
    pub(super) const CQ_TAIL: usize = offset_of!(Header, cq_tail);
    pub(super) const SQ: usize = offset_of!(Header, sq);
    pub(super) const CQ: usize = offset_of!(Header, cq);
    pub(super) const EXIT_CODE: usize = offset_of!(Header, exit_code);
    pub(super) const DEADLINE_NS: usize = offset_of!(Header, deadline_ns);
    pub(super) const RETIRED: usize = offset_of!(Header, retired);
    pub(super) const ROWS: usize = offset_of!(Header, rows);
    pub(super) const COLS: usize = offset_of!(Header, cols);
}

/// Where the ring is in the engine's memory. All methods take that memory.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    at: usize,
}

fn u32_at(memory: &[u8], at: usize) -> Result<u32> {
    let bytes = memory.get(at..).and_then(<[u8]>::first_chunk).context("the ring is outside of memory")?;
    Ok(u32::from_le_bytes(*bytes))
}

fn u64_at(memory: &[u8], at: usize) -> Result<u64> {
    let bytes = memory.get(at..).and_then(<[u8]>::first_chunk).context("the ring is outside of memory")?;
    Ok(u64::from_le_bytes(*bytes))
}

fn put(memory: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let end = at.checked_add(bytes.len()).context("the ring is outside of memory")?;
    memory.get_mut(at..end).context("the ring is outside of memory")?.copy_from_slice(bytes);
    Ok(())
}

impl Ring {
    /// The ring at the address that `friscy_ring()` gave.
    pub fn new(memory: &[u8], address: u32) -> Result<Ring> {
        let at = address as usize;
        if u32_at(memory, at + field::MAGIC)? != MAGIC {
            bail!("the engine has no ring where it should be");
        }
        match u32_at(memory, at + field::VERSION)? {
            VERSION => Ok(Ring { at }),
            other => bail!(
                "its ring has version {other} and this friscy-snap speaks {VERSION}; pack the image again"
            ),
        }
    }

    /// The next request.
    pub fn take(&self, memory: &mut [u8]) -> Result<Option<Submission>> {
        let head = u32_at(memory, self.at + field::SQ_HEAD)?;
        if head == u32_at(memory, self.at + field::SQ_TAIL)? {
            return Ok(None);
        }
        let entry = u32_at(memory, self.at + field::SQ)? as usize
            + (head & (ENTRIES - 1)) as usize * size_of::<Submission>();
        let submission = Submission {
            op: u32_at(memory, entry)?,
            arg: u32_at(memory, entry + 4)?,
            token: u64_at(memory, entry + 8)?,
            addr: u64_at(memory, entry + 16)?,
            len: u64_at(memory, entry + 24)?,
            offset: u64_at(memory, entry + 32)?,
        };
        put(memory, self.at + field::SQ_HEAD, &head.wrapping_add(1).to_le_bytes())?;
        Ok(Some(submission))
    }

    /// Answer a request, or post an event. False when the queue is full: resume and try again.
    pub fn complete(&self, memory: &mut [u8], token: u64, result: i64) -> Result<bool> {
        let tail = u32_at(memory, self.at + field::CQ_TAIL)?;
        if tail.wrapping_sub(u32_at(memory, self.at + field::CQ_HEAD)?) >= ENTRIES {
            return Ok(false);
        }
        let at = u32_at(memory, self.at + field::CQ)? as usize + (tail & (ENTRIES - 1)) as usize * 16;
        put(memory, at, &token.to_le_bytes())?;
        put(memory, at + 8, &result.to_le_bytes())?;
        put(memory, self.at + field::CQ_TAIL, &tail.wrapping_add(1).to_le_bytes())?;
        Ok(true)
    }

    /// Whether there is an answer that the engine has not seen.
    pub fn answered(&self, memory: &[u8]) -> Result<bool> {
        Ok(u32_at(memory, self.at + field::CQ_HEAD)? != u32_at(memory, self.at + field::CQ_TAIL)?)
    }

    /// The code to exit with.
    pub fn exit_code(&self, memory: &[u8]) -> Result<u32> {
        u32_at(memory, self.at + field::EXIT_CODE)
    }

    /// Monotonic time of the next timer, `u64::MAX` for none.
    pub fn deadline_ns(&self, memory: &[u8]) -> Result<u64> {
        u64_at(memory, self.at + field::DEADLINE_NS)
    }

    /// Guest instructions retired since boot.
    pub fn retired(&self, memory: &[u8]) -> Result<u64> {
        u64_at(memory, self.at + field::RETIRED)
    }

    /// Tell the terminal's size.
    pub fn set_winsize(&self, memory: &mut [u8], rows: u32, cols: u32) -> Result<()> {
        put(memory, self.at + field::ROWS, &rows.to_le_bytes())?;
        put(memory, self.at + field::COLS, &cols.to_le_bytes())
    }
}

/// The stored form that a request for a chunk names; none when it does not lie in `store`.
pub fn chunk<'s>(store: &'s [u8], entry: &Submission) -> Option<&'s [u8]> {
    let start = usize::try_from(entry.offset).ok()?;
    let end = start.checked_add(usize::try_from(entry.len).ok()?)?;
    store.get(start..end)
}

/// The bytes of a request's buffer; none when they would lie outside of memory.
pub fn buffer<'m>(memory: &'m mut [u8], entry: &Submission) -> Option<&'m mut [u8]> {
    let start = usize::try_from(entry.addr).ok()?;
    let end = start.checked_add(usize::try_from(entry.len).ok()?)?;
    memory.get_mut(start..end)
}
