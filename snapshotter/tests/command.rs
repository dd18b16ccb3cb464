//! The command as a user meets it, on the demo image: packing, running, and
//! what is said about bad input. Slower and larger things are in `tests/`.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use friscy_snap::{embedded, seal};
use tempfile::TempDir;

mod common;

use common::{friscy_snap, text};

/// A directory with `image.tar` and `app.wasm`, made once.
fn shared() -> &'static Path {
    static SHARED: OnceLock<TempDir> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(dir.path().join("image.tar"), embedded::DEMO).expect("it can be written");
            let output = friscy_snap(&["image.tar", "-o", "app.wasm"], dir.path(), b"");
            assert!(output.status.success(), "{}", text(&output.stderr));
            dir
        })
        .path()
}

/// `run app.wasm -- -c SCRIPT`: exit code and standard output.
fn sh(script: &str, stdin: &[u8]) -> (Option<i32>, String) {
    let output = friscy_snap(&["run", "app.wasm", "--", "-c", script], shared(), stdin);
    (output.status.code(), text(&output.stdout))
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("it can be written");
    path
}

#[test]
fn the_exit_code_is_the_guest_s() {
    assert_eq!(sh("exit 7", b""), (Some(7), String::new()));
    assert_eq!(sh("true", b"").0, Some(0));
}

#[test]
fn arguments_take_the_place_of_the_cmd() {
    assert_eq!(sh("echo a b; echo c", b""), (Some(0), "a b\nc\n".to_string()));
}

#[test]
fn standard_input_passes_through_unchanged() {
    let input: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
    let output = friscy_snap(&["run", "app.wasm", "--", "-c", "cat"], shared(), &input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == input, "{} bytes came back of {}", output.stdout.len(), input.len());
}

#[test]
fn environment_and_directory_are_docker_s() {
    let arguments = [
        "run",
        "app.wasm",
        "-eGREETING=hi there",
        "-w",
        "/etc",
        "--hostname",
        "box",
        "--",
        "-c",
        "pwd; env; uname -n",
    ];
    let output = text(&friscy_snap(&arguments, shared(), b"").stdout);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.first(), Some(&"/etc"), "{output}");
    assert!(lines.contains(&"GREETING=hi there"), "{output}");
    assert_eq!(lines.last(), Some(&"box"), "{output}");
}

#[test]
fn an_image_runs_without_a_file_between() {
    let output = friscy_snap(&["run", "image.tar", "-q", "--", "-c", "echo direct; exit 3"], shared(), b"");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), "direct\n".to_string()));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = std::fs::read(shared().join("app.wasm")).expect("it was packed");
    let output = friscy_snap(&["-", "-o", "again.wasm"], dir.path(), embedded::DEMO);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = std::fs::read(dir.path().join("again.wasm")).expect("it was packed");
    assert!(first == again, "{} and {} bytes differ", first.len(), again.len());
}

#[test]
fn every_engine_takes_the_module() {
    let app = std::fs::read(shared().join("app.wasm")).expect("it was packed");
    seal::validate(&app).expect("valid");
}

#[test]
fn a_frozen_prompt_is_there_again_and_takes_no_arguments() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let image = shared().join("image.tar");
    let image = image.to_str().expect("a plain path");
    let output = friscy_snap(&[image, "-o", "idle.wasm", "--until", "idle", "-t=false"], dir.path(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = friscy_snap(&["run", "idle.wasm"], dir.path(), b"echo again here\nexit 5\n");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("again here"), "{}", text(&output.stdout));
    let output = friscy_snap(&["run", "idle.wasm", "--", "ls"], dir.path(), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--until entry"), "{}", text(&output.stderr));
}

#[test]
fn inspect_speaks_to_people_and_to_programs() {
    let output = friscy_snap(&["inspect", "app.wasm"], shared(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("parsed at open     nothing"), "{}", text(&output.stdout));
    let output = friscy_snap(&["inspect", "app.wasm", "--json"], shared(), b"");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["manifest"]["freeze"], "entry");
    assert_eq!(json["parsed_at_open"], serde_json::json!([]));
}

#[test]
fn bad_input_is_one_clear_line_and_leaves_nothing_behind() {
    let app = std::fs::read(shared().join("app.wasm")).expect("it was packed");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path();
    write(path, "empty.tar", b"");
    write(path, "text.tar", b"this is no tar at all, whatever its name says");
    write(path, "cut.tar", &embedded::DEMO[..embedded::DEMO.len() / 2]);
    write(path, "cut.wasm", &app[..app.len() / 2]);
    let mut damaged = app.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    write(path, "damaged.wasm", &damaged);
    write(path, "strange.wasm", b"\0asm\x01\0\0\0");
    write(path, "image.tar", embedded::DEMO);
    // Same length, so that the tar stays whole.
    write(path, "other.tar", &replaced(embedded::DEMO, b"\"riscv64\"", b"\"mips64l\""));
    write(path, "later.wasm", &replaced(&app, b"{\"format\":3,", b"{\"format\":9,"));
    std::fs::create_dir(path.join("folder")).expect("it can be made");
    let before = listing(path);

    let pack = |image| vec![image, "-o", "out.wasm"];
    let cases: Vec<(Vec<&str>, i32, &[&str])> = vec![
        (pack("missing.tar"), 1, &["missing.tar", "No such file"]),
        (pack("folder"), 1, &["folder", "is a directory"]),
        (pack("empty.tar"), 1, &["empty.tar", "empty"]),
        (pack("text.tar"), 1, &["text.tar", "not an image"]),
        (pack("cut.tar"), 1, &["cut.tar", "truncated"]),
        (pack("other.tar"), 1, &["other.tar", "mips64l", "--platform linux/riscv64"]),
        (
            vec!["image.tar", "-o", "out.wasm", "--entrypoint", "/bin/missing"],
            1,
            &["image.tar", "/bin/missing"],
        ),
        (vec!["image.tar", "-o", "out.wasm", "--entrypoint", "/etc/motd"], 1, &["image.tar", "/etc/motd"]),
        (vec!["image.tar", "-o", "no/such/out.wasm"], 1, &["no/such"]),
        (vec!["image.tar", "-o", "folder"], 1, &["folder", "is a directory"]),
        (vec!["image.tar", "-o", "/dev/full"], 1, &["/dev/full", "No space left"]),
        (vec!["run", "cut.wasm"], 1, &["cut.wasm", "truncated"]),
        (vec!["run", "damaged.wasm"], 1, &["damaged.wasm", "damaged"]),
        (vec!["run", "strange.wasm"], 1, &["strange.wasm", "not a friscy app"]),
        (vec!["run", "later.wasm"], 1, &["later.wasm", "format 9", "pack the image again"]),
        (vec!["inspect", "image.tar"], 1, &["image.tar", "not a WebAssembly file"]),
        (vec!["image.tar"], 2, &["--output"]),
        (vec!["image.tar", "-o", "out.wasm", "--nonsense"], 2, &["--nonsense"]),
        (vec!["image.tar", "-o", "out.wasm", "--memory", "lots"], 2, &["512m"]),
        (vec!["image.tar", "-o", "out.wasm", "--until", "later"], 2, &["instructions:N"]),
    ];
    for (arguments, code, words) in cases {
        let output = friscy_snap(&arguments, path, b"");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?} does not say {word:?}: {said}");
        }
        assert!(code == 2 || said.lines().count() == 1, "{arguments:?}: {said}");
        assert_eq!(listing(path), before, "{arguments:?} left something behind");
    }
}

