//! `friscy-snap bundle`: the page and the app as a directory, for any static
//! web server or CDN.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::app::App;
use crate::cli::Bundle;
use crate::page::{CONFIG, Page};
use crate::progress::size;

/// `friscy-snap bundle`.
pub fn command(args: &Bundle) -> Result<()> {
    let app = App::open(&args.app)?;
    let stem = args.app.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let page = Page::new(&app, &stem)?;
    // The app first and what names it last: whoever loads the page meanwhile finds all of one version.
    write(&args.output, &page.app_name, app.bytes())?;
    let mut bytes = app.bytes().len();
    let mut count = 1;
    for (name, contents) in page.files().filter(|(name, _)| *name != CONFIG).chain(page.file(CONFIG)) {
        write(&args.output, name, contents)?;
        bytes += contents.len();
        count += 1;
    }
    if !args.talk.quiet {
        eprintln!(
            "{}: {count} files, {}; serve it with any static web server",
            args.output.display(),
            size(bytes as u64)
        );
    }
    Ok(())
}

/// One file, complete or not at all.
fn write(directory: &Path, name: &str, contents: &[u8]) -> Result<()> {
    let path: PathBuf = directory.join(name);
    let what = || format!("cannot write {}", path.display());
    let parent = path.parent().unwrap_or(directory);
    fs::create_dir_all(parent).with_context(what)?;
    let mut file = tempfile::Builder::new()
        .prefix(".friscy-snap-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(parent)
        .with_context(what)?;
    file.write_all(contents).with_context(what)?;
    file.persist(&path).map_err(|error| error.error).with_context(what)?;
    Ok(())
}
