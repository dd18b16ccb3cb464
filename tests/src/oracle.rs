//! One command, run twice: under qemu-riscv64 in a chroot of an image's tree
//! (the reference), and by `friscy-snap run` on the packed image. Standard
//! output, standard error and the exit code are compared byte for byte.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long one command may take, unless its image says otherwise.
pub const LIMIT: Duration = Duration::from_secs(240);

/// What to learn from when images are packed with translated code.
const SHELL_TRAINING: &str = "/bin/sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i; \
    seq 1 500 | sort -r | awk \"{s+=1} END {print s}\"; for f in /etc/*; do echo $f; done | tr a-z A-Z | wc; \
    echo abc | sed s/b/x/ | grep x; ls -la / /etc; x=$(echo deep); printf \"%s %d\" a 5; find /etc | sort | md5sum; \
    dd if=/dev/zero bs=1k count=100 | sha256sum; tar cf - /etc | gzip -c | gzip -dc | wc -c'";
const PYTHON_TRAINING: &str = "/usr/bin/python3 -c 'import json, re, hashlib, decimal, subprocess, threading; \
    print(json.dumps([1.5, None, \"x\"])); print(re.findall(\"a+\", \"aabaa\")); \
    print(hashlib.sha256(bytes(9999)).hexdigest(), decimal.Decimal(1) / 7, 2 ** 200, sum(x * 0.5 for x in range(999)));'";

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code, 128+N when signal N ended it; none when it had to be killed after its limit.
    pub code: Option<i32>,
}

/// Root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

/// Where images and roots are built (`WORK`, default `tests/work`).
pub fn work() -> PathBuf {
    std::env::var_os("WORK").map_or_else(|| repository().join("tests/work"), PathBuf::from)
}

/// The `friscy-snap` under test (`FRISCY_SNAP`, default the release build).
pub fn friscy_snap() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let path =
        std::env::var_os("FRISCY_SNAP").map_or_else(|| target.join("release/friscy-snap"), PathBuf::from);
    assert!(path.exists(), "{} is missing: cargo build --release", path.display());
    path
}

/// The tar of the image `name`, built once per machine; see `tests/images/build.sh`.
pub fn tar(name: &str) -> PathBuf {
    let script = repository().join("tests/images/build.sh");
    must(Command::new("bash").arg(script).arg(name).env("WORK", work()));
    work().join("images").join(format!("{name}.tar"))
}

/// An image that the tests build: its tar, the tree of the reference, the packed file.
#[derive(Debug)]
pub struct Image {
    name: &'static str,
    root: PathBuf,
    app: PathBuf,
    /// How long one command may take on either side before it counts as hung.
    pub limit: Duration,
}

impl Image {
    /// Build (once per machine), unpack and pack (once per run) the image `name`; see `tests/images/build.sh`.
    pub fn get(name: &'static str) -> Image {
        static READY: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
        let work = work();
        let image = Image {
            name,
            root: work.join("reference").join(name),
            app: work.join("apps").join(format!("{name}.wasm")),
            limit: LIMIT,
        };
        let mut ready = READY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !ready.contains(&name) {
            image.prepare();
            image.pack();
            ready.push(name);
        }
        image
    }

    /// As `get`, without the packed file: for the reference, and for machines in this process.
    pub fn unpacked(name: &'static str) -> Image {
        let work = work();
        let image =
            Image { name, root: work.join("reference").join(name), app: PathBuf::new(), limit: LIMIT };
        image.prepare();
        image
    }

    fn prepare(&self) {
        tar(self.name);
        must(
            Command::new("bash")
                .arg(repository().join("tests/images/reference.sh"))
                .arg(self.name)
                .env("WORK", work()),
        );
    }

    fn pack(&self) {
        let tar = tar(self.name);
        std::fs::create_dir_all(work().join("apps")).expect("apps folder");
        must(
            Command::new(friscy_snap())
                .arg(tar)
                .arg("-o")
                .arg(&self.app)
                .arg("--hostname=friscy")
                .args(ENV.map(|e| format!("-e{e}")))
                .args(self.translation())
                .args(["--", "/bin/sh"]),
        );
    }

    /// With `FRISCY_TRANSLATE` set, all code that these commands run is translated, and the tests run that.
    fn translation(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        if std::env::var_os("FRISCY_TRANSLATE").is_some() {
            options.extend(["--aot", "all", "--aot-size", "64m", "--train", SHELL_TRAINING]);
            if self.name.contains("python") {
                options.extend(["--train", PYTHON_TRAINING]);
            }
        }
        options
    }

    /// The packed file, frozen at `entry`.
    pub fn app(&self) -> &Path {
        &self.app
    }

    /// Under qemu-riscv64, as pid 1's child in namespaces of its own.
    pub fn reference(&self, argv: &[&str], stdin: &[u8]) -> Outcome {
        finish(self.reference_command(argv), stdin, self.limit)
    }

