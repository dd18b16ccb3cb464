//! Images in: from the bytes of a tar to a tree of files. Host only.
//!
//! ```text
//! bytes ─source.rs─▶ tar stream ─layout.rs─▶ which layers, which config ─flatten.rs─▶ Tree
//!                        └─ tar.rs, pax.rs: entries
//! ```
//!
//! [`open`] finds out what the bytes are and reads the config; nothing is
//! unpacked yet. [`Image::flatten`] reads the metadata of all layers (pass 1)
//! and decides which entry wins. `vfs_build` then streams the contents of the
//! winners (pass 2), asking the image for its layers again ([`Streams`]). Plain
//! or compressed, no layer is ever held in memory.

use std::io::{self, Read};

use crate::tree::{Streams, Tree};

mod config;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod draft_image;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod draft_tar;
mod flatten;
mod layout;
mod pax;
mod source;
mod tar;

pub use config::ImageConfig;

use layout::Layout;
use source::Part;
use tar::Input;

/// What an image may cost. An image is somebody else's input; each limit is far
/// above what real images have and far below what hurts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of files in all layers, and of any one decompressed stream. No
    /// 32-bit machine serves a larger image.
    pub total_bytes: u64,
    /// Decompressed bytes for each stored byte. Real layers stay below 20;
    /// gzip's best is 1032, zstd knows no bound.
    pub ratio: u64,
    /// Decompressed bytes at which `ratio` begins to count: small files of zeros are honest.
    pub ratio_from_bytes: u64,
    /// Files, directories made for them included, replaced ones too. Large images have 200,000.
    pub files: usize,
    /// Layers. Docker allows 127.
    pub layers: usize,
    /// Bytes of a manifest, index or config. Registries refuse more.
    pub json_bytes: u64,
    /// Logarithm of zstd's window: 128 MiB, the most that zstd itself takes without `--long`.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total_bytes: 64 << 30,
            ratio: 200,
            ratio_from_bytes: 256 << 20,
            files: 2_000_000,
            layers: 1000,
            json_bytes: 4 << 20,
            window_log: 27,
        }
    }
}

impl Limits {
    /// Most bytes that a stream of `stored` bytes may become.
    fn expanded(&self, stored: u64) -> u64 {
        stored.saturating_mul(self.ratio).max(self.ratio_from_bytes).min(self.total_bytes)
    }
}

/// How to open an image.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it may cost.
    pub limits: Limits,
    /// Which image of several: a tag (`debian:13`, `13`) or a digest.
    pub reference: Option<String>,
    /// Believe the digests in the image instead of computing them.
    pub skip_digests: bool,
}

/// Why bytes are no image, or none that this machine can run. One line; the
/// caller puts the file's name in front.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not a tar of any kind.
    #[error(
        "not an image: expected a tar from `docker save`, an OCI layout or a root file system, plain or with gzip or zstd"
    )]
    NotAnImage,
    /// An empty file.
    #[error("the file is empty; save the image again")]
    Empty,
    /// Compressed with something else.
    #[error("compressed with {name}, which is not supported; decompress it first")]
    Compression {
        /// With what.
        name: &'static str,
    },
    /// The bytes end too early.
    #[error("the {what} data ends too early: the file is truncated; save or download it again")]
    Truncated {
        /// What was being read.
        what: String,
    },
    /// The bytes are wrong.
    #[error("the file is damaged ({0}); save or download it again")]
    Damaged(String),
    /// A blob is not what its digest says.
    #[error("the file is damaged ({what} does not match its digest {expected}); save or download it again")]
    Digest {
        /// Which blob.
        what: String,
        /// The digest in the manifest.
        expected: String,
    },
    /// Something that the manifest names is not there.
    #[error("the image is incomplete: {0} is not in the file; save it again, for this platform")]
    Missing(String),
    /// A manifest, index or config that is not what the specification says.
    #[error("the image's {what} is not valid: {why}")]
    Json {
        /// Which document.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Only for other processors.
    #[error("built for {0}; build it with --platform linux/riscv64")]
    Platform(String),
    /// Several images in one file.
    #[error("the file holds several images ({0}); save one of them alone")]
    Ambiguous(String),
    /// The wanted one is not there.
    #[error("the file holds no image {wanted}; there is {found}")]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A path with `..`.
    #[error(
        "the image is unsafe: an entry is named {0:?}, which leaves the root file system; it was not made by an honest tool"
    )]
    Traversal(String),
    /// An entry that cannot be applied.
    #[error("the image is not valid: {path:?} {why}")]
    Entry {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// Decompresses to more than [`Limits`] allow.
    #[error(
        "the image decompresses to more than {bytes} bytes, far more than its size explains: refused as a decompression bomb"
    )]
    Bomb {
        /// The limit.
        bytes: u64,
    },
    /// More of something than [`Limits`] allow.
    #[error("the image has more than {limit} {what}: refused")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The machine could not read the file.
    #[error(transparent)]
    Io(io::Error),
}

