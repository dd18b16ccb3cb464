//! Run suites that others wrote, case by case, under qemu-riscv64 and here.
//!
//!     cargo run --release -p friscy-tests --bin suite -- NAME|all [OPTION...]
//!
//! NAME is one of tests/suites/*.sh. Here is the natively linked machine; with `--packed`, `friscy-snap run` on a packed
//! file; with `--translated`, each case packed by itself with all its code translated; with `--in-page`, packed without,
//! and run by Node and its translator, which is the page's. Results are kept in $WORK/suites: qemu's until the suite is built anew, ours until the next run. `--resume`
//! goes on with a run that was broken off, `--lost` runs only what passed there and not here. A run that leaves every
//! case with a result writes its part of docs/CONFORMANCE.md; `--only` and `--every` never do. Exit code 1 when
//! something that passes under qemu-riscv64 does not pass here and has no cause in tests/suites/causes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use friscy_formats::boot::Boot;
use friscy_tests::conformance::{self, Causes, Results, Side, Verdict};
use friscy_tests::native::{Disk, NativeHost};
use friscy_tests::oracle::{ENV, Image, LIMIT, Outcome, finish, friscy_snap, repository, work};

const SUITES: [&str; 5] = ["ctorture", "posix", "busybox", "bash", "python"];
const USAGE: &str =
    "usage: suite ctorture|posix|busybox|bash|python|all [--packed|--translated|--in-page] [--resume] [--lost]
             [--jobs N] [--every N] [--only TEXT] [--limit SECONDS]";

struct Case {
    name: String,
    command: Vec<String>,
}

/// How our side executes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Native,
    Packed,
    Translated,
    InPage,
}

impl Mode {
    /// As an option, and in the names of files.
    fn word(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Packed => "packed",
            Mode::Translated => "translated",
            Mode::InPage => "in-page",
        }
    }
}

struct Options {
    mode: Mode,
    resume: bool,
    lost: bool,
    jobs: usize,
    every: usize,
    only: Option<String>,
    limit: Duration,
}

/// Where a suite's cases run on our side.
enum Ours {
    Native(Disk),
    Packed,
    /// A file for each case.
    Each(Each),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut options = Options {
        mode: Mode::Native,
        resume: false,
        lost: false,
        jobs: 2,
        every: 1,
        only: None,
        limit: LIMIT,
    };
    let mut name = None;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            "--packed" => options.mode = Mode::Packed,
            "--translated" => options.mode = Mode::Translated,
            "--in-page" => options.mode = Mode::InPage,
            "--resume" => options.resume = true,
            "--lost" => options.lost = true,
            "--jobs" => options.jobs = number(&value()),
            "--every" => options.every = number(&value()),
            "--only" => options.only = Some(value()),
            "--limit" => options.limit = Duration::from_secs(number(&value()) as u64),
            other if name.is_none() && !other.starts_with('-') => name = Some(other.to_owned()),
            _ => usage(),
        }
    }
    let name = name.unwrap_or_else(|| usage());
    let suites = if name == "all" { SUITES.to_vec() } else { vec![name.as_str()] };
    let causes = Causes::load();
    let mut unexplained = false;
    for suite in suites {
        unexplained |= !run_suite(suite, &options, &causes);
    }
    if unexplained { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2)
}

fn number(text: &str) -> usize {
    text.parse().ok().filter(|&n| n > 0).unwrap_or_else(|| usage())
}

