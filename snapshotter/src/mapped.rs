//! A file's bytes without reading the file: memory-mapped, or spooled to a
//! temporary file first when it is a pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, Result};
use memmap2::Mmap;

/// The bytes of a file, or of a part of this program.
#[derive(Debug)]
pub struct Mapped(Held);

#[derive(Debug)]
enum Held {
    Map(Mmap),
    Here(&'static [u8]),
}

impl From<&'static [u8]> for Mapped {
    fn from(bytes: &'static [u8]) -> Mapped {
        Mapped(Held::Here(bytes))
    }
}

impl Mapped {
    /// The file at `path`, or standard input for `-`.
    pub fn open(path: &Path) -> Result<Mapped> {
        if path.as_os_str() == "-" {
            return Mapped::spool(io::stdin().lock()).context("cannot read the image from standard input");
        }
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let metadata = file.metadata().with_context(|| format!("cannot open {name}"))?;
        if metadata.is_dir() {
            anyhow::bail!(
                "{name} is a directory; give a tar file (`docker save`, or `tar -C {name} -cf image.tar .`)"
            );
        }
        if !metadata.is_file() {
            return Mapped::spool(file).with_context(|| format!("cannot read {name}"));
        }
        Mapped::of(&file).with_context(|| format!("cannot map {name}"))
    }

    /// All that `input` gives, by way of a temporary file.
    fn spool(mut input: impl Read) -> Result<Mapped> {
        let mut file = io::BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
        io::copy(&mut input, &mut file)?;
        file.flush()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Mapped::of(&file)?)
    }

    /// The bytes of an open file.
    pub fn of(file: &File) -> io::Result<Mapped> {
        if file.metadata()?.len() == 0 {
            // mmap(2) refuses empty mappings.
            return Ok(Mapped(Held::Here(&[])));
        }
        // SAFETY: the mapping is private and read-only. Another process that truncates the file while it is being
        // read kills us with SIGBUS, as it would any program that maps its input; no reference outlives the mapping.
        unsafe { Mmap::map(file) }.map(|map| Mapped(Held::Map(map)))
    }

    /// What was read so far is not needed soon: it need not stay in memory. Reading it again reads the file again.
    pub fn forget(&self) {
        let Held::Map(map) = &self.0 else { return };
        // SAFETY: the mapping is private, read-only and of a file, so that a page that is given up comes back with the
        // same bytes: references to it stay good.
        let advised = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        // A system that keeps the pages has the memory for them.
        let _ = advised;
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Map(map) => map,
            Held::Here(bytes) => bytes,
        }
    }
}
