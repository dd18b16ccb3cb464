//! The line discipline N_TTY, input side: typed bytes become lines to read,
//! echo, and signals. Pure state, no devices: `tty/mod.rs` feeds it and takes
//! what comes out. See termios(3); where that is silent, Linux's behaviour
//! (`Documentation/driver-api/tty`) and the tests in `ldisc_tests.rs`.

use std::collections::VecDeque;

use super::output::{Columns, is_continuation, process};
use crate::abi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use crate::abi::termios::*;

/// Characters that can wait to be read.
pub(super) const CAPACITY: usize = 4095;
/// `c_cc` entry of a function that is switched off.
const DISABLED: u8 = 0;

/// One waiting character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Ordinary.
    Char(u8),
    /// Ends a line and is part of it (newline, VEOL, VEOL2).
    End(u8),
    /// Ends a line and is not part of it (VEOF).
    Eof,
}

impl Cell {
    /// As raw mode reads it.
    fn byte(self) -> u8 {
        match self {
            Cell::Char(byte) | Cell::End(byte) => byte,
            Cell::Eof => DISABLED,
        }
    }
}

/// What input brought about beside characters to read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// To the device, output processing done.
    pub(super) echo: Vec<u8>,
    /// For the foreground process group.
    pub(super) signals: Vec<u32>,
    /// Output that the device has not yet taken is to be thrown away, before the echo (an interrupt without NOFLSH).
    pub(super) flush_output: bool,
}

/// State of one terminal's discipline.
#[derive(Debug, Default)]
pub(super) struct LineDiscipline {
    pub(super) termios: Termios,
    cells: VecDeque<Cell>,
    /// Leading cells that are whole lines. In raw mode unused.
    committed: usize,
    /// The next character is literal (VLNEXT).
    literal_next: bool,
    /// Between `\` and `/` of ECHOPRT.
    erasing: bool,
    pub(super) columns: Columns,
    /// Output is stopped (VSTOP, TCOOFF).
    pub(super) stopped: bool,
    /// By tcflow(3): VSTART does not undo it.
    pub(super) stopped_by_ioctl: bool,
}

impl LineDiscipline {
    fn iflag(&self, bit: u32) -> bool {
        self.termios.iflag & bit != 0
    }

    fn lflag(&self, bit: u32) -> bool {
        self.termios.lflag & bit != 0
    }

    /// Lines are edited here and read one by one.
    pub(super) fn canonical(&self) -> bool {
        self.lflag(ICANON) && !self.lflag(EXTPROC)
    }

    /// Whether `byte` is the special character `index`, which is not disabled.
    fn is(&self, index: usize, byte: u8) -> bool {
        let special = self.termios.cc[index];
        special != DISABLED && special == byte
    }

    /// Replace the settings. Leaving or entering canonical mode re-marks what waits.
    pub(super) fn set_termios(&mut self, new: Termios) {
        let toggled = (self.termios.lflag ^ new.lflag) & (ICANON | EXTPROC) != 0;
        self.termios = new;
        if toggled {
            let waiting: Vec<u8> = self.cells.drain(..).map(Cell::byte).collect();
            self.cells.extend(waiting.into_iter().map(Cell::Char));
            self.committed = if self.canonical() { self.cells.len() } else { 0 };
            self.erasing = false;
            self.literal_next = false;
        }
        if new.iflag & IXON == 0 && self.stopped && !self.stopped_by_ioctl {
            self.stopped = false;
        }
    }

    /// Throw away what waits to be read.
    pub(super) fn flush_input(&mut self) {
        self.cells.clear();
        self.committed = 0;
        self.literal_next = false;
        self.erasing = false;
    }

    /// Something was typed and not read.
    pub(super) fn has_cells(&self) -> bool {
        !self.cells.is_empty()
    }