/// Run, report, write the page; whether all that is lost has its cause.
fn run_suite(suite: &str, options: &Options, causes: &Causes) -> bool {
    let cases = cases(suite);
    let folder = work().join("suites");
    let built = folder.join(format!("{suite}.cases")).metadata().and_then(|m| m.modified()).ok();
    let reference = Results::load(folder.join(format!("{suite}.qemu")), built);
    let whole = options.only.is_none() && options.every == 1;
    let ours = folder.join(format!("{suite}.{}", options.mode.word()));
    if whole && !options.resume && !options.lost {
        let _ = std::fs::remove_file(&ours);
    }
    let ours = Results::load(ours, built);
    let wanted = |case: &&Case| match (reference.get(&case.name), ours.get(&case.name)) {
        _ if !options.only.as_ref().is_none_or(|text| case.name.contains(text)) => false,
        (Some(theirs), Some(mine)) if options.lost => {
            let (reference, ours) = (theirs.clone(), mine.clone());
            !Verdict { name: case.name.clone(), reference, ours }.lost().is_empty()
        }
        (Some(_), Some(_)) => !options.resume,
        _ => true,
    };
    let chosen: Vec<&Case> = cases.iter().filter(wanted).step_by(options.every).collect();
    // Leaked: the image's name is static everywhere else.
    let name = String::leak(format!("suite-{suite}"));
    let packed = options.mode == Mode::Packed;
    let mut image = if packed { Image::get(name) } else { Image::unpacked(name) };
    image.limit = options.limit;
    let tar = work().join("images").join(format!("{name}.tar"));
    let side = match options.mode {
        Mode::Native => {
            Ours::Native(Disk::of_image(&tar).unwrap_or_else(|e| panic!("{}: {e:#}", tar.display())))
        }
        Mode::Packed => Ours::Packed,
        mode => Ours::Each(Each::new(mode, tar)),
    };
    let (reference, ours) = (Mutex::new(reference), Mutex::new(ours));
    run(&image, &side, &chosen, (&reference, &ours), options.jobs, &|verdict, done| {
        eprintln!("[{done}/{}] {}", chosen.len(), verdict.line(suite, causes));
    });
    let (reference, ours) = (reference.into_inner().expect("no panic"), ours.into_inner().expect("no panic"));
    let shown: Vec<&Case> = if whole { cases.iter().collect() } else { chosen };
    let verdicts: Vec<Verdict> = shown
        .iter()
        .filter_map(|case| {
            let (reference, ours) = (reference.get(&case.name)?.clone(), ours.get(&case.name)?.clone());
            Some(Verdict { name: case.name.clone(), reference, ours })
        })
        .collect();
    let title = match options.mode {
        Mode::Native | Mode::Packed => suite.to_owned(),
        Mode::Translated => format!("{suite}, all code translated when it was packed"),
        Mode::InPage => format!("{suite}, translated in Node as in the page"),
    };
    let section = conformance::section((suite, &title), &how(suite, options), &verdicts, causes);
    println!("{section}");
    // What is translated may be a sample, and says so.
    let sampled = options.only.is_none() && title != suite;
    if (whole && verdicts.len() == cases.len()) || sampled {
        conformance::write(&title, &section);
    }
    verdicts.iter().all(|verdict| verdict.explained(suite, causes))
}

/// When the suite was run, and how one does it again.
fn how(suite: &str, options: &Options) -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output().expect("date");
    let mode = match options.mode {
        Mode::Native => String::new(),
        mode => format!(" --{}", mode.word()),
    };
    let every = if options.every == 1 { String::new() } else { format!(" --every {}", options.every) };
    let again = if options.lost { "; cases that were lost, again after changes: `--lost`" } else { "" };
    format!(
        "{}: `suite {suite}{mode}{every} --limit {}`{again}.",
        String::from_utf8_lossy(&date.stdout).trim(),
        options.limit.as_secs()
    )
}

/// The suite's cases, built when they are missing.
fn cases(suite: &str) -> Vec<Case> {
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
    all.collect()
}

