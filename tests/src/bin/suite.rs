//! Run a suite that others wrote, case by case, under qemu-riscv64 and under friscy-snap.
//!
//!     cargo run --release -p friscy-tests --bin suite -- NAME [--every N] [--only TEXT] [--report FILE]
//!
//! NAME is one of tests/suites/*.sh. Exit code 1 when a case that passes under
//! qemu-riscv64 does not pass here.

use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use friscy_tests::oracle::{Image, Outcome, repository, work};

const USAGE: &str =
    "usage: suite ctorture|posix|busybox|bash|python [--every N] [--only TEXT] [--report FILE]";

struct Case {
    name: String,
    command: Vec<String>,
}

struct Verdict {
    name: String,
    reference: Outcome,
    ours: Outcome,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut every, mut only, mut report) = (None, 1, None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            "--every" => every = value().parse().unwrap_or_else(|_| usage()),
            "--only" => only = Some(value()),
            "--report" => report = Some(value()),
            other if name.is_none() && !other.starts_with('-') => name = Some(other.to_owned()),
            _ => usage(),
        }
    }
    let name = name.unwrap_or_else(|| usage());
    let cases = cases(&name, every, only.as_deref());
    // Leaked: the image's name is static everywhere else.
    let image = Image::get(String::leak(format!("suite-{name}")));
    let verdicts = run(&image, &cases);
    let text = summary(&name, &verdicts);
    print!("{text}");
    if let Some(file) = report {
        std::fs::write(&file, &text).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    if verdicts.iter().any(regressed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2)
}

/// The suite's cases, built when they are missing.
fn cases(suite: &str, every: usize, only: Option<&str>) -> Vec<Case> {
    let file = work().join("suites").join(format!("{suite}.cases"));
    if !file.exists() {
        let script = repository().join("tests/suites").join(format!("{suite}.sh"));
        if !script.exists() {
            usage();
        }
        let status = Command::new("bash").arg(script).env("WORK", work()).status().expect("bash");
        assert!(status.success(), "the suite {suite} could not be built");
    }
    let text = std::fs::read_to_string(&file).expect("the list of cases");
    let all = text.lines().filter_map(|line| {
        let (name, command) = line.split_once('\t')?;
        Some(Case { name: name.into(), command: command.split(' ').map(Into::into).collect() })
    });
    all.filter(|case| only.is_none_or(|text| case.name.contains(text))).step_by(every).collect()
}

/// All cases on both sides, two at a time.
fn run(image: &Image, cases: &[Case]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let argv: Vec<&str> = case.command.iter().map(String::as_str).collect();
                    let verdict = Verdict {
                        name: case.name.clone(),
                        reference: image.reference(&argv, b""),
                        ours: image.ours(&argv, b""),
                    };
                    if regressed(&verdict) {
                        eprintln!("{}: exit {:?}, qemu-riscv64 0", verdict.name, verdict.ours.code);
                    }
                    verdicts.lock().expect("no panic while held").push(verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("no panic while held");
    verdicts.sort_by(|a, b| a.name.cmp(&b.name));
    verdicts
}

fn regressed(verdict: &Verdict) -> bool {
    verdict.reference.code == Some(0) && verdict.ours.code != Some(0)
}

fn summary(suite: &str, verdicts: &[Verdict]) -> String {
    let passes =
        |outcome: fn(&Verdict) -> &Outcome| verdicts.iter().filter(|v| outcome(v).code == Some(0)).count();
    let mut text = format!(
        "{suite}: {} cases, {} pass under qemu-riscv64, {} pass here\n",
        verdicts.len(),
        passes(|v| &v.reference),
        passes(|v| &v.ours)
    );
    for verdict in verdicts.iter().filter(|v| regressed(v)) {
        let stderr = String::from_utf8_lossy(&verdict.ours.stderr);
        let stdout = String::from_utf8_lossy(&verdict.ours.stdout);
        let last =
            stderr.lines().chain(stdout.lines()).last().unwrap_or("").chars().take(160).collect::<String>();
        let code = verdict.ours.code.map_or("hangs".into(), |c| format!("exit {c}"));
        let _ = writeln!(text, "- {}: {code}: {last}", verdict.name);
    }
    text
}
