//! Linear memory is bounded by what lives at once, not by the size of the image or by what has ended.
//!
//! The figures are those of `friscy-snap run --stats`: sizes, the same on every run.

use std::process::{Command, Stdio};

use friscy_tests::oracle::{Image, friscy_snap};

/// Linear memory in MB after `argv` has run.
fn memory_mb(image: &Image, argv: &[&str]) -> f64 {
    let output = Command::new(friscy_snap())
        .args(["run", "--stats"])
        .arg(image.app())
        .arg("--")
        .args(argv)
        .stdin(Stdio::null())
        .output()
        .expect("friscy-snap runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {text}");
    let memory = text.split("; memory ").nth(1).and_then(|rest| rest.split(" MB").next()?.parse().ok());
    memory.unwrap_or_else(|| panic!("no memory figure in {text:?}"))
}

fn forks(count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done")
}

#[test]
fn processes_that_have_ended_leave_room_for_others() {
    let image = Image::get("tiny");
    let few = memory_mb(&image, &["/bin/sh", "-c", &forks(3)]);
    let many = memory_mb(&image, &["/bin/sh", "-c", &forks(200)]);
    assert!(many <= few + 2.0, "{few} MB after 3 programs, {many} MB after 200");
}

#[test]
fn a_debian_image_costs_hardly_more_than_a_tiny_one() {
    let tiny = memory_mb(&Image::get("tiny"), &["/bin/true"]);
    let debian = memory_mb(&Image::get("debian-python3"), &["/bin/true"]);
    assert!(debian <= tiny + 8.0, "tiny {tiny} MB, Debian with Python {debian} MB");
}
