//! The engine: `runtime::machine` as a Wasm module.
//!
//! This crate adds nothing to the machine. It gives it a door for hosts
//! ([`exports`]), clocks and entropy from WASI ([`wasi`]), and the WASI command
//! `_start` ([`command`]), which is one more host that happens to live inside.
//! Memory and table are the module's own and exported, functions are plain C
//! exports: the shape that Wizer can freeze and that the packer can append to.
//!
//! On any other target the crate is empty.
#![cfg(target_arch = "wasm32")]

mod alloc;
mod command;
mod door;
mod exports;
mod state;
mod wasi;
