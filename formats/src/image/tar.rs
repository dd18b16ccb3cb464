//! Reads tar: v7, ustar, star, GNU and PAX, as a stream, headers only.
//!
//! Contents are never copied here: an [`Entry`] says where in the stream they
//! are. Nothing is believed that could cost memory: extension headers are
//! bounded, sizes are only added up. PAX records and sparse maps are in
//! `pax.rs`. See tar(5) and pax(1).

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::pax::{self, Pax, Sparse};

/// Block size of the format.
pub(crate) const BLOCK: usize = 512;
/// Longest extension header (PAX records, GNU long name): Go's archive/tar allows the same; xattr values end at 64 KiB.
const MAX_EXTENSION: u64 = 1 << 20;
/// Longest path or link target that Linux takes, with its NUL.
const PATH_MAX: usize = 4096;
/// Most pieces of a sparse file: beyond it is no file but an attack.
const MAX_SPARSE: usize = 1 << 20;

/// A stream that can pass over bytes without looking at them.
pub(crate) trait Input: Read {
    /// Pass over `len` bytes; UnexpectedEof when there are fewer.
    fn skip(&mut self, mut len: u64) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        while len > 0 {
            let part = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.len());
            self.read_exact(&mut buffer[..part])?;
            len -= part as u64;
        }
        Ok(())
    }
}

impl Input for &[u8] {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        let rest = usize::try_from(len).ok().and_then(|len| self.get(len..));
        *self = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

impl<T: Input + ?Sized> Input for &mut T {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        (**self).skip(len)
    }
}

impl<T: Input + ?Sized> Input for Box<T> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        (**self).skip(len)
    }
}

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// The stream itself failed, or ended within an entry.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first block is no header: not a tar.
    #[error("not a tar archive")]
    NotTar,
    /// A later block is no header.
    #[error("the tar header at byte {0} is damaged")]
    Header(u64),
    /// A field or record makes no sense.
    #[error("{what} of the tar entry at byte {at} is damaged")]
    Field {
        /// Which.
        what: &'static str,
        /// Where the entry begins.
        at: u64,
    },
    /// Valid, but cannot be taken.
    #[error("the tar entry at byte {at} {what}")]
    Unsupported {
        /// Why.
        what: &'static str,
        /// Where the entry begins.
        at: u64,
    },
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    HardLink,
    Symlink,
    Char,
    Block,
    Fifo,
}

/// A run of an entry's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Byte offset in the file.
    pub(crate) offset: u64,
    /// Byte offset in the stream.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) len: u64,
}

/// One entry, extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a file, holes included.
    pub(crate) size: u64,
    /// Of a file.
    pub(crate) runs: Vec<Run>,
}

/// Iterates over the entries of a stream.
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes consumed.
    position: u64,
    /// Contents of the last entry, padding included, not consumed yet.
    pending: u64,
    /// PAX global header.
    global: Pax,
    /// An end marker was seen.
    pub(crate) ended: bool,
}

