//! `_start`: the file as a WASI command, its own host.
//!
//! Arguments after the program name take the place of the image's Cmd and the
//! environment is added to the image's, as long as the program is frozen at its
//! entry. Standard streams are passed through, never as a terminal; the exit
//! code is the guest's.

use friscy_formats::boot::{Boot, Until};
use friscy_formats::ring::{Op, Status, Submission};

use crate::door::Door;
use crate::exports::BUDGET;
use crate::{state, wasi};

const STDIN: u32 = 0;
const STDERR: u32 = 2;
/// Longest wait in one poll_oneoff: some hosts overflow on the largest timeouts.
const LONGEST_WAIT_NS: u64 = 3_600_000_000_000;

/// Linux error numbers, for completions.
const EIO: i64 = -5;
const EPIPE: i64 = -32;

/// The chunk store beside the file (layout `split`).
enum Beside {
    /// Nobody has asked for it.
    Unopened,
    /// Open for reading.
    Open(u32),
    /// The host gives us no directory that has it.
    Missing,
}

/// Run to the guest's end.
pub(crate) fn main() -> ! {
    state::with(|engine| engine.thaw());
    if let Err(message) = override_boot() {
        fail(&message);
    }
    let mut streams = Streams::new(state::with(|engine| engine.ring()));
    loop {
        streams.serve();
        match state::with(|engine| engine.resume(BUDGET)) {
            Status::Runnable => streams.poll(Some(0)),
            Status::Idle => {
                streams.serve();
                streams.sleep();
            }
            Status::Exited | Status::Frozen => {
                streams.serve();
                wasi::exit(streams.door.header().exit_code);
            }
        }
    }
}

fn fail(message: &str) -> ! {
    let _ = wasi::write(STDERR, format!("friscy-snap: {message}\n").as_bytes());
    wasi::exit(1)
}

/// Boot again when the host gave arguments or an environment.
fn override_boot() -> Result<(), String> {
    let args = wasi::args();
    let environ = wasi::environ();
    let given = args.get(1..).unwrap_or_default();
    state::with(|engine| {
        let frozen = engine
            .booted()
            .ok_or("this is an engine without an image; use an app.wasm made by friscy-snap")?;
        if given.is_empty() && environ.is_empty() && !(frozen.tty && engine.at_entry()) {
            return Ok(());
        }
        if !engine.at_entry() {
            // The environment of a host is rarely meant for the guest; arguments always are.
            return match given {
                [] => Ok(()),
                _ => Err("this program was frozen after its start and takes no arguments; pack it with --until entry"
                    .to_string()),
            };
        }
        // WASI has streams and no terminal: what echoes and edits lines is outside, if anything does.
        let mut boot = Boot { until: Until::Never, tty: false, ..frozen.clone() };
        if !given.is_empty() {
            boot.argv.truncate(usize::try_from(boot.entrypoint_len).unwrap_or(0));
            boot.argv.extend_from_slice(given);
        }
        for variable in environ {
            boot.set_env(variable);
        }
        engine.boot(boot)
    })
}

