//! /proc/PID files about a process or thread: stat, status, limits, mounts and small settings.

use std::fmt::Write as _;
use std::rc::Rc;

use super::memory::Counts;
use crate::abi::Errno;
use crate::abi::resource::{RLIM_INFINITY, RLIMIT_RSS};
use crate::abi::signal::{NSIG, SIG_DFL, SIG_IGN};
use crate::fs::pseudo::{Subject, path_of};
use crate::kernel::cred::CAP_AUDIT_CONTROL;
use crate::kernel::sched::task_usage;
use crate::kernel::task::{JobState, Login, TaskState};
use crate::kernel::{Ctx, Kernel, Process, Task};
use crate::mm::PAGE;

type Contents = Result<Vec<u8>, Errno>;

/// Nanoseconds in a clock tick (USER_HZ is 100).
const TICK_NS: u64 = 10_000_000;

fn process(subject: &Subject) -> Result<&Rc<Process>, Errno> {
    subject.process.as_ref().ok_or(Errno::ESRCH)
}

/// The thread meant, a zombie's leader included. ESRCH when it was reaped.
fn task(cx: &Ctx<'_>, subject: &Subject) -> Result<Rc<Task>, Errno> {
    let known = cx
        .kernel
        .tasks
        .get(&subject.tid)
        .filter(|task| Some(&task.process.tgid) == subject.process.as_ref().map(|p| &p.tgid));
    known.cloned().ok_or(Errno::ESRCH)
}

/// The letter and word of a state.
fn state(process: &Process, task: &Task, current: Option<u32>) -> (char, &'static str) {
    if process.zombie.get().is_some() || task.state.get() == TaskState::Dead {
        return ('Z', "zombie");
    }
    if matches!(process.job.get(), JobState::Stopped(_)) || task.state.get() == TaskState::Stopped {
        return ('T', "stopped");
    }
    match task.state.get() {
        TaskState::Blocked if current != Some(task.tid) => ('S', "sleeping"),
        _ => ('R', "running"),
    }
}

fn parent(process: &Process) -> u32 {
    process.parent.borrow().upgrade().map_or(0, |p| p.tgid)
}

