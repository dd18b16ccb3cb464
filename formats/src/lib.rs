//! What bytes mean: images, ELF, the VFS archive, the chunk store, app.wasm.
//!
//! No I/O policy and no emulation. Used by all the others; the engine sees only
//! what is not behind the feature `host`.
#![forbid(unsafe_code)]

pub mod aot;
#[cfg(feature = "host")]
pub mod app;
pub mod boot;
pub mod chunk;
#[cfg(feature = "host")]
pub mod chunk_order;
#[cfg(feature = "host")]
pub mod chunk_writer;
pub mod elf;
#[cfg(all(feature = "host", any(test, feature = "fuzz")))]
pub mod fuzz;
#[cfg(feature = "host")]
pub mod image;
#[cfg(feature = "host")]
pub mod manifest;
pub mod ring;
#[cfg(feature = "host")]
pub mod tree;
pub mod vfs;
#[cfg(feature = "host")]
pub mod vfs_build;
mod vfs_check;
pub mod warm;
