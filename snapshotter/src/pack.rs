//! `friscy-snap IMAGE -o APP.wasm`: the pipeline, stage by stage.
//!
//! unpack → flatten (`formats::image`) → store (`formats::vfs_build`) → seat →
//! freeze (and translate) → link → seal. Each stage is a file of its name here, or the module of
//! `formats` that is named.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use friscy_formats::boot::Boot;
use friscy_formats::chunk_writer::{ChunkOptions, ChunkWriter};
use friscy_formats::image;
use friscy_formats::manifest::{
    ChunkInfo, ChunkLayout, Entry, FORMAT, ImageInfo, Manifest, Sizes, TranslatedFunction, TranslatedInfo,
};
use friscy_formats::ring::LogLevel;
use friscy_formats::{vfs, vfs_build};
use friscy_translator::Output;

use crate::cli::{Pack, ProcessOptions, TranslateOptions};
use crate::mapped::Mapped;
use crate::point::Goal;
use crate::progress::{Progress, size};
use crate::seal::Sealed;
use crate::translate::Plan;
use crate::{embedded, freeze, link, seal, seat, secrets};

/// `friscy-snap IMAGE -o APP.wasm`.
pub fn command(args: &Pack) -> Result<()> {
    let (Some(image), Some(output)) = (&args.image, &args.output) else {
        anyhow::bail!("say which IMAGE to pack and where to, with -o APP.wasm");
    };
    let mut progress = Progress::new(args.talk);
    let input = Mapped::open(image)?;
    let tty = args.process.tty.unwrap_or(true);
    let timeout = match args.until_timeout {
        0 => Duration::MAX,
        seconds => Duration::from_secs(seconds),
    };
    let goal = Goal { point: args.until.clone(), timeout };
    let sealed = pack(&input, &args.process, &args.translate, &goal, tty, &mut progress)
        .with_context(|| image.display().to_string())?;
    progress.stage("seal");
    sealed.save(output)?;
    summary(&sealed, output, &mut progress);
    Ok(())
}