/// All cases, `jobs` at a time; qemu only where its result is not known yet.
fn run(
    image: &Image,
    side: &Ours,
    cases: &[&Case],
    (reference, ours): (&Mutex<Results>, &Mutex<Results>),
    jobs: usize,
    report: &(dyn Fn(&Verdict, usize) + Sync),
) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let argv: Vec<&str> = case.command.iter().map(String::as_str).collect();
                    let known = reference.lock().expect("no panic while held").get(&case.name).cloned();
                    let theirs = known.unwrap_or_else(|| {
                        let side = Side::from(image.reference(&argv, b""));
                        reference.lock().expect("no panic while held").add(&case.name, side.clone());
                        side
                    });
                    let outcome = match side {
                        Ours::Packed => image.ours(&argv, b""),
                        Ours::Native(disk) => native(disk, &argv, image.limit),
                        Ours::Each(each) => each.run(&case.name, &argv, image.limit),
                    };
                    let mine = Side::from(outcome);
                    ours.lock().expect("no panic while held").add(&case.name, mine.clone());
                    let verdict = Verdict { name: case.name.clone(), reference: theirs, ours: mine };
                    report(&verdict, done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
}

/// Cases that are packed one by one.
struct Each {
    mode: Mode,
    tar: PathBuf,
    folder: PathBuf,
}

impl Each {
    fn new(mode: Mode, tar: PathBuf) -> Each {
        let folder = work().join("suites").join(mode.word());
        std::fs::create_dir_all(&folder).expect("a folder for the apps");
        let each = Each { mode, tar, folder };
        if mode == Mode::InPage {
            // Any app will do: what counts is the host beside it.
            let app = each.folder.join("host.wasm");
            let packed = each.pack(&app, &["/bin/sh"], LIMIT);
            assert_eq!(packed.code, Some(0), "{}", String::from_utf8_lossy(&packed.stderr));
            let mut bundle = Command::new(friscy_snap());
            bundle.arg("bundle").arg(app).args(["-q", "-o"]).arg(each.folder.join("site"));
            assert!(bundle.status().is_ok_and(|status| status.success()), "bundle fails");
        }
        each
    }

    fn pack(&self, app: &Path, argv: &[&str], limit: Duration) -> Outcome {
        let mut command = Command::new(friscy_snap());
        command.arg(&self.tar).args(["-q", "--tty=false", "--hostname=friscy", "-o"]).arg(app);
        command.args(ENV.map(|variable| format!("-e{variable}")));
        match self.mode {
            Mode::Translated => command.args(["--aot", "all", "--aot-size", "64m"]),
            _ => command.args(["--aot", "off"]),
        };
        command.arg("--").args(argv);
        finish(command, b"", limit)
    }

    fn run(&self, name: &str, argv: &[&str], limit: Duration) -> Outcome {
        let app = self.folder.join(format!("{name}.wasm"));
        let packed = self.pack(&app, argv, limit);
        if packed.code != Some(0) {
            return packed;
        }
        let mut command;
        if self.mode == Mode::Translated {
            command = Command::new(friscy_snap());
            command.args(["run", "--tty=false", "--compile", "first"]);
        } else {
            command = Command::new("node");
            command.arg(self.folder.join("site/friscy-node.mjs"));
        }
        command.arg(&app);
        let outcome = finish(command, b"", limit);
        for extension in ["wasm", "chunks"] {
            let _ = std::fs::remove_file(app.with_extension(extension));
        }
        outcome
    }
}

/// One case on a machine in this process.
fn native(disk: &Disk, argv: &[&str], limit: Duration) -> Outcome {
    let boot = Boot {
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: ENV.map(|variable| variable.as_bytes().to_vec()).to_vec(),
        hostname: b"friscy".to_vec(),
        ..Boot::default()
    };
    let ran = catch_unwind(AssertUnwindSafe(|| -> anyhow::Result<Outcome> {
        let mut host = NativeHost::boot(disk, &boot, Some(b""))?;
        let code = match host.run(limit) {
            Ok(code) => Some(code as i32),
            Err(error) => {
                eprintln!("{}: {error:#}", argv.join(" "));
                None
            }
        };
        Ok(Outcome { stdout: host.stdout, stderr: host.stderr, code })
    }));
    let failed = |why: String| Outcome { stdout: Vec::new(), stderr: why.into_bytes(), code: Some(-1) };
    match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => failed(format!("{error:#}")),
        Err(_) => failed("the machine panicked".into()),
    }
}
