//! Code that was translated when the image was packed, or while it runs: programs print the same with it, without
//! it, and when it comes meanwhile. What translated instructions do is `isa_fuzz`'s matter; Chromium is
//! `bundle/test/translator.test.mjs`'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_tests::isa_fuzz::{machine, triples};
use friscy_tests::oracle::{Image, LIMIT, finish, friscy_snap, repository, tar, work};

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

#[test]
fn tiny_has_translated_while_it_runs_what_nobody_foresaw() {
    let app = pack("unforeseen", &["--aot", "off"]);
    let mut command = Command::new(friscy_snap());
    command.args(["run", "--stats"]).arg(&app).args(["--", "/bin/sh", "-c"]);
    command.arg("i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done; echo $i");
    let outcome = finish(command, b"", LIMIT);
    assert_eq!((outcome.code, outcome.stdout), (Some(0), b"15000\n".to_vec()));
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let count = said.split("translated ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count > 0), "{said}");
}

/// Hosts that fuse multiplication and addition find code for it in the file, which is counted and sealed.
#[test]
fn second_forms_are_counted_and_sealed() {
    let directory = work().join("translated/fused");
    std::fs::create_dir_all(&directory).expect("a folder");
    let app = machine::packed(&triples::elf(1), &directory).expect("it can be packed");
    let mut inspect = Command::new(friscy_snap());
    inspect.arg("inspect").arg(&app);
    let outcome = finish(inspect, b"", LIMIT);
    assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    let table = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let row = table.lines().find_map(|line| line.strip_prefix("fused code")).expect("a row for it");
    let count = row.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
    assert!(count > Some(1000), "{table}");
    let mut bytes = std::fs::read(&app).expect("it was packed");
    let name = b"friscy.fused";
    let at = bytes.windows(name.len()).position(|part| part == name).expect("the section");
    bytes[at + name.len() + 500] ^= 1;
    std::fs::write(&app, bytes).expect("it can be written");
    let mut command = Command::new(friscy_snap());
    command.arg("run").arg(&app);
    let outcome = finish(command, b"", LIMIT);
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!((outcome.code, said.contains("damaged")), (Some(1), true), "{said}");
}

/// A loop in writable memory, long enough to be translated, and changed three times.
const REWRITES: &str = "
import ctypes, mmap, struct
m = mmap.mmap(-1, 4096, prot=7)
f = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
for k in (1, 2, 3, 1):
    # li t0, 0; 1: addi t0, t0, k; addi a0, a0, -1; bnez a0, 1b; mv a0, t0; ret
    m[:24] = struct.pack('<6I', 0x293, k << 20 | 0x28293, 0xfff50513, 0xfe051ce3, 0x28513, 0x8067)
    print(f(14000000), f(14000000))
";

#[test]
fn debian_python3_rewrites_code_that_was_translated() {
    Image::get("debian-python3").all_same([(vec!["/usr/bin/python3", "-c", REWRITES], "")]);
}

#[test]
fn debian_python3_rewrites_code_that_node_translated() {
    let directory = work().join("translated");
    let (app, site) = (directory.join("rewrites.wasm"), directory.join("rewrites"));
    std::fs::create_dir_all(&directory).expect("a folder");
    let mut pack = Command::new(friscy_snap());
    pack.arg(tar("debian-python3")).args(["-q", "--tty=false", "--aot", "off", "-o"]).arg(&app);
    let mut bundle = Command::new(friscy_snap());
    bundle.arg("bundle").arg(&app).args(["-q", "-o"]).arg(&site);
    // Seconds, interpreted, where the translator takes a tenth of one.
    let program = REWRITES.replace("14000000", "70000000");
    for command in [with(pack, &["--", "/usr/bin/python3", "-c", &program]), bundle] {
        let outcome = finish(command, b"", LIMIT);
        assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    }
    let mut node = Command::new("node");
    node.arg("--import").arg(repository().join("bundle/test/marks.mjs"));
    node.arg(site.join("friscy-node.mjs")).arg(&app);
    let outcome = finish(node, b"", LIMIT);
    let expected: String = [1, 2, 3, 1].map(|k| format!("{0} {0}\n", k * 70_000_000)).concat();
    assert_eq!((outcome.code, String::from_utf8_lossy(&outcome.stdout)), (Some(0), expected.into()));
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let count = said.trim().strip_prefix("translated ").and_then(|count| count.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count > 0), "{said}");
}
