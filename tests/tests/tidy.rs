//! House rules, as a test: what reviews should not have to say.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_tests::oracle::repository;

/// Where `unsafe` may stand, and why.
const UNSAFE_ROOMS: &[(&str, &str)] = &[
    ("runtime/src/mm/linear.rs", "hands out the one linear memory"),
    ("runtime/src/mm/arena.rs", "copies to and from guest memory"),
    ("runtime/src/hart/memory.rs", "the hart's loads and stores after the permission check"),
    ("runtime/src/hart/translated.rs", "calls of translated functions by table slot"),
    ("runtime/src/ring.rs", "memory that the host reads and writes"),
    ("runtime/engine/src", "exports, imports and the chunk accessor"),
    ("tests/guests", "guest programs are bare system calls"),
    ("tests/src/native/door.rs", "the ring of a machine in the same process"),
    ("snapshotter/src/mapped.rs", "memory maps of files"),
    ("snapshotter/src/code.rs", "compiled code, from wasmtime or from a file that it made"),
    ("bundle/test/fake-engine.rs", "a Wasm module's exports"),
];

/// Files longer than the ceiling, and why.
const LONG_FILES: &[(&str, &str)] = &[];

const LINES_MAX: usize = 900;
const COLUMNS_MAX: usize = 180;
const BYTES_MAX: u64 = 256 << 10;

/// Every tracked file, relative to the repository.
fn tracked() -> Vec<PathBuf> {
    let output =
        Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().expect("git");
    assert!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = names.split('\0').filter(|n| !n.is_empty()).map(PathBuf::from).collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
}

fn is_source(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| ["rs", "js", "mjs", "sh", "css", "html", "toml", "md"].iter().any(|s| e == *s))
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    tracked().into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")).map(|path| {
        let text = std::fs::read_to_string(repository().join(&path)).expect("source is UTF-8");
        (path.to_string_lossy().into_owned(), text)
    })
}

/// The line without its comment and string contents, roughly: enough to look for a keyword.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[test]
fn unsafe_lives_in_named_rooms() {
    for (path, text) in rust_files() {
        if UNSAFE_ROOMS.iter().any(|(room, _)| path.starts_with(room)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = code_of(line);
            let found = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|word| code.contains(word));
            assert!(
                !found || path == "tests/tests/tidy.rs",
                "{path}:{}: unsafe outside its rooms",
                number + 1
            );
        }
    }
}

#[test]
fn files_can_be_held_in_mind() {
    for path in tracked() {
        let full = repository().join(&path);
        let Ok(metadata) = std::fs::symlink_metadata(&full) else { continue };
        let name = path.to_string_lossy();
        assert!(
            metadata.len() <= BYTES_MAX || name.ends_with("Cargo.lock"),
            "{name}: {} bytes; is it a blob?",
            metadata.len()
        );
        if path.extension().is_some_and(|e| e == "rs") {
            let lines = std::fs::read_to_string(&full).expect("UTF-8").lines().count();
            let excused = LONG_FILES.iter().any(|(file, _)| *file == name);
            assert!(lines <= LINES_MAX || excused, "{name}: {lines} lines; why over {LINES_MAX}?");
        }
    }
}

#[test]
fn sources_begin_with_what_they_are() {
    for (path, text) in rust_files() {
        let first = text.lines().next().unwrap_or("");
        assert!(
            first.starts_with("//!") || first.starts_with("#!"),
            "{path}: no first line that says what it is"
        );
    }
}

#[test]
fn nothing_is_left_over() {
    for path in tracked().into_iter().filter(|p| is_source(p)) {
        let name = path.to_string_lossy().into_owned();
        if name == "tests/tests/tidy.rs" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(repository().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}", number + 1);
            for word in ["dbg!(", "todo!(", "unimplemented!(", "FIXME", "XXX:", "/work/", "Placeholder."] {
                assert!(!line.contains(word), "{at}: {word}");
            }
            assert!(!line.ends_with([' ', '\t']), "{at}: trailing white space");
            let width = line.chars().count();
            assert!(
                width <= COLUMNS_MAX
                    || name.ends_with(".md")
                    || line.contains("\\n")
                    || line.contains("import "),
                "{at}: {width} columns"
            );
        }
    }
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "README.md", "LICENSE", "CHANGELOG.md"];
    let folders = ["runtime", "snapshotter", "formats", "bundle", "tests", "benches", "docs"];
    for path in tracked() {
        let first = path.components().next().expect("not empty").as_os_str().to_string_lossy().into_owned();
        let fine =
            first.starts_with('.') || allowed.contains(&first.as_str()) || folders.contains(&first.as_str());
        assert!(fine, "{first}: not in the fixed top level");
    }
}
