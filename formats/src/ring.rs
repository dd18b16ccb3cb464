//! The ring: the one door between the machine and its host.
//!
//! Shape of io_uring, in linear memory. The host calls `friscy_resume(budget)`;
//! when that returns, it takes submission entries (`sq_head..sq_tail`), does
//! what they ask, puts completion entries (`cq_tail`), and calls again. Engine
//! and host never run at the same time, so the indexes need no atomics.
//!
//! This file is the layout only; `runtime::ring` is the engine's side, the
//! hosts are `snapshotter::host` and `bundle/web/host.js`.

/// `"FRSC"`, little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FRSC");
/// Raised when an entry or the header changes its meaning.
pub const VERSION: u32 = 2;
/// Most console output before a freeze, bytes: all of it is repeated on opening.
pub const REPLAY_BYTES: usize = 16 << 20;
/// Entries in each of the two queues. A power of two; indexes run freely and are masked.
pub const ENTRIES: u32 = 64;

/// At the address that `friscy_ring()` returns. All fields little-endian.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// Next submission the host has not taken. Advanced by the host.
    pub sq_head: u32,
    /// One past the last submission. Advanced by the engine.
    pub sq_tail: u32,
    /// Next completion the engine has not taken. Advanced by the engine.
    pub cq_head: u32,
    /// One past the last completion. Advanced by the host.
    pub cq_tail: u32,
    /// Linear-memory address of `[Submission; ENTRIES]`.
    pub sq: u32,
    /// Linear-memory address of `[Completion; ENTRIES]`.
    pub cq: u32,
    /// A [`Status`], as returned by the last `friscy_resume`.
    pub status: u32,
    /// With [`Status::Exited`]: the code to exit with, 128+N for a signal. With [`Status::Frozen`]: 1 when the guest
    /// asked for it (`/proc/friscy/freeze`) before the freeze point was reached, else 0.
    pub exit_code: u32,
    /// With [`Status::Idle`]: monotonic time (ns) of the next timer, `u64::MAX` for none.
    pub deadline_ns: u64,
    /// Guest instructions retired since boot.
    pub retired: u64,
    /// Terminal height in cells; the host writes it, then posts [`EVENT_WINSIZE`].
    pub rows: u32,
    /// Terminal width in cells.
    pub cols: u32,
}
const _: () = assert!(size_of::<Header>() == 64);

/// What `friscy_resume` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// The budget ended; call again.
    Runnable = 0,
    /// Every task waits. Call again after a completion or at `deadline_ns`.
    Idle = 1,
    /// The first process ended; `exit_code` holds.
    Exited = 2,
    /// The freeze point was reached (pack time only).
    Frozen = 3,
}

/// A request from the engine.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Submission {
    /// An [`Op`].
    pub op: u32,
    /// Per [`Op`].
    pub arg: u32,
    /// Comes back in the completion.
    pub token: u64,
    /// Linear-memory address of the buffer.
    pub addr: u64,
    /// Bytes in the buffer.
    pub len: u64,
    /// Of a chunk: where its stored form begins in the chunk store. Else 0.
    pub offset: u64,
}
const _: () = assert!(size_of::<Submission>() == 40);

/// An answer (or, with the top bit of `token`, an event) from the host.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Completion {
    /// The submission's token, or an `EVENT_*`.
    pub token: u64,
    /// Zero or more on success, a negative error number on failure.
    pub result: i64,
}
const _: () = assert!(size_of::<Completion>() == 16);

/// The terminal's size changed: `rows` and `cols` in the header hold the new one.
pub const EVENT_WINSIZE: u64 = 1 << 63;
/// The host was asked to interrupt the guest: `result` is the signal number
/// (SIGINT, SIGTERM, SIGHUP…), sent to the console's foreground process group.
pub const EVENT_SIGNAL: u64 = 1 << 63 | 1;
/// The host translates code from now on ([`Op::Translate`]). One that does not never says so.
pub const EVENT_TRANSLATOR: u64 = 1 << 63 | 2;

/// What a submission asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Op {
    /// Write `len` bytes to the host's stdout (`arg` 1) or stderr (`arg` 2). Result: bytes taken.
    ConsoleWrite = 1,
    /// Read up to `len` bytes from the host's stdin. Completes when there are some. Result: bytes, 0 at end of input.
    ConsoleRead = 2,
    /// Read chunk number `arg` (its stored form, `len` bytes from `offset` on) from the chunk store. Result: bytes.
    /// A host that cannot yet tries again by itself; it answers with an error when it gives up.
    ChunkFetch = 3,
    /// A line for the user (`--strace`, an unknown system call…). `arg` is a [`LogLevel`]. Result: 0.
    Log = 4,
    /// As [`Op::ChunkFetch`], for a chunk that came damaged: a host answers from the source and not from a cache.
    ChunkRefetch = 5,
    /// Translate the code of the [`Profile`](crate::aot::Profile) in the buffer, which is hot. The host makes a module
    /// of it that imports memory and table, instantiates that, calls `friscy_add_translations`, and answers with the
    /// number of its functions; 0 when there are none. The engine asks for one at a time.
    Translate = 6,
}

impl Op {
    /// The operation with this number.
    pub fn from_u32(number: u32) -> Option<Op> {
        Some(match number {
            1 => Op::ConsoleWrite,
            2 => Op::ConsoleRead,
            3 => Op::ChunkFetch,
            4 => Op::Log,
            5 => Op::ChunkRefetch,
            6 => Op::Translate,
            _ => return None,
        })
    }
}

/// Of an [`Op::Log`] line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LogLevel {
    /// A system call (`--strace`).
    Strace = 0,
    /// Something a user should know: a system call that is not implemented, a killed process.
    Warning = 1,
    /// Something that a user has to know, whatever else is shown: contents of files are lost.
    Failure = 2,
}
