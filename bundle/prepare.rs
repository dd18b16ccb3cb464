//! The page, made ready to be served: npm fetches its terminal and esbuild by
//! the lock file beside this one, `build.mjs` bundles. Nothing of it is
//! committed. A module of snapshotter/build.rs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What this depends on, below `bundle`.
pub const SOURCES: [&str; 6] =
    ["web", "node", "build.mjs", "package.json", "package-lock.json", "prepare.rs"];

/// The page's files (name, and where the file is), and Node's host in one file. `bundle` is this directory, `work`
/// one to install and build in, which is kept between builds, `translator` where wasm-bindgen put the translator. An
/// error says what to do.
pub fn files(
    bundle: &Path,
    work: &Path,
    translator: &Path,
) -> Result<(Vec<(String, PathBuf)>, PathBuf), String> {
    let modules = install(bundle, work)?;
    let (out, node_host) = (work.join("page"), work.join("friscy-node.mjs"));
    let build = bundle.join("build.mjs");
    run(Command::new("node").arg(build).arg(&out).arg(modules).arg(translator).arg(&node_host))?;
    let said = |error: std::io::Error| format!("{}: {error}", out.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&out).map_err(said)? {
        let path = entry.map_err(said)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, path));
    }
    files.sort();
    Ok((files, node_host))
}

/// `npm ci` of what the page needs, unless it was done for this lock file. The modules' directory.
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
    run(&mut npm)?;
    std::fs::write(&done, &lock).map_err(write)?;
    Ok(modules)
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("the page could not be made ({}): {text}", output.status))
        }
        Err(_) => {
            Err("the page is made with npm: install Node.js (https://nodejs.org) and build again".into())
        }
    }
}
