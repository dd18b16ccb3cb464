//! What the benches share: CPU time of a command, medians, options, tables.
//!
//! Wall time moves with the machine's load, CPU time hardly: figures are CPU
//! seconds (user + system, children included), medians of several runs, and
//! ratios to something run beside them. A command that fails, or prints what it
//! should not, has no speed: the bench ends and says which it is.

pub mod options;
pub mod table;
pub mod translation;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use friscy_tests::oracle::friscy_snap;

/// CPU seconds of one run of `argv`. It must end with 0 and print `expected`, if that is given.
pub fn cpu_seconds(argv: &[String], expected: Option<&str>) -> Result<f64> {
    // The shell's `time` knows the CPU time of a child and its children.
    let script = "TIMEFORMAT='%3U %3S'; { time \"$@\" 2> /dev/null; }";
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(argv)
        .stdin(Stdio::null())
        .output()
        .context("bash does not start")?;
    let shown = || argv.join(" ");
    ensure!(output.status.success(), "{} fails: {}", shown(), output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    if let Some(expected) = expected
        && printed != expected
    {
        bail!("{} prints {printed:?} and not {expected:?}", shown());
    }
    let times = String::from_utf8_lossy(&output.stderr).into_owned();
    times.split_whitespace().map(|field| field.parse::<f64>().context("seconds")).sum()
}

/// CPU seconds of a run of `argv`, median; the first run, which may fill caches, does not count.
pub fn warm_seconds(runs: usize, argv: &[String], expected: Option<&str>) -> Result<f64> {
    cpu_seconds(argv, expected)?;
    median(runs, || cpu_seconds(argv, expected))
}

/// CPU seconds of all of Chromium from navigation to the first output of each app, medians of `runs` visits with a new
/// profile, without what a page with nothing in it takes. An app that ends without output is an error. The report is
/// written below `folder`.
pub fn chromium_seconds(apps: &[PathBuf], runs: usize, folder: &Path) -> Result<Vec<f64>> {
    let report = folder.join("chromium");
    let mut command = Command::new(friscy_snap());
    command.args(["bench", "-q", "--hosts", "browser", "--runs", &runs.to_string(), "-o"]).arg(&report);
    let output = command.args(apps).output().context("friscy-snap does not start")?;
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "friscy-snap bench fails: {said}");
    let samples = std::fs::read_to_string(report.join("samples.csv"))?;
    let mut lines = samples.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heads = lines.next().context("samples.csv is empty")?;
    let column = |name| heads.iter().position(|head| *head == name).context("no such column in samples.csv");
    let (subject, visit, cpu) = (column("subject")?, column("visit")?, column("cpu_ms")?);
    let visits: Vec<_> = lines.filter(|fields| fields[visit] == "cold").collect();
    let seconds = |name: &str| {
        let mut of = visits.iter().filter(|fields| fields[subject] == name);
        median(runs, || Ok(of.next().context("a visit is missing")?[cpu].parse::<f64>()? / 1e3))
    };
    let floor = seconds("floor")?;
    let name = |app: &PathBuf| app.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    apps.iter().map(|app| Ok(seconds(&name(app))? - floor)).collect()
}

/// Median of `runs` runs of `measure`.
pub fn median(runs: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut samples = (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>()?;
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().context("no runs")
}

/// Owned arguments.
pub fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The command with these arguments; the bench ends if it fails.
pub fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    ensure!(output.status.success(), "{command:?} fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Node's host as `bundle` writes it for `app`, with its translator, in `site`.
pub fn node_host(app: &Path, site: &Path) -> Result<String> {
    succeed(Command::new(friscy_snap()).arg("bundle").arg(app).arg("-q").arg("-o").arg(site))?;
    Ok(site.join("friscy-node.mjs").to_string_lossy().into_owned())
}
