//! PAX extended headers: records, and the three ways in which they say sparse.
//!
//! See pax(1), "pax Extended Header", and the GNU tar manual, "Storing Sparse Files".

use std::collections::BTreeMap;

use super::tar::TarError;

/// Prefix of the records that carry extended attributes (star, libarchive, Go, GNU tar).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one or several extended headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pax {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `GNU.sparse.offset` and `.numbytes` of format 0.0, which repeat: in order.
    pairs: Vec<u64>,
}

/// A sparse file as the records tell it.
#[derive(Debug)]
pub(crate) struct Sparse {
    /// Bytes, holes included.
    pub(crate) size: u64,
    /// The real name, when the header's is made up.
    pub(crate) name: Option<Vec<u8>>,
    /// (offset, length) of what is stored.
    pub(crate) pieces: Vec<(u64, u64)>,
    /// Format 1.0: `pieces` stand in front of the contents.
    pub(crate) map_in_contents: bool,
}

impl Pax {
    /// Takes in the body of an extended header: `LENGTH KEY=VALUE\n` each. None when it is damaged.
    pub(crate) fn extend(&mut self, mut body: &[u8]) -> Option<()> {
        while !body.is_empty() {
            // Some writers pad with NULs.
            if body.iter().all(|&b| b == 0) {
                break;
            }
            let space = body.iter().take(20).position(|&b| b == b' ')?;
            let len = usize::try_from(decimal(&body[..space])?).ok()?;
            let record = body.get(space + 1..len)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&b| b == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"" => return None,
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.pairs.push(decimal(value)?),
                _ => drop(self.records.insert(key.to_vec(), value.to_vec())),
            }
            body = &body[len..];
        }
        Some(())
    }

    /// Lets another header's records win over these.
    pub(crate) fn overlay(&mut self, other: Pax) {
        self.records.extend(other.records);
        if !other.pairs.is_empty() {
            self.pairs = other.pairs;
        }
    }

    /// An empty value takes a record back.
    fn get(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    pub(crate) fn path(&self) -> Option<Vec<u8>> {
        self.get("path").map(<[u8]>::to_vec)
    }

    pub(crate) fn link(&self) -> Option<Vec<u8>> {
        self.get("linkpath").map(<[u8]>::to_vec)
    }

    /// A decimal record (`uid`, `gid`, `size`).
    pub(crate) fn number<T: TryFrom<u64>>(&self, key: &'static str, at: u64) -> Result<Option<T>, TarError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = decimal(value).and_then(|n| T::try_from(n).ok());
        number.map(Some).ok_or(TarError::Field { what: key, at })
    }

    /// `mtime`: seconds with a fraction, before 1970 too.
    pub(crate) fn mtime(&self, at: u64) -> Result<Option<(i64, u32)>, TarError> {
        let Some(value) = self.get("mtime") else { return Ok(None) };
        time(value).map(Some).ok_or(TarError::Field { what: "mtime", at })
    }

    pub(crate) fn take_xattrs(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(XATTR).filter(|name| !name.is_empty()) {
                xattrs.insert(name.to_vec(), value.clone());
            }
        }
        xattrs
    }

    /// Whether and how the entry is sparse. The outer option is none when the records are damaged.
    pub(crate) fn sparse(&mut self) -> Option<Option<Sparse>> {
        let size = self.get("GNU.sparse.realsize").or(self.get("GNU.sparse.size")).map(decimal);
        let name = self.get("GNU.sparse.name").map(<[u8]>::to_vec);
        if self.get("GNU.sparse.major") == Some(b"1") && self.get("GNU.sparse.minor") == Some(b"0") {
            return Some(Some(Sparse { size: size??, name, pieces: Vec::new(), map_in_contents: true }));
        }
        let numbers: Vec<u64> = if let Some(map) = self.get("GNU.sparse.map") {
            map.split(|&b| b == b',').map(decimal).collect::<Option<_>>()?
        } else if !self.pairs.is_empty() {
            std::mem::take(&mut self.pairs)
        } else {
            // A map of no pieces is a file that is one hole.
            match (size, self.get("GNU.sparse.numblocks")) {
                (Some(size), Some(b"0")) => {
                    return Some(Some(Sparse {
                        size: size?,
                        name,
                        pieces: Vec::new(),
                        map_in_contents: false,
                    }));
                }
                _ => return Some(None),
            }
        };
        let pieces = pairs(&numbers)?;
        Some(Some(Sparse { size: size??, name, pieces, map_in_contents: false }))
    }
}

fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|&[offset, len]| (offset, len)).collect())
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// `-12.25` to seconds and nanoseconds, rounded down; nanoseconds are never negative.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let sec = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nsec = 0;
    let mut scale = 100_000_000;
    for &b in parts.next().unwrap_or_default() {
        let digit = u32::from(b.checked_sub(b'0').filter(|d| *d <= 9)?);
        nsec += digit * scale;
        scale /= 10;
    }
    match (negative, nsec) {
        (false, _) => Some((sec, nsec)),
        (true, 0) => Some((-sec, 0)),
        (true, _) => Some((-sec - 1, 1_000_000_000 - nsec)),
    }
}

/// The decimal lines of a 1.0 sparse map as they are read: a count, then pairs.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    numbers: Vec<u64>,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes in a block. None when it holds anything but decimal lines (and padding after the last).
    pub(crate) fn push(&mut self, block: &[u8]) -> Option<()> {
        for &b in block {
            if self.wanted().is_some_and(|wanted| self.numbers.len() as u64 >= wanted) {
                break;
            }
            if b == b'\n' {
                self.numbers.push(decimal(&self.partial)?);
                self.partial.clear();
            } else {
                self.partial.push(b);
                if self.partial.len() > 20 {
                    return None;
                }
            }
        }
        Some(())
    }

    /// How many numbers have been read.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Numbers in the whole map.
    fn wanted(&self) -> Option<u64> {
        Some(self.numbers.first()?.saturating_mul(2).saturating_add(1))
    }

    /// The map, when it is complete. The outer option is none when it is damaged.
    pub(crate) fn pieces(&self) -> Option<Option<Vec<(u64, u64)>>> {
        match self.wanted() {
            Some(wanted) if self.numbers.len() as u64 == wanted => Some(Some(pairs(&self.numbers[1..])?)),
            _ => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_round_down() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-2"), Some((-2, 0)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!((time(b""), time(b"x"), time(b"1.x"), time(b"--1")), (None, None, None, None));
    }

    #[test]
    fn records_must_have_their_length() {
        let parse = |body: &[u8]| {
            let mut pax = Pax::default();
            pax.extend(body).map(|()| pax.records)
        };
        assert_eq!(parse(b"12 path=abc\n").unwrap().get(&b"path"[..]), Some(&b"abc".to_vec()));
        assert_eq!(parse(b"11 a=b\n=c\n\n").unwrap().get(&b"a"[..]), Some(&b"b\n=c\n".to_vec()));
        for damaged in [
            &b"13 path=abc\n"[..],
            b"11 path=abc\n",
            b"12path=abc\n",
            b"0 \n",
            b"5 =b\n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(parse(damaged).is_none(), "{}", String::from_utf8_lossy(damaged));
        }
    }
}