/// Extension headers that wait for their entry.
#[derive(Default)]
struct Extensions {
    pax: Pax,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Input> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        TarReader { input, position: 0, pending: 0, global: Pax::default(), ended: false }
    }

    /// The bytes of the entry just returned, from its stored start. At most `len`.
    pub(crate) fn read_contents(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let len = len.min(self.pending);
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        self.position += len;
        self.pending -= len;
        Ok(bytes)
    }

    /// How far the stream was read, and the rest of it.
    pub(crate) fn into_input(self) -> (u64, R) {
        (self.position, self.input)
    }

    /// The next entry; none at the end. Consumes what is left of the one before.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.input.skip(self.pending)?;
            self.position += self.pending;
            self.pending = 0;
            let at = self.position;
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|&b| b == 0) {
                self.ended = true;
                return Ok(None);
            }
            let header = Header(&block);
            if !header.checksum_holds() {
                return Err(if at == 0 { TarError::NotTar } else { TarError::Header(at) });
            }
            if let Some(entry) = self.entry(header, at, &mut extensions)? {
                return Ok(Some(entry));
            }
        }
    }

    /// One block; none at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                // Too short for even one header: no tar at all.
                Ok(0) if self.position == 0 => return Err(TarError::NotTar),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    /// The body of an extension header, without padding.
    fn extension(&mut self, size: u64, at: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENSION {
            return Err(TarError::Unsupported { what: "has an extension header of more than 1 MiB", at });
        }
        self.pending = size.next_multiple_of(BLOCK as u64);
        Ok(self.read_contents(size)?)
    }

    /// Takes in one header; the entry, unless it was an extension.
    fn entry(
        &mut self,
        header: Header<'_>,
        at: u64,
        extensions: &mut Extensions,
    ) -> Result<Option<Entry>, TarError> {
        let field = |what| TarError::Field { what, at };
        let size = header.number(124..136).and_then(|n| u64::try_from(n).ok()).ok_or(field("size"))?;
        match header.kind() {
            b'x' | b'X' => {
                let body = self.extension(size, at)?;
                extensions.pax.extend(&body).ok_or(field("PAX header"))?;
                return Ok(None);
            }
            b'g' => {
                let body = self.extension(size, at)?;
                self.global.extend(&body).ok_or(field("PAX header"))?;
                return Ok(None);
            }
            b'L' => {
                extensions.path = Some(until_nul(&self.extension(size, at)?).to_vec());
                return Ok(None);
            }
            b'K' => {
                extensions.link = Some(until_nul(&self.extension(size, at)?).to_vec());
                return Ok(None);
            }
            // Volume labels, lists of long names (GNU), ACLs (Solaris): not files.
            b'V' | b'N' | b'A' => {
                self.pending = size.checked_next_multiple_of(BLOCK as u64).ok_or(field("size"))?;
                return Ok(None);
            }
            b'M' => return Err(TarError::Unsupported { what: "continues a file from another volume", at }),
            _ => {}
        }
        let mut pax = std::mem::take(&mut self.global);
        self.global = pax.clone();
        pax.overlay(std::mem::take(&mut extensions.pax));
        let entry = self.plain_entry(header, at, size, &mut pax, std::mem::take(extensions));
        entry.map(Some)
    }

    fn plain_entry(
        &mut self,
        header: Header<'_>,
        at: u64,
        size: u64,
        pax: &mut Pax,
        extensions: Extensions,
    ) -> Result<Entry, TarError> {
        let field = |what| TarError::Field { what, at };
        let path = pax.path().or(extensions.path).unwrap_or_else(|| header.path());
        let link = pax.link().or(extensions.link).unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec());
        if path.len() >= PATH_MAX || link.len() >= PATH_MAX {
            return Err(TarError::Unsupported {
                what: "has a path longer than Linux allows (4095 bytes)",
                at,
            });
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(field("path"));
        }
        let kind = match header.kind() {
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::Char,
            b'4' => EntryKind::Block,
            b'5' | b'D' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            // v7 has no type for directories.
            b'0' | 0 if path.ends_with(b"/") => EntryKind::Directory,
            // POSIX: what is not known is a regular file.
            _ => EntryKind::File,
        };
        let id = |range, what| {
            let number = header.number(range).and_then(|n| u32::try_from(n).ok());
            number.ok_or(TarError::Field { what, at })
        };
        let device = matches!(kind, EntryKind::Char | EntryKind::Block);
        let mode = header.number(100..108).ok_or(field("mode"))?;
        let mtime = header.number(136..148).and_then(|n| i64::try_from(n).ok()).ok_or(field("time"))?;
        let mut entry = Entry {
            path,
            link,
            kind,
            mode: (mode & 0o7777) as u32,
            uid: pax.number("uid", at)?.map_or_else(|| id(108..116, "owner"), Ok)?,
            gid: pax.number("gid", at)?.map_or_else(|| id(116..124, "group"), Ok)?,
            mtime: pax.mtime(at)?.unwrap_or((mtime, 0)),
            major: if device { id(329..337, "device number")? } else { 0 },
            minor: if device { id(337..345, "device number")? } else { 0 },
            xattrs: pax.take_xattrs(),
            size: 0,
            runs: Vec::new(),
        };
        let stored = pax.number("size", at)?.unwrap_or(size);
        // Only files and GNU dump directories have contents, whatever the size says (as Go and libarchive read it).
        let has_contents = kind == EntryKind::File || header.kind() == b'D';
        let stored = if has_contents { stored } else { 0 };
        self.pending = stored.checked_next_multiple_of(BLOCK as u64).ok_or(field("size"))?;
        if kind == EntryKind::File {
            self.contents(header, at, stored, pax, &mut entry)?;
        }
        Ok(entry)
    }

    /// Size and runs of a file, sparse or not.
    fn contents(
        &mut self,
        header: Header<'_>,
        at: u64,
        stored: u64,
        pax: &mut Pax,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let damaged = || TarError::Field { what: "sparse map", at };
        let sparse = if header.kind() == b'S' {
            Some(self.old_sparse(header, at, stored)?)
        } else {
            match pax.sparse().ok_or_else(damaged)? {
                Some(mut sparse) if sparse.map_in_contents => {
                    let before = self.position;
                    sparse.pieces = self.sparse_map().map_err(|e| match e {
                        TarError::Field { .. } => damaged(),
                        other => other,
                    })?;
                    let used = self.position - before;
                    return self.runs(sparse, stored.checked_sub(used).ok_or_else(damaged)?, entry, at);
                }
                other => other,
            }
        };
        let sparse = sparse.unwrap_or_else(|| Sparse {
            size: stored,
            name: None,
            pieces: if stored > 0 { vec![(0, stored)] } else { Vec::new() },
            map_in_contents: false,
        });
        self.runs(sparse, stored, entry, at)
    }

    /// Checks a sparse map against what is stored, from the current position.
    fn runs(&mut self, sparse: Sparse, stored: u64, entry: &mut Entry, at: u64) -> Result<(), TarError> {
        let damaged = || TarError::Field { what: "sparse map", at };
        let (mut end, mut used) = (0u64, 0u64);
        for (offset, len) in sparse.pieces {
            if offset < end {
                return Err(damaged());
            }
            end = offset.checked_add(len).filter(|&end| end <= sparse.size).ok_or_else(damaged)?;
            if len > 0 {
                entry.runs.push(Run { offset, at: self.position + used, len });
            }
            used = used.checked_add(len).ok_or_else(damaged)?;
        }
        if used > stored {
            return Err(damaged());
        }
        entry.size = sparse.size;
        if let Some(name) = sparse.name {
            entry.path = name;
        }
        Ok(())
    }

    /// GNU's old format: four pieces in the header, 21 in each extension block.
    fn old_sparse(&mut self, header: Header<'_>, at: u64, stored: u64) -> Result<Sparse, TarError> {
        let damaged = || TarError::Field { what: "sparse map", at };
        let size = header.number(483..495).and_then(|n| u64::try_from(n).ok()).ok_or_else(damaged)?;
        let mut pieces = Vec::new();
        let mut more =
            take_pieces(&header.0[386..482], &mut pieces).ok_or_else(damaged)? && header.0[482] != 0;
        // Extension blocks are not part of the stored size.
        while more {
            let block = self.block()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            more = take_pieces(&block[..504], &mut pieces).ok_or_else(damaged)? && block[504] != 0;
            if pieces.len() > MAX_SPARSE {
                return Err(TarError::Unsupported { what: "is a sparse file of too many pieces", at });
            }
        }
        self.pending = stored.checked_next_multiple_of(BLOCK as u64).ok_or_else(damaged)?;
        Ok(Sparse { size, name: None, pieces, map_in_contents: false })
    }

    /// PAX 1.0: the map is in front of the contents, decimal lines padded to a block.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let at = self.position;
        let damaged = || TarError::Field { what: "sparse map", at };
        let mut lines = pax::Lines::default();
        loop {
            if let Some(pieces) = lines.pieces().ok_or_else(damaged)? {
                return Ok(pieces);
            }
            if self.pending < BLOCK as u64 || lines.len() > MAX_SPARSE {
                return Err(damaged());
            }
            let block = self.read_contents(BLOCK as u64)?;
            lines.push(&block).ok_or_else(damaged)?;
        }
    }
}

