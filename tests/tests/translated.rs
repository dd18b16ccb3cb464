//! Code that was translated when the image was packed, or while it runs: programs print the same with it, without
//! it, and when it comes meanwhile. What translated instructions do is `isa_fuzz`'s matter; Chromium is
//! `bundle/test/translator.test.mjs`'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use friscy_formats::app;
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

/// Functions that are translated while a long loop runs.
fn translated_meanwhile(app: &Path) -> u32 {
    let mut command = Command::new(friscy_snap());
    command.args(["run", "--stats"]).arg(app).args(["--", "/bin/sh", "-c"]);
    command.arg("i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done; echo $i");
    let outcome = finish(command, b"", LIMIT);
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!((outcome.code, outcome.stdout), (Some(0), b"15000\n".to_vec()), "{said}");
    assert!(said.contains(" instructions in "), "{said}");
    said.split("translated ").nth(1).map_or(0, |rest| {
        let count = rest.split(' ').next().and_then(|count| count.parse().ok());
        count.unwrap_or_else(|| panic!("{said}"))
    })
}

#[test]
fn tiny_has_translated_while_it_runs_what_nobody_foresaw() {
    assert!(translated_meanwhile(&pack("unforeseen", &["--aot", "off"])) > 0);
}

/// As if the app at `path` had been packed by another version, whose engine is another: sealed anew.
fn with_another_engine(path: &Path) -> PathBuf {
    let mut bytes = std::fs::read(path).expect("it was packed");
    let opened = app::open(&bytes).expect("an app");
    let (store, digest) = (opened.store(), opened.manifest.engine_digest.clone());
    let other = digest.chars().rev().collect::<String>();
    let at = bytes.windows(digest.len()).position(|window| window == digest.as_bytes()).expect("its digest");
    bytes[at..at + digest.len()].copy_from_slice(other.as_bytes());
    let seal =
        app::sections(&bytes).expect("a module").last().expect("a section").expect("whole").range.start;
    let outside = [&bytes[..store.start], &bytes[store.end..seal]];
    let contents = app::seal_of(outside, store.start as u64..store.end as u64);
    bytes.truncate(seal);
    bytes.extend(app::custom_section(app::SEAL_SECTION, &contents).expect("short"));
    let path = path.with_extension("other.wasm");
    std::fs::write(&path, &bytes).expect("it can be written");
    path
}

#[test]
fn tiny_with_another_engine_runs_its_own_code_and_gets_no_more() {
    let all = with_another_engine(&pack("own", &["--aot", "all"]));
    assert_eq!(run(&all, &["--compile", "first"]), PRINTS);
    assert_eq!(translated_meanwhile(&with_another_engine(&pack("nothing", &["--aot", "off"]))), 0);
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

/// What `program` prints in Node, packed of `image` without translated code, and how many functions Node translated.
fn in_node(name: &str, image: &str, program: &[&str]) -> (String, u32) {
    let directory = work().join("translated");
    let (app, site) = (directory.join(format!("{name}.wasm")), directory.join(name));
    std::fs::create_dir_all(&directory).expect("a folder");
    let mut pack = Command::new(friscy_snap());
    pack.arg(tar(image)).args(["-q", "--tty=false", "--aot", "off", "-o"]).arg(&app);
    let mut bundle = Command::new(friscy_snap());
    bundle.arg("bundle").arg(&app).args(["-q", "-o"]).arg(&site);
    for command in [with(with(pack, &["--"]), program), bundle] {
        let outcome = finish(command, b"", LIMIT);
        assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    }
    let mut node = Command::new("node");
    node.arg("--import").arg(repository().join("bundle/test/marks.mjs"));
    node.arg(site.join("friscy-node.mjs")).arg(&app);
    let outcome = finish(node, b"", 2 * LIMIT);
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!(outcome.code, Some(0), "{said}");
    let count = said.trim().rsplit("translated ").next().and_then(|count| count.parse().ok());
    (String::from_utf8_lossy(&outcome.stdout).into_owned(), count.unwrap_or_else(|| panic!("{said}")))
}

#[test]
fn debian_python3_rewrites_code_that_node_translated() {
    // Seconds, interpreted, where the translator takes a tenth of one.
    let program = REWRITES.replace("14000000", "70000000");
    let (printed, functions) = in_node("rewrites", "debian-python3", &["/usr/bin/python3", "-c", &program]);
    let expected: String = [1, 2, 3, 1].map(|k| format!("{0} {0}\n", k * 70_000_000)).concat();
    assert_eq!(printed, expected);
    assert!(functions > 0);
}

/// Compilers in the guest write code while the translator translates it.
#[test]
#[ignore = "its images take long to build, and a minute each to run: tests/run whole"]
fn node_and_java_with_their_own_compilers_in_node() {
    let script = "let m = new Map(), s = 0; for (let r = 0; r < 100; r++) for (let i = 0; i < 10000; i++) \
        { s = (s * 31 + i) % 1000003; m.set(i & 1023, s); } let c = 0; for (let i = 0; i < 2000; i++) \
        c += new Function('x', `let y = 0; for (let k = 0; k < 50; k++) y += x * ${i} + k; return y & 255`)(i); \
        console.log(s, m.size, c)";
    let (printed, functions) = in_node("node-jit", "node", &["node", "-e", script]);
    assert!(functions > 0);
    // The same, not compiled.
    assert_eq!(printed, in_node("node-jitless", "node", &["node", "--jitless", "-e", script]).0);
    let class = "public class W { interface Op { int of(int x); } public static void main(String[] a) { \
        Op[] ops = { x -> x + 1, x -> x * 3, x -> x ^ 5, x -> x >> 1, x -> x - 7 }; int v = 1; \
        for (int i = 0; i < 2000000; i++) v = ops[i % ops.length].of(v); System.out.println(v); } }";
    let run = |options: &str| format!("cd /tmp; echo '{class}' > W.java; javac W.java && java {options} W");
    let (printed, functions) = in_node("java-jit", "java", &["sh", "-c", &run("")]);
    assert!(functions > 0);
    assert_eq!(printed, in_node("java-int", "java", &["sh", "-c", &run("-Xint")]).0);
}
