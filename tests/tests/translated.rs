//! Code that was translated when the image was packed: programs print the same with it, without it, and when it
//! comes while they run. What translated instructions do is `isa_fuzz`'s matter.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_tests::oracle::{LIMIT, finish, friscy_snap, tar, work};

/// Long enough for translated code to be compiled meanwhile.
const SCRIPT: &str = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; echo $i; \
    for f in a b c; do echo $f; done | sort -r; seq 1 2000 | wc -l";
const PRINTS: &str = "3000\nc\nb\na\n2000\n";

/// The image `tiny`, packed with `options` as `name`.wasm.
fn pack(name: &str, options: &[&str]) -> PathBuf {
    let directory = work().join("translated");
    std::fs::create_dir_all(&directory).expect("a folder");
    let app = directory.join(format!("{name}.wasm"));
    let mut command = Command::new(friscy_snap());
    command.arg(tar("tiny")).args(["-q", "--tty=false"]).args(options).arg("-o").arg(&app);
    let outcome = finish(with(command, &["--", "/bin/sh", "-c", SCRIPT]), b"", LIMIT);
    assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    app
}

fn with(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

fn run(app: &Path, options: &[&str]) -> String {
    let mut command = Command::new(friscy_snap());
    command.arg("run").args(options).arg(app);
    let outcome = finish(command, b"", LIMIT);
    assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

#[test]
fn tiny_prints_the_same_whenever_translated_code_comes() {
    let app = pack("default", &[]);
    let mut inspect = Command::new(friscy_snap());
    inspect.arg("inspect").arg(&app);
    let table = String::from_utf8_lossy(&finish(inspect, b"", LIMIT).stdout).into_owned();
    assert!(table.contains("translated code"), "the loop is worth it: {table}");
    for when in ["first", "beside", "never"] {
        assert_eq!(run(&app, &["--compile", when]), PRINTS, "--compile {when}");
    }
    let again = pack("again", &["--aot", "auto"]);
    let bytes = |path: &Path| std::fs::read(path).expect("it was packed");
    assert!(bytes(&app) == bytes(&again), "the same bytes");
    let off = pack("off", &["--aot", "off"]);
    assert!(bytes(&off).len() < bytes(&app).len());
    assert_eq!(run(&off, &[]), PRINTS);
}
