//! `friscy-snap bench` as a user meets it, on the demo image. Relations that
//! hold on any machine are checked, never times.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use friscy_snap::embedded;
use serde_json::Value;

fn demo(directory: &Path) -> PathBuf {
    let path = directory.join("demo.tar");
    std::fs::write(&path, embedded::DEMO).expect("it can be written");
    path
}

fn bench(arguments: &[&str], directory: &Path) -> Output {
    // Temporary files in a place of our own, to see that none stays.
    let tmp = directory.join("tmp");
    std::fs::create_dir_all(&tmp).expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_friscy-snap"))
        .arg("bench")
        .args(arguments)
        .current_dir(directory)
        .env("TMPDIR", &tmp)
        .output()
        .expect("the command starts");
    let left: Vec<_> =
        std::fs::read_dir(&tmp).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert!(left.is_empty(), "temporary files are left: {left:?}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn installed(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| names.iter().any(|name| directory.join(name).is_file()))
}

/// Every sample of a series of `report.json` that `wanted` takes.
fn samples<'r>(report: &'r Value, wanted: impl Fn(&Value) -> bool + 'r) -> Vec<&'r Value> {
    let series = report["series"].as_array().expect("a list").iter();
    series.filter(move |one| wanted(one)).flat_map(|one| one["samples"].as_array().expect("a list")).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn assert_plausible(report: &Value) {
    let all = samples(report, |_| true);
    assert!(!all.is_empty(), "{report:#}");
    for sample in all {
        assert!(number(&sample["wall_ms"]) > 0.0, "{sample}");
        let mut before = 0.0;
        for stage in sample["stages"].as_array().expect("a list") {
            assert!(number(&stage[1]) >= before, "a stage ends before the one before it: {sample}");
            before = number(&stage[1]);
        }
        if let (Some(before), Some(all)) = (sample["bytes_before_output"].as_u64(), sample["bytes"].as_u64())
        {
            assert!(0 < before && before <= all, "{sample}");
        }
    }
    // Opening something takes more than opening nothing, on each host, in CPU time.
    for series in report["series"].as_array().expect("a list") {
        if series["subject"] == "demo" {
            assert!(number(&series["summary"]["cpu_over_floor"]) > 1.0, "{series:#}");
        }
    }
}

fn stage_names(sample: &Value) -> Vec<&str> {
    let stages = sample["stages"].as_array().expect("a list").iter();
    stages.map(|stage| stage[0].as_str().expect("a name")).collect()
}

const STAGES: [&str; 6] = [
    "friscy:download",
    "friscy:compile",
    "friscy:instantiate",
    "friscy:thaw",
    "friscy:first-instruction",
    "friscy:first-output",
];

#[test]
fn an_image_that_does_not_pack_is_told_and_the_others_are_measured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    demo(dir.path());
    std::fs::write(dir.path().join("bad.tar"), b"this is no image").expect("it can be written");
    let hosts = if installed(&["node"]) { "native,node" } else { "native" };
    let arguments =
        ["bad.tar", "demo.tar", "--runs", "2", "--hosts", hosts, "--vs", "shell=echo hi", "-o", "out"];
    let output = bench(&arguments, dir.path());
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join("out").join(name)).expect("written");
    let report: Value = serde_json::from_str(&read("report.json")).expect("JSON");
    let bad = report["subjects"].as_array().and_then(|all| all.iter().find(|s| s["name"] == "bad"));
    let reason = bad.and_then(|bad| bad["error"].as_str()).expect("a reason");
    assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
    assert!(text(&output.stdout).contains(reason) && read("report.html").contains("bad: "), "{said}");
    assert_plausible(&report);
    for host in hosts.split(',') {
        let opened = samples(&report, |s| s["subject"] == "demo" && s["place"]["host"] == host);
        assert_eq!(opened.len(), 2, "{host}: {said}");
        assert_eq!(stage_names(opened[0]), STAGES, "{host}");
    }
    assert_eq!(samples(&report, |s| s["subject"] == "shell").len(), 2);
    assert_eq!(read("samples.csv").lines().count(), 1 + samples(&report, |_| true).len());
    let names: Vec<_> = std::fs::read_dir(dir.path().join("out")).expect("a directory").collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_page_is_measured_cold_and_warm_and_over_a_slow_line() {
    let chromium = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    if embedded::WEB.is_empty() || std::env::var_os("CHROME").is_none() && !installed(&chromium) {
        eprintln!("not tested: this needs a Chromium, and a friscy-snap with its page");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    demo(dir.path());
    let arguments =
        ["demo.tar", "--runs", "1", "--hosts", "browser", "--network", "20mbit,100ms", "-o", "out"];
    let output = bench(&arguments, dir.path());
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let json = std::fs::read(dir.path().join("out/report.json")).expect("written");
    let report: Value = serde_json::from_slice(&json).expect("JSON");
    assert_plausible(&report);
    let of = |subject: &str, network: &str, visit: &str| {
        let place = |s: &Value| s["place"]["network"] == network && s["place"]["visit"] == visit;
        let found = samples(&report, |s| s["subject"] == subject && place(s));
        assert_eq!(found.len(), 1, "{subject} {network} {visit}: {said}");
        found[0].clone()
    };
    let (cold, warm) = (of("demo", "loopback", "cold"), of("demo", "loopback", "warm"));
    // Only a page draws.
    assert_eq!(stage_names(&cold), [STAGES.as_slice(), &["friscy:drawn"]].concat());
    assert!(number(&warm["bytes"]) < number(&cold["bytes"]), "the browser kept nothing: {said}");
    assert!(number(&cold["memory_bytes"]) > 10e6, "{said}");
    // The page, its worker and the app are three round trips and a handshake, one after the other; and there are
    // the bytes. No machine is faster than its line.
    for subject in ["floor", "demo"] {
        let slow = of(subject, "20mbit,100ms", "cold");
        let line_ms = number(&slow["bytes_before_output"]) * 8.0 / 20e3 + 400.0;
        assert!(number(&slow["wall_ms"]) >= line_ms, "{subject}: {said}");
    }
}

#[test]
fn what_is_asked_for_by_name_must_be_there() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    demo(dir.path());
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_friscy-snap"))
            .arg("bench")
            .args(arguments)
            .current_dir(dir.path())
            .env("CHROME", "no-such-browser")
            .output()
            .expect("the command starts");
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = run(&["demo.tar", "--hosts", "browser"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("CHROME says no-such-browser") && said.lines().count() == 1, "{said}");
    let (code, said) = run(&["demo.tar", "-o", "demo.tar"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("it is a file") && said.lines().count() == 1, "{said}");
    for usage in
        [&["demo.tar", "--runs", "0"][..], &["demo.tar", "--network", "fast"], &[], &["x", "--hosts", "moon"]]
    {
        assert_eq!(run(usage).0, Some(2), "{usage:?}");
    }
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    demo(dir.path());
    let tmp = dir.path().join("tmp");
    std::fs::create_dir(&tmp).expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_friscy-snap"))
        .args(["bench", "demo.tar", "--hosts", "native", "--vs", "long=sleep 1000", "-o", "out"])
        .current_dir(dir.path())
        .env("TMPDIR", &tmp)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Its work directory is made after it began to listen for signals.
    let patience = Instant::now() + Duration::from_secs(60);
    while std::fs::read_dir(&tmp).expect("a directory").count() == 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("it was ours").code(), Some(1));
    assert_eq!(std::fs::read_dir(&tmp).expect("a directory").count(), 0, "temporary files are left");
    assert!(!dir.path().join("out").exists(), "a partial report");
}