impl ImageError {
    /// Wrapped, to travel through `Read`.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    fn is_inside(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<ImageError>())
    }

    /// Unwrapped again; `what` was being read.
    pub(crate) fn from_io(error: io::Error, what: &str) -> ImageError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return ImageError::Truncated { what: what.to_owned() };
        }
        match error.downcast::<ImageError>() {
            Ok(inner) => inner,
            Err(error) => ImageError::Io(error),
        }
    }

    fn from_tar(error: tar::TarError, what: &str) -> ImageError {
        match error {
            tar::TarError::Io(error) => ImageError::from_io(error, what),
            tar::TarError::NotTar => ImageError::NotAnImage,
            other => ImageError::Damaged(format!("{what}: {other}")),
        }
    }
}

/// An opened image: its config is known, its layers are still where they are.
#[derive(Debug)]
pub struct Image<'a> {
    /// What runs, and how.
    pub config: ImageConfig,
    /// What identifies it: the digest of its manifest (OCI), its config (docker
    /// save: the image ID), or of the whole file (root file system). `sha256:…`
    pub digest: String,
    /// Its tags, as far as the file tells.
    pub tags: Vec<String>,
    bytes: &'a [u8],
    options: Options,
    layers: Vec<Layer>,
    whiteouts: bool,
    /// Of a root file system: finding out what it is has read them all.
    entries: Option<Vec<tar::Entry>>,
}

/// A layer of an image. The stream number of [`Streams`] is its `blob`.
#[derive(Debug, Clone)]
struct Layer {
    /// Index among the distinct blobs; a layer may come twice.
    blob: u32,
    place: Place,
    /// For messages.
    name: String,
    /// sha256 of the stored bytes, in hexadecimal.
    digest: Option<String>,
    /// sha256 of the decompressed bytes, in hexadecimal.
    diff_id: Option<String>,
}

/// Where a blob is in the outer tar (decompressed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: u64,
    len: u64,
}

/// Finds out what the bytes of a file are, and reads the config. Map the file;
/// of stdin, make a temporary file first.
pub fn open(bytes: &[u8], options: Options) -> Result<Image<'_>, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let Layout { config, digest, tags, layers, whiteouts, entries } = layout::read(bytes, &options)?;
    if layers.len() > options.limits.layers {
        return Err(ImageError::TooMany { what: "layers", limit: options.limits.layers as u64 });
    }
    Ok(Image { config, digest, tags, bytes, options, layers, whiteouts, entries })
}

impl<'a> Image<'a> {
    /// How many layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Applies all layers, metadata only, verifying digests on the way.
    /// `progress` is called with (bytes of layers read, all of them), as stored.
    pub fn flatten(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Tree, ImageError> {
        flatten::flatten(self, progress)
    }

    /// The distinct blobs of layers, in the order in which they lie in the file.
    fn blobs(&self) -> Vec<&Layer> {
        let mut blobs: Vec<&Layer> = self.layers.iter().collect();
        blobs.sort_by_key(|layer| layer.place);
        blobs.dedup_by_key(|layer| layer.blob);
        blobs
    }

    /// Calls `each` with the stored bytes of each of these blobs (in file order).
    /// One pass over the file, when it is compressed.
    fn visit(
        &self,
        blobs: &[&Layer],
        each: &mut dyn FnMut(&Layer, &mut dyn Input) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut outer = source::open(Box::new(self.bytes), self.bytes.len() as u64, &self.options.limits)?;
        let mut position = 0;
        for layer in blobs {
            let gap = layer.place.at.checked_sub(position);
            let gap = gap.ok_or_else(|| ImageError::Damaged("layers overlap".to_owned()))?;
            outer.skip(gap).map_err(|e| ImageError::from_io(e, "tar"))?;
            let mut part = Part { inner: &mut outer, left: layer.place.len };
            each(layer, &mut part)?;
            let left = part.left;
            part.skip(left).map_err(|e| ImageError::from_io(e, &layer.name))?;
            position = layer.place.at + layer.place.len;
        }
        Ok(())
    }
}

impl Streams for Image<'_> {
    fn read(
        &self,
        wanted: &[u32],
        each: &mut dyn FnMut(u32, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut blobs = self.blobs();
        blobs.retain(|layer| wanted.binary_search(&layer.blob).is_ok());
        let limits = &self.options.limits;
        self.visit(&blobs, &mut |layer, stored| {
            let mut stream = source::open(Box::new(stored), layer.place.len, limits)?;
            each(layer.blob, &mut stream).map_err(|e| ImageError::from_io(e, &layer.name))
        })
        .map_err(|error| match error {
            ImageError::Io(error) => error,
            other => other.into_io(),
        })
    }
}

/// Text of the image's, for a message: one line, nothing that a terminal obeys.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// Bytes of a name, for a message.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
