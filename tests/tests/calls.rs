//! The C programs of `tests/guests/calls`, one for each family of system calls: each prints the same on this
//! machine's own Linux and on the machine linked into this process. They print nothing that depends on the
//! processor, so Linux itself is the reference, and not qemu-riscv64, which refuses some of these calls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use friscy_formats::boot::Boot;
use friscy_tests::native::{Disk, NativeHost};
use friscy_tests::oracle::{LIMIT, finish, repository, work};

/// Compile `name`.c, static, for riscv64 into a folder that serves as the root, and for this machine beside it.
fn compiled(name: &str) -> PathBuf {
    let folder = work().join("calls").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    for place in ["root/tmp", "tmp"] {
        std::fs::create_dir_all(folder.join(place)).expect("a folder");
    }
    for (compiler, program) in [("riscv64-linux-gnu-gcc", "root/program"), ("cc", "native")] {
        let status = Command::new(compiler)
            .args(["-static", "-O1", "-Wall", "-Werror", "-pthread", "-o"])
            .arg(folder.join(program))
            .arg(repository().join(format!("tests/guests/calls/{name}.c")))
            .status()
            .unwrap_or_else(|e| panic!("{compiler}: {e} (tests/run installs it)"));
        assert!(status.success(), "{name}.c does not compile");
    }
    folder
}

/// What the program prints in an empty folder under Linux, in namespaces of its own, and its exit code.
fn reference(folder: &Path) -> (String, Option<i32>) {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "env", "-i", "-C"]);
    command.arg(folder.join("tmp")).arg(folder.join("native"));
    let outcome = finish(command, b"", LIMIT);
    (String::from_utf8_lossy(&outcome.stdout).into_owned(), outcome.code)
}

fn ours(folder: &Path) -> (String, Option<i32>) {
    let boot = Boot {
        argv: vec![b"/program".to_vec()],
        cwd: b"/tmp".to_vec(),
        hostname: b"calls".to_vec(),
        ..Boot::default()
    };
    let disk = Disk::of_folder(&folder.join("root")).expect("a folder");
    let mut host = NativeHost::boot(&disk, &boot, Some(b"")).expect("boots");
    let code = host.run(Duration::from_secs(120)).expect("ends");
    (String::from_utf8_lossy(&host.stdout).into_owned(), i32::try_from(code).ok())
}

fn same(name: &str) {
    let folder = compiled(name);
    let (ours, theirs) = (ours(&folder), reference(&folder));
    assert!(!theirs.0.is_empty(), "{name} printed nothing under Linux");
    let differing = theirs.0.lines().zip(ours.0.lines()).find(|(a, b)| a != b);
    assert!(
        theirs == ours,
        "{name} differs, first in {differing:?}\n--- Linux\n{}\n--- here\n{}",
        theirs.0,
        ours.0
    );
}

#[test]
fn inotify() {
    same("inotify");
}

#[test]
fn descriptors() {
    same("descriptors");
}

#[test]
fn mqueue() {
    same("mqueue");
}

#[test]
fn sysvipc() {
    same("sysvipc");
}

#[test]
fn memory() {
    same("memory");
}

#[test]
fn net() {
    same("net");
}

#[test]
fn peers() {
    same("peers");
}

#[test]
fn locks() {
    same("locks");
}

#[test]
fn clocks() {
    same("clocks");
}

#[test]
fn mounts() {
    same("mounts");
}

#[test]
fn datagrams() {
    same("datagrams");
}

#[test]
fn uts() {
    same("uts");
}

#[test]
fn identities() {
    same("identities");
}
