//! Which of the known layouts a tar is, and what lies where in it.
//!
//! One pass over the outer tar, headers only, gives an index of its members;
//! the JSON documents lead from there to config and layers. An OCI layout goes
//! before Docker's `manifest.json` when a file is both (newer engines write
//! both), because only it can hold several platforms.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::config::{ConfigFile, Descriptor, Document, ImageConfig, Platform, SavedImage};
use super::source::{self, sha256};
use super::tar::{Entry, EntryKind, Input, TarReader};
use super::{ImageError, Layer, Limits, Options, Place, clean, text};
use crate::tree::components;

/// Annotation of an index entry that is no image but a proof about one (BuildKit).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Annotations that name an image: containerd's full name, and the specification's tag.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// Indexes within indexes; real ones have two levels.
const MAX_DEPTH: usize = 8;
/// Index entries looked at in all; real ones have some dozens.
const MAX_MANIFESTS: usize = 10_000;
/// Links followed within the outer tar (old `docker save` links equal layers).
const MAX_LINKS: usize = 8;

/// What [`super::open`] needs.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) config: ImageConfig,
    pub(super) digest: String,
    pub(super) tags: Vec<String>,
    pub(super) layers: Vec<Layer>,
    pub(super) whiteouts: bool,
    /// Of a root file system, what the scan has read already.
    pub(super) entries: Option<Vec<Entry>>,
}

/// What is where in the outer tar.
struct Members {
    /// By path, normalised.
    files: BTreeMap<Vec<u8>, Member>,
    /// All entries: what a root file system is made from.
    entries: Vec<Entry>,
    /// Length of the tar, decompressed.
    end: u64,
}

enum Member {
    File {
        place: Place,
        /// The bytes, of what may be a document.
        document: Option<Vec<u8>>,
    },
    /// Another member that this is a link to.
    Link(Vec<u8>),
}

/// Reads the layout of a file.
pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Layout, ImageError> {
    let members = Members::scan(bytes, options)?;
    if members.place(b"oci-layout").is_some() && members.place(b"index.json").is_some() {
        return oci(&members, options);
    }
    if let Some(saved) = members.document(b"manifest.json") {
        // A root file system may have a manifest.json of its own.
        if let Ok(images) = serde_json::from_slice::<Vec<SavedImage>>(saved) {
            return docker_save(&members, images, options);
        }
    }
    root_file_system(bytes, members)
}

/// The tar is the root file system.
fn root_file_system(bytes: &[u8], members: Members) -> Result<Layout, ImageError> {
    let layer = Layer {
        blob: 0,
        place: Place { at: 0, len: members.end },
        name: "tar".to_owned(),
        digest: None,
        diff_id: None,
    };
    let config =
        ImageConfig { architecture: "riscv64".to_owned(), os: "linux".to_owned(), ..ImageConfig::default() };
    let digest = format!("sha256:{}", sha256(bytes));
    let entries = Some(members.entries);
    Ok(Layout { config, digest, tags: Vec::new(), layers: vec![layer], whiteouts: false, entries })
}

impl Members {
    fn scan(bytes: &[u8], options: &Options) -> Result<Members, ImageError> {
        let limits = &options.limits;
        let stream = source::open(Box::new(bytes), bytes.len() as u64, limits)?;
        let mut reader = TarReader::new(stream);
        let mut members = Members { files: BTreeMap::new(), entries: Vec::new(), end: 0 };
        let mut documents = 0;
        while let Some(entry) = reader.next().map_err(|e| ImageError::from_tar(e, "tar"))? {
            if members.entries.len() >= limits.files {
                return Err(ImageError::TooMany { what: "files", limit: limits.files as u64 });
            }
            if let Some((path, member)) = member(&entry, &mut reader, &mut documents, limits)? {
                members.files.insert(path, member);
            }
            members.entries.push(entry);
        }
        if !reader.ended {
            return Err(ImageError::Truncated { what: "tar".to_owned() });
        }
        if members.entries.is_empty() {
            return Err(ImageError::NotAnImage);
        }
        // To the very end: a damaged tail of a compressed file shows only there.
        let (position, mut rest) = reader.into_input();
        members.end = position + drain(&mut rest)?;
        Ok(members)
    }