    /// Bytes that a read could get (FIONREAD).
    pub(super) fn available(&self) -> usize {
        if self.canonical() {
            self.cells.iter().take(self.committed).filter(|c| **c != Cell::Eof).count()
        } else {
            self.cells.len()
        }
    }

    /// A read would return: a line (even an empty one), or `minimum` characters.
    pub(super) fn readable(&self, minimum: usize) -> bool {
        if self.canonical() { self.committed > 0 } else { self.cells.len() >= minimum.max(1) }
    }

    /// Whether typed bytes must wait outside for now.
    pub(super) fn full(&self) -> bool {
        // A line that is too long is cut instead: its end must still get in.
        self.cells.len() >= CAPACITY && (!self.canonical() || self.committed > 0)
    }

    /// Take up to `max` bytes: one line in canonical mode, else what is there.
    /// None in canonical mode without a whole line.
    pub(super) fn read(&mut self, max: usize) -> Option<Vec<u8>> {
        if !self.canonical() {
            let count = max.min(self.cells.len());
            return Some(self.cells.drain(..count).map(Cell::byte).collect());
        }
        if self.committed == 0 {
            return None;
        }
        let mut line = Vec::new();
        while self.committed > 0 {
            match self.cells.front() {
                Some(Cell::Char(byte)) if line.len() < max => line.push(*byte),
                Some(Cell::End(byte)) if line.len() < max => {
                    line.push(*byte);
                    self.drop_committed();
                    break;
                }
                Some(Cell::Eof) => {
                    self.drop_committed();
                    break;
                }
                _ => break,
            }
            self.drop_committed();
        }
        Some(line)
    }

    fn drop_committed(&mut self) {
        self.cells.pop_front();
        self.committed -= 1;
    }

