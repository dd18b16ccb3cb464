//! The machine linked natively, without Wasm: a folder as its root, this process
//! as its console. For debugging the kernel, and for tests that want the machine
//! in their own process. A freeze leaves the machine where it is and gives it
//! another world to wake up in: what a snapshot adds is only that bytes are copied.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use friscy_formats::boot::{Boot, Until};
use friscy_formats::chunk_writer::{ChunkOptions, ChunkWriter};
use friscy_formats::image;
use friscy_formats::ring::{LogLevel, Op, Status, Submission};
use friscy_formats::tree::{Kind, Meta, NoStreams, Node, NodeId, ROOT, Streams, Tree};
use friscy_formats::vfs_build::build;
use friscy_runtime::machine::Machine;
use friscy_runtime::platform::Platform;

mod door;

use door::Door;

/// Clocks and entropy of this process, a chunk store in its memory.
struct Native {
    /// When this world's monotonic clock began.
    started: Cell<Instant>,
    /// How far this world's wall clock is ahead, ns.
    ahead_ns: Cell<u64>,
    store: &'static [u8],
}

impl Platform for Native {
    fn realtime_ns(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        now + self.ahead_ns.get()
    }

    fn monotonic_ns(&self) -> u64 {
        self.started.get().elapsed().as_nanos() as u64
    }

    fn entropy(&self, bytes: &mut [u8]) {
        let mut random = std::fs::File::open("/dev/urandom").expect("/dev/urandom");
        random.read_exact(bytes).expect("/dev/urandom gives");
    }

    fn chunk_segment(&self, offset: u64, dst: &mut [u8]) -> bool {
        dst.copy_from_slice(&self.store[offset as usize..offset as usize + dst.len()]);
        true
    }

    fn warm_segment(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }
}

/// A folder as a tree; owners, modes, times, hard links are the folder's.
pub fn tree_of(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut links = std::collections::HashMap::new();
    walk(folder, ROOT, &mut tree, &mut links)?;
    Ok(tree)
}

fn walk(
    folder: &Path,
    dir: NodeId,
    tree: &mut Tree,
    links: &mut std::collections::HashMap<u64, NodeId>,
) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.path().symlink_metadata()?;
        let name = std::os::unix::ffi::OsStrExt::as_bytes(&*entry.file_name()).to_vec();
        let device = (((metadata.rdev() >> 8) & 0xfff) as u32, (metadata.rdev() & 0xff) as u32);
        let kind = match metadata.file_type() {
            t if t.is_dir() => Kind::Directory(Default::default()),
            t if t.is_symlink() => Kind::Symlink(
                std::os::unix::ffi::OsStrExt::as_bytes(std::fs::read_link(entry.path())?.as_os_str())
                    .to_vec(),
            ),
            t if t.is_char_device() => Kind::Char { major: device.0, minor: device.1 },
            t if t.is_block_device() => Kind::Block { major: device.0, minor: device.1 },
            t if t.is_fifo() => Kind::Fifo,
            t if t.is_socket() => Kind::Socket,
            _ => {
                let bytes: std::sync::Arc<[u8]> = std::fs::read(entry.path())?.into();
                let len = bytes.len() as u64;
                let source = friscy_formats::tree::Source::Bytes(bytes);
                let segments = if len == 0 {
                    Vec::new()
                } else {
                    vec![friscy_formats::tree::Segment { offset: 0, len, source }]
                };
                Kind::File(friscy_formats::tree::File { size: len, segments })
            }
        };
        let (is_dir, is_link) = (matches!(kind, Kind::Directory(_)), metadata.nlink() > 1);
        let id = match links.get(&metadata.ino()) {
            Some(&id) if is_link && !is_dir => id,
            _ => {
                let meta = Meta {
                    mode: metadata.mode() & 0o7777,
                    uid: metadata.uid(),
                    gid: metadata.gid(),
                    mtime: (metadata.mtime(), metadata.mtime_nsec() as u32),
                    ..Meta::default()
                };
                tree.add(Node { meta, kind })
            }
        };
        links.insert(metadata.ino(), id);
        tree.children_mut(dir).context("a directory")?.insert(name, id);
        if is_dir {
            walk(&entry.path(), id, tree, links)?;
        }
    }
    Ok(())
}

