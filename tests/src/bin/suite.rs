//! Run suites that others wrote, case by case, under qemu-riscv64 and under friscy-snap.
//!
//!     cargo run --release -p friscy-tests --bin suite -- NAME|all [--every N] [--only TEXT] [--limit SECONDS]
//!
//! NAME is one of tests/suites/*.sh. A whole run (without --every and --only) writes its part of docs/CONFORMANCE.md.
//! Exit code 1 when something that passes under qemu-riscv64 does not pass here and has no cause in
//! tests/suites/causes.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use friscy_tests::conformance::{self, Causes, Verdict};
use friscy_tests::oracle::{Image, LIMIT, repository, work};

const SUITES: [&str; 5] = ["ctorture", "posix", "busybox", "bash", "python"];
const USAGE: &str =
    "usage: suite ctorture|posix|busybox|bash|python|all [--every N] [--only TEXT] [--limit SECONDS]";

struct Case {
    name: String,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut every, mut only, mut limit) = (None, 1, None, LIMIT);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            "--every" => every = value().parse().unwrap_or_else(|_| usage()),
            "--only" => only = Some(value()),
            "--limit" => limit = Duration::from_secs(value().parse().unwrap_or_else(|_| usage())),
            other if name.is_none() && !other.starts_with('-') => name = Some(other.to_owned()),
            _ => usage(),
        }
    }
    let name = name.unwrap_or_else(|| usage());
    let suites = if name == "all" { SUITES.to_vec() } else { vec![name.as_str()] };
    let whole = every == 1 && only.is_none();
    let causes = Causes::load();
    let mut unexplained = false;
    for suite in suites {
        let cases = cases(suite, every, only.as_deref());
        // Leaked: the image's name is static everywhere else.
        let mut image = Image::get(String::leak(format!("suite-{suite}")));
        image.limit = limit;
        let verdicts = run(&image, &cases, &causes, suite);
        let section = conformance::section(suite, &verdicts, &causes);
        println!("{section}");
        if whole {
            conformance::write(suite, &section);
        }
        unexplained |= verdicts.iter().any(|verdict| !verdict.explained(suite, &causes));
    }
    if unexplained { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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

/// All cases on both sides, two at a time; each is printed when it is done.
fn run(image: &Image, cases: &[Case], causes: &Causes, suite: &str) -> Vec<Verdict> {
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
                    let mut verdicts = verdicts.lock().expect("no panic while held");
                    verdicts.push(verdict);
                    let (verdict, done) = (&verdicts[verdicts.len() - 1], verdicts.len());
                    eprintln!("[{done}/{}] {}", cases.len(), verdict.line(suite, causes));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("no panic while held");
    verdicts.sort_by(|a, b| a.name.cmp(&b.name));
    verdicts
}
