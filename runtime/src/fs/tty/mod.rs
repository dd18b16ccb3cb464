//! Terminals: what a program sees when it opens one.
//!
//! [`Tty`] is a terminal (Linux `tty_struct`): line discipline, window size,
//! session, and a [`Driver`] that takes its output. Two kinds exist: the
//! console, whose driver is `fs/console.rs`, and the slave of a pseudo-terminal
//! (`pty.rs`). Next: `ldisc.rs` for what typed bytes do, `output.rs` for OPOST,
//! `job.rs` for job control, `ioctl.rs`.

pub mod devpts;
mod ioctl;
pub mod job;
mod ldisc;
#[cfg(test)]
mod ldisc_tests;
mod output;
pub mod pty;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use self::ldisc::{Effects, LineDiscipline};
use super::{FileOps, Io, OpenFile, poll};
use crate::abi::Errno;
use crate::abi::fcntl::O_NONBLOCK;
use crate::abi::signal::{SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SIGWINCH};
use crate::abi::termios::*;
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Outbox, Target};
use crate::syscall::SysResult;

/// Typed bytes that wait for the discipline to have room.
const STAGING: usize = 65536;
/// Echo that waits while output is stopped.
const HELD_ECHO: usize = 4096;

/// Where a terminal's output goes.
pub trait Driver {
    /// Bytes it takes now.
    fn room(&self) -> usize;
    /// Take bytes. More than `room` may come as echo; a driver may drop what is far too much.
    fn write(&self, bytes: &[u8]);
    /// Throw away what was not yet delivered.
    fn flush(&self) {}
    /// Bytes not yet delivered (TIOCOUTQ).
    fn pending(&self) -> usize {
        0
    }
    /// The other end is gone: writing is EIO.
    fn closed(&self) -> bool {
        false
    }
    /// The last description of the terminal was closed, or (true) the first one opened.
    fn opened(&self, _open: bool) {}
    /// A change that packet mode reports: TIOCPKT_* bits.
    fn status(&self, _bits: u8) {}
    /// Input that waited was taken: there is room for more.
    fn input_room(&self) {}
}

/// A terminal.
pub struct Tty {
    /// Name under /dev, such as `pts/0`.
    pub name: String,
    /// Device number.
    pub rdev: u64,
    driver: Rc<dyn Driver>,
    discipline: RefCell<LineDiscipline>,
    staging: RefCell<VecDeque<u8>>,
    held_echo: RefCell<Vec<u8>>,
    winsize: Cell<Winsize>,
    /// Session it controls; 0 none.
    session: Cell<u32>,
    /// Foreground process group; 0 none.
    foreground: Cell<u32>,
    exclusive: Cell<bool>,
    /// Open descriptions.
    opens: Cell<u32>,
    /// Hangups so far: descriptions older than the last one are dead.
    hangups: Cell<u64>,
    readable: WaitQueue,
    writable: WaitQueue,
    outbox: Outbox,
}

impl Tty {
    /// A terminal nobody has open. Signals go to `outbox`.
    pub fn new(name: String, rdev: u64, driver: Rc<dyn Driver>, outbox: Outbox) -> Rc<Tty> {
        Rc::new(Tty {
            name,
            rdev,
            driver,
            discipline: RefCell::default(),
            staging: RefCell::default(),
            held_echo: RefCell::default(),
            winsize: Cell::default(),
            session: Cell::new(0),
            foreground: Cell::new(0),
            exclusive: Cell::new(false),
            opens: Cell::new(0),
            hangups: Cell::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            outbox,
        })
    }

    /// Session that this terminal controls; 0 none.
    pub fn session(&self) -> u32 {
        self.session.get()
    }

    /// Foreground process group; 0 none.
    pub fn foreground(&self) -> u32 {
        self.foreground.get()
    }

    /// Make this the controlling terminal of `session`, or (0) of none.
    pub fn set_session(&self, session: u32, foreground: u32) {
        self.session.set(session);
        self.foreground.set(foreground);
    }

