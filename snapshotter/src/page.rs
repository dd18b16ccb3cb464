//! The web page that opens an app: files from `bundle/web`, and the app beside
//! them under a name that changes with its contents, so that caches may keep it
//! for ever. `serve` hands it out, `bundle` writes it down.

use anyhow::{Result, bail};

use crate::app::App;
use crate::embedded;

/// What the page asks for to learn which app it opens.
pub const CONFIG: &str = "friscy.json";

/// The files of a page but for the app itself.
#[derive(Debug)]
pub struct Page {
    /// Name of the app's file.
    pub app_name: String,
    /// [`CONFIG`], as JSON.
    config: Vec<u8>,
}

impl Page {
    /// The page for `app`, whose file is called `stem`.
    pub fn new(app: &App, stem: &str) -> Result<Page> {
        if embedded::WEB.is_empty() {
            bail!(
                "this friscy-snap was built without the page: install Node.js (https://nodejs.org), which fetches its terminal, and build again"
            );
        }
        // Names end up in URLs: letters, digits, dash and dot need no escape.
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let stem: String = stem.chars().map(plain).take(64).collect();
        let app_name = format!("{stem}.{}.wasm", &app.digest[..16]);
        let config = serde_json::json!({
            "app": app_name,
            "bytes": app.bytes().len(),
            "title": stem,
            "tty": app.boot.tty,
        });
        Ok(Page { config: serde_json::to_vec_pretty(&config)?, app_name })
    }

    /// All files: path in the page's directory, contents.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        embedded::WEB.iter().copied().chain([(CONFIG, self.config.as_slice())])
    }

    /// The file at `path`; the empty path is the page itself.
    pub fn file(&self, path: &str) -> Option<(&str, &[u8])> {
        let path = if path.is_empty() { "index.html" } else { path };
        self.files().find(|(name, _)| *name == path)
    }
}

/// The type that a browser must be told.
pub fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
