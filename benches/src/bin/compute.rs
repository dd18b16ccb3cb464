//! Compute: a CoreMark-like mix natively, under qemu-riscv64 and under friscy-snap, in one run.
//!
//!     cargo build --release && cargo run --release -p friscy-benches --bin compute [ITERATIONS [RUNS]]
//!
//! CPU seconds, medians, as ratios to native. Start-up (a run of no
//! iterations) is taken off each side, so that the figures are of computing.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_benches::{argv, cpu_seconds, median, print_table};
use friscy_tests::oracle::{friscy_snap, repository, work};

fn main() {
    let mut numbers =
        std::env::args().skip(1).map(|n| n.parse::<u32>().expect("ITERATIONS and RUNS are numbers"));
    let (iterations, runs) = (numbers.next().unwrap_or(20_000), numbers.next().unwrap_or(5) as usize);
    let guest = guest_tools();
    let app = pack(&guest);
    let native = std::env::current_exe().expect("this program").with_file_name("mix");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (guest, app, native, snap) = (text(&guest), text(&app), text(&native), text(&friscy_snap()));
    let sides: [(&str, Vec<&str>); 3] = [
        ("native", vec![&native]),
        ("qemu-riscv64", vec!["qemu-riscv64", &guest, "bench"]),
        ("friscy-snap run", vec![&snap, "run", &app, "--", "/tools", "bench"]),
    ];
    let mut table = vec![argv(&["", "CPU s", "÷ native"])];
    let mut floor = None;
    for (name, command) in sides {
        let measure = |iterations: u32| {
            let mut command = argv(&command);
            command.push(iterations.to_string());
            median(runs, || cpu_seconds(&command))
        };
        let seconds = measure(iterations) - measure(0);
        let native = *floor.get_or_insert(seconds);
        table.push(vec![name.into(), format!("{seconds:.3}"), format!("{:.1}", seconds / native)]);
    }
    println!("{iterations} iterations, median of {runs}");
    print_table(&table);
}

/// The demo's tools, built for the bare RISC-V target.
fn guest_tools() -> PathBuf {
    let folder = repository().join("tests/guests");
    let status = Command::new("cargo").args(["build", "--release", "--quiet"]).current_dir(&folder).status();
    assert!(status.is_ok_and(|s| s.success()), "the guest programs do not build");
    folder.join("target/riscv64gc-unknown-none-elf/release/tools")
}

/// An app that holds nothing but the tools.
fn pack(tools: &Path) -> PathBuf {
    let root = work().join("bench-root");
    std::fs::create_dir_all(&root).expect("a folder for the image");
    std::fs::copy(tools, root.join("tools")).expect("copy the tools");
    let (tar, app) = (work().join("bench.tar"), work().join("bench-compute.wasm"));
    let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
    assert!(packed.is_ok_and(|s| s.success()), "tar fails");
    let made =
        Command::new(friscy_snap()).args(["-q", "-o"]).arg(&app).arg(&tar).args(["--", "/tools"]).status();
    assert!(made.is_ok_and(|s| s.success()), "the bench image does not pack");
    app
}
