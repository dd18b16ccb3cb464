//! Compute: kernels natively, under qemu-riscv64, interpreted and translated, and what translating costs, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin compute -- [-r RUNS] [-b] [--node PATH]
//!         [--json FILE] [KERNEL...] [translation]
//!
//! One guest program (`benches/guest/compute.c`, gcc -O2 on both sides) does a kernel N times; it knows the checksum
//! that it has natively, and fails with any other. CPU time, medians, as multiples of native, of a warm round: what N
//! rounds take more than one does. The first round, compilation included, is what one takes more than none. `run` is
//! friscy-snap's native host (wasmtime), Node stands for V8; the host in the repository has no translator beside it and
//! interprets, the one that `bundle` writes has. A newer Node is measured too if `--node` names one or
//! `bundle/test/run` has installed one. `-b` visits Chromium, whose CPU time is that of all its processes.
//!
//! `translation` is about the translator itself: Debian's python3 as it starts and ends, and all that ran of it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use friscy_benches::options::{Options, bench};
use friscy_benches::table::Table;
use friscy_benches::translation::{self, Subject};
use friscy_benches::{argv, chromium_seconds, node_host, succeed, warm_seconds};
use friscy_tests::oracle::{friscy_snap, repository, tar, work};

const KERNELS: [&str; 6] = ["mix", "sieve", "sha256", "matmul", "interp", "fib"];
const TRANSLATION: &str = "translation";

/// Rounds of the longest run: the interpreter takes its time, and a browser does much besides.
const TRANSLATED: u32 = 8;
const INTERPRETED: u32 = 2;
const BROWSED: u32 = 24;

fn main() -> ExitCode {
    let names: Vec<&str> = KERNELS.into_iter().chain([TRANSLATION]).collect();
    bench(5, &names, |options| {
        let lab = Lab::new()?;
        let kernels: Vec<&str> = KERNELS.into_iter().filter(|kernel| options.wants(kernel)).collect();
        let mut tables = Vec::new();
        if !kernels.is_empty() {
            tables.push(lab.rounds(&kernels, options)?);
        }
        if options.wants(TRANSLATION) {
            tables.push(translator(options)?);
        }
        Ok(tables)
    })
}

/// CPU seconds of a round.
struct Cost {
    /// Of the first, with what it takes to get there.
    first: f64,
    /// Of each later one.
    warm: f64,
}

/// What a run of none, one and so many rounds took.
fn cost([none, one, all]: [f64; 3], rounds: u32) -> Cost {
    Cost { first: one - none, warm: (all - one) / f64::from(rounds - 1) }
}

/// The program for both sides, and its image.
struct Lab {
    folder: PathBuf,
    guest: String,
    native: String,
    image: PathBuf,
}

impl Lab {
    fn new() -> Result<Lab> {
        let folder = work().join("bench-compute");
        std::fs::create_dir_all(folder.join("root"))?;
        let guest = compile("riscv64-linux-gnu-gcc", &folder.join("root/compute"))?;
        let native = compile("cc", &folder.join("native"))?;
        let image = folder.join("compute.tar");
        succeed(Command::new("tar").arg("-C").arg(folder.join("root")).arg("-cf").arg(&image).arg("."))?;
        Ok(Lab { folder, guest, native, image })
    }

