//! Pack throughput, and the size of app.wasm against `gzip -9` of the image.
//!
//!     cargo run --release -p friscy-benches --bin pack -- [-r RUNS] [--json FILE] [IMAGE...]

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use friscy_benches::options::{Options, bench};
use friscy_benches::table::Table;
use friscy_benches::{argv, cpu_seconds, median};
use friscy_tests::oracle::{friscy_snap, work};

const IMAGES: [&str; 4] = ["tiny", "musl", "debian-min", "debian-python3"];

fn main() -> ExitCode {
    bench(3, &IMAGES, |options| Ok(vec![measure(options)?]))
}

fn measure(options: &Options) -> Result<Table> {
    let columns = ["MB", "pack CPU s", "MB/CPU s", "app MB", "gzip -9 MB", "app/gzip"];
    let mut table = Table::new(format!("Packing, median of {}", options.runs), &columns);
    let out = work().join("bench.wasm");
    for name in IMAGES.into_iter().filter(|name| options.wants(name)) {
        let image = work().join("images").join(format!("{name}.tar"));
        if !image.exists() {
            eprintln!("{} is missing: bash tests/images/build.sh {name}", image.display());
            continue;
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let pack = argv(&[&text(&friscy_snap()), &text(&image), "-o", &text(&out), "-q", "--", "/bin/sh"]);
        let seconds = median(options.runs, || cpu_seconds(&pack, None))?;
        let megabytes = |path: &Path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64 / 1e6) };
        let gz = work().join("bench.gz");
        let gzip = format!("gzip -9 -c '{}' > '{}'", image.display(), gz.display());
        cpu_seconds(&argv(&["sh", "-c", &gzip]), None)?;
        let (size, app, gzip) = (megabytes(&image)?, megabytes(&out)?, megabytes(&gz)?);
        table.row(name, [size, seconds, size / seconds, app, gzip, app / gzip].map(Some));
    }
    Ok(table)
}
