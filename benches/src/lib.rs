//! What the benches share: CPU time of a command, medians, tables.
//!
//! Wall time moves with the machine's load, CPU time hardly: figures are CPU
//! seconds (user + system, children included), medians of several runs, and
//! ratios to something run beside them.

use std::process::{Command, Stdio};

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
