//! Freeze points and what is renewed on opening, on the demo image: packed, and opened by the command.
//! The kernel's part is in `tests/tests/resume.rs`, other programs in `tests/tests/services.rs`.

use std::path::Path;
use std::process::Output;

use friscy_snap::embedded;
use tempfile::TempDir;

mod common;

use common::{friscy_snap, text};

/// A directory with the demo image.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("image.tar"), embedded::DEMO).expect("it can be written");
    dir
}

/// Pack `sh -c SCRIPT` at `point` without a terminal.
fn pack(dir: &Path, point: &str, script: &str) -> Output {
    let arguments = [
        "image.tar",
        "-o",
        "app.wasm",
        "-t=false",
        "--until",
        point,
        "--until-timeout",
        "20",
        "--",
        "-c",
        script,
    ];
    friscy_snap(&arguments, dir, b"")
}

/// The same, which succeeds; the freeze point that the file says it has.
fn packed(dir: &Path, point: &str, script: &str) -> String {
    let output = pack(dir, point, script);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json = friscy_snap(&["inspect", "app.wasm", "--json"], dir, b"").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    json["manifest"]["freeze"].as_str().expect("a name").to_string()
}

/// Open it: exit code, standard output and error.
fn open(dir: &Path, options: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let arguments = [&["run", "app.wasm"], options].concat();
    let output = friscy_snap(&arguments, dir, stdin.as_bytes());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn main_is_the_entry_of_a_static_program() {
    let dir = directory();
    assert_eq!(packed(dir.path(), "main", "echo linked"), "main");
    let json = friscy_snap(&["inspect", "app.wasm", "--json"], dir.path(), b"").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["manifest"]["retired"], 0, "the demo has no interpreter");
    assert_eq!(open(dir.path(), &[], "").1, "linked\n");
}

#[test]
fn output_freezes_after_the_write_that_matches() {
    let dir = directory();
    let script = "echo one; echo two >&2; echo ready; date +%s; exit 4";
    assert_eq!(packed(dir.path(), "output:^ready$", script), "output:^ready$");
    let (code, stdout, stderr) = open(dir.path(), &[], "");
    assert_eq!((code, &stderr[..]), (Some(4), "two\n"));
    // What was written before is repeated once; what comes after knows today's date.
    let seconds =
        stdout.strip_prefix("one\nready\n").expect(&stdout).trim().parse::<u64>().expect("a number");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(now.abs_diff(seconds) < 60, "{seconds} in the guest, {now} here");
}

#[test]
fn much_output_is_repeated_byte_for_byte() {
    let dir = directory();
    // More than the engine's buffers hold, on both streams.
    let script = "seq 200000; seq 1000 >&2; echo end; cat";
    packed(dir.path(), "idle", script);
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    let (code, stdout, stderr) = open(dir.path(), &[], "and more\n");
    assert_eq!(code, Some(0));
    assert!(stdout == expected + "end\nand more\n", "{} bytes", stdout.len());
    assert_eq!(stderr.lines().count(), 1000);
}

#[test]
fn the_guest_freezes_itself() {
    let dir = directory();
    let script = "echo before; cat /proc/friscy/freeze /proc/friscy/generation; echo > /proc/friscy/freeze; \
                  cat /proc/friscy/freeze /proc/friscy/generation /proc/sys/kernel/random/uuid; uname -n";
    assert_eq!(packed(dir.path(), "guest", script), "guest");
    let lines =
        |options: &[&str]| open(dir.path(), options, "").1.lines().map(str::to_string).collect::<Vec<_>>();
    let (first, second) = (lines(&[]), lines(&["--hostname", "elsewhere"]));
    assert_eq!(first[..4], ["before", "1", &"0".repeat(32), "0"]);
    assert_eq!(first[..4], second[..4]);
    // Two opens are two machines.
    assert_eq!(first[4].len(), 32);
    assert!(first[4] != second[4] && first[5] != second[5], "{first:?} {second:?}");
    assert_eq!((&first[6][..], &second[6][..]), ("friscy", "elsewhere"));
}

#[test]
fn the_guest_may_ask_before_another_point() {
    let dir = directory();
    assert_eq!(packed(dir.path(), "idle", "echo > /proc/friscy/freeze; echo on; sleep 1; cat"), "guest");
    assert_eq!(open(dir.path(), &[], "").1, "on\n");
    // Nothing is to be frozen here: the same program just runs.
    assert_eq!(packed(dir.path(), "entry", "echo > /proc/friscy/freeze; echo on"), "entry");
    assert_eq!(open(dir.path(), &[], "").1, "on\n");
}

