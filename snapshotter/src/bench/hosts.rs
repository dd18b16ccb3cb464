//! Hosts that are commands: started, watched until their first output, ended.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};

use super::plan::program;
use super::process::{self, Cpu, Patience, Stop};
use super::report::{Sample, milliseconds};
use crate::embedded;
use crate::marks;

/// How often a wait looks whether it should end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long after the first output its marks may take to be written.
const MARKS_WAIT: Duration = Duration::from_millis(500);

/// An empty app for Node: what any must do.
const NODE_FLOOR: &str = r#"import { readFile } from "node:fs/promises";
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const instance = await WebAssembly.instantiate(module, {
  wasi_snapshot_preview1: { fd_write: () => (process.stdout.write("ok\n"), 0) },
});
instance.exports._start();
"#;

/// Writes the marks of the process it is imported into, once there was output.
const NODE_MARKS: &str = r#"import { writeFileSync } from "node:fs";
const mark = performance.mark;
const lines = [];
performance.mark = function (name, ...rest) {
  const entry = mark.call(performance, name, ...rest);
  lines.push(`${name} ${process.hrtime.bigint()}\n`);
  if (name === "friscy:first-output") writeFileSync(process.env.FRISCY_MARKS, lines.join(""));
  return entry;
};
"#;

/// A WASI command under node:wasi.
const NODE_WASI: &str = r#"import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { WASI } from "node:wasi";
const [, , app] = process.argv;
const preopens = { "/": dirname(app) };
const wasi = new WASI({ version: "preview1", args: [basename(app)], preopens, returnOnExit: true });
const module = await WebAssembly.compile(await readFile(app));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"#;

/// How one host opens an app: a command whose last argument is the file.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    /// The command for apps, and the one for the empty module.
    app: Vec<OsString>,
    floor: Vec<OsString>,
    /// What it is, with its version.
    pub what: String,
    /// Where it writes its marks, if it can.
    marks: Option<PathBuf>,
    /// Begins the line with which it says that it cannot open the file.
    complaint: String,
    /// Wants the directory named in which the file's chunk store may be.
    wants_directory: bool,
}

impl Opener {
    /// This program.
    pub(super) fn native(work: &Path) -> Result<Opener> {
        let own: OsString = std::env::current_exe().context("cannot find this program")?.into();
        let marks = work.join("native.marks");
        Ok(Opener {
            app: vec![own.clone(), "run".into(), "--marks".into(), marks.clone().into()],
            floor: vec![own, "floor".into()],
            what: concat!("friscy-snap ", env!("CARGO_PKG_VERSION")).to_string(),
            marks: Some(marks),
            complaint: "friscy-snap: ".to_string(),
            wants_directory: false,
        })
    }

    /// Node.js with the host of the bundle, laid out in `work`; or why not.
    pub(super) fn node(work: &Path) -> Result<Opener> {
        let node = find_node()?;
        let directory = work.join("node-host");
        if embedded::NODE_HOST.is_empty() {
            bail!("this friscy-snap was built without Node.js, which makes the host");
        }
        let host = directory.join(embedded::NODE_HOST_NAME);
        let (marker, floor) = (directory.join("marks.mjs"), directory.join("floor.mjs"));
        lay(&host, embedded::NODE_HOST)?;
        for (name, wasm) in embedded::WEB.iter().filter(|(name, _)| embedded::is_translator(name)) {
            lay(&directory.join(name), wasm)?;
        }
        lay(&marker, NODE_MARKS.as_bytes())?;
        lay(&floor, NODE_FLOOR.as_bytes())?;
        let what = format!("Node.js {}", version(&node));
        let app = vec![node.clone().into(), "--import".into(), marker.into(), host.into()];
        let floor = vec![node.into(), floor.into()];
        Ok(Opener {
            app,
            floor,
            what,
            marks: Some(work.join("node.marks")),
            complaint: String::new(),
            wants_directory: false,
        })
    }

    /// wasmtime, or Node.js's WASI; or why neither.
    pub(super) fn wasi(work: &Path) -> Result<Opener> {
        let (command, what, wants_directory) = match program("wasmtime".as_ref()) {
            Some(wasmtime) => {
                let what = version(&wasmtime);
                (vec![wasmtime.into(), "run".into()], what, true)
            }
            None => {
                let node = find_node().context("neither wasmtime nor Node.js is installed")?;
                let runner = work.join("wasi.mjs");
                lay(&runner, NODE_WASI.as_bytes())?;
                let what = format!("node:wasi {}", version(&node));
                // Without the second, Node 20 to 22 crash at random: https://github.com/nodejs/node/issues/53087
                let flags = ["--no-warnings", "--no-turbo-fast-api-calls"].map(OsString::from);
                ([vec![node.into()], flags.to_vec(), vec![runner.into()]].concat(), what, false)
            }
        };
        Ok(Opener {
            floor: command.clone(),
            app: command,
            what,
            marks: None,
            complaint: "Error: ".to_string(),
            wants_directory,
        })
    }

    /// Opens the app at `path` until its first output.
    pub(super) fn open(&self, path: &Path, stop: &Stop) -> Result<Sample> {
        self.run(&self.app, path, stop)
    }

    /// The same for the empty module at `path`.
    pub(super) fn open_floor(&self, path: &Path, stop: &Stop) -> Result<Sample> {
        self.run(&self.floor, path, stop)
    }

