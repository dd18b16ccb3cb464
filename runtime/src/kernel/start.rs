//! The first process: mounts, standard streams, user, directory, program.

use std::rc::Rc;

use friscy_formats::boot::{Boot, Until};

use super::signal::SigHand;
use super::{Cred, Ctx, FdTable, FsContext, Kernel, Process, Task};
use crate::abi::Errno;
use crate::abi::fcntl::{O_CLOEXEC, O_CREAT, O_RDONLY, O_WRONLY};
use crate::fs::{Io, Make, NewInode, console, mode, namei, open_path};
use crate::hart::Registers;
use crate::mm::Mm;

/// Why the first process could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// Contents are on their way: try again when they are there.
    Pending,
    /// One clear line.
    Failed(String),
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> StartError {
        match errno {
            Errno::PENDING => StartError::Pending,
            errno => StartError::Failed(errno.message().to_string()),
        }
    }
}

fn failed(what: &str, name: &[u8], errno: Errno) -> StartError {
    match errno {
        Errno::PENDING => StartError::Pending,
        errno => StartError::Failed(format!("{what} {}: {}", String::from_utf8_lossy(name), errno.message())),
    }
}

/// Make process 1 and have it at its program's first instruction. Leaves
/// nothing behind when it fails, so it can be called again.
pub fn start(kernel: &mut Kernel, boot: &Boot) -> Result<(), StartError> {
    let result = try_start(kernel, boot);
    if result.is_err() {
        kernel.tasks.clear();
        kernel.last_pid = 0;
    }
    result
}

fn try_start(kernel: &mut Kernel, boot: &Boot) -> Result<(), StartError> {
    let task = first_task(kernel)?;
    kernel.tasks.insert(1, Rc::clone(&task));
    task.process.threads.borrow_mut().push(Rc::downgrade(&task));
    kernel.last_pid = 1;
    let mut cx = Ctx { kernel, task: Rc::clone(&task) };
    if cx.kernel.vfs.mounts().len() == 1 {
        let now = cx.now();
        crate::fs::mount::mount_defaults(cx.kernel, boot.tty, now)?;
    }
    provide_hosts(&mut cx)?;
    let cred = user(&mut cx, &boot.user)?;
    enter_directory(&mut cx, &boot.cwd, &cred)?;
    task.cred.replace(Rc::new(cred));
    if cx.kernel.console.terminal().is_none() {
        let streams = console::open_standard(&mut cx, boot.tty, boot.rows, boot.cols);
        cx.kernel.standard = Some(streams);
    }
    if let Some(streams) = cx.kernel.standard.clone() {
        for stream in streams {
            task.files.borrow().install(stream, false, 0)?;
        }
    }
    if !boot.hostname.is_empty() {
        cx.kernel.world.uts.hostname.replace(boot.hostname.clone());
    }
    cx.kernel.strace = boot.strace;
    super::exec::boot(&mut cx, &boot.argv, &boot.env)?;
    if boot.until == Until::Main {
        cx.kernel.watch_entry(&task)?;
    }
    // Nothing can be pending from here on: another try would find the terminal, and no streams.
    cx.kernel.standard = None;
    cx.kernel.watch.armed = boot.until != Until::Never;
    cx.kernel.watch.output = boot.until == Until::Output;
    let now = cx.kernel.monotonic_ns();
    task.sched.start_ns.set(now);
    kernel.enqueue_new(&task);
    Ok(())
}

fn first_task(kernel: &Kernel) -> Result<Rc<Task>, Errno> {
    let root = kernel.vfs.root();
    let fs = FsContext { root: Rc::clone(&root).into(), cwd: root.into(), umask: 0o022.into() };
    let process = Rc::new(Process::new(1));
    let files = FdTable::default();
    files.limit.set(process.max_files());
    let shared = (Mm::new(&kernel.linear)?, Rc::new(files), Rc::new(fs));
    let regs = Registers::default();
    let task = Task::new(1, process, regs, shared, Rc::new(Cred::root()), Rc::new(SigHand::default()));
    Ok(Rc::new(task))
}

