//! Linux's constants and fixed-layout structs, one file per kernel header topic. No behaviour.
//!
//! Constants come in families, each with a table of names ([`Names`]) from
//! which `--strace` prints flags.

/// Numbers and their names: one family of flags or of alternatives.
pub type Names = &'static [(u64, &'static str)];

/// A family of constants and its table of names.
macro_rules! names {
    ($table:ident: $ty:ty { $($name:ident = $value:expr),* $(,)? }) => {
        $(pub const $name: $ty = $value;)*
        #[doc = "The family's names."]
        pub static $table: crate::abi::Names = &[$(($name as u64, stringify!($name)),)*];
    };
}

pub mod errno;
pub mod event;
pub mod fcntl;
pub mod file;
pub mod futex;
pub mod ioctl;
pub mod mman;
pub mod mount;
pub mod prctl;
pub mod resource;
pub mod sched;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod termios;
pub mod time;
pub mod wait;

pub use errno::Errno;
