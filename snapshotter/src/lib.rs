//! friscy-snap: a container image in, one Wasm file that is already running out.
//!
//! The pipeline is the file list: [`mapped`] and `formats::image` (unpack,
//! flatten), `formats::vfs_build` (store), [`seat`], [`freeze`], [`translate`],
//! [`link`], [`seal`]; [`pack`] is their sequence. [`app`] reads what came out, [`host`]
//! runs it in a terminal, [`serve`] and [`bundle`] give it a page,
//! [`bench`] measures how it opens.

pub mod account;
pub mod app;
pub mod bench;
pub mod bundle;
pub mod cache;
pub mod cli;
pub mod code;
pub mod coding;
pub mod compile;
pub mod demo;
pub mod embedded;
pub mod freeze;
pub mod host;
pub mod inspect;
pub mod link;
pub mod mapped;
pub mod marks;
pub mod native;
pub mod pack;
pub mod page;
pub mod point;
pub mod progress;
pub mod ring;
pub mod run;
pub mod seal;
pub mod seat;
pub mod secrets;
pub mod serve;
pub mod terminal;
pub mod train;
pub mod translate;
pub mod vm;