    fn resolve(&self, path: &[u8]) -> Option<&Member> {
        let mut member = self.files.get(path)?;
        for _ in 0..MAX_LINKS {
            match member {
                Member::Link(target) => member = self.files.get(target)?,
                Member::File { .. } => return Some(member),
            }
        }
        None
    }

    fn place(&self, path: &[u8]) -> Option<Place> {
        match self.resolve(path)? {
            Member::File { place, .. } => Some(*place),
            Member::Link(_) => None,
        }
    }

    fn document(&self, path: &[u8]) -> Option<&[u8]> {
        match self.resolve(path)? {
            Member::File { document, .. } => document.as_deref(),
            Member::Link(_) => None,
        }
    }

    /// The blob with a digest, verified; it must be a JSON document.
    fn blob<T: DeserializeOwned>(
        &self,
        digest: &str,
        what: &str,
        options: &Options,
    ) -> Result<T, ImageError> {
        let bytes = self.document(&blob_path(digest, what)?);
        let bytes = bytes.ok_or_else(|| ImageError::Missing(format!("{what} {digest}")))?;
        if !options.skip_digests && Some(sha256(bytes).as_str()) != digest.strip_prefix("sha256:") {
            return Err(ImageError::Digest { what: what.to_owned(), expected: digest.to_owned() });
        }
        json(bytes, what)
    }
}

/// What an entry is to a layout; none when it is nothing.
fn member(
    entry: &Entry,
    reader: &mut TarReader<impl Input>,
    documents: &mut u64,
    limits: &Limits,
) -> Result<Option<(Vec<u8>, Member)>, ImageError> {
    let path = join(&entry.path);
    let member = match entry.kind {
        EntryKind::File => {
            let place = match entry.runs[..] {
                [] => Place { at: 0, len: 0 },
                [run] if run.len == entry.size => Place { at: run.at, len: run.len },
                // A sparse file is neither a document nor a layer.
                _ => return Ok(None),
            };
            let mut document = None;
            if may_be_document(&path) && place.len <= limits.json_bytes && *documents < limits.json_bytes * 16
            {
                *documents += place.len;
                let bytes = reader.read_contents(place.len).map_err(|e| ImageError::from_io(e, "tar"))?;
                document = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')).then_some(bytes);
            }
            Member::File { place, document }
        }
        EntryKind::HardLink => Member::Link(join(&entry.link)),
        EntryKind::Symlink => match beside(&path, &entry.link) {
            Some(target) => Member::Link(target),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some((path, member)))
}

fn drain(rest: &mut dyn Input) -> Result<u64, ImageError> {
    std::io::copy(rest, &mut std::io::sink()).map_err(|e| ImageError::from_io(e, "tar"))
}

fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::Json { what: what.to_owned(), why: e.to_string() })
}

/// `blobs/sha256/HEX`. Only sha256 is known to be in use.
fn blob_path(digest: &str, what: &str) -> Result<Vec<u8>, ImageError> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(format!("blobs/sha256/{hex}").into_bytes())
        }
        _ => Err(ImageError::Json { what: what.to_owned(), why: format!("{digest:?} is no sha256 digest") }),
    }
}

/// Where layouts keep their documents. In a root file system, none of these is likely.
fn may_be_document(path: &[u8]) -> bool {
    let depth = path.iter().filter(|&&b| b == b'/').count();
    path == b"oci-layout" || path.starts_with(b"blobs/sha256/") || depth == 0 && path.ends_with(b".json")
}

/// `./a//b/` to `a/b`.
fn join(path: &[u8]) -> Vec<u8> {
    components(path).collect::<Vec<_>>().join(&b'/')
}

/// A relative link's target, seen from the root of the tar.
fn beside(path: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut names: Vec<&[u8]> = components(path).collect();
    names.pop();
    for name in components(target) {
        if name == b".." {
            names.pop()?;
        } else {
            names.push(name);
        }
    }
    Some(names.join(&b'/'))
}

