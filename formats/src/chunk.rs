//! Chunks: the contents of files, cut, deduplicated and compressed one by one.
//!
//! A chunk's identity is the blake3 hash of its raw bytes. The chunk store is
//! nothing but stored chunks one after the other; which chunk lies where is the
//! table in the VFS archive (`vfs.rs`). This file decodes; `chunk_writer.rs`
//! (feature `host`) writes.

use ruzstd::decoding::FrameDecoder;

/// Most raw bytes in a chunk that a reader accepts. The writer cuts smaller;
/// the slack lets it change its mind without a new format version.
pub const MAX_RAW_BYTES: u32 = 1 << 20;

/// How a chunk's raw bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// As they are.
    Raw = 0,
    /// One zstd frame (RFC 8878) without dictionary.
    Zstd = 1,
}

impl Encoding {
    /// The encoding with this number in the archive.
    pub fn from_u8(number: u8) -> Option<Encoding> {
        match number {
            0 => Some(Encoding::Raw),
            1 => Some(Encoding::Zstd),
            _ => None,
        }
    }
}

/// Where a chunk lies and what it is: a row of the archive's chunk table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// blake3 of the raw bytes.
    pub hash: [u8; 32],
    /// Byte offset in the chunk store.
    pub offset: u64,
    /// Bytes in the store.
    pub stored_len: u32,
    /// Bytes after decoding.
    pub raw_len: u32,
    /// How to get from one to the other.
    pub encoding: Encoding,
}

/// Why a stored chunk cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The table promises another length.
    #[error("a chunk has {found} bytes where its table says {expected}: the chunk store is damaged")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// More than [`MAX_RAW_BYTES`] promised.
    #[error("a chunk claims to hold {0} bytes, more than a chunk may: the chunk table is damaged")]
    TooLarge(u32),
    /// Not a zstd frame, or a damaged one.
    #[error("a chunk does not decompress ({0}): the chunk store is damaged")]
    Zstd(String),
    /// The bytes are not those that were packed.
    #[error("a chunk's contents do not match their digest: the chunk store is damaged")]
    Digest,
}

/// The raw bytes of a chunk. Allocates at most `raw_len` + a zstd window of the same bound.
pub fn decode(encoding: Encoding, stored: &[u8], raw_len: u32) -> Result<Vec<u8>, ChunkError> {
    if raw_len > MAX_RAW_BYTES {
        return Err(ChunkError::TooLarge(raw_len));
    }
    let expected = raw_len as usize;
    match encoding {
        Encoding::Raw if stored.len() == expected => Ok(stored.to_vec()),
        Encoding::Raw => Err(ChunkError::Length { found: stored.len() as u64, expected: u64::from(raw_len) }),
        Encoding::Zstd => {
            let mut raw = vec![0; expected];
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(u64::from(MAX_RAW_BYTES));
            let found = decoder.decode_all(stored, &mut raw).map_err(|e| ChunkError::Zstd(e.to_string()))?;
            if found != expected {
                return Err(ChunkError::Length { found: found as u64, expected: u64::from(raw_len) });
            }
            Ok(raw)
        }
    }
}

/// Are these the bytes that were packed? `raw` is what [`decode`] gave.
pub fn verify(raw: &[u8], hash: &[u8; 32]) -> Result<(), ChunkError> {
    if blake3::hash(raw).as_bytes() == hash { Ok(()) } else { Err(ChunkError::Digest) }
}

impl Chunk {
    /// [`decode`] and [`verify`] in one.
    pub fn open(&self, stored: &[u8]) -> Result<Vec<u8>, ChunkError> {
        if stored.len() as u64 != u64::from(self.stored_len) {
            return Err(ChunkError::Length {
                found: stored.len() as u64,
                expected: u64::from(self.stored_len),
            });
        }
        let raw = decode(self.encoding, stored, self.raw_len)?;
        verify(&raw, &self.hash)?;
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_chunks_must_have_their_length() {
        assert_eq!(decode(Encoding::Raw, b"abc", 3), Ok(b"abc".to_vec()));
        assert_eq!(decode(Encoding::Raw, b"abc", 4), Err(ChunkError::Length { found: 3, expected: 4 }));
    }

    #[test]
    fn a_huge_promise_is_refused_before_anything_is_allocated() {
        assert_eq!(decode(Encoding::Zstd, b"", u32::MAX), Err(ChunkError::TooLarge(u32::MAX)));
    }

    #[test]
    fn rubbish_is_not_zstd() {
        assert!(matches!(decode(Encoding::Zstd, b"not a frame at all", 5), Err(ChunkError::Zstd(_))));
    }
}