/// Pack the image in `input`.
pub fn pack(
    input: &[u8],
    options: &ProcessOptions,
    translate: &TranslateOptions,
    goal: &Goal,
    tty: bool,
    progress: &mut Progress,
) -> Result<Sealed> {
    progress.stage("unpack");
    let image = image::open(input, image::Options::default())?;
    let tree = image.flatten(&mut |done, total| progress.bytes(done, total))?;

    progress.stage("store");
    let store = tempfile::tempfile().context("cannot make a temporary file for the chunk store")?;
    let writer = ChunkWriter::new(BufWriter::with_capacity(1 << 20, store), ChunkOptions::default());
    let built = vfs_build::build(&tree, &image, writer, &mut |done, total| progress.bytes(done, total))?;
    let store: File = built.store.into_inner().context("cannot write the chunk store to a temporary file")?;
    let store = Mapped::of(&store).context("cannot map the chunk store")?;
    let chunks: Vec<(u64, u32)> =
        built.chunks.table.iter().map(|chunk| (chunk.offset, chunk.stored_len)).collect();

    progress.stage("freeze");
    let boot = seat::boot(&image.config, options, goal.point.until, tty)?;
    let digest = blake3::hash(&built.archive);
    let inodes = vfs::access(&built.archive)?.inode_count();
    let places = link::places(embedded::ENGINE)?;
    let mut frozen_input = freeze::Input {
        engine: embedded::ENGINE,
        archive: &built.archive,
        store: &store,
        chunks: &chunks,
        boot: &boot,
        goal,
        chunk_slot: places.chunk_slot,
        seed: *digest.as_bytes(),
        plan: None,
    };
    let plan = Plan::new(translate, places, frozen_input, &mut |line| progress.detail(line))?;
    frozen_input.plan = plan.as_ref();
    let mut log = |level, line: &str| match level {
        LogLevel::Strace => progress.say(line),
        LogLevel::Warning => progress.detail(&format!("friscy-snap: {line}")),
    };
    let frozen = freeze::freeze(frozen_input, &mut log, &mut |count| progress.instructions(count))?;
    for caveat in &frozen.caveats {
        progress.say(&format!("friscy-snap: warning: {caveat}"));
    }

    progress.stage("link");
    let linked = link::link(&frozen.wasm, store.len() as u64, frozen.translated.as_ref())?;
    if let Some(warning) = secrets::warning(&boot.env, &linked.data_tail) {
        progress.say(&format!("friscy-snap: warning: {warning}"));
    }
    let manifest = Manifest {
        format: FORMAT,
        engine: env!("CARGO_PKG_VERSION").to_string(),
        engine_digest: blake3::hash(embedded::ENGINE).to_hex().to_string(),
        image: ImageInfo {
            digest: image.digest.clone(),
            tags: image.tags.clone(),
            config: image.config.clone(),
        },
        entry: entry(&boot),
        freeze: if frozen.asked { "guest".to_string() } else { goal.point.to_string() },
        retired: frozen.retired,
        translated: frozen.translated.as_ref().map(translated_info),
        memory_bytes: boot.memory_bytes,
        ports: image.config.exposed_ports.clone(),
        chunks: ChunkInfo {
            layout: ChunkLayout::Single,
            count: u32::try_from(chunks.len())?,
            stored_bytes: built.chunks.store_bytes,
            raw_bytes: built.chunks.raw_bytes,
            digest: blake3::hash(&store).to_hex().to_string(),
        },
        sizes: Sizes {
            image: input.len() as u64,
            inodes: u64::from(inodes),
            code: linked.code_bytes,
            translated: linked.translated_bytes,
            data: linked.hot_bytes,
            archive: built.archive.len() as u64,
        },
    };
    let chunk_lens: Vec<u32> = chunks.iter().map(|&(_, len)| len).collect();
    seal::seal(linked, store, manifest, &boot, &chunk_lens)
}

fn translated_info(output: &Output) -> TranslatedInfo {
    let functions = output.functions.iter().map(|function| TranslatedFunction {
        address: function.address,
        guest_bytes: function.guest_bytes,
        bytes: function.body.len() as u64,
        samples: function.samples,
    });
    TranslatedInfo { samples: output.samples, functions: functions.collect() }
}

/// For people: bytes that are not UTF-8 are replaced.
fn entry(boot: &Boot) -> Entry {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    Entry {
        argv: boot.argv.iter().map(text).collect(),
        env: boot.env.iter().map(text).collect(),
        cwd: text(&boot.cwd),
        user: text(&boot.user),
        hostname: text(&boot.hostname),
        tty: boot.tty,
    }
}

fn summary(sealed: &Sealed, output: &Path, progress: &mut Progress) {
    let stages = progress.finish();
    let times: Vec<String> =
        stages.iter().map(|(name, time)| format!("{name} {:.2}", time.as_secs_f64())).collect();
    let total: f64 = stages.iter().map(|(_, time)| time.as_secs_f64()).sum();
    let manifest = &sealed.manifest;
    let sizes = &manifest.sizes;
    let (file_bytes, memory_pages) = (sealed.file_bytes(), sealed.memory_pages());
    let lines = [
        format!(
            "{}: {} from an image of {}; engine {}, translated {}, memory {} (of which file system index {}), chunks {} of {}",
            output.display(),
            size(file_bytes),
            size(sizes.image),
            size(sizes.code),
            size(sizes.translated),
            size(sizes.data),
            size(sizes.archive),
            size(manifest.chunks.stored_bytes),
            size(manifest.chunks.raw_bytes),
        ),
        format!(
            "frozen at {} after {} instructions, {} of linear memory; {total:.2} s: {}",
            manifest.freeze,
            manifest.retired,
            size(memory_pages << 16),
            times.join(", "),
        ),
    ];
    lines.iter().for_each(|line| progress.say(line));
}