    /// A byte arrived from the device.
    pub(super) fn receive(&mut self, byte: u8, fx: &mut Effects) {
        let mut byte = byte;
        if self.iflag(ISTRIP) {
            byte &= 0x7f;
        }
        if self.iflag(IUCLC) && self.lflag(IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.lflag(EXTPROC) {
            self.put(Cell::Char(byte));
            return;
        }
        if std::mem::take(&mut self.literal_next) {
            self.ordinary(byte, fx);
        } else if !self.flow_control(byte) && !self.signal(byte, fx) {
            self.translated(byte, fx);
        }
    }

    /// VSTART and VSTOP.
    fn flow_control(&mut self, byte: u8) -> bool {
        if !self.iflag(IXON) {
            return false;
        }
        if self.is(VSTART, byte) {
            self.restart_output();
            return true;
        }
        if self.is(VSTOP, byte) {
            self.stopped = true;
            return true;
        }
        false
    }

    fn restart_output(&mut self) {
        if !self.stopped_by_ioctl {
            self.stopped = false;
        }
    }

    /// VINTR, VQUIT, VSUSP.
    fn signal(&mut self, byte: u8, fx: &mut Effects) -> bool {
        let keys = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        let key = keys.iter().find(|(index, _)| self.is(*index, byte));
        let (true, Some(&(_, signal))) = (self.lflag(ISIG), key) else { return false };
        fx.signals.push(signal);
        if !self.lflag(NOFLSH) {
            self.flush_input();
            fx.flush_output = true;
        }
        if self.iflag(IXON) {
            self.restart_output();
        }
        if self.lflag(ECHO) {
            self.echo(byte, fx);
        }
        true
    }

    /// Everything after flow control and signals.
    fn translated(&mut self, byte: u8, fx: &mut Effects) {
        let byte = match byte {
            b'\r' if self.iflag(IGNCR) => return,
            b'\r' if self.iflag(ICRNL) => b'\n',
            b'\n' if self.iflag(INLCR) => b'\r',
            _ => byte,
        };
        if self.stopped && self.iflag(IXON) && self.iflag(IXANY) {
            self.restart_output();
        }
        if !self.lflag(ICANON) || !self.editing(byte, fx) {
            self.plain(byte, fx);
        }
    }

    /// Characters that canonical mode treats specially.
    fn editing(&mut self, byte: u8, fx: &mut Effects) -> bool {
        let extended = self.lflag(IEXTEN);
        if self.is(VERASE, byte) {
            self.erase(Erase::Character, fx);
        } else if self.is(VKILL, byte) {
            self.kill(fx);
        } else if extended && self.is(VWERASE, byte) {
            self.erase(Erase::Word, fx);
        } else if extended && self.is(VLNEXT, byte) {
            self.literal_next = true;
            if self.lflag(ECHO) {
                self.finish_erasing(fx);
                if self.lflag(ECHOCTL) {
                    self.echo_raw(b'^', fx);
                    self.echo_raw(b'\x08', fx);
                }
            }
        } else if extended && self.lflag(ECHO) && self.is(VREPRINT, byte) {
            self.reprint(byte, fx);
        } else if byte == b'\n' {
            if self.lflag(ECHO) || self.lflag(ECHONL) {
                self.echo_raw(b'\n', fx);
            }
            self.end_line(Cell::End(byte));
        } else if self.is(VEOF, byte) {
            self.end_line(Cell::Eof);
        } else if self.is(VEOL, byte) || (extended && self.is(VEOL2, byte)) {
            if self.lflag(ECHO) {
                self.mark_column();
                self.echo(byte, fx);
            }
            self.mark_parity(byte);
            self.end_line(Cell::End(byte));
        } else {
            return false;
        }
        true
    }

    /// A character that is only a character, newline echo included (raw mode).
    fn plain(&mut self, byte: u8, fx: &mut Effects) {
        if byte == b'\n' && self.lflag(ECHO) {
            self.finish_erasing(fx);
            self.echo_raw(byte, fx);
            self.put(Cell::Char(byte));
        } else {
            self.ordinary(byte, fx);
        }
    }

    fn ordinary(&mut self, byte: u8, fx: &mut Effects) {
        if self.lflag(ECHO) {
            self.finish_erasing(fx);
            self.mark_column();
            self.echo(byte, fx);
        }
        self.mark_parity(byte);
        self.put(Cell::Char(byte));
    }

    /// With PARMRK a 0xff in the data is doubled.
    fn mark_parity(&mut self, byte: u8) {
        if self.iflag(PARMRK) && byte == 0xff {
            self.put(Cell::Char(byte));
        }
    }

    /// The line begins where the cursor is now.
    fn mark_column(&mut self) {
        if self.cells.len() == self.committed {
            self.columns.canon = self.columns.column;
        }
    }

    fn put(&mut self, cell: Cell) {
        if self.cells.len() >= CAPACITY {
            // Too long a line: the last place is given to each newcomer, so that its end gets in.
            self.cells.pop_back();
            self.committed = self.committed.min(self.cells.len());
        }
        self.cells.push_back(cell);
    }

    fn end_line(&mut self, cell: Cell) {
        self.put(cell);
        self.committed = self.cells.len();
    }

    fn kill(&mut self, fx: &mut Effects) {
        if self.cells.len() == self.committed {
            return;
        }
        if self.lflag(ECHO) && self.lflag(ECHOK) && self.lflag(ECHOKE) && self.lflag(ECHOE) {
            self.erase(Erase::Line, fx);
            return;
        }
        self.cells.truncate(self.committed);
        if self.lflag(ECHO) {
            self.finish_erasing(fx);
            self.echo(self.termios.cc[VKILL], fx);
            if self.lflag(ECHOK) {
                self.echo_raw(b'\n', fx);
            }
        }
    }

    fn erase(&mut self, what: Erase, fx: &mut Effects) {
        let mut in_word = false;
        while self.cells.len() > self.committed {
            let Some((first, length)) = self.last_character() else { break };
            if what == Erase::Word {
                if in_a_word(first) {
                    in_word = true;
                } else if in_word {
                    break;
                }
            }
            let start = self.cells.len() - length;
            let bytes: Vec<u8> = self.cells.drain(start..).map(Cell::byte).collect();
            if self.lflag(ECHO) {
                self.echo_erasure(&bytes, what, fx);
            }
            if what == Erase::Character {
                break;
            }
        }
        if self.cells.len() == self.committed && self.lflag(ECHO) {
            self.finish_erasing(fx);
        }
    }

    /// First byte and length of the last character of the line being typed; none for a torn one.
    fn last_character(&self) -> Option<(u8, usize)> {
        let line = self.cells.range(self.committed..);
        let length = 1 + line.rev().take_while(|c| is_continuation(&self.termios, c.byte())).count();
        let start = self.cells.len().checked_sub(length).filter(|s| *s >= self.committed)?;
        Some((self.cells[start].byte(), length))
    }

    fn echo_erasure(&mut self, bytes: &[u8], what: Erase, fx: &mut Effects) {
        let first = bytes[0];
        if self.lflag(ECHOPRT) {
            if !self.erasing {
                self.echo_raw(b'\\', fx);
                self.erasing = true;
            }
            self.echo(first, fx);
            for &byte in &bytes[1..] {
                self.echo_raw(byte, fx);
            }
        } else if what == Erase::Character && !self.lflag(ECHOE) {
            self.echo(self.termios.cc[VERASE], fx);
        } else if first == b'\t' {
            self.echo_erase_tab(fx);
        } else {
            let control = is_control(first);
            if control && self.lflag(ECHOCTL) {
                self.rub_out(fx);
            }
            if !control || self.lflag(ECHOCTL) {
                self.rub_out(fx);
            }
        }
    }

    fn rub_out(&mut self, fx: &mut Effects) {
        for byte in *b"\x08 \x08" {
            self.echo_raw(byte, fx);
        }
    }

    /// Move back over a tab: how far depends on what stands before it.
    fn echo_erase_tab(&mut self, fx: &mut Effects) {
        let mut width = 0;
        let mut after_tab = false;
        for cell in self.cells.range(self.committed..).rev() {
            let byte = cell.byte();
            if byte == b'\t' {
                after_tab = true;
                break;
            }
            if is_control(byte) {
                width += if self.lflag(ECHOCTL) { 2 } else { 0 };
            } else if !is_continuation(&self.termios, byte) {
                width += 1;
            }
        }
        let before = if after_tab { width } else { width + self.columns.canon };
        for _ in 0..8 - (before & 7) {
            fx.echo.push(b'\x08');
            self.columns.column = self.columns.column.saturating_sub(1);
        }
    }

    /// Show the line again on a fresh one.
    fn reprint(&mut self, byte: u8, fx: &mut Effects) {
        self.finish_erasing(fx);
        self.echo(byte, fx);
        self.echo_raw(b'\n', fx);
        let line: Vec<u8> = self.cells.range(self.committed..).map(|c| c.byte()).collect();
        for byte in line {
            self.echo(byte, fx);
        }
    }

    fn finish_erasing(&mut self, fx: &mut Effects) {
        if std::mem::take(&mut self.erasing) {
            self.echo_raw(b'/', fx);
        }
    }

    /// Echo a character, control characters as `^X` with ECHOCTL.
    fn echo(&mut self, byte: u8, fx: &mut Effects) {
        if self.lflag(ECHOCTL) && is_control(byte) && byte != b'\t' {
            fx.echo.extend([b'^', byte ^ 0x40]);
            self.columns.column = self.columns.column.wrapping_add(2);
        } else {
            self.echo_raw(byte, fx);
        }
    }

    fn echo_raw(&mut self, byte: u8, fx: &mut Effects) {
        process(&self.termios, &mut self.columns, byte, &mut fx.echo);
    }
}

/// How much an erase character takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

/// A word character in Latin-1, which also takes in the first byte of UTF-8 characters.
fn in_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}
