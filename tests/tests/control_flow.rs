//! The C programs of `tests/guests/translated`, with all of their code translated, print what they print under
//! `qemu-riscv64`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use friscy_tests::isa_fuzz::machine::{qemu, translated};
use friscy_tests::oracle::repository;

fn same(name: &str) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("friscy-translated-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("elf");
    let status = Command::new("riscv64-linux-gnu-gcc")
        .args(["-static", "-O1", "-Wall", "-Wno-infinite-recursion", "-fexceptions", "-pthread", "-o"])
        .arg(&program)
        .arg(repository().join(format!("tests/guests/translated/{name}.c")))
        .arg("-lm")
        .status()
        .context("riscv64-linux-gnu-gcc (tests/run installs it)")?;
    ensure!(status.success(), "{name}.c does not compile");
    let elf = std::fs::read(&program)?;
    let theirs = qemu(&elf, &folder)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (host, mine) in translated(&elf, &folder)? {
        assert_eq!(text(&mine), text(&theirs), "{name}, {host}");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[test]
fn calls_survive_whatever_a_program_does_to_its_control_flow() -> Result<()> {
    same("flow")
}
