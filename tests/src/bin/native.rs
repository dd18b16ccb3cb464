//! Run a program of a folder on the natively linked machine: the shortest way to debug the kernel.
//!
//!     cargo run --release -p friscy-tests --bin native -- [--strace] [--tty] FOLDER PROGRAM [ARG...]

use std::path::Path;
use std::time::Duration;

use friscy_formats::boot::Boot;
use friscy_tests::native::{Disk, NativeHost};

fn main() -> anyhow::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| words.iter().position(|w| w == name).map(|i| words.remove(i)).is_some();
    let (strace, tty) = (flag("--strace"), flag("--tty"));
    if words.len() < 2 {
        eprintln!("usage: native [--strace] [--tty] FOLDER PROGRAM [ARG...]");
        std::process::exit(2);
    }
    let disk = Disk::of_folder(Path::new(&words.remove(0)))?;
    let env = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "TERM=xterm",
        "LANG=C.UTF-8",
    ];
    let boot = Boot {
        argv: words.into_iter().map(String::into_bytes).collect(),
        env: env.map(|e| e.as_bytes().to_vec()).to_vec(),
        hostname: b"native".to_vec(),
        strace,
        tty,
        ..Boot::default()
    };
    let mut host = NativeHost::boot(&disk, &boot, None)?;
    let code = host.run(Duration::from_secs(3600))?;
    std::process::exit(code as i32);
}
