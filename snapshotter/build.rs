//! Builds what the command carries inside: the engine (Wasm), the demo image
//! (riscv64), and the list of the page's files with the translator (Wasm) among them.
//!
//! Engine and translator come from this workspace by a nested cargo with its own
//! target directory, so that it neither waits for nor disturbs the outer build. Set
//! `FRISCY_ENGINE` or `FRISCY_TRANSLATOR` to a Wasm file to use that one instead.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

#[path = "../tests/guests/demo.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests, which use more of it")]
mod demo;

#[path = "../bundle/prepare.rs"]
#[allow(unreachable_pub, reason = "written as a module of its own")]
mod prepare;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "engine";

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Asked at run time: a copied target directory brings a build script that was compiled elsewhere.
    let crate_dir =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let root = crate_dir.parent().expect("the crate is in the workspace");
    println!("cargo::rerun-if-changed=build.rs");
    engine(root, &out);
    demo_image(root, &out);
    let translator = translator(root, &out);
    web(root, &out, &translator);
}

/// A Wasm module of this workspace; the file that `variable` names, where it does, in its place.
fn module(root: &Path, out: &Path, package: &str, parts: &[&str], variable: &str) -> PathBuf {
    println!("cargo::rerun-if-env-changed={variable}");
    if let Some(path) = std::env::var_os(variable) {
        println!("cargo::rerun-if-changed={}", Path::new(&path).display());
        return path.into();
    }
    for part in parts.iter().chain(&["formats", "Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    require_target(TARGET);
    let target_dir = out.join("engine-build");
    run(cargo(root, &target_dir)
        .args(["--package", package, "--profile", PROFILE])
        .args(["--target", TARGET]));
    target_dir.join(TARGET).join(PROFILE).join(format!("{}.wasm", package.replace('-', "_")))
}

/// `OUT_DIR/engine.wasm`.
fn engine(root: &Path, out: &Path) {
    let wasm = module(root, out, "friscy-engine", &["runtime"], "FRISCY_ENGINE");
    std::fs::copy(&wasm, out.join("engine.wasm"))
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", wasm.display()));
}

/// The directory of the translator for the page and Node: `translator.js`, `translator_bg.wasm`, and the blake3 of the
/// engine for which it translates, as hexadecimal digits in `engine`.
fn translator(root: &Path, out: &Path) -> PathBuf {
    let parts = ["bundle/translator", "runtime/translator", "runtime/src/hart"];
    let wasm = module(root, out, "friscy-page-translator", &parts, "FRISCY_TRANSLATOR");
    let directory = out.join("translator");
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(wasm).out_name("translator").typescript(false);
    bindgen.omit_default_module_path(true).remove_name_section(true).remove_producers_section(true);
    let made = bindgen.web(true).and_then(|bindgen| bindgen.generate(&directory));
    made.unwrap_or_else(|error| panic!("the translator's JavaScript cannot be made: {error:#}"));
    let engine = std::fs::read(out.join("engine.wasm")).expect("the engine was built before");
    let digest = blake3::hash(&engine).to_hex();
    std::fs::write(directory.join("engine"), digest.as_str()).expect("OUT_DIR can be written");
    directory
}

/// `cargo build` for another target: nothing of the outer build's flags, wrappers and directories applies to it.
fn cargo(root: &Path, target_dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("build").arg("--quiet").current_dir(root).arg("--target-dir").arg(target_dir);
    for variable in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
    ] {
        command.env_remove(variable);
    }
    command
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{command:?} failed ({status}): see its messages above"),
        Err(error) => panic!("cannot run {command:?}: {error}"),
    }
}

/// A readable end when the standard library for `target` is not installed.
fn require_target(target: &str) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    let installed = output.ok().filter(|output| output.status.success()).is_some_and(|output| {
        std::fs::read_dir(String::from_utf8_lossy(&output.stdout).trim())
            .is_ok_and(|mut dir| dir.next().is_some())
    });
    if !installed {
        println!(
            "cargo::error=the Rust target {target} is missing: add it with `rustup target add {target}`"
        );
        std::process::exit(1);
    }
}

/// `OUT_DIR/demo.tar`: what `docker save` would give for the demo image.
fn demo_image(root: &Path, out: &Path) {
    let guests = root.join("tests/guests");
    for part in ["Cargo.toml", "Cargo.lock", "demo.rs", "demo", "sys", "sh", "tools"] {
        println!("cargo::rerun-if-changed={}", guests.join(part).display());
    }
    require_target(demo::TARGET);
    let target_dir = out.join("guests-build");
    let tree = demo::compile(&guests, &target_dir).and_then(|()| demo::tree(&guests, &target_dir));
    let tree = tree.unwrap_or_else(|error| panic!("{error}"));
    let layer = layer(&tree);
    let digest: String = Sha256::digest(&layer).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let config = serde_json::json!({
        "architecture": "riscv64",
        "os": "linux",
        "config": {
            "Entrypoint": demo::ENTRYPOINT,
            "Env": demo::ENV,
            "WorkingDir": demo::WORKDIR,
            "User": demo::USER.0,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": ["friscy-demo:latest"], "Layers": ["layer.tar"] }]);
    let mut image = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
        ("manifest.json", manifest.to_string().into_bytes()),
    ] {
        let mut header = header(0o644, 0, tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        image.append_data(&mut header, name, bytes.as_slice()).expect("memory takes all");
    }
    let image = image.into_inner().expect("memory takes all");
    std::fs::write(out.join("demo.tar"), image).expect("OUT_DIR can be written");
}

fn header(mode: u32, owner: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(demo::MTIME);
    header.set_size(0);
    header
}

fn layer(tree: &demo::Tree) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, (mode, node)) in tree {
        let owner = demo::owner(path);
        let done = match node {
            demo::Node::Directory => {
                let mut header = header(*mode, owner, tar::EntryType::Directory);
                layer.append_data(&mut header, format!("{path}/"), std::io::empty())
            }
            demo::Node::File(bytes) => {
                let mut header = header(*mode, owner, tar::EntryType::Regular);
                header.set_size(bytes.len() as u64);
                layer.append_data(&mut header, path, bytes.as_slice())
            }
            demo::Node::Link(target) => {
                layer.append_link(&mut header(*mode, owner, tar::EntryType::Symlink), path, target)
            }
        };
        done.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    layer.into_inner().expect("memory takes all")
}

/// `OUT_DIR/web.rs`: a slice of (name, contents) of the page's files.
fn web(root: &Path, out: &Path, translator: &Path) {
    let bundle = root.join("bundle");
    for part in prepare::SOURCES {
        println!("cargo::rerun-if-changed={}", bundle.join(part).display());
    }
    let mut list = String::from("&[\n");
    match prepare::files(&bundle, &out.join("npm"), translator) {
        Ok((files, node_host)) => {
            std::fs::copy(node_host, out.join("friscy-node.mjs")).expect("OUT_DIR can be written");
            for (name, path) in files {
                let _ = writeln!(list, "    ({name:?}, include_bytes!({path:?})),");
            }
        }
        // Everything but the page works without; `serve` and `bundle` say so.
        Err(error) => {
            println!("cargo::warning=built without the browser page: {error}");
            std::fs::write(out.join("friscy-node.mjs"), "").expect("OUT_DIR can be written");
        }
    }
    list.push(']');
    std::fs::write(out.join("web.rs"), list).expect("OUT_DIR can be written");
}
