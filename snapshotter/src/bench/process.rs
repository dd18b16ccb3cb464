//! What a process and all that it started cost so far: CPU time and memory,
//! from Linux's /proc. Elsewhere there is no /proc, and nobody knows.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Nanoseconds of a tick in /proc/PID/stat: USER_HZ is 100 on every Linux that Rust knows.
const TICK_NS: u64 = 10_000_000;

/// Whether somebody wants us to end. Asked in every loop that waits, so that what was started is put away.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on Ctrl-C and its kin end us in order.
    pub(super) fn listen() -> Result<Stop> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// Whether it was asked for.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// What a signal does.
    #[cfg(test)]
    pub(super) fn ask(&self) {
        self.0.store(true, Relaxed);
    }

    /// An error once it was asked for.
    pub(super) fn check(&self) -> Result<()> {
        if self.asked() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// How long something may take that still does something.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long something may do nothing.
const QUIET: Duration = Duration::from_secs(10);

/// A program that runs and writes nothing.
#[derive(Debug, thiserror::Error)]
#[error("no output, and nothing done for {} s", QUIET.as_secs())]
pub(super) struct Silent;

/// Ends a wait for output: at once when nothing happens any more, late when something does.
#[derive(Debug)]
pub(super) struct Patience {
    root: u32,
    began: Instant,
    looked: Instant,
    busy: Instant,
    cpu: Cpu,
    bytes: u64,
}

impl Patience {
    /// With the process tree of `root`, from now on.
    pub(super) fn with(root: u32) -> Patience {
        let now = Instant::now();
        Patience { root, began: now, looked: now, busy: now, cpu: Cpu::default(), bytes: 0 }
    }

    /// An error when it has ended. `bytes` is how much came so far over a line, if there is one.
    pub(super) fn check(&mut self, bytes: u64) -> Result<()> {
        let since = self.looked.elapsed();
        // Seldom, for a look costs time too.
        if since < Duration::from_secs(1) {
            return Ok(());
        }
        let cpu = Cpu::of(self.root);
        if bytes != self.bytes || cpu.since(&self.cpu).is_some_and(|used| used > since / 20) {
            self.busy = Instant::now();
        }
        (self.looked, self.cpu, self.bytes) = (Instant::now(), cpu, bytes);
        if self.busy.elapsed() > QUIET {
            return Err(Silent.into());
        }
        if self.began.elapsed() > PATIENCE {
            bail!("no output within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }
}

/// CPU time of each process of a tree at one moment, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Cpu(HashMap<u32, u64>);

impl Cpu {
    /// Of `root` and its descendants, now.
    pub(super) fn of(root: u32) -> Cpu {
        Cpu(tree(root).into_iter().filter_map(|pid| Some((pid, cpu_ns(pid)?))).collect())
    }

    /// What all of them used since `earlier`; `None` where there is no /proc.
    pub(super) fn since(&self, earlier: &Cpu) -> Option<Duration> {
        let used = |(pid, now): (&u32, &u64)| now.saturating_sub(earlier.0.get(pid).copied().unwrap_or(0));
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.iter().map(used).sum()))
    }

    /// The process among those that `keep` takes that used most since `earlier`.
    pub(super) fn busiest(&self, earlier: &Cpu, keep: impl Fn(u32) -> bool) -> Option<u32> {
        let used = |pid: &u32| self.0[pid].saturating_sub(earlier.0.get(pid).copied().unwrap_or(0));
        self.0.keys().copied().filter(|&pid| keep(pid)).max_by_key(used)
    }
}

/// `root` and its descendants.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Fields of proc_pid_stat(5) from the third (state) on: the second, a name, may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

/// CPU time of a process and of its children that have ended.
fn cpu_ns(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0) * TICK_NS;
    // utime, stime: all threads, in steps of a tick. The scheduler's sums are exact, but lack threads that ended.
    let coarse = ticks(11) + ticks(12);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let exact = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Some(coarse.max(exact.sum()) + ticks(13) + ticks(14))
}

/// CPU time of all children of this process that were waited for.
pub(super) fn cpu_of_ended_children() -> Option<Duration> {
    let fields = stat(std::process::id())?;
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_nanos((ticks(13)? + ticks(14)?) * TICK_NS))
}

/// Bytes of memory that a process alone has and has written to. Pages of mapped files are the system's cache, which
/// takes them back when it likes.
pub(super) fn private_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Private_Dirty:")
}

/// The most memory that a process ever had resident.
pub(super) fn peak_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

/// Whether a word stands in the command line of a process. Chromium's children write theirs anew, with spaces.
pub(super) fn has_argument(pid: u32, argument: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| matches!(byte, 0 | b' ')).any(|word| word == argument.as_bytes()))
}

/// End `root`, which leads a process group, and all that it started.
pub(super) fn kill_tree(root: u32) {
    // The tree first: a member that made a group of its own is found only while its parent lives.
    for pid in tree(root).into_iter().filter_map(pid).collect::<Vec<_>>() {
        // Who is gone already needs no end.
        let _ = kill_process(pid, Signal::KILL);
    }
    if let Some(group) = pid(root) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_has_its_children_and_their_time() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 60'; :"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let before = Cpu::default();
        let mut stdout = child.stdout.take().expect("piped");
        std::io::Read::read(&mut stdout, &mut [0; 16]).expect("it says when it is done");
        let after = Cpu::of(child.id());
        let members = tree(child.id());
        kill_tree(child.id());
        child.wait().expect("it was ours");
        assert!(members.len() >= 2, "{members:?}");
        let used = after.since(&before).expect("there is a /proc");
        assert!(used > Duration::from_millis(1), "a hundred thousand turns took {used:?}");
        assert_ne!(after.busiest(&before, |_| true), Some(child.id()), "the outer shell only waited");
    }

    #[test]
    fn memory_is_read() {
        assert!(private_bytes(std::process::id()).is_some_and(|bytes| bytes > 100 << 10));
        assert!(peak_bytes(std::process::id()).is_some_and(|bytes| bytes > 100 << 10));
    }

    #[test]
    fn words_of_a_command_line_are_whole() {
        let own = std::env::args().next().expect("a name");
        assert!(has_argument(std::process::id(), &own));
        assert!(!has_argument(std::process::id(), &own[1..]));
    }
}