/// All of a small file; none when it is not there.
fn read_file(cx: &mut Ctx<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    /// A passwd file is small; a hostile image's need not be.
    const LIMIT: usize = 1 << 20;
    let file = match open_path(cx, path, O_RDONLY | O_CLOEXEC, 0) {
        Ok(file) => file,
        Err(Errno::PENDING) => return Err(Errno::PENDING),
        Err(_) => return Ok(None),
    };
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while bytes.len() < LIMIT {
        let count = file.ops.read(cx, &file, &mut Io::kernel(&mut piece), Some(bytes.len() as u64))?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    Ok(Some(bytes))
}

/// /etc/hosts, where the image has none or an empty one: container runtimes put theirs there, and images rely on it.
fn provide_hosts(cx: &mut Ctx<'_>) -> Result<(), StartError> {
    const PATH: &[u8] = b"/etc/hosts";
    const HOSTS: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    if read_file(cx, PATH)?.is_some_and(|text| !text.is_empty()) {
        return Ok(());
    }
    // An image without /etc has no C library that would read it.
    if let Ok(file) = open_path(cx, PATH, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644) {
        file.ops.write(cx, &file, &mut Io::bytes(HOSTS), Some(0))?;
    }
    Ok(())
}

/// Fields of the first line of `table` whose name (field 0) or number (field 2) is `wanted`.
fn entry<'t>(table: &'t [u8], wanted: &[u8]) -> Option<Vec<&'t [u8]>> {
    let rows = || table.split(|&b| b == b'\n').map(|line| line.split(|&b| b == b':').collect::<Vec<_>>());
    let named = rows().find(|row| row.len() > 3 && row[0] == wanted);
    named.or_else(|| rows().find(|row| row.len() > 3 && row[2] == wanted))
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Credentials of `user[:group]`, as docker's `--user`.
fn user(cx: &mut Ctx<'_>, spec: &[u8]) -> Result<Cred, StartError> {
    let mut parts = spec.splitn(2, |&b| b == b':');
    let name = parts.next().filter(|n| !n.is_empty()).unwrap_or(b"0").to_vec();
    let group = parts.next().filter(|n| !n.is_empty()).map(<[u8]>::to_vec);
    let passwd = read_file(cx, b"/etc/passwd")?.unwrap_or_default();
    let groups = read_file(cx, b"/etc/group")?.unwrap_or_default();
    let unknown = |kind: &str, name: &[u8]| {
        StartError::Failed(format!("no {kind} {} in the image", String::from_utf8_lossy(name)))
    };
    let row = entry(&passwd, &name);
    let uid = match &row {
        Some(row) => number(row[2]),
        None => number(&name),
    };
    let uid = uid.ok_or_else(|| unknown("user", &name))?;
    let gid = match &group {
        Some(group) => {
            let row = entry(&groups, group);
            row.map_or(number(group), |row| number(row[2])).ok_or_else(|| unknown("group", group))?
        }
        None => row.as_ref().and_then(|row| number(row[3])).unwrap_or(0),
    };
    let login = row.map_or(name.clone(), |row| row[0].to_vec());
    let mut cred = Cred {
        uid,
        gid,
        euid: uid,
        egid: gid,
        suid: uid,
        sgid: gid,
        fsuid: uid,
        fsgid: gid,
        groups: vec![gid],
        ..Cred::root()
    };
    if group.is_none() {
        for line in groups.split(|&b| b == b'\n') {
            let row: Vec<&[u8]> = line.split(|&b| b == b':').collect();
            let member = row.get(3).is_some_and(|list| list.split(|&b| b == b',').any(|m| m == login));
            if let (true, Some(extra)) = (member, row.get(2).and_then(|n| number(n))) {
                cred.groups.push(extra);
            }
        }
        cred.groups.sort_unstable();
        cred.groups.dedup();
    }
    if uid != 0 {
        cred.cap_effective = 0;
        cred.cap_permitted = 0;
    }
    Ok(cred)
}

/// Go to the working directory, making it (with the user as its owner) where it is missing.
fn enter_directory(cx: &mut Ctx<'_>, path: &[u8], cred: &Cred) -> Result<(), StartError> {
    let now = cx.now();
    let mut at = cx.kernel.vfs.root();
    let mut so_far = Vec::new();
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        so_far.push(b'/');
        so_far.extend_from_slice(name);
        let lookup = namei::lookup(cx, crate::abi::fcntl::AT_FDCWD, &so_far, 0);
        at = match lookup {
            Err(Errno::ENOENT) => {
                let new = NewInode { mode: mode::S_IFDIR | 0o755, uid: cred.uid, gid: cred.gid, now };
                at.inode.make(name, Make::Directory, new).map_err(|e| failed("cannot make", &so_far, e))?;
                namei::lookup(cx, crate::abi::fcntl::AT_FDCWD, &so_far, 0)
                    .map_err(|e| failed("cannot enter", &so_far, e))?
            }
            other => other.map_err(|e| failed("cannot enter", &so_far, e))?,
        };
    }
    if at.inode.stat().mode & mode::S_IFMT != mode::S_IFDIR {
        return Err(failed("cannot enter", path, Errno::ENOTDIR));
    }
    cx.task.fs.borrow().cwd.replace(at);
    Ok(())
}