    /// By the file under test.
    pub fn ours(&self, argv: &[&str], stdin: &[u8]) -> Outcome {
        finish(self.our_command(argv), stdin, self.limit)
    }

    /// `argv` on the reference, to be started on a terminal.
    pub fn reference_command(&self, argv: &[&str]) -> Command {
        // timeout(1) is the namespace's pid 1, which signals without a handler would not reach; limits as in a container.
        // A network of its own, loopback only, as ours; /proc and /dev/pts of the namespaces.
        const ENTER: &str = r#"
            ip link set lo up && hostname friscy && mount -t proc proc "$1/proc" || exit 125
            mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/dev/pts" || exit 125
            limit=$2; shift 2
            exec timeout --foreground "$limit" env -i "$@""#;
        let mut command = Command::new("prlimit");
        command.args(["--nofile=1024:", "unshare", "--mount", "--pid", "--uts", "--ipc", "--net"]);
        command.args(["--fork", "--kill-child", "sh", "-c", ENTER, "sh"]);
        command.arg(&self.root).arg((self.limit.as_secs() + 60).to_string());
        command.args(ENV).arg("chroot").arg(&self.root).args(argv);
        command
    }

    /// `argv` by the file under test, to be started on a terminal or not.
    pub fn our_command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new(friscy_snap());
        command.arg("run");
        if std::env::var_os("FRISCY_TRANSLATE").is_some() {
            command.args(["--compile", "first"]);
        }
        command.arg(&self.app).arg("--").args(argv);
        command
    }

    /// Run a script of `shell` by the file under test; its standard output. Panics when it fails.
    pub fn prints(&self, shell: &str, script: &str) -> String {
        let outcome = self.ours(&[shell, "-c", script], b"");
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let errors = cut(&outcome.stderr);
        assert_eq!(outcome.code, Some(0), "{}: {script}\n{text}\nstderr: {errors}", self.name);
        text
    }

    /// Run `argv` on both sides; what differs, for people to read.
    pub fn difference(&self, argv: &[&str], stdin: &str) -> Option<String> {
        let reference = self.reference(argv, stdin.as_bytes());
        let ours = self.ours(argv, stdin.as_bytes());
        if reference == ours {
            return None;
        }
        let mut text = format!("{}: {argv:?} differs\n", self.name);
        for (who, outcome) in [("qemu-riscv64", &reference), ("friscy-snap", &ours)] {
            let _ = writeln!(text, "--- {who}: exit {:?}", outcome.code);
            let _ = writeln!(text, "{}", cut(&outcome.stdout));
            let _ = writeln!(text, "{who} stderr: {}", cut(&outcome.stderr));
        }
        Some(text)
    }

    /// Run every command on both sides; panics with all that differ.
    pub fn all_same<'c>(&self, commands: impl IntoIterator<Item = (Vec<&'c str>, &'c str)>) {
        let (mut count, mut differences) = (0, Vec::new());
        for (argv, stdin) in commands {
            count += 1;
            differences.extend(self.difference(&argv, stdin));
        }
        assert!(count > 0, "no commands");
        assert!(
            differences.is_empty(),
            "{} of {count} commands differ\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

/// The environment of every command.
pub const ENV: [&str; 5] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=xterm",
    "TZ=UTC",
];

fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() < 3000 {
        text.into_owned()
    } else {
        format!("{}… ({} bytes)", text.chars().take(3000).collect::<String>(), text.len())
    }
}

/// Run a preparation step; its failure is the test's.
fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", cut(&output.stderr));
}

/// Feed `stdin`, collect the rest; at the limit kill it and all that it started.
pub fn finish(mut command: Command, stdin: &[u8], limit: Duration) -> Outcome {
    use std::os::unix::process::CommandExt;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child =
        command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e} (tests/run installs what is needed)"));
    let mut pipe = child.stdin.take().expect("piped");
    let input = stdin.to_vec();
    let feeder = std::thread::spawn(move || {
        // A command that ends before reading all its input is no failure.
        let _ = pipe.write_all(&input);
    });
    let (stdout, stderr) = (OnceLock::new(), OnceLock::new());
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let code = std::thread::scope(|scope| {
        scope.spawn(|| stdout.set(drain(&mut out)));
        scope.spawn(|| stderr.set(drain(&mut err)));
        let start = Instant::now();
        loop {
            match child.try_wait().expect("wait") {
                Some(status) => break exit_code(status),
                None if start.elapsed() > limit => {
                    let group = rustix::process::Pid::from_child(&child);
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    let _ = feeder.join();
    Outcome {
        stdout: stdout.into_inner().unwrap_or_default(),
        stderr: stderr.into_inner().unwrap_or_default(),
        code,
    }
}

fn exit_code(status: std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|s| 128 + s))
}

fn drain(from: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}