#[test]
fn a_split_app_reads_what_is_beside_it_and_says_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path();
    let pack = [
        "-",
        "-o",
        "s.wasm",
        "-q",
        "--layout",
        "split",
        "--train",
        "/bin/sh -c 'exit 3'",
        "--cache",
        "cache",
    ];
    for again in [false, true] {
        let output = friscy_snap(&pack, path, embedded::DEMO);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let packs = listing(path.join("cache").as_path()).iter().flat_map(|dir| listing(dir)).count();
        assert_eq!(packs, 1, "packed again: {again}");
    }
    let run = || friscy_snap(&["run", "s.wasm", "--", "-c", "cat README | wc -l; exit 4"], path, b"");
    let output = run();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let inspect = || friscy_snap(&["inspect", "s.wasm", "--json"], path, b"");
    let json: serde_json::Value = serde_json::from_slice(&inspect().stdout).expect("JSON");
    let chunks = &json["manifest"]["chunks"];
    assert_eq!(chunks["layout"], "split");
    assert!(
        chunks["warm_bytes"].as_u64() > Some(0)
            && chunks["warm_bytes"].as_u64() < chunks["raw_bytes"].as_u64()
    );

    let store = std::fs::read(path.join("s.chunks")).expect("it is beside");
    write(path, "s.chunks", &store[1..]);
    let says = |output: Output, code, word: &str| {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("s.wasm") && said.contains(word), "{said}");
    };
    says(run(), 1, "truncated");
    std::fs::remove_file(path.join("s.chunks")).expect("it is there");
    says(run(), 1, "belong beside it");
    write(path, "s.chunks", &vec![0x55; store.len()]);
    // A page of the shell's own code lies in the store: SIGBUS, as Linux has it for a page that cannot be read.
    let output = run();
    let said = text(&output.stderr);
    assert!(
        output.status.code() == Some(128 + 7) && said.matches("the chunk store is damaged").count() == 1,
        "{said}"
    );
    says(inspect(), 1, "damaged");
    let output = friscy_snap(&["-", "-o", "/dev/full", "--layout", "split"], path, embedded::DEMO);
    assert!(text(&output.stderr).contains("--layout single"), "{}", text(&output.stderr));
}

#[test]
fn a_program_that_cannot_start_is_named_when_running_too() {
    let start = |program| friscy_snap(&["run", "app.wasm", "--entrypoint", program], shared(), b"");
    for (program, code) in [("/bin/missing", 127), ("missing", 127), ("/etc/motd", 126)] {
        let output = start(program);
        assert_eq!(output.status.code(), Some(code), "{program}: as docker and every shell");
        let said = text(&output.stderr);
        assert!(said.contains("app.wasm") && said.contains(program), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_failed_pack_leaves_the_old_file_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let old = write(dir.path(), "out.wasm", b"precious");
    write(dir.path(), "bad.tar", b"no image");
    assert_eq!(friscy_snap(&["bad.tar", "-o", "out.wasm"], dir.path(), b"").status.code(), Some(1));
    assert_eq!(std::fs::read(old).expect("still there"), b"precious");
}

#[test]
fn completions_and_man_page_come_from_the_definition() {
    let completions = friscy_snap(&["completions", "bash"], shared(), b"");
    assert!(text(&completions.stdout).contains("friscy-snap"));
    let man = friscy_snap(&["man"], shared(), b"");
    assert!(text(&man.stdout).starts_with(".ie") || text(&man.stdout).contains(".TH friscy-snap"));
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is in there");
    let mut new = bytes.to_vec();
    new[at..at + to.len()].copy_from_slice(to);
    new
}

fn listing(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    names
}
