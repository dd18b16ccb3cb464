//! The terminal that `run` stands in: raw mode, size, and the signals that
//! belong to the guest.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

/// Whether standard input and output are both a terminal.
pub fn present() -> bool {
    isatty(rustix::stdio::stdin()) && isatty(rustix::stdio::stdout())
}

/// Height and width in cells; zeros when nobody knows.
pub fn size() -> (u32, u32) {
    match tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) => (u32::from(size.ws_row), u32::from(size.ws_col)),
        Err(_) => (0, 0),
    }
}

/// Raw mode for as long as this lives; a panic ends it too.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Every key goes to the guest, whose own terminal says what it means.
    pub fn enter() -> io::Result<Raw> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to restore.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// The signals that are passed on.
const PASSED: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Signals that arrive, as something to poll.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    flags: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// From now on these signals no longer end the process.
    pub fn listen() -> io::Result<Signals> {
        let (wake, notify) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        notify.set_nonblocking(true)?;
        let mut flags = Vec::new();
        for signal in PASSED.into_iter().chain([SIGWINCH]) {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: whoever is woken must see it.
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, notify.try_clone()?)?;
            flags.push((signal, flag));
        }
        Ok(Signals { wake, flags })
    }

    /// Readable when a signal has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Signals that came since the last call, each once; SIGWINCH among them.
    pub fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(count) if count > 0) {}
        self.flags.iter().filter(|(_, flag)| flag.swap(false, Relaxed)).map(|&(signal, _)| signal).collect()
    }
}

/// Whether this signal says that the terminal's size changed.
pub fn is_resize(signal: i32) -> bool {
    signal == SIGWINCH
}
