//! Pack throughput, and the size of app.wasm against `gzip -9` of the image.
//!
//!     cargo run --release -p friscy-benches --bin pack [RUNS]

use std::path::Path;

use friscy_benches::{argv, cpu_seconds, median, print_table};
use friscy_tests::oracle::{friscy_snap, work};

fn main() {
    let runs = std::env::args().nth(1).map_or(3, |n| n.parse().expect("RUNS is a number"));
    let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut table = vec![row(&["image", "MB", "pack CPU s", "MB/CPU s", "app MB", "gzip -9 MB", "app/gzip"])];
    let out = work().join("bench.wasm");
    for name in ["tiny", "musl", "debian-min", "debian-python3"] {
        let image = work().join("images").join(format!("{name}.tar"));
        if !image.exists() {
            eprintln!("{} is missing: bash tests/images/build.sh {name}", image.display());
            continue;
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let pack = [
            text(&friscy_snap()),
            text(&image),
            "-o".into(),
            text(&out),
            "-q".into(),
            "--".into(),
            "/bin/sh".into(),
        ];
        let seconds = median(runs, || cpu_seconds(&pack));
        let megabytes = |path: &Path| std::fs::metadata(path).expect("size").len() as f64 / 1e6;
        let gz = work().join("bench.gz");
        cpu_seconds(&argv(&["sh", "-c", &format!("gzip -9 -c '{}' > '{}'", image.display(), gz.display())]));
        let (size, app, gzip) = (megabytes(&image), megabytes(&out), megabytes(&gz));
        let mut cells = row(&[name]);
        cells.extend([size, seconds, size / seconds, app, gzip, app / gzip].map(|n| format!("{n:.2}")));
        table.push(cells);
    }
    print_table(&table);
}
