//! The web page that opens an app: the files that `bundle/build.mjs` made, and
//! the app beside them. All names but that of the page itself change with the
//! contents, so that caches may keep the files for ever. `serve` hands them
//! out, `bundle` writes them down.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use friscy_formats::manifest::ChunkInfo;

use crate::app::App;
use crate::embedded;

/// The page itself.
pub const INDEX: &str = "index.html";
/// In [`INDEX`], where it is said which app it opens (`bundle/web/boot.js`, `Config`).
const CONFIG: &str = r#"{"app":"app.wasm"}"#;
/// In [`INDEX`]: browsers draw a tab anew when its title changes, so the page has the right one from the first.
const TITLE: &str = "<title>friscy</title>";
/// Bytes in each file, when the chunk store is cut into files: a few chunks, one round trip.
pub const BLOCK_BYTES: usize = 256 << 10;

/// A file of the page.
#[derive(Debug)]
pub struct Asset<'a> {
    /// Its path below the page's directory.
    pub name: Cow<'a, str>,
    /// Its contents.
    pub bytes: Cow<'a, [u8]>,
}

impl Asset<'_> {
    /// Never another one under this name.
    pub fn immutable(&self) -> bool {
        self.name.split('.').any(is_digest)
    }
}

/// The page for `app`, whose file is called `stem`. With `blocks` its chunk store is cut into files.
pub fn assets<'a>(app: &'a App, stem: &str, blocks: bool) -> Result<Vec<Asset<'a>>> {
    if embedded::WEB.is_empty() {
        bail!(
            "this friscy-snap was built without the page: install Node.js (https://nodejs.org), which makes it, and \
             build again"
        );
    }
    // Names end up in URLs: letters, digits, dash and underscore need no escape.
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let stem: String = stem.chars().map(plain).take(64).collect();
    let app_name = format!("{stem}.{}.wasm", short(&app.digest));
    let ChunkInfo { digest, stored_bytes, profile_bytes, .. } = &app.manifest.chunks;
    let store_name = format!("{stem}.{}.chunks", short(digest));
    let title = title(app);
    let mut config = serde_json::json!({ "app": app_name, "bytes": app.bytes().len(), "title": title });
    let mut assets = Vec::new();
    if let Some(store) = app.beside() {
        let place = serde_json::json!({ "url": store_name, "bytes": stored_bytes, "profile": profile_bytes });
        config["chunks"] = place;
        if blocks {
            config["chunks"]["block"] = BLOCK_BYTES.into();
            for (number, block) in store.chunks(BLOCK_BYTES).enumerate() {
                let name = format!("{store_name}/{number}").into();
                assets.push(Asset { name, bytes: block.into() });
            }
        } else {
            assets.push(Asset { name: store_name.into(), bytes: store.into() });
        }
    }
    assets.push(Asset { name: app_name.into(), bytes: app.bytes().into() });
    for &(name, bytes) in embedded::WEB {
        assets.push(Asset { name: name.into(), bytes: bytes.into() });
    }
    let index = assets.iter_mut().find(|asset| asset.name == INDEX).context("the page is missing")?;
    let page = std::str::from_utf8(&index.bytes)?;
    // Within <script>, so that nothing in it may end that element.
    let config = config.to_string().replace('<', "\\u003c");
    let filled = page.replacen(CONFIG, &config, 1);
    if filled == page {
        bail!("the page has no place for what it opens");
    }
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let filled = filled.replacen(TITLE, &format!("<title>{title}</title>"), 1);
    index.bytes = filled.into_bytes().into();
    // The page names all the others: it comes last, so that whoever loads it meanwhile finds all of one version.
    assets.sort_by_key(|asset| asset.name == INDEX);
    Ok(assets)
}

/// The app's name: its tag, else its program (`bundle/web/main.js` has the same).
fn title(app: &App) -> String {
    let tag =
        app.manifest.image.tags.first().map(|tag| tag.strip_suffix(":latest").unwrap_or(tag).to_string());
    tag.unwrap_or_else(|| app.manifest.entry.argv.join(" "))
}

/// As much of a digest as a name needs.
fn short(digest: &str) -> &str {
    &digest[..digest.len().min(16)]
}

fn is_digest(part: &str) -> bool {
    let part = part.split('/').next().unwrap_or_default();
    part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The type that a browser must be told.
pub fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_digest_are_for_ever() {
        let immutable =
            |name: &'static str| Asset { name: name.into(), bytes: b"".as_slice().into() }.immutable();
        assert!(immutable("main.b4a5834964a86dab.js"));
        assert!(immutable("app.b4a5834964a86dab.chunks/17"));
        assert!(!immutable("index.html") && !immutable("icon.svg"));
    }
}
