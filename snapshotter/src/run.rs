//! `friscy-snap run`: an app.wasm in this terminal, or an image by way of one.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use friscy_formats::boot::Until;

use crate::app::{App, WASM_MAGIC};
use crate::cli::{Run, StoreOptions, TranslateOptions};
use crate::host::{self, Outcome};
use crate::mapped::Mapped;
use crate::marks::{self, Marks};
use crate::progress::{Progress, size};
use crate::{pack, seat, terminal};

/// `friscy-snap run`: the guest's exit code.
pub fn command(args: &Run) -> Result<u8> {
    let mut marks = Marks::to(args.marks.clone());
    let bytes = Mapped::open(&args.app)?;
    let name = args.app.display().to_string();
    let app = if bytes.starts_with(WASM_MAGIC) {
        App::named(bytes, &args.app).with_context(|| name.clone())?
    } else {
        pack_first(&bytes, args).with_context(|| name.clone())?
    };
    marks.mark(marks::DOWNLOAD);
    let mut boot = app.boot.clone();
    let changed = if app.boot.until == Until::Entry {
        seat::override_boot(&mut boot, &args.process, terminal::present())
    } else {
        seat::change_boot(&mut boot, &args.process).map_err(|what| {
            let point = &app.manifest.freeze;
            anyhow!(
                "{name}: frozen at {point}, after its start, so that {what} comes too late; pack it with \
                 --until entry, or give it when packing"
            )
        })?
    };
    let boot = changed.then_some(boot);
    let options = host::Options {
        boot,
        no_input: !args.interactive,
        verbose: args.talk.verbose,
        compile: args.compile,
        marks,
    };
    let outcome = host::run(&app, options).with_context(|| name.clone())?;
    if let Some(why) = &outcome.not_started {
        eprintln!("friscy-snap: {name}: {why}");
    }
    if args.stats {
        print_stats(&outcome, app.manifest.retired);
    }
    Ok(outcome.code)
}

/// The app in a file that has no name.
fn pack_first(image: &Mapped, args: &Run) -> Result<App> {
    let mut progress = Progress::new(args.talk);
    let tty = args.process.tty.unwrap_or_else(terminal::present);
    let sealed = pack::pack(
        image,
        &args.process,
        &TranslateOptions::off(),
        &StoreOptions::default(),
        &Until::Entry.into(),
        tty,
        &mut progress,
    )?;
    progress.finish();
    let (app, store) = sealed.into_mapped()?;
    App::new(app, store)
}

/// For `--stats`.
fn print_stats(outcome: &Outcome, before: u64) {
    let here = outcome.retired.saturating_sub(before);
    let run = outcome.total.saturating_sub(outcome.opened).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate of three digits")]
    let mips = if run > 0.0 { here as f64 / run / 1e6 } else { 0.0 };
    eprintln!(
        "friscy-snap: {here} instructions in {run:.3} s ({mips:.0} MIPS); opened in {:.1} ms, first output after \
         {:.1} ms; CPU {:.3} s; memory {}, read from the chunk store {}; translated {} functions",
        outcome.opened.as_secs_f64() * 1e3,
        outcome.first_output.as_secs_f64() * 1e3,
        host::cpu_time().as_secs_f64(),
        size(outcome.memory_bytes),
        size(outcome.chunk_bytes),
        outcome.translated,
    );
}

/// Whether the file at `path` is a Wasm module (and not an image).
pub fn is_app(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == WASM_MAGIC)
}
