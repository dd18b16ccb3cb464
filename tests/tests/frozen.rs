//! Frozen equals unfrozen, as a property: scripts frozen at random points of their run.
//!
//! `FRISCY_SEED=n` replays a run, `FRISCY_FUZZ_BATCHES=n` makes it longer (rounds over all scripts),
//! `FRISCY_IMAGE=musl` takes another image.

use friscy_tests::frozen::Subject;
use friscy_tests::isa_fuzz::Rng;
use friscy_tests::native::Disk;
use friscy_tests::oracle::tar;
use friscy_tests::scripts::SCRIPTS;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn frozen_equals_unfrozen() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed = number("FRISCY_SEED").unwrap_or(now.as_nanos() as u64);
    let image = std::env::var("FRISCY_IMAGE").unwrap_or_else(|_| "tiny".to_string());
    let disk = Disk::of_image(&tar(&image)).expect("the image is read");
    let mut rng = Rng(seed);
    let (mut frozen, mut ended, mut failures) = (0, 0, Vec::new());
    for _ in 0..number("FRISCY_FUZZ_BATCHES").unwrap_or(1) {
        for index in 0..SCRIPTS.len() as u64 {
            let subject = Subject::new(&disk, index).expect("it runs undisturbed");
            // Most of a short run is the start of its programs, and its output is near the end: look there closely.
            for part in [1, 10, 100, 1000] {
                let point = subject.retired - rng.below((subject.retired / part).max(1));
                match subject.check(&disk, point) {
                    Ok(true) => frozen += 1,
                    Ok(false) => ended += 1,
                    Err(error) => failures.push(format!("{error:#}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "FRISCY_SEED={seed}\n{}", failures.join("\n"));
    assert!(
        frozen > 10 * ended,
        "FRISCY_SEED={seed}: {ended} runs ended before their freeze point, {frozen} did not"
    );
}
