//! What the machine asks of the place it runs in without going through the
//! ring: clocks, entropy and the file's own passive segments. All of it is cheap
//! and harmless. Implemented by `runtime/engine` (WASI imports) and by tests.

/// Clocks, entropy, and the chunk store when it is inside the Wasm file.
pub trait Platform {
    /// Nanoseconds since the epoch.
    fn realtime_ns(&self) -> u64;
    /// Nanoseconds since some fixed point; never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Fill `bytes` with entropy.
    fn entropy(&self, bytes: &mut [u8]);
    /// Copy `dst.len()` bytes of the chunk store from `offset`, when the store
    /// is a passive data segment. False: fetch it through the ring.
    fn chunk_segment(&self, offset: u64, dst: &mut [u8]) -> bool;
    /// Copy `dst.len()` bytes of the warm segment ([`friscy_formats::warm`]) from `offset`. False: there is none here,
    /// read the chunk.
    fn warm_segment(&self, offset: u64, dst: &mut [u8]) -> bool;
}
