//! `friscy-snap IMAGE -o APP.wasm`: the pipeline, stage by stage.
//!
//! unpack → flatten (`formats::image`) → store (`formats::vfs_build`) → seat →
//! freeze (and translate) → train → link → seal. Each stage is a file of its name here, or the module of
//! `formats` that is named.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::chunk::Chunk;
use friscy_formats::chunk_order::Order;
use friscy_formats::chunk_writer::{ChunkCache, ChunkOptions, ChunkWriter, NoCache};
use friscy_formats::image;
use friscy_formats::manifest::{
    ChunkInfo, ChunkLayout, Entry, FORMAT, ImageInfo, Manifest, Sizes, TranslatedFunction, TranslatedInfo,
};
use friscy_formats::ring::LogLevel;
use friscy_formats::warm::{BLOCK, BlockId, Warm};
use friscy_formats::{vfs, vfs_build};
use friscy_translator::Output;

use crate::cache::{self, PackCache};
use crate::cli::{Aot, Layout, Pack, ProcessOptions, StoreOptions, TranslateOptions};
use crate::mapped::Mapped;
use crate::point::Goal;
use crate::progress::{Progress, size};
use crate::seal::{Ordered, Sealed};
use crate::translate::{Plan, Training};
use crate::{embedded, freeze, link, seal, seat, secrets};

/// Largest chunk store that layout `auto` leaves in app.wasm: all of the file is downloaded before it opens, and this
/// is two and a half seconds at 50 Mbit/s.
const SINGLE_BYTES: u64 = 16 << 20;

/// So much of the image is read before what was read is given up: packing takes no more memory for a larger image.
const WINDOW_BYTES: u64 = 32 << 20;

/// Most blocks that are kept warm: 16 MiB, what Python or Node reads to start. They come with the file, which is
/// compressed on its way where the server does that.
const WARM_BLOCKS: u32 = (16 << 20) / BLOCK;

/// Addresses of hot code that stayed with the interpreter, of which `--verbose` tells.
const MISSED_SHOWN: usize = 10;

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
    if !args.warm.is_empty() && !matches!(args.until.until, Until::Listen(_)) {
        anyhow::bail!(
            "--warm asks a server: it goes with --until listen:PORT, not with --until {}",
            args.until
        );
    }
    let goal = Goal { point: args.until.clone(), timeout, warm: args.warm.clone() };
    let mut store = args.store.clone();
    if store.layout == Layout::Auto && !seal::replaces(output) {
        // A pipe has nothing beside it.
        store.layout = Layout::Single;
    }
    let sealed = pack(&input, &args.process, &args.translate, &store, &goal, tty, &mut progress)
        .with_context(|| image.display().to_string())?;
    progress.stage("seal");
    sealed.save(output)?;
    summary(args, &sealed, output, &mut progress);
    Ok(())
}

