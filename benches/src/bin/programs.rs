//! Programs: Debian's own, natively, under qemu-riscv64 and packed, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin programs [-r RUNS] [-b] [PROGRAM...]
//!
//! The same release of Debian on all sides, one image for riscv64 and one for this machine
//! (`tests/images/build.sh bench`), native and qemu-riscv64 in a chroot. CPU time of the whole command, start-up and
//! reading its files included, medians. What is translated before was learnt from a tenth of the work or less;
//! `run` and Node translate what else turns out to be hot, as they do for everyone. `-b` visits Chromium too, whose
//! CPU time is that of its processes from navigation to the program's last line.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_benches::{argv, chromium_seconds, cpu_seconds, median, print_table};
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
    Program { name: "gzip", script: "gzip -6 -c /bench/SIZE > /dev/null", size: "16m", training: "1m" },
    Program {
        name: "zstd",
        script: "zstd -q -3 -T1 -c /bench/SIZE | cat > /dev/null",
        size: "64m",
        training: "1m",
    },
    Program { name: "sha256sum", script: "sha256sum /bench/SIZE", size: "64m", training: "1m" },
];

impl Program {
    /// It ends with a line, so that a page has something to show; a program that fails fails as a whole.
    fn shell(&self, size: &str) -> String {
        format!("{} && echo done", self.script.replace("SIZE", size))
    }
}

fn main() {
    let (mut words, mut runs, mut browser) = (Vec::new(), 5, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "-r" => runs = arguments.next().and_then(|n| n.parse().ok()).expect("-r RUNS"),
            "-b" => browser = true,
            _ => words.push(word),
        }
    }
    let unknown = words.iter().find(|word| PROGRAMS.iter().all(|program| program.name != **word));
    assert!(unknown.is_none(), "no program is called {unknown:?}");
    let folder = work().join("bench-programs");
    std::fs::create_dir_all(&folder).expect("a folder for the apps");
    let image = tar("bench");
    for name in ["bench", "bench-native"] {
        // Unpacked, with binfmt_misc ready.
        Image::unpacked(name);
    }
    let snap = friscy_snap().to_string_lossy().into_owned();
    let mut node = None;
    let mut heads = argv(&[
        "",
        "native s",
        "qemu",
        "run, before",
        "Node, before",
        "Node, meanwhile",
        "run ÷ qemu",
        "Node ÷ qemu",
        "meanwhile ÷ qemu",
    ]);
    if browser {
        heads.extend(argv(&["Chromium, before", "Chromium ÷ qemu"]));
    }
    let mut table = vec![heads];
    for program in PROGRAMS.iter().filter(|p| words.is_empty() || words.iter().any(|w| w == p.name)) {
        let before = pack(&image, &folder, program, true);
        let unforeseen = pack(&image, &folder, program, false);
        let node = node.get_or_insert_with(|| node_host(&before, &folder));
        let cost = |command: &[&str]| {
            let command = argv(command);
            // The native host keeps what it compiled.
            cpu_seconds(&command);
            median(runs, || cpu_seconds(&command))
        };
        let script = program.shell(program.size);
        let chroot = |root: &str| {
            let root = work().join("reference").join(root);
            let root = root.to_string_lossy();
            cost(&[
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/bin",
                "LC_ALL=C.UTF-8",
                "chroot",
                &root,
                "sh",
                "-c",
                &script,
            ])
        };
        let (native, qemu) = (chroot("bench-native"), chroot("bench"));
        let ours = [
            cost(&[&snap, "run", "--tty=false", &before.to_string_lossy()]),
            cost(&["node", node, &before.to_string_lossy()]),
            cost(&["node", node, &unforeseen.to_string_lossy()]),
        ];
        let mut row = vec![program.name.to_owned(), format!("{native:.3}"), format!("{:.2}", qemu / native)];
        row.extend(ours.iter().map(|ours| format!("{:.2}", ours / native)));
        row.extend(ours.iter().map(|ours| format!("{:.2}", ours / qemu)));
        if browser {
            let chromium = chromium_seconds(&[before], runs, &folder)[0];
            row.extend([chromium / native, chromium / qemu].map(|ratio| format!("{ratio:.2}")));
        }
        eprintln!("{}", row.join("  "));
        table.push(row);
    }
    println!("CPU time of a program as multiples of native, median of {runs}");
    print_table(&table);
}

/// An app that is about to run `program`; with what is translated before, or nothing.
fn pack(image: &Path, folder: &Path, program: &Program, before: bool) -> PathBuf {
    let app = folder.join(format!("{}-{}.wasm", program.name, if before { "before" } else { "off" }));
    let mut command = Command::new(friscy_snap());
    command.args(["-q", "--tty=false", "-e", "LC_ALL=C.UTF-8", "-e", "PATH=/usr/bin:/bin", "-o"]);
    command.arg(&app).arg(image);
    if before {
        command.arg("--train").arg(format!("sh -c '{}'", program.shell(program.training)));
    } else {
        command.args(["--aot", "off"]);
    }
    let made = command.args(["--", "sh", "-c", &program.shell(program.size)]).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not pack");
    app
}

/// Node's host as `bundle` writes it, with its translator.
fn node_host(app: &Path, folder: &Path) -> String {
    let site = folder.join("site");
    let made = Command::new(friscy_snap()).arg("bundle").arg(app).arg("-q").arg("-o").arg(&site).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not make a page");
    site.join("friscy-node.mjs").to_string_lossy().into_owned()
}
