//! Programs that mean no good: random system calls, and all there is of memory, descriptors, processes, disk.
//! Each comes to a clear end, and the machine still does its work afterwards; nothing panics or hangs here.
//!
//!     FUZZ_CALLS=5000000 cargo test -p friscy-tests --test abuse random       minutes, with all assertions
//!     FUZZ_SEED=7 cargo test -p friscy-tests --test abuse random              the same calls again
//!
//! Without `--release`, arithmetic and internal assertions are checked as well.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use friscy_formats::boot::Boot;
use friscy_tests::native::{Disk, NativeHost};
use friscy_tests::oracle::{repository, work};

/// Compile `name`.c, static, into a folder that serves as the root.
fn compiled(name: &str) -> Disk {
    let root: PathBuf = work().join("abuse").join(name);
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("tmp")).expect("a folder");
    let status = Command::new("riscv64-linux-gnu-gcc")
        .args(["-static", "-O1", "-pthread", "-o"])
        .arg(root.join("program"))
        .arg(repository().join(format!("tests/guests/abuse/{name}.c")))
        .status()
        .expect("riscv64-linux-gnu-gcc (tests/run installs it)");
    assert!(status.success(), "{name}.c does not compile");
    Disk::of_folder(&root).expect("a folder")
}

/// Run the program with these arguments; what it printed. Aborts this process when the machine itself hangs, which
/// no test could end otherwise.
fn run(disk: &Disk, arguments: &[String], limit: Duration) -> (u32, String) {
    let (alive, watched) = channel::<()>();
    let what = arguments.join(" ");
    std::thread::spawn(move || {
        if watched.recv_timeout(limit * 2) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{what}: the machine hangs");
            std::process::abort();
        }
    });
    let mut argv = vec![b"/program".to_vec()];
    argv.extend(arguments.iter().map(|word| word.clone().into_bytes()));
    let boot = Boot { argv, cwd: b"/tmp".to_vec(), hostname: b"abuse".to_vec(), ..Boot::default() };
    let mut host = NativeHost::boot(disk, &boot, Some(b"")).expect("boots");
    let code = host.run(limit).unwrap_or_else(|e| panic!("{}: {e}", arguments.join(" ")));
    drop(alive);
    (code, String::from_utf8_lossy(&host.stdout).into_owned())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_system_calls_harm_nobody_else() {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64 >> 8);
    let seed = number("FUZZ_SEED").unwrap_or_else(fresh);
    let calls = number("FUZZ_CALLS").unwrap_or(30_000);
    eprintln!("FUZZ_SEED={seed} FUZZ_CALLS={calls}");
    let disk = compiled("fuzz");
    let limit = Duration::from_secs(120 + calls / 100);
    let (code, said) = run(&disk, &[seed.to_string(), calls.to_string()], limit);
    assert!(code == 0 && said.contains("calls"), "FUZZ_SEED={seed}: exit {code}: {said}");
}

/// What each of the programs takes, and how it ends.
const ENDS: &[(&str, &str)] = &[
    ("touch_memory", "signal 9"),
    ("reserve_addresses", "exit 12"),
    ("shared_memory", "signal 9"),
    ("recurse", "signal 11"),
    ("descriptors", "exit 24"),
    ("pipes", "exit 24"),
    ("forks", "exit 11"),
    ("threads", "exit 11"),
    ("bomb", "exit 0"),
    ("disk", "exit 28"),
    ("files", "exit 0"),
    ("deep", "exit 0"),
    ("proc", "exit 0"),
    ("sys", "exit 0"),
    ("jumps", "exit 0"),
    ("nonsense", "exit 0"),
];

#[test]
fn who_takes_all_comes_to_a_clear_end() {
    let disk = compiled("exhaust");
    for (what, end) in ENDS {
        let (code, said) = run(&disk, &[(*what).to_owned()], Duration::from_secs(200));
        assert_eq!((code, said), (0, format!("{what}: {end}\nafterwards: exit 0\n")));
    }
}
