//! What the conformance tests share: where images are, the reference machine, ours.

pub mod conformance;
pub mod frozen;
pub mod isa_fuzz;
pub mod native;
pub mod oracle;
pub mod scripts;
pub mod terminal;
