//! A mix of integer work in the spirit of CoreMark (list walking, matrix
//! multiplication, a state machine, CRC) but our own: no score can be compared
//! with CoreMark's. The checksum shows that the machine computed rightly.
//!
//! Needs nothing of the system.

extern crate alloc;

use alloc::vec::Vec;

const NODES: usize = 256;
const SIZE: usize = 24;
const TEXT: &[u8] = b"5012,1234,-874,+122,0x7f,3.14e-2,,abc,99999999,-.5,1e+9,T0.3e-1F,";

/// CRC-16/CCITT of one more word, bit by bit.
fn crc(mut sum: u16, word: u32) -> u16 {
    for byte in word.to_le_bytes() {
        sum ^= u16::from(byte) << 8;
        for _ in 0..8 {
            sum = if sum & 0x8000 != 0 { sum << 1 ^ 0x1021 } else { sum << 1 };
        }
    }
    sum
}

/// A linked list in an array: each node has a value and the index of the next.
struct List {
    nodes: Vec<(u32, usize)>,
    head: usize,
}

impl List {
    fn new(seed: u32) -> List {
        let mut value = seed | 1;
        let nodes = (0..NODES).map(|at| {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (value >> 16, at + 1)
        });
        List { nodes: nodes.collect(), head: 0 }
    }

    fn reverse(&mut self) {
        let (mut at, mut previous) = (self.head, NODES);
        while at < NODES {
            let next = self.nodes[at].1;
            self.nodes[at].1 = previous;
            previous = at;
            at = next;
        }
        self.head = previous;
    }

    /// The node with the smallest value of those that `wanted` accepts.
    fn find(&self, wanted: impl Fn(u32) -> bool) -> u32 {
        let (mut at, mut best) = (self.head, u32::MAX);
        while at < NODES {
            let (value, next) = self.nodes[at];
            if wanted(value) && value < best {
                best = value;
            }
            at = next;
        }
        best
    }
}

fn matrix(seed: u32) -> u32 {
    let cell = |row: usize, column: usize| (seed as usize + row * 7 + column * 3) as i32 & 0xff;
    let mut a = [[0i32; SIZE]; SIZE];
    let mut b = [[0i32; SIZE]; SIZE];
    for row in 0..SIZE {
        for column in 0..SIZE {
            a[row][column] = cell(row, column);
            b[row][column] = cell(column, row) - 128;
        }
    }
    let mut sum = 0i32;
    for row in &a {
        for column in 0..SIZE {
            let product: i32 = row.iter().zip(&b).map(|(left, line)| left.wrapping_mul(line[column])).sum();
            sum = sum.wrapping_mul(31).wrapping_add(product);
        }
    }
    sum as u32
}

/// Counts what kinds of words the text has: integers, hexadecimal, fractions, other.
fn machine(seed: u32) -> u32 {
    let mut counts = [0u32; 4];
    let mut state = 0;
    let shift = seed as usize % TEXT.len();
    for &byte in TEXT[shift..].iter().chain(&TEXT[..shift]) {
        state = match (state, byte) {
            (_, b',') => {
                counts[state.min(3)] += 1;
                0
            }
            (0, b'+' | b'-' | b'0'..=b'9') => 0,
            (0, b'x') => 1,
            (1, b'0'..=b'9' | b'a'..=b'f') => 1,
            (0 | 2, b'.' | b'e') => 2,
            (2, b'0'..=b'9' | b'+' | b'-') => 2,
            _ => 3,
        };
    }
    counts.iter().fold(0, |sum, count| sum << 8 | count)
}

fn round(seed: u32) -> u16 {
    let mut list = List::new(seed);
    let mut sum = crc(0, list.find(|value| value % 3 == 0));
    list.reverse();
    sum = crc(sum, list.find(|value| value & 1 == seed & 1));
    sum = crc(sum, matrix(seed));
    (0..8).fold(sum, |sum, step| crc(sum, machine(seed.wrapping_add(step))))
}

/// `iterations` rounds; the checksum.
pub(crate) fn run(iterations: u32) -> u16 {
    (0..iterations).fold(0u16, |sum, seed| sum.rotate_left(1) ^ round(seed))
}
