//! Text to tokens: words (with what was quoted kept apart) and operators.

use alloc::string::String;
use alloc::vec::Vec;

use crate::parse::Problem;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands; when not quoted, `*`, `?` and `[` make it a pattern.
    Text { bytes: Vec<u8>, quoted: bool },
    /// `$NAME`; when not quoted, its blanks split the word.
    Variable { name: Vec<u8>, quoted: bool },
    /// `$(COMMAND)`.
    Command { text: Vec<u8>, quoted: bool },
}

/// A word, from its parts.
pub type Word = Vec<Part>;

/// What a line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(Word),
    /// `|`
    Pipe,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `;` or the end of a line
    Then,
    /// `&`
    Background,
    /// `<`, `>`, `>>`, or `>&`, with the descriptor it is for
    Redirect {
        fd: i32,
        kind: Kind,
    },
}

/// Of a redirection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Append,
    Duplicate,
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    /// The word being read; `None` between words (`""` is a word too).
    word: Option<Word>,
}

/// The tokens of `text`.
pub fn lex(text: &[u8]) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), word: None };
    while let Some(byte) = lexer.next() {
        lexer.step(byte)?;
    }
    lexer.end_word();
    Ok(lexer.tokens)
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn end_word(&mut self) {
        self.tokens.extend(self.word.take().map(Token::Word));
    }

    fn operator(&mut self, token: Token) {
        self.end_word();
        self.tokens.push(token);
    }

    /// One of two operators, by whether the next byte is `double`.
    fn either(&mut self, double: u8, twice: Token, once: Token) {
        let token = if self.peek() == Some(double) {
            self.at += 1;
            twice
        } else {
            once
        };
        self.operator(token);
    }

    fn push(&mut self, byte: u8, quoted: bool) {
        let word = self.word.get_or_insert_default();
        match word.last_mut() {
            Some(Part::Text { bytes, quoted: known }) if *known == quoted => bytes.push(byte),
            _ => word.push(Part::Text { bytes: [byte].to_vec(), quoted }),
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Problem> {
        match byte {
            b' ' | b'\t' | b'\r' => self.end_word(),
            b'\n' | b';' => self.operator(Token::Then),
            b'|' => self.either(b'|', Token::Or, Token::Pipe),
            b'&' => self.either(b'&', Token::And, Token::Background),
            b'<' | b'>' => self.redirect(byte),
            b'#' if self.word.is_none() => {
                while self.peek().is_some_and(|b| b != b'\n') {
                    self.at += 1;
                }
            }
            b'\'' => {
                self.word.get_or_insert_default().push(Part::Text { bytes: Vec::new(), quoted: true });
                loop {
                    match self.next().ok_or(Problem::Incomplete)? {
                        b'\'' => break,
                        byte => self.push(byte, true),
                    }
                }
            }
            b'"' => self.double_quoted()?,
            b'\\' => match self.next().ok_or(Problem::Incomplete)? {
                b'\n' if self.at == self.text.len() => return Err(Problem::Incomplete),
                b'\n' => {}
                byte => self.push(byte, true),
            },
            b'$' => self.dollar(false)?,
            byte => self.push(byte, false),
        }
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), Problem> {
        self.word.get_or_insert_default().push(Part::Text { bytes: Vec::new(), quoted: true });
        loop {
            match self.next().ok_or(Problem::Incomplete)? {
                b'"' => return Ok(()),
                b'$' => self.dollar(true)?,
                b'\\' if matches!(self.peek(), Some(b'"' | b'\\' | b'$')) => {
                    let byte = self.next().ok_or(Problem::Incomplete)?;
                    self.push(byte, true);
                }
                byte => self.push(byte, true),
            }
        }
    }

    fn redirect(&mut self, byte: u8) {
        // A lone digit right before belongs to the operator.
        let mut fd = i32::from(byte == b'>');
        if let Some([Part::Text { bytes, quoted: false }]) = self.word.as_deref()
            && let [digit @ b'0'..=b'9'] = bytes[..]
        {
            fd = i32::from(digit - b'0');
            self.word = None;
        }
        let kind = match (byte, self.peek()) {
            (b'<', _) => Kind::Read,
            (_, Some(b'>')) => Kind::Append,
            (_, Some(b'&')) => Kind::Duplicate,
            _ => Kind::Write,
        };
        self.at += usize::from(matches!(kind, Kind::Append | Kind::Duplicate));
        self.operator(Token::Redirect { fd, kind });
    }

    /// After `$`: a variable, a command, or just the dollar.
    fn dollar(&mut self, quoted: bool) -> Result<(), Problem> {
        let rest = &self.text[self.at..];
        let (part, length) = match rest.first() {
            Some(b'(') => {
                let length = matching(rest)?;
                (Part::Command { text: rest[1..length - 1].to_vec(), quoted }, length)
            }
            Some(b'{') => {
                let end = rest.iter().position(|&b| b == b'}').ok_or(Problem::Incomplete)?;
                let name = rest[1..end].to_vec();
                if name.is_empty() || !name.iter().all(|&b| is_name(b) || b"?$#@*".contains(&b)) {
                    let shown = String::from_utf8_lossy(&name).into_owned();
                    return Err(Problem::Wrong(alloc::format!("not the name of a variable: ${{{shown}}}")));
                }
                (Part::Variable { name, quoted }, end + 1)
            }
            Some(b'?' | b'$' | b'#' | b'@' | b'*' | b'0'..=b'9') => {
                (Part::Variable { name: rest[..1].to_vec(), quoted }, 1)
            }
            _ => match rest.iter().take_while(|&&b| is_name(b)).count() {
                0 => {
                    self.push(b'$', quoted);
                    return Ok(());
                }
                length => (Part::Variable { name: rest[..length].to_vec(), quoted }, length),
            },
        };
        self.at += length;
        self.word.get_or_insert_default().push(part);
        Ok(())
    }
}

/// May it stand in a variable's name?
pub fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes of `(...)` at the beginning of `text`, parentheses inside counted, quotes respected.
fn matching(text: &[u8]) -> Result<usize, Problem> {
    let (mut depth, mut quote) = (0, None);
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match (quote, byte) {
            (_, b'\\') if quote != Some(b'\'') => drop(bytes.next()),
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
    }
    Err(Problem::Incomplete)
}
