//! The kernel's random numbers: ChaCha20 (RFC 8439) keyed by the platform's
//! entropy, rekeyed after each request so that what was given out cannot be
//! computed from a later state, and renewed when a frozen machine wakes.

use crate::platform::Platform;

/// The generator behind getrandom(2) and /dev/urandom.
#[derive(Default)]
pub struct Random {
    key: [u32; 8],
    seeded: bool,
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

fn quarter_round(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

/// One block of the key stream.
fn block(key: &[u32; 8], counter: u32, nonce: [u32; 3]) -> [u8; 64] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        for i in 0..4 {
            quarter_round(&mut state, [i, 4 + i, 8 + i, 12 + i]);
        }
        for i in 0..4 {
            quarter_round(&mut state, [i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4]);
        }
    }
    let mut bytes = [0; 64];
    for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&state[i].wrapping_add(start[i]).to_le_bytes());
    }
    bytes
}

impl Random {
    /// Mix the platform's entropy into the key.
    pub fn reseed(&mut self, platform: &dyn Platform) {
        let mut seed = [0; 32];
        platform.entropy(&mut seed);
        for (word, bytes) in self.key.iter_mut().zip(seed.chunks_exact(4)) {
            *word ^= u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        self.seeded = true;
    }

    /// Forget the key: a snapshot must not hold what the next machine will hand out.
    pub fn forget(&mut self) {
        *self = Random::default();
    }

    /// Fill `bytes`.
    pub fn fill(&mut self, platform: &dyn Platform, bytes: &mut [u8]) {
        if !self.seeded {
            self.reseed(platform);
        }
        // Block 0 becomes the next key; output begins with block 1.
        let next = block(&self.key, 0, [0; 3]);
        for (i, chunk) in bytes.chunks_mut(64).enumerate() {
            // The nonce counts where 32 bits of counter end (256 GiB in one request).
            let number = i as u64 + 1;
            let stream = block(&self.key, number as u32, [(number >> 32) as u32, 0, 0]);
            chunk.copy_from_slice(&stream[..chunk.len()]);
        }
        for (word, bytes) in self.key.iter_mut().zip(next.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn the_block_function_is_chacha20() {
        let mut key = [0; 8];
        for (i, word) in key.iter_mut().enumerate() {
            let b = i as u8 * 4;
            *word = u32::from_le_bytes([b, b + 1, b + 2, b + 3]);
        }
        let out = block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(out[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(out[60..], [0xa2, 0x50, 0x3c, 0x4e]);
    }
}