#[test]
fn what_comes_too_late_is_named() {
    let dir = directory();
    packed(dir.path(), "idle", "cat");
    let cases: [(&[&str], &str); 6] = [
        (&["--", "ls"], "a command"),
        (&["-e", "A=1"], "--env"),
        (&["-w", "/"], "--workdir"),
        (&["-u", "1"], "--user"),
        (&["--entrypoint", "ls"], "--entrypoint"),
        (&["-t"], "--tty"),
    ];
    for (options, what) in cases {
        let (code, _, stderr) = open(dir.path(), options, "");
        assert_eq!(code, Some(1), "{what}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(what) && stderr.contains("--until entry"), "{stderr}");
    }
}

#[test]
fn a_point_that_is_not_reached_is_explained() {
    let dir = directory();
    let cases = [
        // Point, script, what the line says, what follows it.
        ("listen:80", "echo almost; exit 3", "ended with exit code 3", "output: almost"),
        ("output:never", "echo asking; cat", "waits for input", "] waits in read(0<pipe:["),
        ("guest", "sleep 1000 & wait", "not reached after 20 s", "waits in "),
        ("instructions:99999999999999", "echo x; cat", "waits for input", "output: x"),
    ];
    for (point, script, why, detail) in cases {
        let output = pack(dir.path(), point, script);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let first = said.lines().next().expect("a line");
        assert!(first.contains(point) && first.contains(why) && first.contains("image.tar"), "{said}");
        assert!(said.lines().skip(1).all(|line| line.starts_with("  ")), "{said}");
        assert!(said.contains(detail), "{said}");
        assert!(!dir.path().join("app.wasm").exists());
    }
}

#[test]
fn secrets_are_named_and_never_shown() {
    let dir = directory();
    // Put together here, so that no scanner takes this file for a leak.
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let script = format!("TEXT={token}; cat");
    let arguments =
        ["image.tar", "-o", "app.wasm", "-t=false", "--until", "idle", "-e", "DB_PASSWORD=hunter2222"];
    let output = friscy_snap(&[&arguments[..], &["--", "-c", &script]].concat(), dir.path(), b"");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("DB_PASSWORD in the environment, a GitHub token in memory"), "{said}");
    let strings = friscy_snap(&["inspect", "app.wasm", "--strings"], dir.path(), b"");
    let shown = text(&strings.stdout);
    assert!(strings.status.success() && shown.contains(" PATH=/"), "{}", text(&strings.stderr));
    assert!(shown.contains("DB_PASSWORD=<hidden>") && shown.contains("<a GitHub token, hidden>"), "{shown}");
    for secret in ["hunter2222", &token] {
        assert!(!said.contains(secret), "{said}");
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

/// The bytes of a snapshot, beside the property test of the native machine (`tests/tests/frozen.rs`). `FRISCY_SEED=n` replays it.
#[test]
fn a_file_frozen_anywhere_equals_an_undisturbed_run() {
    let dir = directory();
    let script = "seq 300 | sort -rn | head -n 3; echo one > /tmp/f; cat /tmp/f /nothing; \
                  (ls / | wc -l) 2>&1; mandel 40 12; sleep 0.05; cat; exit 6";
    packed(dir.path(), "entry", script);
    let whole = open(dir.path(), &[], "input\n");
    let stats = friscy_snap(&["run", "--stats", "app.wasm"], dir.path(), b"input\n");
    let said = text(&stats.stderr);
    let retired = said.lines().last().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    let retired = retired.unwrap_or_else(|| panic!("no number of instructions in {said:?}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed: u64 = std::env::var("FRISCY_SEED")
        .map_or(now.subsec_nanos().into(), |seed| seed.parse().expect("a number"));
    for round in 0..4u64 {
        // The upper bits of a product with the golden ratio: points all over the run.
        let random = seed.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let point = format!("instructions:{}", 1 + ((random * retired) >> 32) * 9 / 10);
        packed(dir.path(), &point, script);
        assert_eq!(open(dir.path(), &[], "input\n"), whole, "FRISCY_SEED={seed}: {point} of {retired}");
    }
}
