//! Writes tars for tests, byte by byte, the odd ones too.

use std::io::Write as _;

/// A tar being written.
#[derive(Clone, Default)]
pub(crate) struct Draft(pub(crate) Vec<u8>);

/// The fields of a header.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) mode: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    pub(crate) device: (u64, u64),
    /// In the header, if not the contents' length.
    pub(crate) size: Option<u64>,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Fields {
            name: b"",
            link: b"",
            kind: b'0',
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            size: None,
        }
    }
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

/// A ustar header.
pub(crate) fn header(fields: &Fields<'_>, len: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..fields.name.len()].copy_from_slice(fields.name);
    octal(&mut block[100..108], fields.mode);
    octal(&mut block[108..116], fields.uid);
    octal(&mut block[116..124], fields.gid);
    octal(&mut block[124..136], fields.size.unwrap_or(len));
    octal(&mut block[136..148], fields.mtime);
    block[156] = fields.kind;
    block[157..157 + fields.link.len()].copy_from_slice(fields.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], fields.device.0);
    octal(&mut block[337..345], fields.device.1);
    sum(&mut block);
    block
}

/// Writes the checksum, after a change.
pub(crate) fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Draft {
    /// A block as it is, then contents with padding.
    pub(crate) fn raw(mut self, block: &[u8; 512], contents: &[u8]) -> Self {
        self.0.extend(block);
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, fields: &Fields<'_>, contents: &[u8]) -> Self {
        self.raw(&header(fields, contents.len() as u64), contents)
    }

    pub(crate) fn file(self, name: &str, contents: &[u8]) -> Self {
        self.entry(&Fields { name: name.as_bytes(), ..Fields::default() }, contents)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(&Fields { name: name.as_bytes(), kind: b'5', mode: 0o755, ..Fields::default() }, b"")
    }

    pub(crate) fn symlink(self, name: &str, link: &str) -> Self {
        self.entry(
            &Fields { name: name.as_bytes(), link: link.as_bytes(), kind: b'2', ..Fields::default() },
            b"",
        )
    }

    pub(crate) fn hard_link(self, name: &str, link: &str) -> Self {
        self.entry(
            &Fields { name: name.as_bytes(), link: link.as_bytes(), kind: b'1', ..Fields::default() },
            b"",
        )
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extended(b'x', records)
    }

    pub(crate) fn extended(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            write!(body, "{len} {key}=").unwrap();
            body.extend(*value);
            body.push(b'\n');
        }
        self.entry(&Fields { name: b"PaxHeaders/x", kind, ..Fields::default() }, &body)
    }

    /// With the end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}