/// Pack the image in `input`.
pub fn pack(
    input: &Mapped,
    options: &ProcessOptions,
    translate: &TranslateOptions,
    storing: &StoreOptions,
    goal: &Goal,
    tty: bool,
    progress: &mut Progress,
) -> Result<Sealed> {
    progress.stage("unpack");
    let mut read = 0;
    let mut reading = |done: u64, total: u64, progress: &Progress| {
        if done.abs_diff(read) >= WINDOW_BYTES {
            read = done;
            input.forget();
        }
        progress.bytes(done, total);
    };
    let image = image::open(input, image::Options::default())?;
    let tree = image.flatten(&mut |done, total| reading(done, total, progress))?;

    progress.stage("store");
    let store = tempfile::tempfile().context("cannot make a temporary file for the chunk store")?;
    let chunk_options = ChunkOptions::default();
    let cache: Box<dyn ChunkCache> = match (&storing.cache, storing.no_cache) {
        (_, true) => Box::new(NoCache),
        (Some(directory), false) => Box::new(
            PackCache::open(directory, chunk_options.level)
                .with_context(|| format!("cannot use the cache {}", directory.display()))?,
        ),
        // One that nobody asked for may be missing.
        (None, false) => {
            match cache::directory("chunks").map(|dir| PackCache::open(&dir, chunk_options.level)) {
                Some(Ok(cache)) => Box::new(cache),
                _ => Box::new(NoCache),
            }
        }
    };
    let writer = ChunkWriter::with_cache(BufWriter::with_capacity(1 << 20, store), chunk_options, cache);
    let mut built =
        vfs_build::build(&tree, &image, writer, &mut |done, total| reading(done, total, progress))?;
    input.forget();
    let store: File = built.store.into_inner().context("cannot write the chunk store to a temporary file")?;
    let store = Mapped::of(&store).context("cannot map the chunk store")?;
    let layout = match storing.layout {
        Layout::Single => ChunkLayout::Single,
        Layout::Split => ChunkLayout::Split,
        Layout::Auto if built.chunks.store_bytes <= SINGLE_BYTES => ChunkLayout::Single,
        Layout::Auto => ChunkLayout::Split,
    };

    progress.stage("freeze");
    let boot = seat::boot(&image.config, options, goal.point.until, tty)?;
    let digest = blake3::hash(&built.archive);
    let inodes = vfs::access(&built.archive)?.inode_count();
    let places = link::places(embedded::ENGINE)?;
    let mut frozen_input = freeze::Input {
        engine: embedded::ENGINE,
        archive: &built.archive,
        store: &store,
        boot: &boot,
        goal,
        chunk_slot: match layout {
            ChunkLayout::Single => places.chunk_slot,
            ChunkLayout::Split => u32::MAX,
        },
        warm_slot: places.warm_slot,
        seed: *digest.as_bytes(),
        plan: None,
        go_on: true,
    };
    let mut training = Training::new(&translate.train, frozen_input, &mut |line| progress.detail(line))?;
    if translate.aot != Aot::Off && matches!(goal.point.until, Until::Entry | Until::Main) {
        training.run_program(frozen_input);
    }
    frozen_input.go_on = training.own.is_none();
    let plan = Plan::new(translate, places, training.profile)?;
    frozen_input.plan = plan.as_ref();
    let mut log = |level, line: &str| match level {
        LogLevel::Strace => progress.say(line),
        LogLevel::Failure => progress.say(&format!("friscy-snap: {line}")),
        LogLevel::Warning => progress.detail(&format!("friscy-snap: {line}")),
    };
    let frozen = freeze::freeze(frozen_input, &mut log, &mut |count| progress.instructions(count))?;
    for (address, count) in
        frozen.translated.iter().flat_map(|output| output.missed.iter().take(MISSED_SHOWN))
    {
        progress
            .detail(&format!("not translated, although sampled {count} times: guest address {address:#x}"));
    }
    for caveat in &frozen.caveats {
        progress.say(&format!("friscy-snap: warning: {caveat}"));
    }

    progress.stage("link");
    let reads = [training.own.unwrap_or(frozen.next), training.reads].concat();
    let warm = Warm::new(reads.iter().copied(), WARM_BLOCKS);
    let chunk = |id: &BlockId| id.chunk();
    let late: Vec<u32> = reads.iter().filter(|&&id| !warm.contains(id)).map(chunk).collect();
    let then: Vec<u32> = reads.iter().map(chunk).chain(frozen.touched).collect();
    let order = Order::new(&built.chunks.table, &late, &then);
    vfs::place_chunks(&mut built.archive, &order.offsets, &warm)?;
    let warm = warm.segment(|number| raw(&built.chunks.table, &store, number))?;
    let warm_bytes = warm.len() as u64;
    let store = Ordered::new(store, &order)?;
    let inside = if layout == ChunkLayout::Single { built.chunks.store_bytes } else { 0 };
    let linked = link::link(
        &frozen.wasm,
        (frozen.archive_at, &built.archive),
        inside,
        &warm,
        frozen.translated.as_ref(),
    )?;
    if let Some(warning) = secrets::warning(&boot.env, &linked.data_tail) {
        progress.say(&format!("friscy-snap: warning: {warning}"));
    }
    let manifest = Manifest {
        format: FORMAT,
        engine: env!("CARGO_PKG_VERSION").to_string(),
        engine_digest: embedded::ENGINE_DIGEST.to_string(),
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
            layout,
            count: u32::try_from(built.chunks.table.len())?,
            stored_bytes: built.chunks.store_bytes,
            raw_bytes: built.chunks.raw_bytes,
            digest: store.digest(),
            profile_bytes: order.first_bytes,
            warm_bytes,
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
    seal::seal(linked, store, manifest, &boot)
}

/// The raw bytes of a chunk.
fn raw(table: &[Chunk], store: &[u8], number: u32) -> Result<Vec<u8>> {
    let chunk = table.get(number as usize).context("the program read a chunk that there is not")?;
    let start = usize::try_from(chunk.offset)?;
    let stored =
        store.get(start..start + chunk.stored_len as usize).context("the chunk store is too short")?;
    Ok(chunk.open(stored)?)
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

fn summary(args: &Pack, sealed: &Sealed, output: &Path, progress: &mut Progress) {
    let stages = progress.finish();
    let times: Vec<String> =
        stages.iter().map(|(name, time)| format!("{name} {:.2}", time.as_secs_f64())).collect();
    let total: f64 = stages.iter().map(|(_, time)| time.as_secs_f64()).sum();
    let manifest = &sealed.manifest;
    let sizes = &manifest.sizes;
    let (file_bytes, memory_pages) = (sealed.file_bytes(), sealed.memory_pages());
    let chunks = &manifest.chunks;
    let layout = match (args.store.layout, chunks.layout) {
        (Layout::Auto, ChunkLayout::Single) => format!(
            "layout single, since chunks of {} are few enough to come with the file (auto: up to {})",
            size(chunks.stored_bytes),
            size(SINGLE_BYTES)
        ),
        (Layout::Auto, ChunkLayout::Split) => format!(
            "layout split, since chunks of {} are better fetched when they are needed (auto: above {}): {} belongs \
             beside {}",
            size(chunks.stored_bytes),
            size(SINGLE_BYTES),
            seal::beside(output).display(),
            output.display()
        ),
        (_, ChunkLayout::Single) => "layout single".to_string(),
        (_, ChunkLayout::Split) => {
            format!("layout split: {} belongs beside it", seal::beside(output).display())
        }
    };
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
            "{layout}; {} of them lie in the file ready for use, {} are fetched first",
            size(chunks.warm_bytes),
            size(chunks.profile_bytes)
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
