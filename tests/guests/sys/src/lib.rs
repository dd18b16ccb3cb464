//! What a guest program needs of Linux, without a C library: the start code,
//! raw system calls, an allocator, files, processes, terminals.
//!
//! Not a general libc: only what the programs beside it use. A program says
//! `sys::main!(main)` with `fn main() -> i32`. Start at `call.rs`.
#![no_std]

extern crate alloc;

mod allocator;
pub mod call;
pub mod error;
pub mod fs;
pub mod io;
pub mod process;
pub mod signal;
pub mod start;
pub mod text;
pub mod thread;
pub mod time;
pub mod tty;

pub use error::{Error, Result};
pub use start::{args, env};