/// Pending, blocked, ignored and caught signals.
struct Signals {
    own: u64,
    shared: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Signals {
    fn of(process: &Process, task: &Task) -> Signals {
        let sighand = Rc::clone(&task.sighand.borrow());
        let (mut ignored, mut caught) = (0, 0);
        for number in 1..=NSIG {
            match sighand.get(number).handler {
                SIG_DFL => {}
                SIG_IGN => ignored |= 1 << (number - 1),
                _ => caught |= 1u64 << (number - 1),
            }
        }
        Signals {
            own: task.pending.borrow().set(),
            shared: process.pending.borrow().set(),
            blocked: task.saved_mask.get().unwrap_or(task.sigmask.get()),
            ignored,
            caught,
        }
    }
}

/// Device number and foreground group of the controlling terminal, as stat shows them.
fn terminal(kernel: &Kernel, process: &Process) -> (u64, i64) {
    kernel
        .terminals
        .of_session(process.sid.get())
        .map_or((0, -1), |tty| (tty.rdev, i64::from(tty.foreground())))
}

pub(super) fn stat(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let (process, task) = (process(subject)?, task(cx, subject)?);
    let caller = Rc::clone(&cx.task);
    cx.kernel.charge_time(&caller);
    let kernel = &*cx.kernel;
    let whole = subject.tid == process.tgid;
    let usage = if whole { kernel.process_usage(process) } else { task_usage(&task) };
    let children = process.child_usage.get();
    let ticks = |ns: u64| ns / TICK_NS;
    let (tty, foreground) = terminal(kernel, process);
    let signals = Signals::of(process, &task);
    let mm = Rc::clone(&task.mm.borrow());
    let layout = mm.layout();
    let comm = task.comm.borrow().clone();
    let nice = task.sched.nice.get();
    let rss_limit = process.rlimits.borrow()[RLIMIT_RSS as usize].cur;
    let exit_code = process.zombie.get().unwrap_or(0);
    let mut line = format!("{} (", subject.tid).into_bytes();
    line.extend_from_slice(&comm);
    let fields: [i128; 49] = [
        parent(process).into(),
        process.pgid.get().into(),
        process.sid.get().into(),
        tty.into(),
        foreground.into(),
        0x40_0000,
        usage.minor_faults.into(),
        children.minor_faults.into(),
        0,
        0,
        ticks(usage.cpu.user_ns).into(),
        ticks(usage.cpu.system_ns).into(),
        ticks(children.cpu.user_ns).into(),
        ticks(children.cpu.system_ns).into(),
        (20 + nice).into(),
        nice.into(),
        process.live_threads().len().max(1) as i128,
        0,
        ticks(task.sched.start_ns.get()).into(),
        mm.size_bytes().0.into(),
        (mm.resident_bytes().0 / PAGE).into(),
        rss_limit.into(),
        layout.code.0.into(),
        layout.code.1.into(),
        layout.stack_start.into(),
        0,
        0,
        (signals.own & 0x7fff_ffff).into(),
        (signals.blocked & 0x7fff_ffff).into(),
        (signals.ignored & 0x7fff_ffff).into(),
        (signals.caught & 0x7fff_ffff).into(),
        0,
        0,
        0,
        process.exit_signal.get().into(),
        0,
        task.sched.priority.get().into(),
        task.sched.policy.get().into(),
        0,
        0,
        0,
        layout.data.0.into(),
        layout.data.1.into(),
        layout.brk_start.into(),
        layout.args.0.into(),
        layout.args.1.into(),
        layout.env.0.into(),
        layout.env.1.into(),
        exit_code.into(),
    ];
    let mut rest = format!(") {}", state(process, &task, kernel.current).0);
    for field in fields {
        let _ = write!(rest, " {field}");
    }
    rest.push('\n');
    line.extend_from_slice(rest.as_bytes());
    Ok(line)
}

pub(super) fn status(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let (process, task) = (process(subject)?, task(cx, subject)?);
    let kernel = &*cx.kernel;
    let (letter, word) = state(process, &task, kernel.current);
    let cred = Rc::clone(&task.cred.borrow());
    let groups: String = cred.groups.iter().map(|g| format!("{g} ")).collect();
    let fs = Rc::clone(&task.fs.borrow());
    let fd_size = task.files.borrow().list().last().map_or(64, |&fd| (fd as u32 + 1).next_multiple_of(64));
    let mut out = b"Name:\t".to_vec();
    out.extend(task.comm.borrow().iter().flat_map(|&b| if b == b'\\' { vec![b'\\', b] } else { vec![b] }));
    let mut text = format!(
        "\nUmask:\t{:04o}\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
        fs.umask.get(),
        process.tgid,
        subject.tid,
        parent(process),
    );
    let _ = write!(
        text,
        "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{fd_size}\nGroups:\t{groups}\n",
        cred.uid, cred.euid, cred.suid, cred.fsuid, cred.gid, cred.egid, cred.sgid, cred.fsgid,
    );
    let (tid, pgid, sid) = (subject.tid, process.pgid.get(), process.sid.get());
    let _ = write!(text, "NStgid:\t{}\nNSpid:\t{tid}\nNSpgid:\t{pgid}\nNSsid:\t{sid}\n", process.tgid);
    if letter != 'Z' {
        memory_lines(&task, &mut text);
    }
    let signals = Signals::of(process, &task);
    let limit = process.rlimits.borrow()[crate::abi::resource::RLIMIT_SIGPENDING as usize].cur;
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t0/{limit}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        process.live_threads().len().max(1),
        signals.own,
        signals.shared,
        signals.blocked,
        signals.ignored,
        signals.caught,
    );
    let _ = write!(
        text,
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\n",
        cred.cap_inheritable,
        cred.cap_permitted,
        cred.cap_effective,
        cred.cap_bounding,
        cred.cap_ambient,
        u32::from(task.no_new_privs.get()),
    );
    let _ = write!(
        text,
        "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        task.sched.voluntary_switches.get(),
        task.sched.involuntary_switches.get(),
    );
    out.extend_from_slice(text.as_bytes());
    Ok(out)
}

