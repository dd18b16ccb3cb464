//! `friscy-snap inspect`: what an app.wasm is made of.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::json;

use crate::app::App;
use crate::cli::Inspect;
use crate::progress::size;
use crate::seal;

/// `friscy-snap inspect`.
pub fn command(args: &Inspect) -> Result<()> {
    let app = App::open(&args.app)?;
    seal::validate(app.bytes()).with_context(|| args.app.display().to_string())?;
    let stdout = io::stdout().lock();
    if args.json { print_json(&app, stdout) } else { print_table(&app, stdout) }
}

fn print_json(app: &App, mut out: impl Write) -> Result<()> {
    let sections: Vec<_> =
        app.sections.iter().map(|(name, range)| json!({"name": name, "bytes": range.len()})).collect();
    let value = json!({
        "file_bytes": app.bytes().len(),
        "digest": app.digest,
        "manifest": app.manifest,
        "memory_bytes": app.memory_pages << 16,
        "entrypoint_len": app.boot.entrypoint_len,
        "segments": app.runs().count(),
        "sections": sections,
        "parsed_at_open": [],
    });
    writeln!(out, "{value:#}")?;
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
    row("engine code", format!("{:>12}  engine blake3:{}", sizes.code, manifest.engine_digest))?;
    row("memory image", format!("{:>12}  in {} segments", sizes.data, app.runs().count()))?;
    row("  file index", format!("{:>12}  {} inodes, read in place", sizes.archive, sizes.inodes))?;
    row(
        "chunk store",
        format!(
            "{:>12}  {} chunks of {}, read on demand",
            app.store_bytes(),
            chunks.count,
            size(chunks.raw_bytes)
        ),
    )?;
    row("", String::new())?;
    row("section", format!("{:>12} {:>12}", "offset", "bytes"))?;
    for (name, range) in &app.sections {
        row(name, format!("{:>12} {:>12}", range.start, range.len()))?;
    }
    row("file", format!("{:>25}  blake3:{}", app.bytes().len(), app.digest))?;
    Ok(())
}
