//! What to start, and how: the one argument of `friscy_boot`.
//!
//! Written by a host (packer, `run`, page), read by `runtime::machine`. An
//! rkyv archive, so that the engine needs no JSON parser.

use rkyv::{Archive, Deserialize, Serialize};

/// The process to start and the world it sees. Byte strings are guest bytes: not NUL-terminated, any encoding.
#[derive(Debug, Clone, Default, PartialEq, Archive, Serialize, Deserialize)]
pub struct Boot {
    /// Argument vector; `argv[0]` is looked up in the `PATH` of `env` when it has no slash.
    pub argv: Vec<Vec<u8>>,
    /// How many of `argv` are the image's Entrypoint: another Cmd replaces what follows them.
    pub entrypoint_len: u32,
    /// `NAME=value` each.
    pub env: Vec<Vec<u8>>,
    /// Working directory, made when it is missing (as docker does); empty means `/`.
    pub cwd: Vec<u8>,
    /// `user[:group]`, names or numbers, looked up in the image's `/etc/passwd` and `/etc/group`; empty means root.
    pub user: Vec<u8>,
    /// uname(2) nodename.
    pub hostname: Vec<u8>,
    /// Standard input, output and error are a terminal (else plain streams).
    pub tty: bool,
    /// Terminal height in cells, 0 for unknown.
    pub rows: u32,
    /// Terminal width in cells, 0 for unknown.
    pub cols: u32,
    /// Guest memory in bytes, all processes together; 0 for the default.
    pub memory_bytes: u64,
    /// One [`crate::ring::Op::Log`] line for each system call.
    pub strace: bool,
    /// Where a pack-time run stops; `Never` when opening.
    pub until: Until,
}

/// The freeze point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Until {
    /// Run until the program ends.
    #[default]
    Never,
    /// ELF and interpreter mapped, stack and auxv built, pc at the first instruction.
    Entry,
    /// The first time that every task waits for input from outside.
    Idle,
    /// After this many guest instructions.
    Instructions(u64),
    /// The first program's own entry (`AT_ENTRY`): its interpreter has linked it. The same as `Entry` for a program
    /// without an interpreter.
    Main,
    /// Somebody listens on this TCP port, and every task waits.
    Listen(u16),
    /// When the host is satisfied with the output, which it is given at once, write by write.
    Output,
    /// When the guest writes to `/proc/friscy/freeze`. It may do so at every point but `Entry`.
    Guest,
}

impl Boot {
    /// The archive that `friscy_boot` takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising into memory only fails when memory does.
        rkyv::to_bytes::<rkyv::rancor::Panic>(self).unwrap_or_else(|never| match never {}).into_vec()
    }

    /// Read it back; `None` for anything else. `bytes` must be 16-byte aligned.
    pub fn from_bytes(bytes: &[u8]) -> Option<Boot> {
        rkyv::from_bytes::<Boot, rkyv::rancor::Failure>(bytes).ok()
    }

    /// [`Boot::from_bytes`] for bytes that stand anywhere.
    pub fn from_unaligned_bytes(bytes: &[u8]) -> Option<Boot> {
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Boot::from_bytes(&aligned)
    }

    /// Add `NAME=value` to the environment, in the place of an older `NAME` if there is one.
    pub fn set_env(&mut self, variable: Vec<u8>) {
        let name_end = |v: &[u8]| v.iter().position(|&byte| byte == b'=').unwrap_or(v.len());
        let name = &variable[..name_end(&variable)];
        match self.env.iter_mut().find(|old| &old[..name_end(old)] == name) {
            Some(old) => *old = variable,
            None => self.env.push(variable),
        }
    }
}
