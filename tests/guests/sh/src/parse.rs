//! Tokens to pipelines.

use alloc::string::String;
use alloc::vec::Vec;

use crate::lex::{Kind, Token, Word};

/// Why a text cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// More lines may complete it.
    Incomplete,
    /// What is wrong with it.
    Wrong(String),
}

/// `< file`, `2> file`, `2>&1`.
#[derive(Debug, Clone, Default)]
pub struct Redirect {
    pub fd: i32,
    pub kind: Option<Kind>,
    pub target: Word,
}

/// Words and redirections: one process.
#[derive(Debug, Clone, Default)]
pub struct Simple {
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

/// When a pipeline runs, by how the one before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// After `&&`.
    Success,
    /// After `||`.
    Failure,
}

/// Commands joined by `|`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub when: When,
    /// `!` stood before it.
    pub negated: bool,
    pub commands: Vec<Simple>,
    pub background: bool,
}

/// The pipelines of a text, in order.
pub fn parse(tokens: &[Token]) -> Result<Vec<Pipeline>, Problem> {
    let mut list = Vec::new();
    let mut when = When::Always;
    let mut rest = tokens;
    loop {
        rest = skip_newlines(rest);
        if rest.is_empty() {
            // A newline may follow `&&` and `||`.
            return if when == When::Always { Ok(list) } else { Err(Problem::Incomplete) };
        }
        let (mut pipeline, left) = pipeline(rest, when)?;
        when = When::Always;
        rest = left;
        if let Some((token, left)) = rest.split_first() {
            rest = left;
            match token {
                Token::And => when = When::Success,
                Token::Or => when = When::Failure,
                Token::Background => pipeline.background = true,
                _ => {}
            }
        }
        list.push(pipeline);
    }
}

fn pipeline(mut rest: &[Token], when: When) -> Result<(Pipeline, &[Token]), Problem> {
    let mut pipeline = Pipeline { when, negated: false, commands: Vec::new(), background: false };
    if let [Token::Word(word), left @ ..] = rest
        && is_text(word, b"!")
    {
        pipeline.negated = true;
        rest = left;
    }
    loop {
        let mut command = Simple::default();
        loop {
            match rest {
                [Token::Word(word), left @ ..] => {
                    command.words.push(word.clone());
                    rest = left;
                }
                [Token::Redirect { fd, kind }, Token::Word(target), left @ ..] => {
                    command.redirects.push(Redirect { fd: *fd, kind: Some(*kind), target: target.clone() });
                    rest = left;
                }
                [Token::Redirect { .. }, ..] => return Err(wrong("a redirection needs a file")),
                _ => break,
            }
        }
        if command.words.is_empty() && command.redirects.is_empty() {
            let begun = !pipeline.commands.is_empty();
            return match rest.first() {
                None if begun => Err(Problem::Incomplete),
                _ => Err(wrong("a command is missing before an operator")),
            };
        }
        pipeline.commands.push(command);
        match rest {
            [Token::Pipe, left @ ..] => rest = skip_newlines(left),
            _ => return Ok((pipeline, rest)),
        }
    }
}

fn skip_newlines(tokens: &[Token]) -> &[Token] {
    let count = tokens.iter().take_while(|token| **token == Token::Then).count();
    &tokens[count..]
}

fn wrong(what: &str) -> Problem {
    Problem::Wrong(String::from(what))
}

/// Is the word just this, unquoted?
fn is_text(word: &Word, text: &[u8]) -> bool {
    matches!(&word[..], [crate::lex::Part::Text { bytes, quoted: false }] if bytes == text)
}