/// Names that the chunk store beside this file may have, as the packer gives them: by the name that we were called
/// by, with its directories and without, and by the usual one.
fn beside() -> Vec<String> {
    let called = wasi::args().into_iter().next().unwrap_or_default();
    let called = String::from_utf8_lossy(&called).into_owned();
    let stem = called.strip_suffix(".wasm").unwrap_or(&called);
    let last = stem.rsplit('/').next().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for stem in [last, stem.trim_start_matches('/'), "app"] {
        let name = format!("{stem}.chunks");
        if !stem.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The standard streams behind the ring's console operations.
struct Streams {
    door: Door,
    /// The read that waits for input.
    reading: Option<Submission>,
    /// poll_oneoff says something about stdin.
    pollable: bool,
    chunks: Beside,
}

impl Streams {
    fn new(ring: *mut friscy_formats::ring::Header) -> Streams {
        Streams {
            door: Door::new(ring),
            reading: None,
            pollable: wasi::filetype(STDIN) != wasi::REGULAR_FILE,
            chunks: Beside::Unopened,
        }
    }

    /// Do what the engine asked for.
    fn serve(&mut self) {
        while let Some(entry) = self.door.take() {
            let result = match Op::from_u32(entry.op) {
                Some(Op::ConsoleRead) => {
                    self.reading = Some(entry);
                    continue;
                }
                Some(Op::ConsoleWrite) => {
                    let fd = if entry.arg == 2 { 2 } else { 1 };
                    match wasi::write(fd, self.door.buffer(&entry)) {
                        Ok(count) => count as i64,
                        Err(wasi::PIPE) => EPIPE,
                        Err(_) => EIO,
                    }
                }
                Some(Op::Log) => {
                    let mut line = self.door.buffer(&entry).to_vec();
                    line.push(b'\n');
                    let _ = wasi::write(STDERR, &line);
                    0
                }
                Some(Op::ChunkFetch | Op::ChunkRefetch) => self.chunk(&entry),
                // It never says that it translates.
                Some(Op::Translate) | None => EIO,
            };
            self.complete(entry.token, result);
        }
    }

    /// Read from the file beside this one, in a directory that the host gave us.
    fn chunk(&mut self, entry: &Submission) -> i64 {
        if matches!(self.chunks, Beside::Unopened) {
            let names = beside();
            self.chunks =
                names.iter().find_map(|name| wasi::open(name)).map_or(Beside::Missing, Beside::Open);
            if let (Beside::Missing, Some(name)) = (&self.chunks, names.first()) {
                let line = format!(
                    "friscy-snap: the image's files are in {name}, beside this file: give its directory to the \
                     runtime (wasmtime run --dir .), or pack with --layout single\n"
                );
                let _ = wasi::write(STDERR, line.as_bytes());
            }
        }
        let Beside::Open(fd) = self.chunks else { return EIO };
        let buffer = self.door.buffer(entry);
        if wasi::read_at(fd, entry.offset, buffer) { buffer.len() as i64 } else { EIO }
    }

    fn complete(&mut self, token: u64, result: i64) {
        // There are never more requests on their way than the queue has room for.
        let _ = self.door.complete(token, result);
    }

    /// Fetch input that is there, waiting at most `timeout_ns` (`None`: for ever).
    fn poll(&mut self, timeout_ns: Option<u64>) {
        let readable = match (&self.reading, timeout_ns) {
            (None, Some(0)) => false,
            (None, timeout) => {
                wasi::wait(None, timeout.or(Some(LONGEST_WAIT_NS)));
                false
            }
            // Nothing but input can happen: a plain read waits as well, on every host.
            (Some(_), None) => true,
            (Some(_), _) if !self.pollable => true,
            (Some(_), Some(timeout)) => match wasi::wait(Some(STDIN), Some(timeout)) {
                wasi::Woken::Readable => true,
                wasi::Woken::Timeout => false,
                wasi::Woken::Unsupported => {
                    self.pollable = false;
                    true
                }
            },
        };
        if readable {
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(entry) = self.reading.take() else { return };
        let result = match wasi::read(STDIN, self.door.buffer(&entry)) {
            Ok(count) => count as i64,
            Err(wasi::AGAIN | wasi::INTR) => {
                self.reading = Some(entry);
                return;
            }
            Err(_) => EIO,
        };
        self.complete(entry.token, result);
    }

    /// Every task waits: so do we.
    fn sleep(&mut self) {
        let header = self.door.header();
        if header.cq_head != header.cq_tail {
            return;
        }
        match header.deadline_ns {
            u64::MAX => self.poll(None),
            deadline => {
                let left = deadline.saturating_sub(wasi::monotonic_ns());
                self.poll(Some(left.min(LONGEST_WAIT_NS)));
            }
        }
    }
}
