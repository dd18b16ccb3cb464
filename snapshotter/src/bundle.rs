//! `friscy-snap bundle`: the page and the app as a directory, for any static
//! web server or CDN. Beside each file stand its compressed forms, for servers
//! that hand those out, and two of those servers' configurations. Node's host is
//! there too: it shares the page's translator.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::app::App;
use crate::cli::Bundle;
use crate::coding::{self, Coding, Effort};
use crate::embedded;
use crate::page::{self, Asset, INDEX};
use crate::progress::size;

/// For Caddy 2.
const CADDYFILE: &str = "\
# caddy run --config Caddyfile, in this directory
:8080 {
	root * .
	@forever path_regexp \\.[0-9a-f]{16}\\.
	header @forever Cache-Control \"public, max-age=31536000, immutable\"
	header /index.html Cache-Control no-cache
	header / Cache-Control no-cache
	file_server {
		precompressed zstd br gzip
	}
}
";

/// For nginx; brotli and zstd are modules that a distribution may lack.
const NGINX: &str = "\
# In a server block, with root at this directory.
location / {
	gzip_static on;
	# brotli_static on; # ngx_brotli
	# zstd_static on;   # zstd-nginx-module
	types {
		text/html html;
		text/javascript js;
		image/svg+xml svg;
		application/wasm wasm;
		text/plain txt;
	}
	add_header Cache-Control no-cache;
	location ~ \"\\.[0-9a-f]{16}\\.\" {
		add_header Cache-Control \"public, max-age=31536000, immutable\";
	}
}
";

/// `friscy-snap bundle`.
pub fn command(args: &Bundle) -> Result<()> {
    let app = App::open(&args.app)?;
    app.verify_store().with_context(|| args.app.display().to_string())?;
    let stem = args.app.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let assets = page::assets(&app, &stem, args.blocks)?;
    let (last, first): (Vec<&Asset<'_>>, Vec<&Asset<'_>>) =
        assets.iter().partition(|asset| asset.name == INDEX);
    let mut bytes = 0;
    for group in [first, last] {
        let written: Result<Vec<usize>> =
            group.par_iter().map(|asset| write_all(&args.output, asset)).collect();
        bytes += written?.into_iter().sum::<usize>();
    }
    write(&args.output, embedded::NODE_HOST_NAME, embedded::NODE_HOST)?;
    write(&args.output, "Caddyfile", CADDYFILE.as_bytes())?;
    write(&args.output, "nginx.conf", NGINX.as_bytes())?;
    if !args.talk.quiet {
        eprintln!(
            "{}: {} files, {}, and compressed forms; serve it with any static web server",
            args.output.display(),
            assets.len(),
            size(bytes as u64)
        );
        if app.beside().is_some() && !args.blocks {
            eprintln!(
                "the chunk store is read by HTTP Range; for a server that has none, bundle with --blocks"
            );
        }
    }
    Ok(())
}

/// A file and its compressed forms; its length.
fn write_all(directory: &Path, asset: &Asset<'_>) -> Result<usize> {
    for coding in Coding::ALL.into_iter().filter(|_| coding::shrinks(&asset.name)) {
        let name = format!("{}.{}", asset.name, coding.extension());
        match coding.encode(&asset.bytes, Effort::Once).with_context(|| name.clone())? {
            Some(encoded) => write(directory, &name, &encoded)?,
            // One of an earlier bundle must not be handed out.
            None => drop(fs::remove_file(directory.join(name))),
        }
    }
    write(directory, &asset.name, &asset.bytes)?;
    Ok(asset.bytes.len())
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
