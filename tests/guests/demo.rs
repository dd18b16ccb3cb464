//! The demo image: what is in it, and how to build it. Included as a module by
//! snapshotter/build.rs (which makes a tar of it) and by tests; needs only std.
//!
//! Programs come from the crates beside this file, all other files from `demo/`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The bare target that the programs are compiled for; they make Linux system calls all the same.
pub const TARGET: &str = "riscv64gc-unknown-none-elf";

/// Name of the built program, where it goes.
pub const PROGRAMS: &[(&str, &str)] = &[("sh", "bin/sh"), ("tools", "bin/tools")];

/// Names of the multi-call program `bin/tools`: symbolic links beside it. The rows of `tools/src/main.rs`.
pub const TOOLS: &[&str] = &[
    "bench", "cat", "clear", "cp", "date", "echo", "env", "false", "free", "grep", "head", "hexdump", "kill",
    "life", "ln", "ls", "mandel", "mkdir", "mv", "ps", "pwd", "rm", "rmdir", "seq", "sleep", "sort", "tail",
    "touch", "true", "uname", "uptime", "wc",
];

/// Empty directories and their modes; parents of files are made as 0755.
pub const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("home/demo", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
];

/// The image's configuration, as docker's words for it.
pub const ENTRYPOINT: &[&str] = &["/bin/sh"];
/// Environment.
pub const ENV: &[&str] = &["PATH=/bin", "HOME=/home/demo", "USER=demo", "TERM=xterm-256color"];
/// Working directory.
pub const WORKDIR: &str = "/home/demo";
/// Owner of `home/demo` and what is in it (user and group); root owns the rest. The shell runs as `USER`.
pub const USER: (&str, u32) = ("demo", 1000);
/// Modification time of every entry: 2026-01-01, so that the same source gives the same image.
pub const MTIME: u64 = 1_767_225_600;

/// One entry of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this.
    Link(String),
}

/// Mode and contents, by path without a leading slash; parents come before children.
pub type Tree = BTreeMap<String, (u32, Node)>;

/// User and group number of the entry at `path`.
pub fn owner(path: &str) -> u32 {
    if path == "home/demo" || path.starts_with("home/demo/") { USER.1 } else { 0 }
}

/// Compiles the programs of the workspace at `guests` (this directory) into
/// `target_dir`, with the toolchain that runs now.
pub fn compile(guests: &Path, target_dir: &Path) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(guests).args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]);
    command.arg(target_dir).args(["-p", "sh", "-p", "tools"]);
    // Inside a build script these describe the outer build.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(name);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the guest programs do not compile ({status})")),
        Err(error) => Err(format!("cargo does not start: {error}")),
    }
}

/// All entries of the image, from what [`compile`] left in `target_dir`.
pub fn tree(guests: &Path, target_dir: &Path) -> Result<Tree, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut tree = Tree::new();
    for &(path, mode) in DIRECTORIES {
        tree.insert(path.to_owned(), (mode, Node::Directory));
    }
    for (program, path) in PROGRAMS {
        let bytes = read(&target_dir.join(TARGET).join("release").join(program))?;
        tree.insert((*path).to_owned(), (0o755, Node::File(bytes)));
    }
    for tool in TOOLS {
        tree.insert(format!("bin/{tool}"), (0o777, Node::Link("tools".to_owned())));
    }
    let mut pending = vec![guests.join("demo")];
    while let Some(directory) = pending.pop() {
        let entries =
            std::fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(guests.join("demo")).map_err(|error| error.to_string())?;
            let name = name.to_str().ok_or("a name in demo/ is not UTF-8")?.replace('\\', "/");
            let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
            tree.insert(name, (mode, Node::File(read(&path)?)));
        }
    }
    let parents: Vec<String> = tree
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>())
        .collect();
    for parent in parents {
        tree.entry(parent).or_insert((0o755, Node::Directory));
    }
    Ok(tree)
}