fn memory_lines(task: &Task, text: &mut String) {
    let mm = Rc::clone(&task.mm.borrow());
    let counts = Counts::of(&mm);
    let ((size, peak), (rss, hwm)) = (mm.size_bytes(), mm.resident_bytes());
    let rows = [
        ("VmPeak", peak),
        ("VmSize", size),
        ("VmLck", counts.locked),
        ("VmPin", 0),
        ("VmHWM", hwm),
        ("VmRSS", rss),
        ("RssAnon", counts.anonymous),
        ("RssFile", counts.file),
        ("RssShmem", 0),
        ("VmData", counts.data),
        ("VmStk", counts.stack),
        ("VmExe", counts.exec),
        ("VmLib", 0),
        ("VmPTE", 4096),
        ("VmSwap", 0),
    ];
    for (name, bytes) in rows {
        let _ = writeln!(text, "{name}:\t{:8} kB", bytes / 1024);
    }
    text.push_str("CoreDumping:\t0\nTHP_enabled:\t0\n");
}

pub(super) fn comm(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let task = task(cx, subject)?;
    let mut name = task.comm.borrow().clone();
    name.push(b'\n');
    Ok(name)
}

/// Threads may rename each other, nobody else may.
pub(super) fn set_comm(cx: &mut Ctx<'_>, subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let task = task(cx, subject)?;
    if !Rc::ptr_eq(&task.process, &cx.task.process) {
        return Err(Errno::EINVAL);
    }
    let end = text.iter().position(|b| *b == 0 || *b == b'\n').unwrap_or(text.len());
    *task.comm.borrow_mut() = text[..end.min(15)].to_vec();
    Ok(())
}

pub(super) fn oom_score_adj(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(format!("{}\n", process(subject)?.oom_score_adj.get()).into_bytes())
}

pub(super) fn set_oom_score_adj(cx: &mut Ctx<'_>, subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let process = process(subject)?;
    let value: i32 =
        std::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok()).ok_or(Errno::EINVAL)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    if value < process.oom_score_adj.get() && cx.task.cred.borrow().euid != 0 {
        return Err(Errno::EACCES);
    }
    process.oom_score_adj.set(value);
    Ok(())
}

pub(super) fn loginuid(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(process(subject)?.login.get().uid.to_string().into_bytes())
}

pub(super) fn sessionid(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(process(subject)?.login.get().session.to_string().into_bytes())
}

/// Only of the caller itself; once set, by a privileged caller only.
pub(super) fn set_loginuid(cx: &mut Ctx<'_>, subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let process = process(subject)?;
    let uid: u32 = std::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok()).ok_or(Errno::EINVAL)?;
    let login = process.login.get();
    let own = Rc::ptr_eq(process, &cx.task.process);
    if !own || (login.uid != u32::MAX && !cx.task.cred.borrow().capable(CAP_AUDIT_CONTROL)) {
        return Err(Errno::EPERM);
    }
    let session = if uid == u32::MAX { u32::MAX } else { cx.kernel.next_login() };
    process.login.set(Login { uid, session });
    Ok(())
}

pub(super) fn personality(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(format!("{:08x}\n", task(cx, subject)?.personality.get()).into_bytes())
}

pub(super) fn timerslack(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    Ok(format!("{}\n", task(cx, subject)?.timerslack_ns.get()).into_bytes())
}

pub(super) fn schedstat(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let task = task(cx, subject)?;
    let usage = task_usage(&task);
    Ok(format!("{} 0 {}\n", usage.cpu.total_ns(), usage.voluntary_switches + usage.involuntary_switches)
        .into_bytes())
}

pub(super) fn sched(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let task = task(cx, subject)?;
    let comm = String::from_utf8_lossy(&task.comm.borrow()).into_owned();
    let (tid, threads) = (subject.tid, task.process.live_threads().len().max(1));
    let usage = task_usage(&task);
    let (policy, prio) = (task.sched.policy.get(), 120 + task.sched.nice.get());
    Ok(format!(
        "{comm} ({tid}, #threads: {threads})\n-------------------------------------------------------------------\n\
         se.sum_exec_runtime                          : {:20}.{:06}\n\
         nr_switches                                  : {:27}\npolicy                                       : {policy:27}\n\
         prio                                         : {prio:27}\n",
        usage.cpu.total_ns() / 1_000_000,
        usage.cpu.total_ns() % 1_000_000,
        usage.voluntary_switches + usage.involuntary_switches,
    )
    .into_bytes())
}