    /// Bytes of input it still takes.
    pub fn input_room(&self) -> usize {
        STAGING.saturating_sub(self.staging.borrow().len())
    }

    /// Bytes arrived from the keyboard (or the master of a pty); at most [`input_room`](Self::input_room).
    pub fn receive(&self, bytes: &[u8]) {
        self.staging.borrow_mut().extend(bytes);
        self.advance();
    }

    /// Somebody waits for input, and there is none.
    pub fn starved(&self) -> bool {
        self.readable.waited() && self.staging.borrow().is_empty() && !self.discipline.borrow().readable(1)
    }

    /// A line has been begun that nobody can read yet.
    pub fn line_begun(&self) -> bool {
        self.discipline.borrow().has_cells()
    }

    /// Let the discipline take what it has room for.
    fn advance(&self) {
        let mut moved = false;
        let mut fx = Effects::default();
        loop {
            let mut discipline = self.discipline.borrow_mut();
            if discipline.full() {
                break;
            }
            let Some(byte) = self.staging.borrow_mut().pop_front() else { break };
            let stopped = discipline.stopped;
            discipline.receive(byte, &mut fx);
            let now_stopped = discipline.stopped;
            drop(discipline);
            moved = true;
            self.apply(&mut fx);
            if stopped != now_stopped {
                self.flow_changed(now_stopped);
            }
        }
        if moved {
            self.driver.input_room();
            if self.discipline.borrow().readable(1) {
                self.readable.wake_all();
            }
        }
    }

    fn apply(&self, fx: &mut Effects) {
        if std::mem::take(&mut fx.flush_output) {
            self.flush_output();
        }
        for signal in fx.signals.drain(..) {
            self.signal_foreground(signal);
        }
        let mut held = self.held_echo.borrow_mut();
        let space = HELD_ECHO.saturating_sub(held.len()).min(fx.echo.len());
        held.extend(fx.echo.drain(..).take(space));
        drop(held);
        self.release_echo();
    }

    /// Give waiting echo to the driver unless output is stopped.
    fn release_echo(&self) {
        if !self.discipline.borrow().stopped {
            let held = self.held_echo.take();
            if !held.is_empty() {
                self.driver.write(&held);
            }
        }
    }

    /// Output was stopped or started again.
    fn flow_changed(&self, stopped: bool) {
        self.driver.status(if stopped { TIOCPKT_STOP } else { TIOCPKT_START });
        if !stopped {
            self.release_echo();
            self.writable.wake_all();
        }
    }

    fn signal_foreground(&self, signal: u32) {
        if self.foreground.get() != 0 {
            self.outbox.post(Target::Group(self.foreground.get()), signal);
        }
    }

    fn flush_output(&self) {
        self.held_echo.borrow_mut().clear();
        self.driver.flush();
        self.driver.status(TIOCPKT_FLUSHWRITE);
        self.writable.wake_all();
    }

    fn flush_input(&self) {
        self.discipline.borrow_mut().flush_input();
        self.staging.borrow_mut().clear();
        self.driver.status(TIOCPKT_FLUSHREAD);
        self.driver.input_room();
    }

    /// The driver has room again.
    pub fn output_room(&self) {
        self.writable.wake_all();
    }

    /// Window size.
    pub fn winsize(&self) -> Winsize {
        self.winsize.get()
    }

    /// Change the window size; the foreground group gets SIGWINCH when it differs.
    pub fn set_winsize(&self, size: Winsize) {
        if self.winsize.replace(size) != size {
            self.signal_foreground(SIGWINCH);
        }
    }