    /// Multiples of native, a column for each kernel.
    fn rounds(&self, kernels: &[&str], options: &Options) -> Result<Table> {
        let mut table = Table::new(
            format!("CPU time of a round, median of {}: multiples of native", options.runs),
            kernels,
        );
        let costs = |command: &dyn Fn(&str, u32) -> Result<Vec<String>>, rounds: u32| {
            let kernels = kernels.iter();
            kernels
                .map(|kernel| self.cost(&|n| command(kernel, n), kernel, rounds, options.runs))
                .collect::<Result<Vec<Cost>>>()
        };
        let native: Vec<Cost> =
            costs(&|kernel, n| Ok(argv(&[&self.native, kernel, &n.to_string()])), TRANSLATED)?;
        let multiples = |of: &dyn Fn(&Cost) -> f64, costs: &[Cost]| {
            costs.iter().zip(&native).map(|(cost, native)| Some(of(cost) / native.warm)).collect::<Vec<_>>()
        };
        let add = |table: &mut Table, name: &str, costs: Vec<Cost>| {
            table.row(name, multiples(&|cost| cost.warm, &costs));
            costs
        };
        table.row("native, ms", native.iter().map(|cost| Some(cost.warm * 1e3)));
        let qemu = |kernel: &str, n: u32| Ok(argv(&["qemu-riscv64", &self.guest, kernel, &n.to_string()]));
        add(&mut table, "qemu-riscv64", costs(&qemu, TRANSLATED)?);
        let snap = friscy_snap().to_string_lossy().into_owned();
        let here = repository().join("bundle/node/friscy-node.mjs").to_string_lossy().into_owned();
        let beside = node_host(&self.pack(KERNELS[0], 0, "off")?, &self.folder.join("site"))?;
        let app = |host: &[String], aot: &'static str, rounds: u32| {
            costs(
                &|kernel, n| {
                    let app = self.pack(kernel, n, aot)?.to_string_lossy().into_owned();
                    Ok([host, &[app]].concat())
                },
                rounds,
            )
        };
        let mut hosts =
            vec![("run".to_owned(), run(&snap, "never"), run(&snap, "beside"), run(&snap, "first"))];
        hosts.extend(options.nodes()?.into_iter().map(|(name, node)| {
            (name, argv(&[&node, &here]), argv(&[&node, &beside]), argv(&[&node, &here]))
        }));
        let mut ratios = Vec::new();
        for (name, interpreting, translating, host) in &hosts {
            add(&mut table, &format!("{name}, interpreted"), app(interpreting, "off", INTERPRETED)?);
            add(&mut table, &format!("{name}, meanwhile"), app(translating, "off", TRANSLATED)?);
            let before = format!("{name}, before");
            let costs = add(&mut table, &before, app(host, "all", TRANSLATED)?);
            ratios.push((before, costs));
        }
        if options.browser {
            let costs = self.browsed(kernels, options.runs)?;
            ratios.push(("Chromium, before".to_owned(), add(&mut table, "Chromium, before", costs)));
        }
        for (name, costs) in &ratios {
            table.ratio(format!("{name} ÷ qemu"), name, "qemu-riscv64");
            let first = costs.iter().map(|cost| Some(cost.first / cost.warm));
            table.row(format!("{name}: first ÷ warm"), first.collect::<Vec<_>>());
        }
        Ok(table)
    }

    /// Of what `command` gives for a number of rounds.
    fn cost(
        &self,
        command: &dyn Fn(u32) -> Result<Vec<String>>,
        kernel: &str,
        rounds: u32,
        runs: usize,
    ) -> Result<Cost> {
        let mut seconds = [0.0; 3];
        for (seconds, n) in seconds.iter_mut().zip([0, 1, rounds]) {
            let expected = self.checksum(kernel, n)?;
            *seconds = warm_seconds(runs, &command(n)?, Some(&expected))?;
        }
        Ok(cost(seconds, rounds))
    }

    /// In Chromium, with what is translated before. A page that shows a wrong checksum shows none.
    fn browsed(&self, kernels: &[&str], runs: usize) -> Result<Vec<Cost>> {
        let mut apps = Vec::new();
        for kernel in kernels {
            for rounds in [0, 1, BROWSED] {
                apps.push(self.pack(kernel, rounds, "all")?);
            }
        }
        let seconds = chromium_seconds(&apps, runs, &self.folder)?;
        Ok(seconds.chunks(3).map(|three| cost([three[0], three[1], three[2]], BROWSED)).collect())
    }

    /// What the program prints, natively.
    fn checksum(&self, kernel: &str, rounds: u32) -> Result<String> {
        let mut native = Command::new(&self.native);
        let output = native.arg(kernel).arg(rounds.to_string()).output()?;
        String::from_utf8(output.stdout).context("no checksum")
    }

    /// An app that is about to do a kernel so often.
    fn pack(&self, kernel: &str, rounds: u32, aot: &str) -> Result<PathBuf> {
        let app = self.folder.join(format!("{kernel}-{rounds}-{aot}.wasm"));
        let mut command = Command::new(friscy_snap());
        command.args(["-q", "--tty=false", "--aot", aot, "-o"]).arg(&app).arg(&self.image);
        if aot != "off" {
            command.arg("--train").arg(format!("/compute {kernel} 1"));
        }
        let checksum = self.checksum(kernel, rounds)?;
        succeed(command.args(["--", "/compute", kernel, &rounds.to_string(), checksum.trim()]))?;
        Ok(app)
    }
}

/// The native host, which compiles what is translated at this time.
fn run(snap: &str, when: &str) -> Vec<String> {
    argv(&[snap, "run", "--tty=false", "--compile", when])
}

fn compile(compiler: &str, to: &Path) -> Result<String> {
    let source = repository().join("benches/guest/compute.c");
    succeed(Command::new(compiler).args(["-O2", "-static", "-o"]).arg(to).arg(source))?;
    Ok(to.to_string_lossy().into_owned())
}

/// What the translator takes and gives.
fn translator(options: &Options) -> Result<Table> {
    let image = tar("debian-python3");
    let script = "import json, re, decimal, hashlib\nprint(json.dumps([1.5, None]), re.findall('a+', 'aaba'), \
        decimal.Decimal(1) / 7, hashlib.sha256(bytes(99999)).hexdigest(), sum(i * i % 7 for i in range(200000)))";
    let subject = Subject { image: &image, argv: &["/usr/bin/python3", "-c", script] };
    let nodes = options.nodes()?;
    let paths: Vec<&str> = nodes.iter().map(|(_, path)| path.as_str()).collect();
    let figures = translation::measure(&subject, &paths, options.runs, &work().join("bench-translation"))?;
    let mut table = Table::new("The translator, on all that ran of Debian's python3", &["", "goal"]);
    let mut row = |name: String, figure: f64, goal: Option<f64>| table.row(name, [Some(figure), goal]);
    row("KB of guest code".to_owned(), figures.guest_kb, None);
    row("bytes of Wasm for one of guest code".to_owned(), figures.expansion.0, Some(10.0));
    row("the same, zstd -19".to_owned(), figures.expansion.1, Some(4.0));
    row("MB of guest code per CPU second, natively".to_owned(), figures.native, Some(5.0));
    for ((name, _), (first, warm)) in nodes.iter().zip(&figures.page) {
        row(format!("in {name}, the page's translator, first request"), *first, None);
        row(format!("in {name}, warm"), *warm, Some(1.0));
    }
    for ((name, _), ms) in nodes.iter().zip(&figures.open) {
        row(format!("CPU ms to open for each MB of Wasm, {name}"), *ms, Some(4.0));
    }
    Ok(table)
}
