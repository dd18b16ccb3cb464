//! The manifest of app.wasm: what it was made from, with what, and how it
//! starts. JSON in a custom section, so that any tool can read it. Host only.
//!
//! For people and tools; the engine itself never reads it. Where it lies in
//! the file: `app.rs`.

use serde::{Deserialize, Serialize};

use crate::image::ImageConfig;

/// Raised when app.wasm changes in a way that older hosts cannot open.
pub const FORMAT: u32 = 3;

/// The manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the program that wrote it. Read before all else.
    pub format: u32,
    /// Version of friscy-snap, which is also the engine's.
    pub engine: String,
    /// blake3 of the engine module that was frozen, in hexadecimal.
    pub engine_digest: String,
    /// What went in.
    pub image: ImageInfo,
    /// What was started.
    pub entry: Entry,
    /// How far it ran before the freeze: `entry`, `idle`, `instructions:N`…
    pub freeze: String,
    /// Guest instructions retired at the freeze.
    pub retired: u64,
    /// Guest code that became Wasm code; absent when nothing was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<TranslatedInfo>,
    /// Guest memory in bytes, all processes together.
    pub memory_bytes: u64,
    /// Ports that the image exposes (`80/tcp`).
    #[serde(default)]
    pub ports: Vec<String>,
    /// The contents of files.
    pub chunks: ChunkInfo,
    /// How large the parts are.
    pub sizes: Sizes,
}

/// The image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// As [`crate::image::Image::digest`].
    pub digest: String,
    /// Names that the image had.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What it says about running it.
    pub config: ImageConfig,
}

/// The process that was started. Bytes that are no UTF-8 appear as U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Argument vector.
    pub argv: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// `user[:group]`.
    pub user: String,
    /// uname(2) nodename.
    pub hostname: String,
    /// Standard streams are a terminal.
    pub tty: bool,
}

/// Translated code: what the last functions of app.wasm are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TranslatedInfo {
    /// Samples of execution that were taken in all code.
    pub samples: u64,
    /// The functions in order.
    pub functions: Vec<TranslatedFunction>,
}

/// One of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranslatedFunction {
    /// Guest address where its code was first seen.
    pub address: u64,
    /// Bytes of guest code in it.
    pub guest_bytes: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// Samples of execution that fell into it.
    pub samples: u64,
}

/// Where the chunk store is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkLayout {
    /// In app.wasm, in a passive data segment.
    #[default]
    Single,
    /// In a file of its own beside it.
    Split,
}

/// The chunk store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkInfo {
    /// Where it is.
    pub layout: ChunkLayout,
    /// Chunks in it.
    pub count: u32,
    /// Its length.
    pub stored_bytes: u64,
    /// The length of all files' contents.
    pub raw_bytes: u64,
    /// blake3 of the store, in hexadecimal.
    pub digest: String,
    /// So many bytes from its start are read soon after opening: the chunks that a run at pack time went on to
    /// touch after the freeze point, in the order in which it did, when not all that it read of them is warm. A host
    /// fetches them at once.
    #[serde(default)]
    pub profile_bytes: u64,
    /// Bytes of chunks that are also in app.wasm as they are: see [`crate::warm`].
    #[serde(default)]
    pub warm_bytes: u64,
}

/// Bytes of the parts of app.wasm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// The file that went in.
    pub image: u64,
    /// Files, directories and so on in its tree.
    pub inodes: u64,
    /// Code of the engine.
    pub code: u64,
    /// Translated code.
    #[serde(default)]
    pub translated: u64,
    /// Frozen memory: active data segments.
    pub data: u64,
    /// The VFS archive, within `data`.
    pub archive: u64,
}
