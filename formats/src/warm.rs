//! Warm blocks: what a program reads as soon as it is opened, ready to be used.
//!
//! A chunk is compressed as a whole, and unpacking the chunks that a shell
//! touches took three quarters of its start. The packer therefore runs the
//! program on from the freeze point and keeps the blocks of chunks that it
//! reads, raw, in a passive data segment of app.wasm, one after the other: a
//! page fault is a copy then. On the way to a browser the whole file is
//! compressed by the web server. Which blocks of a chunk are there stands in its
//! row of the VFS archive: a bit for each block, and where the first one lies.

/// Bytes of a block: a guest page. The last block of a chunk is filled up with zeros.
pub const BLOCK: u32 = 4096;

/// The warm blocks of one chunk. Blocks from the 32nd on are never warm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmBlocks {
    /// A bit for each block of the chunk.
    pub mask: u32,
    /// Number of the first one in the segment; the others follow in order.
    pub at: u32,
}

impl WarmBlocks {
    /// Where byte `start` of the chunk lies in the segment, and how many bytes can be had there at once.
    pub fn find(self, start: u32) -> Option<(u64, u32)> {
        let block = start / BLOCK;
        if block >= u32::BITS || self.mask >> block & 1 == 0 {
            return None;
        }
        let before = (self.mask & ((1 << block) - 1)).count_ones();
        let run = (self.mask >> block).trailing_ones();
        let skip = start % BLOCK;
        Some((u64::from(self.at + before) * u64::from(BLOCK) + u64::from(skip), run * BLOCK - skip))
    }
}

/// Number of a block of the image: which chunk, and which block of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// Block `block` of chunk `chunk`; none when it cannot be warm.
    pub fn new(chunk: u32, block: u32) -> Option<BlockId> {
        (block < u32::BITS)
            .then(|| chunk.checked_mul(u32::BITS))
            .flatten()
            .map(|first| BlockId(first + block))
    }

    /// Its chunk.
    pub fn chunk(self) -> u32 {
        self.0 / u32::BITS
    }

    /// Its number in the chunk.
    pub fn block(self) -> u32 {
        self.0 % u32::BITS
    }
}

/// Which blocks are warm.
#[derive(Debug, Clone, Default)]
pub struct Warm {
    /// By chunk, in the order of the segment.
    chunks: std::collections::BTreeMap<u32, WarmBlocks>,
    blocks: u32,
}

impl Warm {
    /// The first `most` of these blocks (those that appear twice count once).
    pub fn new(touched: impl IntoIterator<Item = BlockId>, most: u32) -> Warm {
        let mut warm = Warm::default();
        for id in touched {
            if warm.blocks == most {
                break;
            }
            let mask = &mut warm.chunks.entry(id.chunk()).or_default().mask;
            warm.blocks += u32::from(*mask >> id.block() & 1 == 0);
            *mask |= 1 << id.block();
        }
        let mut at = 0;
        for blocks in warm.chunks.values_mut() {
            blocks.at = at;
            at += blocks.mask.count_ones();
        }
        warm
    }

    /// How many.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Whether this is one of them.
    pub fn contains(&self, id: BlockId) -> bool {
        self.of(id.chunk()).mask >> id.block() & 1 != 0
    }

    /// Those of one chunk.
    pub fn of(&self, chunk: u32) -> WarmBlocks {
        self.chunks.get(&chunk).copied().unwrap_or_default()
    }

    /// The segment. `raw` gives the raw bytes of a chunk.
    pub fn segment<E>(&self, mut raw: impl FnMut(u32) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        let mut segment = Vec::with_capacity(self.blocks as usize * BLOCK as usize);
        for (&chunk, blocks) in &self.chunks {
            let raw = raw(chunk)?;
            for (number, block) in raw.chunks(BLOCK as usize).take(u32::BITS as usize).enumerate() {
                if blocks.mask >> number & 1 != 0 {
                    segment.extend_from_slice(block);
                    segment.resize(segment.len().next_multiple_of(BLOCK as usize), 0);
                }
            }
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(chunk: u32, block: u32) -> BlockId {
        BlockId::new(chunk, block).expect("a block that can be warm")
    }

    #[test]
    fn blocks_are_found_where_the_segment_has_them() {
        let warm = Warm::new([id(7, 3), id(2, 0), id(7, 0), id(7, 4), id(7, 3), id(9, 1)], 4);
        assert_eq!(warm.blocks(), 4, "the fifth is one too many");
        assert_eq!(warm.of(2), WarmBlocks { mask: 1, at: 0 });
        assert_eq!(warm.of(9), WarmBlocks::default());
        let seven = warm.of(7);
        assert_eq!(seven.find(BLOCK - 1), Some((2 * 4096 - 1, 1)));
        assert_eq!(seven.find(BLOCK), None);
        assert_eq!(seven.find(3 * BLOCK + 5), Some((2 * 4096 + 5, 2 * BLOCK - 5)));
        assert_eq!(seven.find(31 * BLOCK), None);
        assert_eq!(seven.find(99 * BLOCK), None);
        let raw = |chunk: u32| Ok::<_, ()>((0..5 * BLOCK - 1).map(|at| (chunk + at / BLOCK) as u8).collect());
        let segment = warm.segment(raw).expect("all chunks are there");
        let firsts: Vec<u8> = segment.chunks(BLOCK as usize).map(|block| block[0]).collect();
        assert_eq!((firsts, segment.len(), segment[segment.len() - 1]), (vec![2, 7, 10, 11], 4 * 4096, 0));
    }

    #[test]
    fn what_no_bit_stands_for_is_never_warm() {
        assert_eq!(BlockId::new(1, 32), None);
        assert_eq!(BlockId::new(u32::MAX / 32 + 1, 0), None);
        assert_eq!((id(5, 31).chunk(), id(5, 31).block()), (5, 31));
    }
}
