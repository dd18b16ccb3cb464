//! The guest machine: RV64GC harts and Linux as user space sees it.
//!
//! An ordinary library with no I/O of its own. It becomes Wasm through
//! `runtime/engine` and is linked natively by the tests. It knows neither
//! Wasm nor its host: everything outside comes through [`ring`] and
//! [`platform`]. Start at [`machine`]; `runtime/README.md` follows one
//! instruction and one system call through the files.

pub mod abi;
pub mod fs;
pub mod hart;
pub mod kernel;
pub mod machine;
pub mod mm;
pub mod net;
pub mod platform;
pub mod ring;
pub mod syscall;
