//! The demo image's shell: lines of commands with pipes, redirections, quotes,
//! variables, `&&`, `||`, `;`, `&`, globbing, `$(...)`; line editing and
//! history on a terminal; job control enough for Ctrl-C and Ctrl-Z.
//!
//! A line goes through `lex` (words and operators), `parse` (pipelines),
//! `expand` (variables, globs) and `run` (fork, execve, wait4).
#![no_std]
#![no_main]

extern crate alloc;

mod builtins;
mod edit;
mod expand;
mod jobs;
mod lex;
mod parse;
mod run;

use alloc::string::String;
use alloc::vec::Vec;

use sys::io::Lines;
use sys::signal::{self, Action};
use sys::text::lossy;

use crate::jobs::Jobs;

/// All that the shell remembers.
struct Shell {
    /// Variables, and whether they are exported.
    variables: Vec<(Vec<u8>, Vec<u8>, bool)>,
    /// `$0`, `$1`, …
    arguments: Vec<Vec<u8>>,
    /// `$?`
    status: i32,
    /// Set by `exit`.
    leaving: Option<i32>,
    /// On a terminal: each pipeline gets a process group of its own.
    interactive: bool,
    jobs: Jobs,
}

impl Shell {
    fn new() -> Shell {
        let variables = sys::env().into_iter().filter_map(|entry| {
            let equals = entry.iter().position(|&b| b == b'=')?;
            Some((entry[..equals].to_vec(), entry[equals + 1..].to_vec(), true))
        });
        Shell {
            variables: variables.collect(),
            arguments: Vec::new(),
            status: 0,
            leaving: None,
            interactive: false,
            jobs: Jobs::default(),
        }
    }

    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.variables.iter().find(|(known, _, _)| known == name).map(|(_, value, _)| &value[..])
    }

    fn set(&mut self, name: &[u8], value: &[u8], export: bool) {
        match self.variables.iter_mut().find(|(known, _, _)| known == name) {
            Some(variable) => {
                variable.1 = value.to_vec();
                variable.2 |= export;
            }
            None => self.variables.push((name.to_vec(), value.to_vec(), export)),
        }
    }

    /// What execve passes on.
    fn exported(&self) -> Vec<Vec<u8>> {
        let exported = self.variables.iter().filter(|(_, _, export)| *export);
        exported.map(|(name, value, _)| [&name[..], b"=", value].concat()).collect()
    }

    /// Runs what stands in `text`; false when more lines are needed.
    fn run_text(&mut self, text: &[u8]) -> bool {
        match lex::lex(text).and_then(|tokens| parse::parse(&tokens)) {
            Ok(list) => {
                self.run_list(&list);
                true
            }
            Err(parse::Problem::Incomplete) => false,
            Err(parse::Problem::Wrong(what)) => {
                sys::eprintln!("sh: {what}");
                self.status = 2;
                true
            }
        }
    }

    /// Runs lines that `next` gives until it has no more; a line that ends in
    /// the middle of something is put before the next one.
    fn run_lines(&mut self, mut next: impl FnMut(&mut Shell, bool) -> Option<Vec<u8>>) -> i32 {
        let mut held = Vec::new();
        while self.leaving.is_none() {
            match next(self, !held.is_empty()) {
                Some(line) => {
                    held.extend_from_slice(&line);
                    if self.run_text(&held) {
                        held.clear();
                    }
                }
                None if held.is_empty() => break,
                None => {
                    sys::eprintln!("sh: the input ends in the middle of a command");
                    self.status = 2;
                    break;
                }
            }
        }
        sys::io::flush();
        self.leaving.unwrap_or(self.status)
    }

    fn run_file(&mut self, fd: i32) -> i32 {
        let mut lines = Lines::new(fd);
        self.run_lines(|_, _| lines.next_line().ok().flatten())
    }

    /// `user@host directory $ `, with the directory's home part as `~`.
    fn prompt(&self) -> String {
        let directory = sys::fs::current_dir().unwrap_or_default();
        let home = self.get(b"HOME").unwrap_or(b"/");
        let shown = match directory.strip_prefix(home) {
            Some(rest) if home.len() > 1 && (rest.is_empty() || rest[0] == b'/') => [b"~", rest].concat(),
            _ => directory,
        };
        let host = sys::process::uname().map(|fields| lossy(&fields[1])).unwrap_or_default();
        let mark = if self.status == 0 { "\x1b[32m" } else { "\x1b[31m" };
        alloc::format!("\x1b[36m{host}\x1b[0m:\x1b[34m{}\x1b[0m {mark}$\x1b[0m ", lossy(&shown))
    }

    fn run_terminal(&mut self) -> i32 {
        self.interactive = true;
        for signal in [signal::TTOU, signal::TTIN, signal::TSTP, signal::QUIT] {
            let _ = signal::on(signal, Action::Ignore);
        }
        let _ = signal::on(signal::INT, Action::Note);
        let own = sys::process::id();
        let _ = sys::process::set_group(0, 0);
        let _ = sys::tty::set_foreground(0, own);
        if self.get(b"MOTD") != Some(b"no")
            && let Ok(motd) = sys::fs::read_file(b"/etc/motd")
        {
            sys::io::put(&motd);
        }
        let mut editor = edit::Editor::new();
        let code = self.run_lines(|shell, more| {
            shell.jobs.report();
            let prompt = if more { String::from("> ") } else { shell.prompt() };
            let mut line = editor.read_line(&prompt, shell)?;
            line.push(b'\n');
            Some(line)
        });
        sys::println!("exit");
        code
    }
}

fn main() -> i32 {
    let mut shell = Shell::new();
    if shell.get(b"PATH").is_none() {
        shell.set(b"PATH", b"/bin:/usr/bin", true);
    }
    let args = sys::args();
    let owned = |list: &[&[u8]]| list.iter().map(|arg| arg.to_vec()).collect();
    match args.get(1..).unwrap_or_default() {
        [b"-c", text, rest @ ..] => {
            shell.arguments = if rest.is_empty() { owned(&args[..1]) } else { owned(rest) };
            if !shell.run_text(&[text, &b"\n"[..]].concat()) {
                sys::eprintln!("sh: the command ends in the middle");
                return 2;
            }
            sys::io::flush();
            shell.leaving.unwrap_or(shell.status)
        }
        [b"-c"] => {
            sys::eprintln!("usage: sh [-c COMMAND | FILE [ARGUMENT...]]");
            2
        }
        [file, ..] if *file != b"-i" => {
            shell.arguments = owned(&args[1..]);
            match sys::fs::open(file, sys::fs::flags::RDONLY).and_then(|fd| sys::process::dup_high(fd.0)) {
                Ok(fd) => shell.run_file(fd.0),
                Err(error) => {
                    sys::eprintln!("sh: {}: {error}", lossy(file));
                    127
                }
            }
        }
        _ => {
            shell.arguments = owned(args.get(..1).unwrap_or_default());
            if sys::tty::is_tty(0) { shell.run_terminal() } else { shell.run_file(0) }
        }
    }
}

sys::main!(main);