/// A tree as machines mount it, as many as there are. Never freed: a machine keeps the archive for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    archive: &'static [u8],
    store: &'static [u8],
}

impl Disk {
    /// Of a folder.
    pub fn of_folder(folder: &Path) -> Result<Disk> {
        Disk::new(&tree_of(folder)?, &NoStreams)
    }

    /// Of an image: a tar, as `friscy-snap` takes it.
    pub fn of_image(tar: &Path) -> Result<Disk> {
        let bytes = std::fs::read(tar).with_context(|| tar.display().to_string())?;
        let image = image::open(&bytes, image::Options::default())?;
        let tree = image.flatten(&mut |_, _| {})?;
        Disk::new(&tree, &image)
    }

    fn new(tree: &Tree, streams: &impl Streams) -> Result<Disk> {
        // The store lives as long as this process: what counts is how soon it stands.
        let options = ChunkOptions { level: 1, ..ChunkOptions::default() };
        let writer = ChunkWriter::new(Vec::new(), options);
        let built = build(tree, streams, writer, &mut |_, _| {})?;
        Ok(Disk { archive: Box::leak(Box::new(built.archive)).as_slice(), store: built.store.leak() })
    }
}

/// A booted machine and what its host needs.
pub struct NativeHost {
    machine: Machine,
    platform: Rc<Native>,
    /// What the guest wrote to fd 1, when it is not passed on.
    pub stdout: Vec<u8>,
    /// What the guest wrote to fd 2, when it is not passed on.
    pub stderr: Vec<u8>,
    /// `--strace` lines and warnings.
    pub log: Vec<String>,
    pass_on: bool,
    input: Rc<RefCell<VecDeque<u8>>>,
    input_ended: bool,
    stdin: Option<Receiver<Vec<u8>>>,
    reading: Option<Submission>,
    /// A freeze is to come: there is no input before it.
    held: bool,
}

