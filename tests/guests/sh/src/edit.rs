//! The line editor: keys in, a line out. Arrows, Home, End, history, Tab, and
//! the usual control letters. Lines longer than the screen wrap.

use alloc::string::String;
use alloc::vec::Vec;

use sys::text::{base_name, join};
use sys::tty::Termios;
use sys::{Error, print};

use crate::{Shell, builtins};

/// A key, after escape sequences have been put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Char(char),
    /// Ctrl and this letter.
    Control(u8),
    Enter,
    Tab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Unknown,
}

/// History and the bytes that were read but not used yet.
#[derive(Debug)]
pub struct Editor {
    history: Vec<String>,
    pending: Vec<u8>,
}

/// The line while it is edited.
struct Line<'a> {
    prompt: &'a str,
    chars: Vec<char>,
    cursor: usize,
    /// Screen row of the cursor, counted from the prompt's.
    row: usize,
}

impl Line<'_> {
    /// Columns that the prompt takes: escape sequences have none.
    fn prompt_width(&self) -> usize {
        let mut width = 0;
        let mut escaped = false;
        for letter in self.prompt.chars() {
            match (escaped, letter) {
                (false, '\x1b') => escaped = true,
                (false, _) => width += 1,
                (true, letter) => escaped = !letter.is_ascii_alphabetic(),
            }
        }
        width
    }

    /// Draws all of it anew and puts the cursor where it belongs.
    fn draw(&mut self) {
        let columns = sys::tty::size(0).1;
        if self.row > 0 {
            print!("\x1b[{}A", self.row);
        }
        let text: String = self.chars.iter().collect();
        print!("\r\x1b[J{}{text}", self.prompt);
        let start = self.prompt_width();
        let end = start + self.chars.len();
        // A full last column leaves the cursor pending there: make the wrap happen.
        if end.is_multiple_of(columns) {
            print!("\r\n");
        }
        let place = start + self.cursor;
        let up = end / columns - place / columns;
        if up > 0 {
            print!("\x1b[{up}A");
        }
        print!("\r");
        if !place.is_multiple_of(columns) {
            print!("\x1b[{}C", place % columns);
        }
        self.row = place / columns;
        sys::io::flush();
    }

    fn set(&mut self, text: &str) {
        self.chars = text.chars().collect();
        self.cursor = self.chars.len();
    }

    fn insert(&mut self, text: &str) {
        let end = self.cursor;
        self.chars.splice(end..end, text.chars());
        self.cursor += text.chars().count();
    }

    fn word_left(&self) -> usize {
        let before = &self.chars[..self.cursor];
        let end = before.iter().rposition(|letter| *letter != ' ').map_or(0, |at| at + 1);
        before[..end].iter().rposition(|letter| *letter == ' ').map_or(0, |at| at + 1)
    }

    fn word_right(&self) -> usize {
        let after = &self.chars[self.cursor..];
        let start = after.iter().position(|letter| *letter != ' ').unwrap_or(after.len());
        let length = after[start..].iter().position(|letter| *letter == ' ').unwrap_or(after.len() - start);
        self.cursor + start + length
    }
}

impl Editor {
    /// With an empty history.
    pub fn new() -> Editor {
        Editor { history: Vec::new(), pending: Vec::new() }
    }

    /// Asks for a line; `None` at the end of input (Ctrl-D on an empty line).
    pub fn read_line(&mut self, prompt: &str, shell: &Shell) -> Option<Vec<u8>> {
        sys::io::flush();
        let cooked = Termios::of(0).ok()?;
        cooked.raw().set(0).ok()?;
        let line = self.edit(prompt, shell);
        let _ = cooked.set(0);
        let line = line?;
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            self.history.push(line.clone());
        }
        Some(line.into_bytes())
    }

    fn edit(&mut self, prompt: &str, shell: &Shell) -> Option<String> {
        let mut line = Line { prompt, chars: Vec::new(), cursor: 0, row: 0 };
        // Where in the history we are, and the new line while we are there.
        let mut place = self.history.len();
        let mut fresh = String::new();
        loop {
            if self.pending.is_empty() {
                line.draw();
            }
            let key = self.key()?;
            match key {
                Key::Enter => {
                    line.cursor = line.chars.len();
                    line.draw();
                    print!("\r\n");
                    return Some(line.chars.iter().collect());
                }
                Key::Control(b'C') => {
                    line.cursor = line.chars.len();
                    line.draw();
                    print!("^C\r\n");
                    return Some(String::new());
                }
                Key::Control(b'D') if line.chars.is_empty() => return None,
                Key::Up | Key::Control(b'P') if place > 0 => {
                    if place == self.history.len() {
                        fresh = line.chars.iter().collect();
                    }
                    place -= 1;
                    line.set(&self.history[place]);
                }
                Key::Down | Key::Control(b'N') if place < self.history.len() => {
                    place += 1;
                    line.set(self.history.get(place).unwrap_or(&fresh));
                }
                Key::Tab => complete(&mut line, shell),
                key => change(&mut line, key),
            }
        }
    }

    /// The next byte, waiting for it; `None` at the end of input.
    fn byte(&mut self) -> Option<u8> {
        if self.pending.is_empty() {
            let mut block = [0; 256];
            loop {
                match sys::io::read_once(0, &mut block) {
                    Err(Error::EINTR) => continue,
                    Ok(count) if count > 0 => {
                        self.pending.extend_from_slice(&block[..count]);
                        break;
                    }
                    _ => return None,
                }
            }
        }
        Some(self.pending.remove(0))
    }

    fn key(&mut self) -> Option<Key> {
        Some(match self.byte()? {
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            0x7f | 0x08 => Key::Backspace,
            0x1b => self.escape()?,
            byte @ 1..=26 => Key::Control(byte + b'@'),
            byte @ 0x20..=0x7e => Key::Char(char::from(byte)),
            byte => self.wide(byte)?,
        })
    }

    /// A character of several bytes.
    fn wide(&mut self, first: u8) -> Option<Key> {
        let mut bytes = [first].to_vec();
        let length = match first {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        while bytes.len() < length {
            bytes.push(self.byte()?);
        }
        Some(
            core::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.chars().next())
                .map_or(Key::Unknown, Key::Char),
        )
    }

    fn escape(&mut self) -> Option<Key> {
        let kind = self.byte()?;
        if kind != b'[' && kind != b'O' {
            return Some(match kind {
                b'b' => Key::WordLeft,
                b'f' => Key::WordRight,
                _ => Key::Unknown,
            });
        }
        let mut parameters = Vec::new();
        let last = loop {
            match self.byte()? {
                byte @ 0x40..=0x7e => break byte,
                byte => parameters.push(byte),
            }
        };
        // `1;5` is Ctrl, `1;3` Alt.
        let word = parameters.ends_with(b";5") || parameters.ends_with(b";3");
        Some(match (last, &parameters[..]) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) if word => Key::WordRight,
            (b'D', _) if word => Key::WordLeft,
            (b'C', _) => Key::Right,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
            (b'F', _) | (b'~', b"4" | b"8") => Key::End,
            (b'~', b"3") => Key::Delete,
            _ => Key::Unknown,
        })
    }
}

