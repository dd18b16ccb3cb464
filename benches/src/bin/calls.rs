//! System calls: what each costs natively, under qemu-riscv64 and under friscy-snap, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin calls -- [-r RUNS] [--json FILE] [OPERATION...]
//!
//! One guest program (`benches/guest/calls.c`) does an operation N times; a run of N = 0 (start-up, preparation) is
//! taken off. CPU time, medians, and ratios: below 1 in the last column is cheaper than under qemu-riscv64.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use friscy_benches::options::{Options, bench};
use friscy_benches::table::Table;
use friscy_benches::{argv, cpu_seconds, median, succeed};
use friscy_tests::oracle::{friscy_snap, repository, work};

/// Operations, and how many take some tenths of a second here.
const OPERATIONS: &[(&str, u32)] = &[
    ("getpid", 2_000_000),
    ("read-1", 1_000_000),
    ("write-1", 1_000_000),
    ("open-close", 200_000),
    ("stat", 400_000),
    ("pipe-round-trip", 100_000),
    ("fork-exit-wait", 1_000),
    ("fork-exec-wait", 500),
    ("thread-create-join", 20_000),
    ("futex-round-trip", 100_000),
    ("read-4k", 400_000),
    ("read-1m", 2_000),
    ("write-4k", 400_000),
    ("write-1m", 2_000),
    ("walk-50000", 4),
    ("mmap-touch-64", 10_000),
];

fn main() -> ExitCode {
    let names: Vec<&str> = OPERATIONS.iter().map(|row| row.0).collect();
    bench(3, &names, |options| Ok(vec![measure(options)?]))
}

fn measure(options: &Options) -> Result<Table> {
    let folder = work().join("bench-calls");
    std::fs::create_dir_all(folder.join("root/tmp"))?;
    let guest = compile("riscv64-linux-gnu-gcc", &folder.join("root/calls"))?;
    let native = compile("cc", &folder.join("native"))?;
    let app = pack(&folder)?;
    let snap = friscy_snap().to_string_lossy().into_owned();
    let sides: [Vec<&str>; 3] = [
        vec![&native],
        // By binfmt_misc: a program that executes itself needs it (tests/images/lib.sh registers it).
        vec![&guest],
        vec![&snap, "run", &app, "--", "/calls"],
    ];
    let columns = ["native µs", "qemu µs", "friscy µs", "÷ native", "÷ qemu"];
    let mut table = Table::new(format!("CPU µs an operation, median of {}", options.runs), &columns);
    for &(name, count) in OPERATIONS.iter().filter(|row| options.wants(row.0)) {
        let [native, qemu, ours] = sides.each_ref().map(|side| microseconds(side, name, count, options.runs));
        let (native, qemu, ours) = (native?, qemu?, ours?);
        table.row(name, [native, qemu, ours, ours / native, ours / qemu].map(Some));
    }
    Ok(table)
}

/// CPU microseconds of one operation.
fn microseconds(side: &[&str], name: &str, count: u32, runs: usize) -> Result<f64> {
    let measure = |count: u32| {
        let mut command = argv(side);
        command.extend([name.to_owned(), count.to_string()]);
        median(runs, || cpu_seconds(&command, None))
    };
    Ok((measure(count)? - measure(0)?) * 1e6 / f64::from(count))
}

fn compile(compiler: &str, to: &Path) -> Result<String> {
    let source = repository().join("benches/guest/calls.c");
    succeed(Command::new(compiler).args(["-O2", "-static", "-pthread", "-o"]).arg(to).arg(source))?;
    Ok(to.to_string_lossy().into_owned())
}

/// An app that holds nothing but the program.
fn pack(folder: &Path) -> Result<String> {
    let (tar, app) = (folder.join("calls.tar"), folder.join("calls.wasm"));
    succeed(Command::new("tar").arg("-C").arg(folder.join("root")).arg("-cf").arg(&tar).arg("."))?;
    succeed(Command::new(friscy_snap()).args(["-q", "-o"]).arg(&app).arg(&tar).args(["--", "/calls"]))?;
    Ok(app.to_string_lossy().into_owned())
}
