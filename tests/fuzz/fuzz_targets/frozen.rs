//! `friscy_tests::frozen::fuzz` under libFuzzer, on the image `tiny`.
#![no_main]

use std::sync::OnceLock;

use friscy_tests::native::Disk;
use friscy_tests::oracle::tar;

static DISK: OnceLock<Disk> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let disk = DISK.get_or_init(|| Disk::of_image(&tar("tiny")).expect("the image is read"));
    friscy_tests::frozen::fuzz(disk, bytes);
});
