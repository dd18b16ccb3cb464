//! `friscy-snap demo`: the built-in image packed, resumed here, and measured.
//!
//! On a terminal you get its shell; elsewhere a short scripted session runs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use friscy_formats::boot::Until;

use crate::app::App;
use crate::cli::{Demo, ProcessOptions, StoreOptions, Talk, TranslateOptions};
use crate::progress::{Progress, size};
use crate::{embedded, host, pack, terminal};

/// What the scripted session types.
const SCRIPT: &str = "cat /etc/os-release\nuname -a\nls\nseq 1 1000 | wc -l\nexit\n";

/// `friscy-snap demo`: the guest's exit code.
pub fn command(args: &Demo) -> Result<u8> {
    let mut progress = Progress::new(Talk::default());
    let (process, translate, store) =
        (ProcessOptions::default(), TranslateOptions::off(), StoreOptions::default());
    let goal = Until::Entry.into();
    let sealed = pack::pack(&embedded::DEMO.into(), &process, &translate, &store, &goal, true, &mut progress)
        .context("the demo image")?;
    let times = progress.finish();
    let seconds: f64 = times.iter().map(|(_, time)| time.as_secs_f64()).sum();
    let path = match &args.output {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("friscy-demo-{}.wasm", std::process::id())),
    };
    sealed.save(&path)?;
    eprintln!(
        "packed the demo image ({}) to {} ({}) in {seconds:.2} s",
        size(embedded::DEMO.len() as u64),
        path.display(),
        size(sealed.file_bytes())
    );
    let measured = measure(&path)?;
    eprintln!("start-up, from exec of friscy-snap to the shell's first output, median of {RUNS}: {measured}");
    let app = App::open(&path)?;
    let code = if terminal::present() && !args.scripted {
        eprintln!("here is its shell; leave it with exit\n");
        host::run(&app, host::Options::default())?.code
    } else {
        scripted(&path)?
    };
    eprintln!("\nthe same file in a browser: friscy-snap serve {}", path.display());
    Ok(code)
}

/// Starts measured.
const RUNS: usize = 5;

/// Wall and CPU time of `run APP -- -c 'echo ready'` in processes of their own.
fn measure(path: &Path) -> Result<String> {
    let mut walls = Vec::new();
    let mut cpus = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let output = Command::new(std::env::current_exe()?)
            .args(["run", "--stats"])
            .arg(path)
            .args(["--", "-c", "echo ready"])
            .stdin(Stdio::null())
            .output()
            .context("cannot start friscy-snap")?;
        let wall = start.elapsed();
        if !output.status.success() || output.stdout != b"ready\n" {
            bail!("the demo does not start: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let stats = String::from_utf8_lossy(&output.stderr);
        let cpu = stats.split("CPU ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        walls.push(wall.as_secs_f64());
        cpus.push(cpu.context("no CPU time in the statistics")?);
    }
    walls.sort_by(f64::total_cmp);
    cpus.sort_by(f64::total_cmp);
    Ok(format!("{:.0} ms wall, {:.0} ms CPU", walls[RUNS / 2] * 1e3, cpus[RUNS / 2] * 1e3))
}

/// The session for those who only watch: typed by us, its output passed on.
fn scripted(path: &Path) -> Result<u8> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("run")
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start friscy-snap")?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    stdin.write_all(SCRIPT.as_bytes())?;
    drop(stdin);
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
