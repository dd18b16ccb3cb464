//! Descriptors, the buffered standard output, and `print!`.

use core::cell::UnsafeCell;
use core::fmt;

use alloc::vec::Vec;

use crate::call::call;
use crate::{Error, Result};

/// An open file; closed when dropped.
#[derive(Debug)]
pub struct Fd(pub i32);

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = call!(CLOSE, self.0);
    }
}

/// read(2), begun again after EINTR. 0 at the end.
pub fn read(fd: i32, bytes: &mut [u8]) -> Result<usize> {
    loop {
        match call!(READ, fd, bytes.as_mut_ptr(), bytes.len()) {
            Err(Error::EINTR) => continue,
            other => return other,
        }
    }
}

/// read(2), where EINTR is an answer.
pub fn read_once(fd: i32, bytes: &mut [u8]) -> Result<usize> {
    call!(READ, fd, bytes.as_mut_ptr(), bytes.len())
}

/// All of `bytes`, in as many write(2) calls as it takes.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match call!(WRITE, fd, bytes.as_ptr(), bytes.len()) {
            Ok(count) => bytes = &bytes[count..],
            Err(Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Everything up to the end of `fd`.
pub fn read_to_end(fd: i32) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        match read(fd, &mut block)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&block[..count]),
        }
    }
}

/// Standard output, kept back until 4 KiB have come together or [`flush`].
struct Stdout(UnsafeCell<Vec<u8>>);

// SAFETY: the programs print from one thread only.
unsafe impl Sync for Stdout {}

static STDOUT: Stdout = Stdout(UnsafeCell::new(Vec::new()));

/// To standard output, buffered.
pub fn put(bytes: &[u8]) {
    // SAFETY: one thread, and the reference ends before anything else runs.
    let buffer = unsafe { &mut *STDOUT.0.get() };
    buffer.extend_from_slice(bytes);
    if buffer.len() >= 4096 {
        flush();
    }
}

/// Writes out what [`put`] kept back. A reader that is gone ends the program, as SIGPIPE would.
pub fn flush() {
    // SAFETY: as in `put`.
    let buffer = unsafe { &mut *STDOUT.0.get() };
    let result = write_all(1, buffer);
    buffer.clear();
    if result.is_err() {
        crate::process::exit(141);
    }
}

/// What `print!` writes to.
#[derive(Debug)]
pub struct Out(pub i32);

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.0 {
            1 => put(text.as_bytes()),
            fd => write_all(fd, text.as_bytes()).map_err(|_| fmt::Error)?,
        }
        Ok(())
    }
}

/// To standard output, buffered.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {{ let _ = core::fmt::Write::write_fmt(&mut $crate::io::Out(1), format_args!($($arg)*)); }};
}

/// To standard output, buffered, with a newline.
#[macro_export]
macro_rules! println {
    () => { $crate::io::put(b"\n") };
    ($($arg:tt)*) => {{ $crate::print!($($arg)*); $crate::io::put(b"\n"); }};
}

/// To standard error at once, with a newline, after what standard output still holds.
#[macro_export]
macro_rules! eprintln {
    ($($arg:tt)*) => {{
        $crate::io::flush();
        let mut out = $crate::io::Out(2);
        let _ = core::fmt::Write::write_fmt(&mut out, format_args!($($arg)*));
        let _ = core::fmt::Write::write_str(&mut out, "\n");
    }};
}

/// A reader of lines.
#[derive(Debug)]
pub struct Lines {
    fd: i32,
    held: Vec<u8>,
    at: usize,
}

impl Lines {
    /// Lines of `fd`, which stays open.
    pub fn new(fd: i32) -> Lines {
        Lines { fd, held: Vec::new(), at: 0 }
    }

    /// The next line with its newline; the last may lack one; `None` at the end.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let rest = &self.held[self.at..];
            if let Some(end) = rest.iter().position(|&b| b == b'\n') {
                line.extend_from_slice(&rest[..=end]);
                self.at += end + 1;
                return Ok(Some(line));
            }
            line.extend_from_slice(rest);
            self.held.resize(4096, 0);
            let count = read(self.fd, &mut self.held)?;
            self.held.truncate(count);
            self.at = 0;
            if count == 0 {
                return Ok((!line.is_empty()).then_some(line));
            }
        }
    }
}