/// Keys that only change the line.
fn change(line: &mut Line<'_>, key: Key) {
    match key {
        Key::Char(letter) => {
            line.chars.insert(line.cursor, letter);
            line.cursor += 1;
        }
        Key::Backspace if line.cursor > 0 => {
            line.cursor -= 1;
            line.chars.remove(line.cursor);
        }
        Key::Delete | Key::Control(b'D') if line.cursor < line.chars.len() => {
            let _ = line.chars.remove(line.cursor);
        }
        Key::Left | Key::Control(b'B') => line.cursor = line.cursor.saturating_sub(1),
        Key::Right | Key::Control(b'F') => line.cursor = (line.cursor + 1).min(line.chars.len()),
        Key::WordLeft => line.cursor = line.word_left(),
        Key::WordRight => line.cursor = line.word_right(),
        Key::Home | Key::Control(b'A') => line.cursor = 0,
        Key::End | Key::Control(b'E') => line.cursor = line.chars.len(),
        Key::Control(b'K') => line.chars.truncate(line.cursor),
        Key::Control(b'U') => drop(line.chars.drain(..core::mem::take(&mut line.cursor))),
        Key::Control(b'W') => {
            let start = line.word_left();
            line.chars.drain(start..line.cursor);
            line.cursor = start;
        }
        Key::Control(b'L') => {
            print!("\x1b[H\x1b[2J");
            line.row = 0;
        }
        _ => {}
    }
}

/// Completes the word before the cursor: programs in first place, names elsewhere.
fn complete(line: &mut Line<'_>, shell: &Shell) {
    let before: String = line.chars[..line.cursor].iter().collect();
    let start = before.rfind([' ', '|', ';', '&', '<', '>']).map_or(0, |at| at + 1);
    let word = &before.as_bytes()[start..];
    let first = matches!(before[..start].trim_end().chars().last(), None | Some('|' | ';' | '&'));
    let (directory, prefix) = match word.iter().rposition(|&b| b == b'/') {
        Some(at) => (&word[..=at], &word[at + 1..]),
        None => (&b""[..], word),
    };
    let mut names = Vec::new();
    if first && directory.is_empty() {
        names.extend(builtins::names().map(|name| name.as_bytes().to_vec()));
        for place in shell.get(b"PATH").unwrap_or_default().split(|&b| b == b':') {
            names.append(&mut sys::fs::list(place).unwrap_or_default());
        }
    } else {
        let place = if directory.is_empty() { b"." } else { directory };
        names = sys::fs::list(place).unwrap_or_default();
    }
    names.retain(|name| name.starts_with(prefix) && (!prefix.is_empty() || !name.starts_with(b".")));
    names.sort();
    names.dedup();
    let Some(shortest) = names.first() else { return };
    let common = names.iter().fold(shortest.len(), |length, name| {
        shortest.iter().zip(name).take(length).take_while(|(a, b)| a == b).count()
    });
    let mut addition = shortest[prefix.len()..common].to_vec();
    if let [only] = &names[..] {
        let directory = sys::fs::stat(&join(directory, only)).is_ok_and(|stat| stat.is_dir());
        addition.push(if directory { b'/' } else { b' ' });
    }
    if let (Ok(text), false) = (core::str::from_utf8(&addition), addition.is_empty()) {
        line.insert(text);
    } else if names.len() > 1 {
        let shown: Vec<_> = names.iter().map(|name| sys::text::lossy(base_name(name))).collect();
        print!("\r\n{}\r\n", shown.join("  "));
        line.row = 0;
    }
}
