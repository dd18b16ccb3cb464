//! What the benches share: CPU time of a command, medians, tables.
//!
//! Wall time moves with the machine's load, CPU time hardly: figures are CPU
//! seconds (user + system, children included), medians of several runs, and
//! ratios to something run beside them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use friscy_tests::oracle::friscy_snap;

/// CPU seconds of one run of `argv` with its output thrown away. Panics when it fails: a failed run has no speed.
pub fn cpu_seconds(argv: &[String]) -> f64 {
    // The shell's `time` knows the CPU time of a child and its children.
    let script = "TIMEFORMAT='%3U %3S'; time \"$@\" > /dev/null 2> /dev/null";
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(argv)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{argv:?} fails: {:?}", output.status.code());
    let text = String::from_utf8_lossy(&output.stderr);
    text.split_whitespace().map(|field| field.parse::<f64>().expect("seconds")).sum()
}

/// CPU seconds of all of Chromium from navigation to the first output of each app, medians of `runs` visits with a new
/// profile, without what a page with nothing in it takes. The report is written below `folder`.
pub fn chromium_seconds(apps: &[PathBuf], runs: usize, folder: &Path) -> Vec<f64> {
    let report = folder.join("chromium");
    let mut command = Command::new(friscy_snap());
    command.args(["bench", "-q", "--hosts", "browser", "--runs", &runs.to_string(), "-o"]).arg(&report);
    let output = command.args(apps).output().expect("friscy-snap runs");
    assert!(output.status.success(), "friscy-snap bench fails: {}", String::from_utf8_lossy(&output.stderr));
    let samples = std::fs::read_to_string(report.join("samples.csv")).expect("the samples");
    let mut lines = samples.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heads = lines.next().expect("heads");
    let column = |name| heads.iter().position(|head| *head == name).expect("a column");
    let (subject, visit, cpu) = (column("subject"), column("visit"), column("cpu_ms"));
    let visits: Vec<_> = lines.filter(|fields| fields[visit] == "cold").collect();
    let seconds = |name: &str| {
        let mut of = visits.iter().filter(|fields| fields[subject] == name);
        median(runs, || of.next().expect("a visit in each round")[cpu].parse::<f64>().expect("ms") / 1e3)
    };
    let name = |app: &PathBuf| app.file_stem().expect("a file name").to_string_lossy().into_owned();
    apps.iter().map(|app| seconds(&name(app)) - seconds("floor")).collect()
}

/// Median of `runs` runs of `measure`.
pub fn median(runs: usize, mut measure: impl FnMut() -> f64) -> f64 {
    let mut samples: Vec<f64> = (0..runs).map(|_| measure()).collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Owned arguments.
pub fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Print rows with columns aligned, the first to the left.
pub fn print_table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells = row.iter().enumerate().map(|(c, cell)| {
            let width = widths[c];
            if c == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
