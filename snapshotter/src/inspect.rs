//! `friscy-snap inspect`: what an app.wasm is made of.

use std::io::{self, Write};

use anyhow::{Context, Result};
use friscy_formats::manifest::{TranslatedFunction, TranslatedInfo};
use serde_json::json;

use crate::account::{Account, Kind, shares};
use crate::app::App;
use crate::cli::Inspect;
use crate::progress::size;
use crate::seal;
use crate::secrets::Mask;

/// `friscy-snap inspect`.
pub fn command(args: &Inspect) -> Result<()> {
    let app = App::open(&args.app)?;
    let name = || args.app.display().to_string();
    seal::validate(app.bytes()).with_context(name)?;
    app.verify_store().with_context(name)?;
    let stdout = io::stdout().lock();
    match args {
        Inspect { strings: true, .. } => print_strings(&app, io::BufWriter::new(stdout)),
        Inspect { json: true, .. } => print_json(&app, stdout),
        _ => print_table(&app, stdout),
    }
}

/// Every run of printable characters in the frozen memory, each with its address in linear memory.
fn print_strings(app: &App, mut out: impl Write) -> Result<()> {
    /// Shorter runs are mostly code.
    const SHORTEST: usize = 6;
    let printable = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    let mask = Mask::new(&app.boot.env)?;
    for (start, bytes) in app.runs() {
        // Keys are looked for across lines; each line is then printed by itself.
        let mut at = 0;
        for text in bytes.chunk_by(|&a, &b| (printable(a) || a == b'\n') == (printable(b) || b == b'\n')) {
            if text.len() >= SHORTEST && (printable(text[0]) || text[0] == b'\n') {
                for line in mask.hide(text).split(|&byte| byte == b'\n').filter(|l| l.len() >= SHORTEST) {
                    write!(out, "{:08x} ", start as usize + at)?;
                    out.write_all(line)?;
                    out.write_all(b"\n")?;
                }
            }
            at += text.len();
        }
    }
    out.flush()?;
    Ok(())
}

fn print_json(app: &App, mut out: impl Write) -> Result<()> {
    let sections: Vec<_> =
        app.sections.iter().map(|(name, range)| json!({"name": name, "bytes": range.len()})).collect();
    let account = Account::of(app)?;
    let kinds: Vec<_> =
        Kind::ALL.iter().map(|&kind| json!({"name": kind, "bytes": account.bytes(kind)})).collect();
    let value = json!({
        "file_bytes": app.bytes().len(),
        "digest": app.digest,
        "manifest": app.manifest,
        "memory_bytes": app.memory_pages << 16,
        "entrypoint_len": app.boot.entrypoint_len,
        "segments": app.runs().count(),
        "sections": sections,
        "kinds": kinds,
        "files": shares(app)?,
        "parsed_at_open": [],
    });
    writeln!(out, "{value:#}")?;
    Ok(())
}

/// Functions and files that are shown one by one.
const SHOWN: usize = 10;

/// Translated code: how much of it, and the hottest.
fn print_translated(
    translated: &TranslatedInfo,
    row: &mut impl FnMut(&str, String) -> io::Result<()>,
) -> io::Result<()> {
    let functions = &translated.functions;
    let sum = |of: fn(&TranslatedFunction) -> u64| functions.iter().map(of).sum::<u64>();
    let (guest, bytes, hits) = (sum(|f| f.guest_bytes), sum(|f| f.bytes), sum(|f| f.samples));
    #[expect(clippy::cast_precision_loss, reason = "ratios of two digits")]
    let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    row(
        "translated code",
        format!(
            "{bytes:>12}  {} functions of {guest} bytes of guest code ({:.1} for one), {:.1} % of what was sampled",
            functions.len(),
            ratio(bytes, guest),
            100.0 * ratio(hits, translated.samples),
        ),
    )?;
    row("  at guest address", format!("{:>12} {:>12} {:>8}", "bytes", "guest bytes", "samples"))?;
    for function in functions.iter().take(SHOWN) {
        let TranslatedFunction { address, guest_bytes, bytes, samples } = function;
        let name = format!("  {address:#x}");
        row(
            &name,
            format!("{bytes:>12} {guest_bytes:>12} {:>7.1}%", 100.0 * ratio(*samples, translated.samples)),
        )?;
    }
    Ok(())
}

fn print_table(app: &App, mut out: impl Write) -> Result<()> {
    let manifest = &app.manifest;
    let (entry, sizes, chunks) = (&manifest.entry, &manifest.sizes, &manifest.chunks);
    let mut row = |name: &str, value: String| writeln!(out, "{}", format!("{name:<18} {value}").trim_end());
    row("packed by", format!("friscy-snap {} (format {})", manifest.engine, manifest.format))?;
    row("image", format!("{} {}", manifest.image.digest, manifest.image.tags.join(" ")))?;
    row("frozen at", format!("{}, after {} instructions", manifest.freeze, manifest.retired))?;
    row("argv", format!("{:?}, of which {} the Entrypoint", entry.argv, app.boot.entrypoint_len))?;
    row("env", entry.env.join(" "))?;
    row("cwd", entry.cwd.clone())?;
    row("user", entry.user.clone())?;
    row("hostname", entry.hostname.clone())?;
    row("terminal", entry.tty.to_string())?;
    row("ports", manifest.ports.join(" "))?;
    row("linear memory", size(app.memory_pages << 16))?;
    row("parsed at open", "nothing: image, ELF files and index were read when it was packed".to_string())?;
    row("", String::new())?;
    row("part", format!("{:>12}", "bytes"))?;
    let account = Account::of(app)?;
    for kind in Kind::ALL {
        let what = match kind {
            Kind::Engine => format!("blake3:{}", manifest.engine_digest),
            Kind::Fused if account.bytes(kind) > 0 => {
                "for hosts that fuse multiplication and addition".to_string()
            }
            Kind::Memory => format!("kernel and programs, in {} segments with the index", app.runs().count()),
            Kind::Index => format!("{} inodes, read in place", sizes.inodes),
            Kind::Warm => "file contents that are read first, as they are".to_string(),
            _ => String::new(),
        };
        row(kind.words(), format!("{:>12}  {what}", account.bytes(kind)))?;
    }
    row("file", format!("{:>12}  blake3:{}", app.bytes().len(), app.digest))?;
    row("", String::new())?;
    row(
        "chunk store",
        format!(
            "{:>12}  {} chunks of {}, read on demand {}; {} of it first",
            app.store().len(),
            chunks.count,
            size(chunks.raw_bytes),
            if app.beside().is_some() { "from a file beside this one" } else { "from this file" },
            size(chunks.profile_bytes)
        ),
    )?;
    let shares = shares(app)?;
    for share in shares.iter().take(SHOWN) {
        row("", format!("{:>12}  {} of {}", share.stored_bytes, share.path, size(share.raw_bytes)))?;
    }
    if let Some(rest @ [_, ..]) = shares.get(SHOWN..) {
        let stored: u64 = rest.iter().map(|share| share.stored_bytes).sum();
        row("", format!("{stored:>12}  {} other files", rest.len()))?;
    }
    if let Some(translated) = &manifest.translated {
        row("", String::new())?;
        print_translated(translated, &mut row)?;
    }
    row("", String::new())?;
    row("section", format!("{:>12} {:>12}", "offset", "bytes"))?;
    for (name, range) in &app.sections {
        row(name, format!("{:>12} {:>12}", range.start, range.len()))?;
    }
    Ok(())
}
