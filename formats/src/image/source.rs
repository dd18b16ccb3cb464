//! Byte streams of an image: plain, gzip or zstd, bounded, hashed.
//!
//! What a stream is, its first bytes say, not its name or media type. All
//! decompression in this crate goes through [`open`], which counts what comes
//! out against [`Limits`].

use std::io::{self, BufReader, Read};

use sha2::{Digest as _, Sha256};

use super::tar::{BLOCK, Input};
use super::{ImageError, Limits};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// By magic bytes; an error for what is known but cannot be read.
    pub(crate) fn of(head: &[u8]) -> Result<Compression, ImageError> {
        // A tar begins with a file name, which may look like anything.
        if head.get(257..262) == Some(b"ustar") {
            return Ok(Compression::Plain);
        }
        let skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
        let other = |name| Err(ImageError::Compression { name });
        match head {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            _ if skippable => Ok(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => other("xz"),
            [b'B', b'Z', b'h', ..] => other("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => other("lz4"),
            [b'P', b'K', 3, 4, ..] => other("zip"),
            _ => Ok(Compression::Plain),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Compression::Plain => "tar",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

/// The decompressed form of `stored`, whatever it is compressed with.
/// `stored_len` is for the expansion limit.
pub(crate) fn open<'a>(
    mut stored: Box<dyn Input + 'a>,
    stored_len: u64,
    limits: &Limits,
) -> Result<Box<dyn Input + 'a>, ImageError> {
    let mut head = [0; BLOCK];
    let mut filled = 0;
    while filled < head.len() {
        match stored.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ImageError::from_io(e, "")),
        }
    }
    let compression = Compression::of(&head[..filled])?;
    let stored = Rejoined { head, used: 0, filled, rest: stored };
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::Plain => return Ok(Box::new(stored)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stored)),
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::new(stored).map_err(|e| ImageError::Damaged(e.to_string()))?;
            decoder.window_log_max(limits.window_log).map_err(|e| ImageError::Damaged(e.to_string()))?;
            Box::new(decoder)
        }
    };
    let most = limits.expanded(stored_len);
    Ok(Box::new(Expanding {
        inner: BufReader::with_capacity(64 << 10, inner),
        compression,
        produced: 0,
        most,
    }))
}

/// A reader that is only ever read through.
pub(crate) struct Sequential<R>(pub(crate) R);

impl<R: Read> Read for Sequential<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Sequential<R> {}

/// The bytes that were looked at, and the rest.
struct Rejoined<'a> {
    head: [u8; BLOCK],
    used: usize,
    filled: usize,
    rest: Box<dyn Input + 'a>,
}

impl Read for Rejoined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut head = &self.head[self.used..self.filled];
        if head.is_empty() {
            return self.rest.read(buffer);
        }
        let n = head.read(buffer)?;
        self.used += n;
        Ok(n)
    }
}

impl Input for Rejoined<'_> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        let here = (self.filled - self.used).min(usize::try_from(len).unwrap_or(usize::MAX));
        self.used += here;
        self.rest.skip(len - here as u64)
    }
}

/// A decompressor that stops at a limit and says which format failed.
struct Expanding<R> {
    inner: R,
    compression: Compression,
    produced: u64,
    most: u64,
}

impl<R: Read> Read for Expanding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let name = self.compression.name();
        let n = self.inner.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            io::ErrorKind::UnexpectedEof => ImageError::Truncated { what: name.to_owned() }.into_io(),
            _ if ImageError::is_inside(&e) => e,
            _ => ImageError::Damaged(format!("{name}: {e}")).into_io(),
        })?;
        self.produced = self.produced.saturating_add(n as u64);
        if self.produced > self.most {
            return Err(ImageError::Bomb { bytes: self.most }.into_io());
        }
        Ok(n)
    }
}

impl<R: Read> Input for Expanding<R> {}

/// The first `len` bytes of a stream, no more.
pub(crate) struct Part<R> {
    pub(crate) inner: R,
    pub(crate) left: u64,
}

impl<R: Input> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.inner.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        Ok(n)
    }
}

impl<R: Input> Input for Part<R> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        if len > self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.skip(len)?;
        self.left -= len;
        Ok(())
    }
}

/// Hashes what is read or passed over.
pub(crate) struct Hashing<R> {
    pub(crate) inner: R,
    hash: Sha256,
}

impl<R: Input> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Hashing { inner, hash: Sha256::new() }
    }

    /// Hashes the rest too; the digest in hexadecimal.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(hex(&self.hash.finalize()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

impl<R: Read> Input for Hashing<R> {}

/// sha256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