    /// Replace the settings (tcsetattr(3)).
    fn set_termios(&self, new: Termios) {
        let mut discipline = self.discipline.borrow_mut();
        let old = discipline.termios;
        // The line speed's other half, and what no device here has, are kept as set; the discipline is always N_TTY.
        let (stopped, canonical) = (discipline.stopped, discipline.canonical());
        discipline.set_termios(new);
        let (now_stopped, now_canonical) = (discipline.stopped, discipline.canonical());
        let readable = discipline.readable(1);
        drop(discipline);
        if stopped != now_stopped {
            self.flow_changed(now_stopped);
        }
        self.report_flow(&old, &new);
        self.advance();
        if canonical != now_canonical && readable {
            self.readable.wake_all();
        }
    }

    /// Packet mode tells whether VSTOP and VSTART have their usual meaning.
    fn report_flow(&self, old: &Termios, new: &Termios) {
        let usual = |t: &Termios| t.iflag & IXON != 0 && t.cc[VSTOP] == 0o23 && t.cc[VSTART] == 0o21;
        if usual(old) != usual(new) {
            self.driver.status(if usual(new) { TIOCPKT_DOSTOP } else { TIOCPKT_NOSTOP });
        }
        if (old.lflag ^ new.lflag) & EXTPROC != 0 {
            self.driver.status(TIOCPKT_IOCTL);
        }
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        self.discipline.borrow().termios
    }

    /// tcflow(3) TCOOFF and TCOON.
    fn set_stopped(&self, stopped: bool) {
        let mut discipline = self.discipline.borrow_mut();
        let before = std::mem::replace(&mut discipline.stopped, stopped);
        discipline.stopped_by_ioctl = stopped;
        drop(discipline);
        if before != stopped {
            self.flow_changed(stopped);
        }
    }

    /// The other end went away: every open description is dead, the session's
    /// leader learns it (SIGHUP, then SIGCONT) and has no terminal any more.
    /// Returns session and foreground group as they were.
    pub fn hang_up(&self) -> (u32, u32) {
        let old = (self.session.replace(0), self.foreground.replace(0));
        self.hangups.set(self.hangups.get() + 1);
        self.opens.set(0);
        *self.discipline.borrow_mut() = LineDiscipline::default();
        self.staging.borrow_mut().clear();
        self.held_echo.borrow_mut().clear();
        if old.0 != 0 {
            self.outbox.post(Target::Process(old.0), SIGHUP);
            self.outbox.post(Target::Process(old.0), SIGCONT);
        }
        self.readable.wake_all();
        self.writable.wake_all();
        old
    }

    /// A new open file description. EIO when the other end is gone, EBUSY (TIOCEXCL).
    pub fn open(self: &Rc<Tty>, privileged: bool) -> Result<Rc<TtyFile>, Errno> {
        if self.driver.closed() {
            return Err(Errno::EIO);
        }
        if self.exclusive.get() && !privileged {
            return Err(Errno::EBUSY);
        }
        Ok(self.open_description())
    }

    /// The same without asking.
    pub fn open_description(self: &Rc<Tty>) -> Rc<TtyFile> {
        self.opens.set(self.opens.get() + 1);
        self.driver.opened(true);
        Rc::new(TtyFile { tty: Rc::clone(self), born: self.hangups.get() })
    }
}

/// A terminal as one open file description has it.
pub struct TtyFile {
    /// The terminal.
    pub tty: Rc<Tty>,
    /// `Tty::hangups` when this was opened.
    born: u64,
}

impl TtyFile {
    fn hung_up(&self) -> bool {
        self.born != self.tty.hangups.get()
    }

