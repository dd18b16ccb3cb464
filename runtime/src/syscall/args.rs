//! The six argument registers of a system call, by the type that Linux declares.

/// a0..a5 at the ecall. Getters take the argument's index, 0..=5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// Argument `i` as it is: addresses, `size_t`, `unsigned long`.
    pub fn u64(self, i: usize) -> u64 {
        self.0[i]
    }

    /// `long`, `off_t`.
    pub fn i64(self, i: usize) -> i64 {
        self.0[i] as i64
    }

    /// `unsigned int`, `mode_t`, `uid_t`: the upper half is ignored, as Linux's calling convention does.
    pub fn u32(self, i: usize) -> u32 {
        self.0[i] as u32
    }

    /// `int`, `pid_t`, file descriptors.
    pub fn i32(self, i: usize) -> i32 {
        self.0[i] as i32
    }

    /// A file descriptor.
    pub fn fd(self, i: usize) -> i32 {
        self.i32(i)
    }

    /// An address, none for NULL.
    pub fn ptr(self, i: usize) -> Option<u64> {
        Some(self.0[i]).filter(|&addr| addr != 0)
    }
}
