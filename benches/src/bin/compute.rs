//! Compute: kernels natively, under qemu-riscv64, interpreted and translated, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin compute [-r RUNS] [KERNEL...]
//!
//! One guest program (`benches/guest/compute.c`, gcc -O2 on both sides) does a kernel N times. CPU time, medians, as
//! multiples of native, of a warm round: what N rounds take more than one does. The first round, compilation
//! included, is what one takes more than none. `run` is friscy-snap's native host (wasmtime), Node stands for V8;
//! the host in the repository has no translator beside it and interprets, the one that `bundle` writes has.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_benches::{argv, cpu_seconds, median, print_table};
use friscy_tests::oracle::{friscy_snap, repository, work};

const KERNELS: [&str; 6] = ["mix", "sieve", "sha256", "matmul", "interp", "fib"];

/// Rounds of the longest run: the interpreter takes its time.
const TRANSLATED: u32 = 8;
const INTERPRETED: u32 = 2;

fn main() {
    let (mut words, mut runs) = (Vec::new(), 5);
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "-r" => runs = arguments.next().and_then(|n| n.parse().ok()).expect("-r RUNS"),
            _ => words.push(word),
        }
    }
    let unknown = words.iter().find(|word| !KERNELS.contains(&word.as_str()));
    assert!(unknown.is_none(), "no kernel is called {unknown:?}");
    let folder = work().join("bench-compute");
    std::fs::create_dir_all(folder.join("root")).expect("a folder for the programs");
    let guest = compile("riscv64-linux-gnu-gcc", &folder.join("root/compute"));
    let native = compile("cc", &folder.join("native"));
    let image = folder.join("compute.tar");
    let packed =
        Command::new("tar").arg("-C").arg(folder.join("root")).arg("-cf").arg(&image).arg(".").status();
    assert!(packed.is_ok_and(|s| s.success()), "tar fails");
    let snap = friscy_snap().to_string_lossy().into_owned();
    let node = repository().join("bundle/node/friscy-node.mjs").to_string_lossy().into_owned();
    let translating = host_with_translator(&folder).to_string_lossy().into_owned();
    let mut table = vec![argv(&[
        "",
        "native ms",
        "qemu",
        "run, interpreted",
        "run, translated meanwhile",
        "run, translated before",
        "Node, interpreted",
        "Node, translated meanwhile",
        "Node, translated before",
        "Node, first round",
        "Node ÷ qemu",
    ])];
    for kernel in KERNELS.into_iter().filter(|k| words.is_empty() || words.iter().any(|w| w == k)) {
        let program = |command: &[&str]| {
            let command = argv(command);
            move |rounds: u32| [command.clone(), argv(&[kernel, &rounds.to_string()])].concat()
        };
        let app = |host: &[&str], aot: &'static str| {
            let (host, folder) = (argv(host), folder.clone());
            move |rounds: u32| {
                let app = pack(&folder, kernel, rounds, aot).to_string_lossy().into_owned();
                [host.clone(), vec![app]].concat()
            }
        };
        let native = Cost::of(&program(&[&native]), TRANSLATED, runs).warm;
        let run = |when: &'static str| [snap.as_str(), "run", "--tty=false", "--compile", when];
        let costs = [
            Cost::of(&program(&["qemu-riscv64", &guest]), TRANSLATED, runs),
            Cost::of(&app(&run("never"), "off"), INTERPRETED, runs),
            Cost::of(&app(&run("beside"), "off"), TRANSLATED, runs),
            Cost::of(&app(&run("first"), "all"), TRANSLATED, runs),
            Cost::of(&app(&["node", &node], "off"), INTERPRETED, runs),
            Cost::of(&app(&["node", &translating], "off"), TRANSLATED, runs),
            Cost::of(&app(&["node", &node], "all"), TRANSLATED, runs),
        ];
        let mut row = vec![kernel.to_owned(), format!("{:.1}", native * 1e3)];
        row.extend(costs.iter().map(|cost| format!("{:.2}", cost.warm / native)));
        let before = &costs[6];
        row.push(format!("{:.2}", before.first / native));
        row.push(format!("{:.2}", before.warm / costs[0].warm));
        table.push(row);
    }
    println!("CPU time of a round as multiples of native, median of {runs}");
    print_table(&table);
}

/// CPU seconds of a round.
struct Cost {
    /// Of the first, with what it takes to get there.
    first: f64,
    /// Of each later one.
    warm: f64,
}

impl Cost {
    /// Of what `command` gives for a number of rounds.
    fn of(command: &dyn Fn(u32) -> Vec<String>, rounds: u32, runs: usize) -> Cost {
        let [none, one, all] = [0, 1, rounds].map(|rounds| {
            let command = command(rounds);
            // The native host keeps what it compiled.
            cpu_seconds(&command);
            median(runs, || cpu_seconds(&command))
        });
        Cost { first: one - none, warm: (all - one) / f64::from(rounds - 1) }
    }
}

fn compile(compiler: &str, to: &Path) -> String {
    let source = repository().join("benches/guest/compute.c");
    let status = Command::new(compiler).args(["-O2", "-static", "-o"]).arg(to).arg(source).status();
    assert!(status.is_ok_and(|s| s.success()), "{compiler} fails");
    to.to_string_lossy().into_owned()
}

/// An app that is about to do a kernel so often.
fn pack(folder: &Path, kernel: &str, rounds: u32, aot: &str) -> PathBuf {
    let app = folder.join(format!("{kernel}-{rounds}-{aot}.wasm"));
    let mut command = Command::new(friscy_snap());
    command.args(["-q", "--tty=false", "--aot", aot, "-o"]).arg(&app).arg(folder.join("compute.tar"));
    if aot != "off" {
        command.arg("--train").arg(format!("/compute {kernel} 1"));
    }
    let made = command.args(["--", "/compute", kernel, &rounds.to_string()]).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not pack");
    app
}

/// Node's host with its translator beside it.
fn host_with_translator(folder: &Path) -> PathBuf {
    let (app, site) = (pack(folder, KERNELS[0], 0, "off"), folder.join("site"));
    let made = Command::new(friscy_snap()).arg("bundle").arg(app).arg("-q").arg("-o").arg(&site).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not make a page");
    site.join("friscy-node.mjs")
}