/// One image that an OCI index leads to.
struct Candidate {
    descriptor: Descriptor,
    platform: Option<Platform>,
    tags: Vec<String>,
}

fn oci(members: &Members, options: &Options) -> Result<Layout, ImageError> {
    let index: Document = match members.document(b"index.json") {
        Some(bytes) => json(bytes, "index.json")?,
        None => return Err(ImageError::Missing("index.json".to_owned())),
    };
    let mut candidates = Vec::new();
    collect(members, options, index, &[], 0, &mut candidates)?;
    let mut here: Vec<String> = Vec::new();
    let mut fitting = Vec::new();
    for mut candidate in candidates {
        let digest = candidate.descriptor.digest.clone();
        let wanted = options.reference.as_ref();
        if wanted.is_some_and(|wanted| !names(wanted, &candidate.tags, &digest)) {
            continue;
        }
        if candidate.platform.is_none() {
            let manifest: Document = members.blob(&digest, "manifest", options)?;
            let config: ConfigFile = members.blob(&config_of(&manifest)?.digest, "config", options)?;
            candidate.platform = Some(config.platform());
        }
        let platform = candidate.platform.clone().unwrap_or_default();
        if platform.fits() { fitting.push(candidate) } else { here.push(platform.name()) }
    }
    let chosen = choose(fitting, here, options, |c| (c.tags.clone(), c.descriptor.digest.clone()))?;
    let digest = chosen.descriptor.digest;
    let manifest: Document = members.blob(&digest, "manifest", options)?;
    let config: ConfigFile = members.blob(&config_of(&manifest)?.digest, "config", options)?;
    if !config.platform().fits() {
        return Err(ImageError::Platform(config.platform().name()));
    }
    let (config, root) = config.image();
    let mut layers = Layers::default();
    for (i, descriptor) in manifest.layers.iter().enumerate() {
        if descriptor.media_type.contains("encrypted") {
            return Err(ImageError::Missing(format!("the key of encrypted layer {}", i + 1)));
        }
        let path = blob_path(&descriptor.digest, "manifest")?;
        let diff_id = root.diff_ids.get(i).map(String::as_str);
        layers.add(members, &path, &descriptor.digest, Some(&descriptor.digest), diff_id)?;
    }
    Ok(Layout { config, digest, tags: chosen.tags, layers: layers.list, whiteouts: true, entries: None })
}

fn config_of(manifest: &Document) -> Result<&Descriptor, ImageError> {
    let missing = || ImageError::Json { what: "manifest".to_owned(), why: "it names no config".to_owned() };
    manifest.config.as_ref().ok_or_else(missing)
}

/// All images that an index leads to, through indexes within it.
fn collect(
    members: &Members,
    options: &Options,
    index: Document,
    tags: &[String],
    depth: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), ImageError> {
    let invalid = |why: &str| ImageError::Json { what: "index".to_owned(), why: why.to_owned() };
    if depth > MAX_DEPTH {
        return Err(invalid("indexes are nested too deeply"));
    }
    for descriptor in index.manifests {
        let unknown = descriptor.platform.as_ref().is_some_and(|p| p.architecture == "unknown");
        if unknown || descriptor.annotations.contains_key(REFERENCE_TYPE) {
            continue;
        }
        let mut tags = tags.to_vec();
        tags.extend(NAMES.iter().filter_map(|name| descriptor.annotations.get(*name)).cloned());
        tags.dedup();
        if candidates.len() >= MAX_MANIFESTS {
            return Err(invalid("it has too many entries"));
        }
        // A multi-platform index lists what may not have been saved.
        let is_index = descriptor.media_type.ends_with("index.v1+json")
            || descriptor.media_type.ends_with("manifest.list.v2+json");
        if is_index {
            let inner: Document = members.blob(&descriptor.digest, "index", options)?;
            collect(members, options, inner, &tags, depth + 1, candidates)?;
        } else {
            let platform = descriptor.platform.clone();
            candidates.push(Candidate { descriptor, platform, tags });
        }
    }
    Ok(())
}