/// 24-byte (offset, length) pairs of GNU's old format until an empty one. Whether there may be more.
fn take_pieces(bytes: &[u8], pieces: &mut Vec<(u64, u64)>) -> Option<bool> {
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            return Some(false);
        }
        let offset = u64::try_from(number(&pair[..12])?).ok()?;
        let len = u64::try_from(number(&pair[12..])?).ok()?;
        pieces.push((offset, len));
    }
    Some(true)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// A numeric field: octal with spaces or NULs around it, or base 256 when the top bit is set. Empty is 0.
fn number(bytes: &[u8]) -> Option<i128> {
    let (&first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        // The first byte is 0x80 for positive numbers, 0xff for negative ones; fields have at most 12 bytes.
        let start = if first & 0x40 != 0 { i128::from(first) - 0x100 } else { i128::from(first & 0x7f) };
        return Some(rest.iter().fold(start, |n, &b| n << 8 | i128::from(b)));
    }
    let text = bytes.trim_ascii_start();
    let end = text.iter().position(|&b| b == 0 || b == b' ').unwrap_or(text.len());
    text[..end].iter().try_fold(0, |n: i128, &b| match b {
        b'0'..=b'7' => Some(n * 8 + i128::from(b - b'0')),
        _ => None,
    })
}

/// A header block.
#[derive(Clone, Copy)]
struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn kind(self) -> u8 {
        self.0[156]
    }

    fn number(self, range: std::ops::Range<usize>) -> Option<i128> {
        number(&self.0[range])
    }

    /// Historic tars summed signed bytes.
    fn checksum_holds(self) -> bool {
        let Some(expected) = self.number(148..156) else { return false };
        let (mut unsigned, mut signed) = (0i128, 0i128);
        for (i, &b) in self.0.iter().enumerate() {
            let b = if (148..156).contains(&i) { b' ' } else { b };
            unsigned += i128::from(b);
            signed += i128::from(b.cast_signed());
        }
        expected == unsigned || expected == signed
    }

    /// Name, with the prefix that ustar and star split off. GNU uses that room otherwise.
    fn path(self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        if &self.0[257..263] != b"ustar\0" {
            return name.to_vec();
        }
        let prefix_end = if &self.0[508..512] == b"tar\0" { 345 + 131 } else { 345 + 155 };
        let prefix = until_nul(&self.0[345..prefix_end]);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

#[cfg(test)]
#[path = "tar_test.rs"]
mod tests;
