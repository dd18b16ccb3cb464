//! Words to arguments: variables, `$(...)`, `~`, splitting at blanks, globbing.

use alloc::vec::Vec;

use sys::text::{join, words};

use crate::Shell;
use crate::lex::{Part, Word};

/// A field under construction: bytes, and which of them a glob must take literally.
#[derive(Default)]
struct Field {
    bytes: Vec<u8>,
    literal: Vec<bool>,
    /// Something was quoted: it counts even when empty.
    quoted: bool,
}

impl Field {
    fn push(&mut self, bytes: &[u8], quoted: bool) {
        self.bytes.extend_from_slice(bytes);
        self.literal.resize(self.bytes.len(), quoted);
        self.quoted |= quoted;
    }

    fn is_pattern(&self) -> bool {
        self.bytes.iter().zip(&self.literal).any(|(byte, literal)| !literal && b"*?[".contains(byte))
    }
}

impl Shell {
    fn value(&self, name: &[u8]) -> Vec<u8> {
        let decimal = |number: i32| alloc::format!("{number}").into_bytes();
        match name {
            b"?" => decimal(self.status),
            b"$" => decimal(sys::process::id()),
            b"#" => decimal(self.arguments.len() as i32 - 1),
            b"@" | b"*" => self.arguments.get(1..).unwrap_or_default().join(&b' '),
            _ => match sys::text::number(name) {
                Some(index) => self.arguments.get(index as usize).cloned().unwrap_or_default(),
                None => self.get(name).unwrap_or_default().to_vec(),
            },
        }
    }

    /// A word as one string: for assignments and the files of redirections.
    pub fn expand_one(&mut self, word: &Word) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in self.home(word) {
            match part {
                Part::Text { bytes, .. } => whole.extend_from_slice(&bytes),
                Part::Variable { name, .. } => whole.extend_from_slice(&self.value(&name)),
                Part::Command { text, .. } => whole.extend_from_slice(&self.output_of(&text)),
            }
        }
        whole
    }

    /// A leading `~` becomes `$HOME`.
    fn home(&self, word: &Word) -> Word {
        let mut word = word.clone();
        if let Some(Part::Text { bytes, quoted: false }) = word.first_mut()
            && (bytes == b"~" || bytes.starts_with(b"~/"))
        {
            bytes.remove(0);
            word.insert(0, Part::Variable { name: b"HOME".to_vec(), quoted: true });
        }
        word
    }

    /// A word as arguments: none, one or many.
    pub fn expand(&mut self, word: &Word) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        let mut field = Field::default();
        for part in self.home(word) {
            let (value, quoted) = match part {
                Part::Text { bytes, quoted } => {
                    field.push(&bytes, quoted);
                    continue;
                }
                Part::Variable { name, quoted } => (self.value(&name), quoted),
                Part::Command { text, quoted } => (self.output_of(&text), quoted),
            };
            if quoted {
                field.push(&value, true);
                continue;
            }
            if value.first().is_some_and(u8::is_ascii_whitespace) && !field.bytes.is_empty() {
                fields.push(core::mem::take(&mut field));
            }
            let mut pieces = words(&value).peekable();
            while let Some(piece) = pieces.next() {
                field.push(piece, false);
                let blank_after = value.last().is_some_and(u8::is_ascii_whitespace);
                if pieces.peek().is_some() || blank_after {
                    fields.push(core::mem::take(&mut field));
                }
            }
        }
        if !field.bytes.is_empty() || field.quoted {
            fields.push(field);
        }
        fields.into_iter().flat_map(|field| glob(&field)).collect()
    }
}

/// The names that the field matches; the field itself when it is no pattern or none match.
fn glob(field: &Field) -> Vec<Vec<u8>> {
    if !field.is_pattern() {
        return [field.bytes.clone()].to_vec();
    }
    let absolute = field.bytes.starts_with(b"/");
    let mut found = [if absolute { b"/".to_vec() } else { Vec::new() }].to_vec();
    let mut start = 0;
    for component in field.bytes.split(|&b| b == b'/') {
        let literal = &field.literal[start..start + component.len()];
        start += component.len() + 1;
        if component.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        for directory in &found {
            let place: &[u8] = if directory.is_empty() { b"." } else { directory };
            if !component.iter().zip(literal).any(|(byte, literal)| !literal && b"*?[".contains(byte)) {
                let path = join(directory, component);
                if sys::fs::lstat(&path).is_ok() {
                    next.push(path);
                }
                continue;
            }
            for name in sys::fs::list(place).unwrap_or_default() {
                if (!name.starts_with(b".") || component.starts_with(b"."))
                    && matches(&name, component, literal)
                {
                    next.push(join(directory, &name));
                }
            }
        }
        found = next;
    }
    if found.is_empty() { [field.bytes.clone()].to_vec() } else { found }
}

/// Does `name` match, with `*` `?` `[a-z]` `[!a]` where not literal? The last
/// star is where to go back to, so that the time is at most the product of the lengths.
fn matches(name: &[u8], pattern: &[u8], literal: &[bool]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star = None;
    loop {
        if place < pattern.len() && !literal[place] && pattern[place] == b'*' {
            star = Some((place + 1, at));
            place += 1;
            continue;
        }
        if at == name.len() {
            return place == pattern.len();
        }
        match one(name[at], &pattern[place..], &literal[place..]) {
            Some(length) => {
                at += 1;
                place += length;
            }
            None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (place, at) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
}

/// Bytes of pattern that match this one byte of the name.
fn one(byte: u8, pattern: &[u8], literal: &[bool]) -> Option<usize> {
    let (&first, rest) = pattern.split_first()?;
    if literal[0] {
        return (first == byte).then_some(1);
    }
    match first {
        b'?' => Some(1),
        b'[' if rest.len() > 1 => {
            let negated = rest[0] == b'!';
            let set = &rest[usize::from(negated)..];
            // A `]` right at the beginning is a member.
            let Some(end) = set.iter().skip(1).position(|&b| b == b']').map(|at| at + 1) else {
                return (byte == b'[').then_some(1);
            };
            let mut set = &set[..end];
            let mut found = false;
            while let [low, tail @ ..] = set {
                if let [b'-', high, tail @ ..] = tail {
                    found |= (*low..=*high).contains(&byte);
                    set = tail;
                } else {
                    found |= *low == byte;
                    set = tail;
                }
            }
            (found != negated).then_some(end + 2 + usize::from(negated))
        }
        other => (other == byte).then_some(1),
    }
}