/// Does the user's word mean this image? Its digest, its full name, or its tag.
fn names(wanted: &str, tags: &[String], digest: &str) -> bool {
    let tag_of = |name: &str| name.rsplit_once(':').map(|(_, tag)| tag.to_owned());
    wanted == digest || tags.iter().any(|tag| tag == wanted || tag_of(tag).as_deref() == Some(wanted))
}

/// The one image that fits.
fn choose<T>(
    mut fitting: Vec<T>,
    mut others: Vec<String>,
    options: &Options,
    describe: impl Fn(&T) -> (Vec<String>, String),
) -> Result<T, ImageError> {
    // The same image under two tags is one image.
    let mut seen = std::collections::BTreeSet::new();
    fitting.retain(|candidate| seen.insert(describe(candidate).1));
    if fitting.len() > 1 {
        let list: Vec<String> =
            fitting.iter().map(|c| describe(c).0.first().cloned().unwrap_or(describe(c).1)).collect();
        return Err(ImageError::Ambiguous(clean(&list.join(", "))));
    }
    if let Some(only) = fitting.pop() {
        return Ok(only);
    }
    others.sort();
    others.dedup();
    match &options.reference {
        _ if !others.is_empty() => Err(ImageError::Platform(others.join(", "))),
        Some(wanted) => {
            Err(ImageError::NoSuchImage { wanted: wanted.clone(), found: "no image of that name".to_owned() })
        }
        None => Err(ImageError::Missing("any image".to_owned())),
    }
}

/// Layers, as they are found; equal places share a blob number.
#[derive(Default)]
struct Layers {
    list: Vec<Layer>,
    blobs: BTreeMap<Place, u32>,
}

impl Layers {
    fn add(
        &mut self,
        members: &Members,
        path: &[u8],
        name: &str,
        digest: Option<&str>,
        diff_id: Option<&str>,
    ) -> Result<(), ImageError> {
        let name = format!("layer {} ({})", self.list.len() + 1, clean(name));
        let place = members.place(path).ok_or_else(|| ImageError::Missing(name.clone()))?;
        let next = self.blobs.len() as u32;
        let blob = *self.blobs.entry(place).or_insert(next);
        let hex = |digest: &str| digest.strip_prefix("sha256:").map(str::to_owned);
        let layer = Layer { blob, place, name, digest: digest.and_then(hex), diff_id: diff_id.and_then(hex) };
        self.list.push(layer);
        Ok(())
    }
}

fn docker_save(members: &Members, images: Vec<SavedImage>, options: &Options) -> Result<Layout, ImageError> {
    let mut others = Vec::new();
    let mut fitting = Vec::new();
    for image in images {
        let path = join(image.config.as_bytes());
        let bytes = members.document(&path);
        let bytes = bytes.ok_or_else(|| ImageError::Missing(format!("config {}", clean(&image.config))))?;
        let digest = sha256(bytes);
        // The file is named by its digest: HEX.json, or blobs/sha256/HEX.
        let named = text(&path);
        let named = named.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if !options.skip_digests && named.len() == 64 && named != digest {
            return Err(ImageError::Digest { what: "config".to_owned(), expected: clean(named) });
        }
        let digest = format!("sha256:{digest}");
        let wanted = options.reference.as_ref();
        if wanted.is_some_and(|wanted| !names(wanted, &image.repo_tags, &digest)) {
            continue;
        }
        let config: ConfigFile = json(bytes, "config")?;
        let platform = config.platform();
        if platform.fits() { fitting.push((image, digest, config)) } else { others.push(platform.name()) }
    }
    let (image, digest, config) =
        choose(fitting, others, options, |(image, digest, _)| (image.repo_tags.clone(), digest.clone()))?;
    let (config, root) = config.image();
    let mut layers = Layers::default();
    for (i, path) in image.layers.iter().enumerate() {
        layers.add(members, &join(path.as_bytes()), path, None, root.diff_ids.get(i).map(String::as_str))?;
    }
    Ok(Layout { config, digest, tags: image.repo_tags, layers: layers.list, whiteouts: true, entries: None })
}