/// Transfers are not counted; the file is there because programs open it.
pub(super) fn io(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    process(subject)?;
    let names = ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];
    Ok(names.map(|name| format!("{name}: 0\n")).concat().into_bytes())
}

pub(super) fn children(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    let process = process(subject)?;
    let pids = process.children.borrow().iter().map(|child| format!("{} ", child.tgid)).collect::<String>();
    Ok(if subject.tid == process.tgid { pids.into_bytes() } else { Vec::new() })
}

pub(super) fn limits(_: &mut Ctx<'_>, subject: &Subject) -> Contents {
    const ROWS: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let limits = process(subject)?.rlimits.borrow();
    let mut text = format!("{:25} {:20} {:20} {:10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let show = |n: u64| if n == RLIM_INFINITY { "unlimited".into() } else { n.to_string() };
    for ((name, unit), limit) in ROWS.iter().zip(limits.iter()) {
        let _ = writeln!(text, "{name:25} {:20} {:20} {unit:10}", show(limit.cur), show(limit.max));
    }
    Ok(text.into_bytes())
}

/// Mount options in the order in which Linux prints them.
fn options(flags: u32) -> String {
    use crate::abi::mount::{MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_RELATIME};
    let names = [
        (MS_NOSUID, "nosuid"),
        (MS_NODEV, "nodev"),
        (MS_NOEXEC, "noexec"),
        (MS_NOATIME, "noatime"),
        (MS_RELATIME, "relatime"),
    ];
    let mut text = String::from(if flags & MS_RDONLY as u32 != 0 { "ro" } else { "rw" });
    for (_, name) in names.iter().filter(|(bit, _)| flags & *bit as u32 != 0) {
        text.push(',');
        text.push_str(name);
    }
    text
}

/// Spaces and the like as octal escapes.
fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' | '\t' | '\n' | '\\' | '#' => {
                    let _ = write!(text, "\\{:03o}", c as u32);
                }
                _ => text.push(c),
            }
        }
        text.push_str(if chunk.invalid().is_empty() { "" } else { "?" });
    }
    text
}

fn mount_point(cx: &Ctx<'_>, root: &Rc<crate::fs::Dentry>) -> String {
    escaped(&path_of(root, Some(&cx.task)))
}

pub(super) fn mounts(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    process(subject)?;
    let mut text = String::new();
    for (mount, root) in cx.kernel.vfs.mounts() {
        let (source, at) = (escaped(&mount.source), mount_point(cx, &root));
        let _ = writeln!(text, "{source} {at} {} {} 0 0", mount.fstype, options(mount.flags.get()));
    }
    Ok(text.into_bytes())
}

pub(super) fn mountstats(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let mut text = String::new();
    for (mount, root) in cx.kernel.vfs.mounts() {
        let (source, at) = (escaped(&mount.source), mount_point(cx, &root));
        let _ = writeln!(text, "device {source} mounted on {at} with fstype {}", mount.fstype);
    }
    Ok(text.into_bytes())
}

pub(super) fn mountinfo(cx: &mut Ctx<'_>, subject: &Subject) -> Contents {
    process(subject)?;
    let mut text = String::new();
    for (mount, root) in cx.kernel.vfs.mounts() {
        let above = mount.covers.borrow().as_ref().map_or(0, |covered| covered.mount.id);
        let dev = mount.root.stat().dev;
        let _ = writeln!(
            text,
            "{} {above} {}:{} {} {} {} - {} {} rw",
            mount.id,
            dev >> 8 & 0xfff,
            dev & 0xff,
            escaped(&mount.root_path),
            mount_point(cx, &root),
            options(mount.flags.get()),
            mount.fstype,
            escaped(&mount.source),
        );
    }
    Ok(text.into_bytes())
}
