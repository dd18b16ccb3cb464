//! System calls: what each costs natively, under qemu-riscv64 and under friscy-snap, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin calls [-r RUNS] [OPERATION...]
//!
//! One guest program (`benches/guest/calls.c`) does an operation N times; a run of N = 0 (start-up, preparation) is
//! taken off. CPU time, medians, and ratios: below 1 in the last column is cheaper than under qemu-riscv64.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_benches::{argv, cpu_seconds, median, print_table};
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

fn main() {
    let (mut words, mut runs) = (Vec::new(), 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "-r" => runs = arguments.next().and_then(|n| n.parse().ok()).expect("-r RUNS"),
            _ => words.push(word),
        }
    }
    let unknown = words.iter().find(|word| OPERATIONS.iter().all(|row| row.0 != **word));
    assert!(unknown.is_none(), "no operation is called {unknown:?}");
    let folder = work().join("bench-calls");
    std::fs::create_dir_all(folder.join("root/tmp")).expect("a folder for the programs");
    let guest = compile("riscv64-linux-gnu-gcc", &folder.join("root/calls"));
    let native = compile("cc", &folder.join("native"));
    let app = pack(&folder);
    let snap = friscy_snap().to_string_lossy().into_owned();
    let sides: [Vec<&str>; 3] = [
        vec![&native],
        // By binfmt_misc: a program that executes itself needs it (tests/images/lib.sh registers it).
        vec![&guest],
        vec![&snap, "run", &app, "--", "/calls"],
    ];
    let mut table = vec![argv(&["", "native µs", "qemu µs", "friscy µs", "÷ native", "÷ qemu"])];
    for &(name, count) in OPERATIONS.iter().filter(|row| words.is_empty() || words.iter().any(|w| w == row.0))
    {
        let [native, qemu, ours] = sides.each_ref().map(|side| microseconds(side, name, count, runs));
        let mut row = vec![name.to_owned()];
        row.extend([native, qemu, ours].map(|figure| format!("{figure:.2}")));
        row.extend([ours / native, ours / qemu].map(|ratio| format!("{ratio:.2}")));
        table.push(row);
    }
    println!("CPU µs an operation, median of {runs}");
    print_table(&table);
}

/// CPU microseconds of one operation.
fn microseconds(side: &[&str], name: &str, count: u32, runs: usize) -> f64 {
    let measure = |count: u32| {
        let mut command = argv(side);
        command.extend([name.to_owned(), count.to_string()]);
        median(runs, || cpu_seconds(&command))
    };
    (measure(count) - measure(0)) * 1e6 / f64::from(count)
}

fn compile(compiler: &str, to: &Path) -> String {
    let source = repository().join("benches/guest/calls.c");
    let status =
        Command::new(compiler).args(["-O2", "-static", "-pthread", "-o"]).arg(to).arg(source).status();
    assert!(status.is_ok_and(|s| s.success()), "{compiler} fails");
    to.to_string_lossy().into_owned()
}

/// An app that holds nothing but the program.
fn pack(folder: &Path) -> String {
    let (tar, app): (PathBuf, PathBuf) = (folder.join("calls.tar"), folder.join("calls.wasm"));
    let packed =
        Command::new("tar").arg("-C").arg(folder.join("root")).arg("-cf").arg(&tar).arg(".").status();
    assert!(packed.is_ok_and(|s| s.success()), "tar fails");
    let made =
        Command::new(friscy_snap()).args(["-q", "-o"]).arg(&app).arg(&tar).args(["--", "/calls"]).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not pack");
    app.to_string_lossy().into_owned()
}
