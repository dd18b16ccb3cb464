//! The order of the chunk store: what is read first comes first. Host only.
//!
//! Chunks are written as the image has them; which of them a program needs is
//! known only when it has run. Then the store is put into another order: the
//! chunks that were touched, in the order in which they were, then the rest.
//! Numbers stay, so that nothing but the offsets in the VFS archive changes
//! ([`crate::vfs::place_chunks`]).

use std::ops::Range;

use crate::chunk::Chunk;

/// A store in another order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Parts of the old store, in their new order; neighbours are joined.
    pub parts: Vec<Range<u64>>,
    /// New offset of each chunk, by number.
    pub offsets: Vec<u64>,
    /// Bytes of the chunks that come first.
    pub first_bytes: u64,
}

impl Order {
    /// The chunks in `first` (numbers; those that are no chunk's are left out), then `second`, then all others as they
    /// are. `table` is in the order of the old store.
    pub fn new(table: &[Chunk], first: &[u32], second: &[u32]) -> Order {
        let mut order = Order { parts: Vec::new(), offsets: vec![u64::MAX; table.len()], first_bytes: 0 };
        let mut end = 0;
        for &number in first {
            order.place(table, number, &mut end);
        }
        order.first_bytes = end;
        let others = 0..u32::try_from(table.len()).unwrap_or(u32::MAX);
        for number in second.iter().copied().chain(others) {
            order.place(table, number, &mut end);
        }
        order
    }

    fn place(&mut self, table: &[Chunk], number: u32, end: &mut u64) {
        let Some(chunk) = table.get(number as usize) else { return };
        let offset = &mut self.offsets[number as usize];
        if *offset != u64::MAX {
            return;
        }
        *offset = *end;
        let part = chunk.offset..chunk.offset + u64::from(chunk.stored_len);
        *end += u64::from(chunk.stored_len);
        match self.parts.last_mut() {
            Some(last) if last.end == part.start => last.end = part.end,
            _ => self.parts.push(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Encoding;

    fn chunk(offset: u64, stored_len: u32) -> Chunk {
        Chunk { hash: [0; 32], offset, stored_len, raw_len: stored_len, encoding: Encoding::Raw }
    }

    #[test]
    fn what_was_touched_comes_first_and_everything_comes_once() {
        let table = [chunk(0, 10), chunk(10, 20), chunk(30, 5), chunk(35, 1)];
        let order = Order::new(&table, &[2, 0, 2, 99], &[0, 3]);
        assert_eq!(order.parts, [30..35, 0..10, 35..36, 10..30]);
        assert_eq!(order.offsets, [5, 16, 0, 15]);
        assert_eq!(order.first_bytes, 15);
    }

    #[test]
    fn nothing_touched_is_the_old_order_in_one_part() {
        let table = [chunk(0, 10), chunk(10, 20)];
        let order = Order::new(&table, &[], &[]);
        let whole = 0..30;
        assert_eq!((order.parts, order.offsets, order.first_bytes), (vec![whole], vec![0, 10], 0));
    }
}
