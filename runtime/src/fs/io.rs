//! The bytes of one read or write: guest memory, already faulted in, or a kernel buffer.
//!
//! Built by the system call layer before anything has a side effect, so moving
//! bytes through it cannot fail.

use crate::mm::Mm;

/// A cursor over the memory of a transfer, gathered from one or more pieces.
pub struct Io<'a> {
    memory: Memory<'a>,
    /// Index into the pieces and offset in that piece.
    at: (usize, usize),
    remaining: usize,
}

enum Memory<'a> {
    User { mm: &'a Mm, pieces: Vec<(u64, usize)> },
    Kernel(&'a mut [u8]),
    Const(&'a [u8]),
}

impl<'a> Io<'a> {
    /// Pieces `(address, length)` of guest memory, which the caller has faulted in for the transfer's direction.
    pub fn user(mm: &'a Mm, pieces: Vec<(u64, usize)>) -> Io<'a> {
        let remaining = pieces.iter().map(|p| p.1).sum();
        Io { memory: Memory::User { mm, pieces }, at: (0, 0), remaining }
    }

    /// A kernel buffer to be filled or drained.
    pub fn kernel(buffer: &'a mut [u8]) -> Io<'a> {
        let remaining = buffer.len();
        Io { memory: Memory::Kernel(buffer), at: (0, 0), remaining }
    }

    /// A kernel buffer to be drained only.
    pub fn bytes(buffer: &'a [u8]) -> Io<'a> {
        let remaining = buffer.len();
        Io { memory: Memory::Const(buffer), at: (0, 0), remaining }
    }

    /// Bytes not yet moved.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Store `bytes` (device to memory), as many as fit; returns how many.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() && self.remaining > 0 {
            let n = match &mut self.memory {
                Memory::User { mm, pieces } => {
                    let (addr, len) = pieces[self.at.0];
                    let n = (len - self.at.1).min(bytes.len() - done);
                    mm.copy_out_mapped(addr + self.at.1 as u64, &bytes[done..done + n]);
                    step(&mut self.at, n, len);
                    n
                }
                Memory::Kernel(buffer) => {
                    let n = (buffer.len() - self.at.1).min(bytes.len() - done);
                    buffer[self.at.1..self.at.1 + n].copy_from_slice(&bytes[done..done + n]);
                    self.at.1 += n;
                    n
                }
                Memory::Const(_) => return done,
            };
            done += n;
            self.remaining -= n;
        }
        done
    }

    /// Take bytes (memory to device) into `bytes`, as many as there are; returns how many.
    pub fn take(&mut self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() && self.remaining > 0 {
            let n = match &self.memory {
                Memory::User { mm, pieces } => {
                    let (addr, len) = pieces[self.at.0];
                    let n = (len - self.at.1).min(bytes.len() - done);
                    mm.copy_in_mapped(addr + self.at.1 as u64, &mut bytes[done..done + n]);
                    step(&mut self.at, n, len);
                    n
                }
                Memory::Kernel(buffer) => {
                    let n = (buffer.len() - self.at.1).min(bytes.len() - done);
                    bytes[done..done + n].copy_from_slice(&buffer[self.at.1..self.at.1 + n]);
                    self.at.1 += n;
                    n
                }
                Memory::Const(buffer) => {
                    let n = (buffer.len() - self.at.1).min(bytes.len() - done);
                    bytes[done..done + n].copy_from_slice(&buffer[self.at.1..self.at.1 + n]);
                    self.at.1 += n;
                    n
                }
            };
            done += n;
            self.remaining -= n;
        }
        done
    }

    /// Take everything that remains.
    pub fn take_all(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.remaining];
        let n = self.take(&mut bytes);
        bytes.truncate(n);
        bytes
    }
}

/// Advance `at` by `n` within a piece of `len` bytes, to the next piece at its end.
fn step(at: &mut (usize, usize), n: usize, len: usize) {
    at.1 += n;
    if at.1 == len {
        *at = (at.0 + 1, 0);
    }
}
