//! A person at a terminal: a program on a pseudo-terminal, keys typed, the screen read.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long to wait for what a step expects.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program on a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: std::fs::File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Start `command` with a controlling terminal of `rows` by `cols` cells.
    pub fn start(mut command: Command, rows: u16, cols: u16) -> Terminal {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).expect("window size");
        let path = ptsname(&master, Vec::new()).expect("ptsname");
        let open = || -> OwnedFd {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
            rustix::fs::open(path.as_c_str(), flags, rustix::fs::Mode::empty()).expect("open the terminal")
        };
        command.stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
        // A new session whose controlling terminal is this one: what a terminal emulator does.
        let mut wrapped = Command::new("setsid");
        wrapped.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
        wrapped.stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
        let child = wrapped.spawn().unwrap_or_else(|e| panic!("{wrapped:?}: {e}"));
        let keyboard = std::fs::File::from(master);
        let mut reader = keyboard.try_clone().expect("duplicate the master");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keyboard, output, screen: vt100::Parser::new(rows, cols, 0) }
    }

    /// Type `keys`.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("type");
    }

    /// Change the window's size, as a terminal emulator does.
    pub fn resize(&mut self, rows: u16, cols: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keyboard, size).expect("window size");
        self.screen.screen_mut().set_size(rows, cols);
    }

    /// Wait until `done` holds for the screen's text; panics with the screen when it never does.
    pub fn wait_until(&mut self, what: &str, done: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !done(&self.text()) {
            if !self.pump(Duration::from_millis(200)) || start.elapsed() > PATIENCE {
                assert!(done(&self.text()), "{what}: never shown. The screen:\n{}", self.text());
                return;
            }
        }
    }

    /// Wait until the screen contains `text`.
    pub fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Read until nothing has come for `quiet`.
    pub fn settle(&mut self, quiet: Duration) {
        while let Ok(bytes) = self.output.recv_timeout(quiet) {
            self.screen.process(&bytes);
        }
    }

    /// The screen as text, rows right-trimmed.
    pub fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Row and column of the cursor.
    pub fn cursor(&self) -> (u16, u16) {
        self.screen.screen().cursor_position()
    }

    /// Wait for the program to end; its exit code.
    pub fn finish(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "does not end. The screen:\n{}", self.text());
            self.pump(Duration::from_millis(50));
        }
    }

    /// Take what the program wrote, waiting at most `timeout`. False when it has closed the terminal.
    fn pump(&mut self, timeout: Duration) -> bool {
        match self.output.recv_timeout(timeout) {
            Ok(bytes) => self.screen.process(&bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