    fn run(&self, words: &[OsString], path: &Path, stop: &Stop) -> Result<Sample> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if let Some(directory) = path.parent().filter(|_| self.wants_directory) {
            command.arg("--dir").arg(directory);
        }
        command.arg(path);
        if let Some(marks) = &self.marks {
            let _ = std::fs::remove_file(marks);
            command.env("FRISCY_MARKS", marks);
        }
        let complaint = match self.complaint.as_str() {
            "" => format!("{}: ", path.display()),
            own => own.to_string(),
        };
        first_output(command, self.marks.as_deref(), &complaint, stop)
    }
}

/// `--vs`: a command for the shell, until its first output.
pub(super) fn open_command(command: &str, stop: &Stop) -> Result<Sample> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    first_output(shell, None, "sh: ", stop)
}

fn find_node() -> Result<PathBuf> {
    program("node".as_ref()).context("Node.js is not installed (https://nodejs.org)")
}

/// What a program says of its version, on one line.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_string()
}

/// A file of the work directory.
pub(super) fn lay(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a path in a directory")?;
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A child that is ended, with all that it started, when this is dropped.
#[derive(Debug)]
pub(super) struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        process::kill_tree(self.0.id());
        // It is dead: this only takes it off the list of processes.
        let _ = self.0.wait();
    }
}

/// A pseudo-terminal of 80 by 24 cells (pty(7)): our side, and the side of programs.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs =
        rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((ours, theirs))
}

/// Starts `command` on a terminal where nobody types, and waits for its first byte of output.
fn first_output(mut command: Command, marks: Option<&Path>, complaint: &str, stop: &Stop) -> Result<Sample> {
    use std::os::unix::process::CommandExt;
    let (ours, theirs) = terminal().context("cannot make a pseudo-terminal")?;
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    // A group of its own: our terminal's Ctrl-C is for us, who then end it.
    command.process_group(0);
    let start_ns = marks::now_ns();
    let start = Instant::now();
    let mut child =
        Guard(command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?);
    // With it our ends of the programs' side: reading fails once the last program has closed it.
    drop(command);
    let mut patience = Patience::with(child.0.id());
    let mut buffer = [0; 4096];
    loop {
        stop.check()?;
        let mut fds = [PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot poll a pseudo-terminal"),
        }
        let (elapsed, events) = (start.elapsed(), fds[0].revents());
        if events.is_empty() {
            patience.check(0)?;
            continue;
        }
        let count = match rustix::io::read(&ours, &mut buffer) {
            Ok(0) | Err(Errno::IO) => {
                let status = child.0.wait()?;
                bail!("it ended without any output ({status})");
            }
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot read a pseudo-terminal"),
        };
        let (cpu, members) = (Cpu::of(child.0.id()), process::tree(child.0.id()));
        let said = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if let Some(reason) = said.strip_prefix(complaint) {
            bail!("{}", reason.lines().next().unwrap_or_default().trim_end());
        }
        let memory = members.into_iter().filter_map(process::private_bytes).sum();
        return Ok(Sample {
            wall_ms: milliseconds(elapsed),
            cpu_ms: cpu.since(&Cpu::default()).map(milliseconds),
            memory_bytes: Some(memory).filter(|&bytes| bytes > 0),
            stages: marks.map(|path| read_marks(path, start_ns)).unwrap_or_default(),
            ..Sample::default()
        });
    }
}

/// The marks at `path` once they are whole: stage, milliseconds since `start_ns`. None when they do not come.
fn read_marks(path: &Path, start_ns: u64) -> Vec<(String, f64)> {
    let patience = Instant::now() + MARKS_WAIT;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let parsed = marks::parse(&text);
        if parsed.iter().any(|(name, _)| name == marks::FIRST_OUTPUT) {
            let since = |ns: u64| milliseconds(Duration::from_nanos(ns.saturating_sub(start_ns)));
            return parsed.into_iter().map(|(name, ns)| (name, since(ns))).collect();
        }
        if Instant::now() > patience {
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<Sample> {
        open_command(script, &Stop::default())
    }

    #[test]
    fn the_first_output_is_waited_for_and_no_longer() {
        let sample = sh("sleep 0.2; echo here; sleep 100").expect("it says something");
        assert!(sample.wall_ms >= 200.0, "{sample:?}");
        assert!(sample.cpu_ms.is_some_and(|cpu| cpu < sample.wall_ms), "{sample:?}");
        assert!(sample.memory_bytes.is_some(), "{sample:?}");
    }

    #[test]
    fn output_on_stderr_counts_unless_it_is_a_complaint_of_the_host() {
        assert!(sh("echo prompt >&2; sleep 100").is_ok());
        let error = sh("echo 'sh: 1: nothing here' >&2; sleep 100").expect_err("a complaint");
        assert_eq!(error.to_string(), "1: nothing here");
    }

    #[test]
    fn silence_is_told_with_the_exit_code() {
        let error = sh("exit 3").expect_err("it says nothing");
        assert!(
            error.to_string().contains("without any output") && error.to_string().contains('3'),
            "{error}"
        );
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let stop = Stop::default();
        stop.ask();
        assert_eq!(open_command("sleep 100", &stop).expect_err("interrupted").to_string(), "interrupted");
    }
}
