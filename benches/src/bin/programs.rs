//! Programs: Debian's own, natively, under qemu-riscv64 and packed, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin programs -- [-r RUNS] [-b] [--node PATH]
//!         [--json FILE] [PROGRAM...]
//!
//! The same release of Debian on all sides, one image for riscv64 and one for this machine
//! (`tests/images/build.sh bench`), native and qemu-riscv64 in a chroot. CPU time of the whole command, start-up and
//! reading its files included, medians. What is translated before was learnt from a tenth of the work or less;
//! `run` and Node translate what else turns out to be hot, as they do for everyone. `-b` visits Chromium too, whose
//! CPU time is that of its processes from navigation to the program's last line.
//!
//! Everywhere the shell around the program compares what it prints with what it prints natively, so that a crash or a
//! wrong result is no speed: it ends the bench.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use friscy_benches::options::{Options, bench};
use friscy_benches::table::Table;
use friscy_benches::{argv, chromium_seconds, node_host, succeed, warm_seconds};
use friscy_tests::oracle::{Image, friscy_snap, tar, work};

/// What a shell does, and the words in it that say how much.
struct Program {
    name: &'static str,
    script: &'static str,
    size: &'static str,
    /// To learn from.
    training: &'static str,
}

const PROGRAMS: [Program; 6] = [
    Program { name: "python3", script: "python3 /bench/loop.py SIZE", size: "1000000", training: "100000" },
    Program { name: "lua", script: "lua5.4 /bench/loop.lua SIZE", size: "6000000", training: "600000" },
    Program {
        name: "sqlite3",
        script: "sed s/ROWS/SIZE/ /bench/inserts.sql | sqlite3 :memory:",
        size: "200000",
        training: "20000",
    },
    Program { name: "gzip", script: "gzip -6 -c /bench/SIZE | cksum", size: "16m", training: "1m" },
    Program { name: "zstd", script: "zstd -q -3 -T1 -c /bench/SIZE | cksum", size: "64m", training: "1m" },
    Program { name: "sha256sum", script: "sha256sum /bench/SIZE", size: "64m", training: "1m" },
];

/// Printed when all is as it should be.
const DONE: &str = "done\n";

impl Program {
    fn shell(&self, size: &str) -> String {
        self.script.replace("SIZE", size)
    }

    /// Says [`DONE`] if the program prints `expected`, and nothing at all otherwise.
    fn checked(&self, expected: &str) -> String {
        format!("exec 2>/dev/null; [ \"$({})\" = \"{expected}\" ] && echo done", self.shell(self.size))
    }
}

fn main() -> ExitCode {
    let names = PROGRAMS.map(|program| program.name);
    bench(5, &names, |options| Ok(vec![measure(options)?]))
}

fn measure(options: &Options) -> Result<Table> {
    let folder = work().join("bench-programs");
    std::fs::create_dir_all(&folder)?;
    let image = tar("bench");
    for name in ["bench", "bench-native"] {
        // Unpacked, with binfmt_misc ready.
        Image::unpacked(name);
    }
    let snap = friscy_snap().to_string_lossy().into_owned();
    let programs: Vec<&Program> = PROGRAMS.iter().filter(|program| options.wants(program.name)).collect();
    let scripts = programs.iter().map(|program| Ok(program.checked(&natively(program)?)));
    let scripts = scripts.collect::<Result<Vec<String>>>()?;
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    let mut table =
        Table::new(format!("CPU time of a program, median of {}: multiples of native", options.runs), &names);
    let seconds = |command: &dyn Fn(usize) -> Vec<String>| {
        let costs = programs.iter().enumerate().map(|(number, program)| {
            warm_seconds(options.runs, &command(number), Some(DONE)).with_context(|| program.name.to_owned())
        });
        costs.collect::<Result<Vec<f64>>>()
    };
    let native = seconds(&|number| chroot("bench-native", &scripts[number]))?;
    let multiples =
        |seconds: Vec<f64>| seconds.into_iter().zip(&native).map(|(ours, native)| Some(ours / native));
    table.row("native, s", native.iter().copied().map(Some));
    table.row("qemu-riscv64", multiples(seconds(&|number| chroot("bench", &scripts[number]))?));
    let pack = |before: bool| -> Result<Vec<PathBuf>> {
        programs
            .iter()
            .zip(&scripts)
            .map(|(program, script)| pack(&image, &folder, program, script, before))
            .collect()
    };
    let (before, unforeseen) = (pack(true)?, pack(false)?);
    let host = node_host(&before[0], &folder.join("site"))?;
    let with =
        |command: &[&str], app: &Path| [argv(command), vec![app.to_string_lossy().into_owned()]].concat();
    let mut rows = vec!["run, before".to_owned()];
    table.row(
        "run, before",
        multiples(seconds(&|number| with(&[&snap, "run", "--tty=false"], &before[number]))?),
    );
    for (name, node) in options.nodes()? {
        for (when, apps) in [("before", &before), ("meanwhile", &unforeseen)] {
            let costs = seconds(&|number| with(&[&node, &host], &apps[number]))?;
            table.row(format!("{name}, {when}"), multiples(costs));
            rows.push(format!("{name}, {when}"));
        }
    }
    if options.browser {
        table.row("Chromium, before", multiples(chromium_seconds(&before, options.runs, &folder)?));
        rows.push("Chromium, before".to_owned());
    }
    for row in &rows {
        table.ratio(format!("{row} ÷ qemu"), row, "qemu-riscv64");
    }
    Ok(table)
}

/// A shell's script in an image's tree.
fn chroot(root: &str, script: &str) -> Vec<String> {
    let root = work().join("reference").join(root);
    let environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "chroot"];
    [argv(&environment), argv(&[&root.to_string_lossy(), "sh", "-c", script])].concat()
}

/// What a program prints natively, as `$()` has it. Its words are known and have no character that a shell minds.
fn natively(program: &Program) -> Result<String> {
    let command = chroot("bench-native", &program.shell(program.size));
    let output = Command::new(&command[0]).args(&command[1..]).output()?;
    ensure!(output.status.success(), "{} fails natively: {}", program.name, output.status);
    let printed = String::from_utf8(output.stdout).context("what it prints is no text")?;
    ensure!(!printed.contains(['"', '$', '`', '\\']), "{} prints {printed:?}", program.name);
    Ok(printed.trim_end().to_owned())
}

/// An app that is about to run `script`; with what is translated before, or nothing.
fn pack(image: &Path, folder: &Path, program: &Program, script: &str, before: bool) -> Result<PathBuf> {
    let app = folder.join(format!("{}-{}.wasm", program.name, if before { "before" } else { "off" }));
    let mut command = Command::new(friscy_snap());
    command.args(["-q", "--tty=false", "-e", "LC_ALL=C.UTF-8", "-e", "PATH=/usr/bin:/bin", "-o"]);
    command.arg(&app).arg(image);
    if before {
        command.arg("--train").arg(format!("sh -c '{}'", program.shell(program.training)));
    } else {
        command.args(["--aot", "off"]);
    }
    succeed(command.args(["--", "sh", "-c", script]))?;
    Ok(app)
}
