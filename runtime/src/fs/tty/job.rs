//! Job control: sessions, foreground groups, and what a background process may
//! not do. See credentials(7), setsid(2), tcsetpgrp(3).

use std::rc::Rc;

use super::{Tty, TtyFile};
use crate::abi::Errno;
use crate::abi::fcntl::{O_ACCMODE, O_NOCTTY, O_WRONLY};
use crate::abi::signal::{SIGCONT, SIGHUP, SIGTTIN};
use crate::kernel::{Ctx, Kernel, Target};

/// The caller's controlling terminal.
pub fn controlling(cx: &Ctx<'_>) -> Option<Rc<Tty>> {
    cx.kernel.terminals.of_session(cx.task.process.sid.get())
}

/// Whether the caller may touch `tty` now. A process in the background is
/// stopped by `signal` (SIGTTIN, SIGTTOU) first: RESTART; EIO when that cannot be.
pub fn check(cx: &mut Ctx<'_>, tty: &Tty, signal: u32) -> Result<(), Errno> {
    let process = &cx.task.process;
    let (foreground, group) = (tty.foreground(), process.pgid.get());
    if tty.session() == 0 || tty.session() != process.sid.get() || foreground == 0 || foreground == group {
        return Ok(());
    }
    if cx.task.ignores(signal) {
        return if signal == SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if cx.kernel.group_is_orphaned(group) {
        return Err(Errno::EIO);
    }
    cx.kernel.outbox.post(Target::Group(group), signal);
    Err(Errno::RESTART)
}

/// The session whose processes `group` holds; none when there is no such group.
pub(super) fn session_of(kernel: &Kernel, group: u32) -> Option<u32> {
    let member = kernel.tasks.values().find(|task| task.process.pgid.get() == group)?;
    Some(member.process.sid.get())
}

/// A session leader without a terminal that opens one gets it, unless O_NOCTTY.
pub(super) fn acquire_on_open(cx: &mut Ctx<'_>, tty: &Rc<Tty>, flags: u32) {
    let process = &cx.task.process;
    let leader = process.sid.get() == process.tgid;
    let readable = flags & O_ACCMODE != O_WRONLY;
    if leader && readable && flags & O_NOCTTY == 0 && tty.session() == 0 && controlling(cx).is_none() {
        tty.set_session(process.sid.get(), process.pgid.get());
    }
}

/// TIOCSCTTY.
pub(super) fn acquire(cx: &mut Ctx<'_>, tty: &Rc<Tty>, steal: bool) -> Result<(), Errno> {
    let process = &cx.task.process;
    let sid = process.sid.get();
    if sid == process.tgid && tty.session() == sid {
        return Ok(());
    }
    if sid != process.tgid || controlling(cx).is_some() {
        return Err(Errno::EPERM);
    }
    if tty.session() != 0 && !(steal && cx.task.cred.borrow().euid == 0) {
        return Err(Errno::EPERM);
    }
    tty.set_session(sid, process.pgid.get());
    Ok(())
}

/// TIOCNOTTY: only a leader's counts, since the terminal belongs to the session.
pub(super) fn give_up(cx: &mut Ctx<'_>, tty: &Tty) -> Result<(), Errno> {
    let process = &cx.task.process;
    if tty.session() == 0 || tty.session() != process.sid.get() {
        return Err(Errno::ENOTTY);
    }
    if process.sid.get() == process.tgid {
        let foreground = tty.foreground();
        tty.set_session(0, 0);
        post_group(cx.kernel, foreground, &[SIGHUP, SIGCONT]);
    }
    Ok(())
}

/// The leader of session `sid` has exited: its terminal is free, and the foreground group learns it.
pub fn leader_exited(kernel: &Kernel, sid: u32) {
    if let Some(tty) = kernel.terminals.of_session(sid) {
        let foreground = tty.foreground();
        tty.set_session(0, 0);
        post_group(kernel, foreground, &[SIGHUP]);
    } else if let Some(group) = kernel.terminals.take_orphaned_foreground(sid) {
        post_group(kernel, group, &[SIGHUP, SIGCONT]);
    }
}

fn post_group(kernel: &Kernel, group: u32, signals: &[u32]) {
    for &signal in signals.iter().filter(|_| group != 0) {
        kernel.outbox.post(Target::Group(group), signal);
    }
}

/// The terminal behind an open file; ENOTTY.
pub fn terminal_of(file: &crate::fs::OpenFile) -> Result<Rc<Tty>, Errno> {
    let tty = file.ops.as_any().downcast_ref::<TtyFile>().map(|f| Rc::clone(&f.tty));
    tty.ok_or(Errno::ENOTTY)
}