impl NativeHost {
    /// Boot `boot` on `disk`. Input is `input`, or this process's stdin when it is `None` (then output is passed on too).
    pub fn boot(disk: &Disk, boot: &Boot, input: Option<&[u8]>) -> Result<NativeHost> {
        let started = Instant::now();
        let platform =
            Rc::new(Native { started: Cell::new(started), ahead_ns: Cell::new(0), store: disk.store });
        let mut machine = Machine::new(platform.clone());
        machine.mount(disk.archive).map_err(anyhow::Error::msg)?;
        machine.boot(boot).map_err(anyhow::Error::msg)?;
        let stdin = input.is_none().then(|| {
            let (sender, receiver) = channel();
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(n) = std::io::stdin().read(&mut buffer) {
                    if sender.send(buffer[..n].to_vec()).is_err() || n == 0 {
                        break;
                    }
                }
            });
            receiver
        });
        let input = Rc::new(RefCell::new(input.unwrap_or(b"").iter().copied().collect()));
        let (pass_on, input_ended) = (stdin.is_some(), stdin.is_none());
        Ok(NativeHost {
            machine,
            platform,
            stdout: vec![],
            stderr: vec![],
            log: vec![],
            pass_on,
            input,
            input_ended,
            stdin,
            reading: None,
            held: boot.until != Until::Never,
        })
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Run to the end; the exit code. Fails when the guest waits for ever or runs longer than `limit`.
    pub fn run(&mut self, limit: Duration) -> Result<u32> {
        match self.run_until_frozen(limit)? {
            Some(code) => Ok(code),
            None => bail!("frozen"),
        }
    }

    /// Run to the freeze point, or to where the guest waits for input before that (none); or to the end when that
    /// comes first: the exit code.
    pub fn run_until_frozen(&mut self, limit: Duration) -> Result<Option<u32>> {
        let start = Instant::now();
        loop {
            let status = self.machine.resume(2_000_000);
            self.serve()?;
            match status {
                Status::Exited => return Ok(Some(self.door().header().exit_code)),
                Status::Frozen => return Ok(None),
                Status::Runnable => {}
                Status::Idle if self.held && self.waits_for_ever() => return Ok(None),
                Status::Idle => self.wait()?,
            }
            if start.elapsed() > limit {
                bail!("still running after {limit:?}");
            }
        }
    }

    /// Freeze, and wake up in another world: its monotonic clock begins anew, its wall clock is `ahead` of the old
    /// one, and nothing was written to it yet.
    pub fn freeze_and_thaw(&mut self, ahead: Duration) {
        self.machine.freeze();
        self.platform.started.set(Instant::now());
        self.platform.ahead_ns.set(self.platform.ahead_ns.get() + ahead.as_nanos() as u64);
        self.stdout.clear();
        self.stderr.clear();
        self.reading = None;
        self.held = false;
        self.machine.thaw();
    }

    /// Guest instructions so far.
    pub fn retired(&mut self) -> u64 {
        self.door().header().retired
    }

    fn door(&mut self) -> Door {
        Door::new(self.machine.ring())
    }

    /// Take all submissions, do them.
    fn serve(&mut self) -> Result<()> {
        while let Some(submission) = self.door().take() {
            self.one(submission)?;
        }
        self.feed();
        Ok(())
    }

    fn one(&mut self, s: Submission) -> Result<()> {
        let op = Op::from_u32(s.op);
        if op == Some(Op::ConsoleRead) {
            self.reading = Some(s);
            return Ok(());
        }
        let bytes = self.door().buffer(&s).to_vec();
        match op {
            Some(Op::ConsoleWrite) if self.pass_on && s.arg == 2 => std::io::stderr().write_all(&bytes)?,
            Some(Op::ConsoleWrite) if self.pass_on => {
                std::io::stdout().write_all(&bytes)?;
                std::io::stdout().flush()?;
            }
            Some(Op::ConsoleWrite) if s.arg == 2 => self.stderr.extend_from_slice(&bytes),
            Some(Op::ConsoleWrite) => self.stdout.extend_from_slice(&bytes),
            Some(Op::Log) => {
                let line = String::from_utf8_lossy(&bytes).into_owned();
                if self.pass_on {
                    eprintln!("{}{line}", if s.arg == LogLevel::Warning as u32 { "warning: " } else { "" });
                }
                self.log.push(line);
            }
            Some(Op::ConsoleRead | Op::ChunkFetch | Op::ChunkRefetch) => {
                bail!("the chunk store is in memory: nothing to fetch")
            }
            Some(Op::Translate) => bail!("nobody said that code is translated here"),
            None => bail!("unknown ring operation {}", s.op),
        }
        self.door().complete(s.token, s.len as i64);
        Ok(())
    }

    /// Answer an outstanding read with what there is.
    fn feed(&mut self) {
        while let Some(Ok(bytes)) = self.stdin.as_ref().map(Receiver::try_recv) {
            self.take(bytes);
        }
        let Some(read) = self.reading.filter(|_| !self.held) else { return };
        let mut input = self.input.borrow_mut();
        if input.is_empty() && !self.input_ended {
            return;
        }
        let count = input.len().min(read.len as usize);
        let bytes: Vec<u8> = input.drain(..count).collect();
        drop(input);
        self.reading = None;
        self.door().buffer(&read)[..count].copy_from_slice(&bytes);
        self.door().complete(read.token, count as i64);
    }

    fn take(&mut self, bytes: Vec<u8>) {
        self.input_ended |= bytes.is_empty();
        self.input.borrow_mut().extend(bytes);
    }

    /// Nothing is on its way, and no timer is set.
    fn waits_for_ever(&mut self) -> bool {
        let header = self.door().header();
        header.cq_head == header.cq_tail && header.deadline_ns == u64::MAX
    }

    /// Sleep until a timer or input.
    fn wait(&mut self) -> Result<()> {
        let deadline = self.door().header().deadline_ns;
        let now = self.platform.monotonic_ns();
        if self.door().header().cq_head != self.door().header().cq_tail {
            return Ok(());
        }
        if self.waits_for_ever() && (self.stdin.is_none() || self.reading.is_none()) {
            bail!("every task waits, and for nothing that could come");
        }
        let pause = Duration::from_nanos(deadline.saturating_sub(now)).min(Duration::from_millis(200));
        match (&self.stdin, self.reading) {
            (Some(stdin), Some(_)) => {
                if let Ok(bytes) = stdin.recv_timeout(pause) {
                    self.take(bytes);
                }
            }
            _ => std::thread::sleep(pause),
        }
        self.feed();
        Ok(())
    }
}