    /// Raw mode, VMIN and VTIME (termios(3), "Canonical and noncanonical mode"): whether the read may return now.
    fn raw_ready(&self, cx: &Ctx<'_>, file: &OpenFile, max: usize) -> Result<(), Errno> {
        let discipline = self.tty.discipline.borrow();
        let (min, time) = (discipline.termios.cc[VMIN], discipline.termios.cc[VTIME]);
        let minimum = usize::from(min).min(max);
        if min > 0 && discipline.readable(minimum) {
            return Ok(());
        }
        let waiting = discipline.available();
        if min == 0 && (waiting > 0 || time == 0) {
            return Ok(());
        }
        if file.flags.get() & O_NONBLOCK != 0 {
            return if waiting > 0 { Ok(()) } else { Err(Errno::EAGAIN) };
        }
        let expired = time > 0 && self.timer(cx, time, min, waiting);
        if expired { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// VTIME: from the call's start (VMIN 0), or between bytes. True when it is over.
    fn timer(&self, cx: &Ctx<'_>, time: u8, min: u8, waiting: usize) -> bool {
        if min > 0 && waiting == 0 {
            return false;
        }
        let now = cx.kernel.monotonic_ns();
        let mut progress = cx.task.progress.borrow_mut();
        let seen = progress.extra.as_ref().and_then(|e| e.downcast_ref::<usize>()).copied();
        if seen != Some(waiting) {
            progress.extra = Some(Box::new(waiting));
            progress.deadline_ns = Some(now.saturating_add(u64::from(time) * 100_000_000));
            return false;
        }
        progress.deadline_ns.is_some_and(|deadline| now >= deadline)
    }
}

impl FileOps for TtyFile {
    fn read(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        dst: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        if self.hung_up() {
            return Ok(0);
        }
        job::check(cx, &self.tty, SIGTTIN)?;
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let max = dst.remaining().min(STAGING);
        let canonical = self.tty.discipline.borrow().canonical();
        if !canonical {
            match self.raw_ready(cx, file, max) {
                Err(Errno::EAGAIN) if self.tty.driver.closed() => return Err(Errno::EIO),
                other => other?,
            }
        }
        let line = self.tty.discipline.borrow_mut().read(max);
        let line = line.ok_or(if self.tty.driver.closed() { Errno::EIO } else { Errno::EAGAIN })?;
        self.tty.advance();
        Ok(dst.put(&line))
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        _: &OpenFile,
        src: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        let tty = &self.tty;
        if self.hung_up() || tty.driver.closed() {
            return Err(Errno::EIO);
        }
        if tty.termios().lflag & TOSTOP != 0 {
            job::check(cx, tty, SIGTTOU)?;
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let mut discipline = tty.discipline.borrow_mut();
        let (mut done, mut out) = (0, Vec::new());
        let mut chunk = [0; 512];
        while src.remaining() > 0 && !discipline.stopped {
            let room = tty.driver.room() / output::EXPANSION;
            let count = src.take(&mut chunk[..room.min(512)]);
            if count == 0 {
                break;
            }
            let discipline = &mut *discipline;
            for &byte in &chunk[..count] {
                output::process(&discipline.termios, &mut discipline.columns, byte, &mut out);
            }
            tty.driver.write(&out);
            out.clear();
            done += count;
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        if self.hung_up() {
            return poll::IN | poll::OUT | poll::ERR | poll::HUP | poll::RDNORM | poll::WRNORM;
        }
        let discipline = self.tty.discipline.borrow();
        let cc = &discipline.termios.cc;
        let minimum = if cc[VTIME] == 0 && cc[VMIN] > 0 { usize::from(cc[VMIN]) } else { 1 };
        let mut bits = 0;
        if discipline.readable(minimum) {
            bits |= poll::IN | poll::RDNORM;
        }
        if self.tty.driver.closed() {
            bits |= poll::HUP;
        }
        if !discipline.stopped && self.tty.driver.room() >= output::EXPANSION {
            bits |= poll::OUT | poll::WRNORM;
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.tty.readable);
        visit(&self.tty.writable);
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        if self.hung_up() {
            return Err(if cmd == crate::abi::ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO }.into());
        }
        ioctl::terminal(cx, &self.tty, cmd, arg)
    }

    fn release(&self, _: &OpenFile) {
        if self.hung_up() {
            return;
        }
        self.tty.opens.set(self.tty.opens.get().saturating_sub(1));
        if self.tty.opens.get() == 0 {
            self.tty.exclusive.set(false);
            self.tty.driver.opened(false);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
