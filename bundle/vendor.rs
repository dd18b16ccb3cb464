//! The page's third-party files: fetched from npm by the lock file beside this
//! one, never committed. A module of snapshotter/build.rs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Name in the page, and where the file is: the list `vendor` of package.json.
/// `bundle` is this directory, `work` one to install into, which is kept
/// between builds. An error says what to do.
pub fn files(bundle: &Path, work: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let said = |error: &dyn std::fmt::Display| format!("the page's terminal cannot be prepared: {error}");
    let manifest = std::fs::read_to_string(bundle.join("package.json")).map_err(|error| said(&error))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).map_err(|error| said(&error))?;
    let modules = install(bundle, work)?;
    let list = manifest["vendor"].as_object().ok_or("package.json lists no `vendor` files")?;
    let mut files = Vec::new();
    for (name, from) in list {
        let path = modules.join(from.as_str().unwrap_or_default());
        if !path.is_file() {
            return Err(format!("npm installed no {}", path.display()));
        }
        files.push((name.clone(), path));
    }
    Ok(files)
}

/// `npm ci` of what the page ships, unless it was done for this lock file. The modules' directory.
fn install(bundle: &Path, work: &Path) -> Result<PathBuf, String> {
    let done = work.join("installed-lock.json");
    let modules = work.join("node_modules");
    let lock = std::fs::read(bundle.join("package-lock.json"))
        .map_err(|error| format!("package-lock.json: {error}"))?;
    if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(modules);
    }
    let write = |error: std::io::Error| format!("{}: {error}", work.display());
    std::fs::create_dir_all(work).map_err(write)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(bundle.join(name), work.join(name)).map_err(write)?;
    }
    let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(work);
    match npm.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("npm could not fetch the page's terminal ({}): {text}", output.status));
        }
        Err(_) => {
            return Err(
                "the page's terminal comes from npm: install Node.js (https://nodejs.org) and build again"
                    .into(),
            );
        }
    }
    std::fs::write(&done, &lock).map_err(write)?;
    Ok(modules)
}
