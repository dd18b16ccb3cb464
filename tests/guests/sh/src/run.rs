//! Pipelines to processes.

use alloc::vec::Vec;

use sys::fs::{flags, open};
use sys::io::Fd;
use sys::process::{self, Change, dup_to, wait, wait_flags};
use sys::signal::{self, Action};
use sys::text::lossy;
use sys::{Error, Result};

use crate::Shell;
use crate::builtins;
use crate::lex::{Kind, Part, Word, is_name};
use crate::parse::{Pipeline, Redirect, Simple, When};

/// `NAME=` at the beginning of a word, and the rest of the word.
fn assignment(word: &Word) -> Option<(Vec<u8>, Word)> {
    let Some(Part::Text { bytes, quoted: false }) = word.first() else { return None };
    let equals = bytes.iter().position(|&b| b == b'=')?;
    let name = &bytes[..equals];
    if name.is_empty() || name[0].is_ascii_digit() || !name.iter().all(|&b| is_name(b)) {
        return None;
    }
    let mut value = word.clone();
    value[0] = Part::Text { bytes: bytes[equals + 1..].to_vec(), quoted: false };
    Some((name.to_vec(), value))
}

impl Shell {
    /// Runs pipelines one after the other.
    pub fn run_list(&mut self, list: &[Pipeline]) {
        let mut skipped = false;
        for pipeline in list {
            // `a && b || c`: a skipped pipeline leaves $? alone.
            skipped = match pipeline.when {
                When::Always => false,
                When::Success => self.status != 0,
                When::Failure => self.status == 0,
            };
            if !skipped {
                self.run_pipeline(pipeline);
                if pipeline.negated {
                    self.status = i32::from(self.status == 0);
                }
            }
            if self.leaving.is_some() || self.interactive && signal::taken(signal::INT) {
                break;
            }
        }
        let _ = skipped;
    }

    fn run_pipeline(&mut self, pipeline: &Pipeline) {
        if let ([command], false) = (&pipeline.commands[..], pipeline.background)
            && self.run_here(command)
        {
            return;
        }
        sys::io::flush();
        let mut group = 0;
        let mut children = Vec::new();
        let mut input: Option<Fd> = None;
        for (at, command) in pipeline.commands.iter().enumerate() {
            let last = at + 1 == pipeline.commands.len();
            let ends = if last { None } else { Some(process::pipe()) };
            let (next, output) = match ends.transpose() {
                Ok(ends) => ends.map_or((None, None), |(read, write)| (Some(read), Some(write))),
                Err(error) => return self.complain("pipe", error),
            };
            match process::fork() {
                Ok(0) => {
                    let streams = [input.as_ref().map(|fd| fd.0), output.as_ref().map(|fd| fd.0)];
                    self.child(command, streams, group, pipeline.background)
                }
                Ok(pid) => {
                    if group == 0 {
                        group = pid;
                    }
                    if self.interactive {
                        // Both sides do this, so that it is done whoever comes first.
                        let _ = process::set_group(pid, group);
                    }
                    children.push(pid);
                }
                Err(error) => return self.complain("fork", error),
            }
            input = next;
        }
        drop(input);
        if pipeline.background {
            self.jobs.add(group, children, self.describe(pipeline), self.interactive);
            self.status = 0;
        } else {
            if self.interactive {
                let _ = sys::tty::set_foreground(0, group);
            }
            self.wait_for(group, &children, pipeline);
        }
    }

    fn complain(&mut self, what: &str, error: Error) {
        sys::eprintln!("sh: {what}: {error}");
        self.status = 1;
    }

    /// The words of a pipeline, for the list of jobs.
    fn describe(&self, pipeline: &Pipeline) -> Vec<u8> {
        let text = |part: &Part| match part {
            Part::Text { bytes, .. } => bytes.clone(),
            Part::Variable { name, .. } => [b"$", &name[..]].concat(),
            Part::Command { text, .. } => [b"$(", &text[..], b")"].concat(),
        };
        let command = |command: &Simple| {
            let words = command.words.iter().map(|word| word.iter().map(text).collect::<Vec<_>>().concat());
            words.collect::<Vec<_>>().join(&b' ')
        };
        pipeline.commands.iter().map(command).collect::<Vec<_>>().join(&b" | "[..])
    }

    /// Waits for a foreground pipeline: `$?` is that of the last command.
    fn wait_for(&mut self, group: i32, children: &[i32], pipeline: &Pipeline) {
        let mut stopped = false;
        for (at, &pid) in children.iter().enumerate() {
            match wait(pid, wait_flags::UNTRACED) {
                Ok(Some((_, change))) => {
                    stopped |= matches!(change, Change::Stopped(_));
                    if at + 1 == children.len() {
                        self.status = change.code();
                        self.tell(change);
                    }
                }
                Ok(None) => {}
                Err(error) => self.complain("wait", error),
            }
        }
        if stopped {
            sys::println!();
            self.jobs.add_stopped(group, children.to_vec(), self.describe(pipeline));
        }
        self.take_terminal();
    }

    /// The terminal belongs to the shell again.
    pub fn take_terminal(&mut self) {
        if self.interactive {
            let _ = sys::tty::set_foreground(0, process::id());
        }
    }

    /// Says what a user would wonder about.
    pub fn tell(&self, change: Change) {
        match change {
            Change::Killed(signal::INT) if self.interactive => sys::println!(),
            Change::Killed(number) if number != 13 && number != signal::INT => {
                let name = signal::NAMES.get(number as usize - 1).copied().unwrap_or("?");
                sys::eprintln!("sh: killed by SIG{name}");
            }
            _ => {}
        }
    }

    /// Runs it in the shell itself when that is right: assignments, built-ins.
    fn run_here(&mut self, command: &Simple) -> bool {
        let assignments: Vec<_> = command.words.iter().map_while(assignment).collect();
        if assignments.len() == command.words.len() && command.redirects.is_empty() {
            self.status = 0;
            for (name, word) in assignments {
                let value = self.expand_one(&word);
                self.set(&name, &value, false);
            }
            return true;
        }
        // Only the plain name of a built-in stays here, so that words are expanded once.
        let Some([Part::Text { bytes, .. }]) = command.words.first().map(|word| &word[..]) else {
            return false;
        };
        let Some(builtin) = builtins::find(bytes) else { return false };
        let arguments: Vec<_> = command.words[1..].iter().flat_map(|word| self.expand(word)).collect();
        sys::io::flush();
        let mut saved = Vec::new();
        for redirect in &command.redirects {
            if let Ok(copy) = process::dup_high(redirect.fd) {
                saved.push((redirect.fd, copy));
            }
        }
        self.status = if self.redirect(&command.redirects) { builtin(self, &arguments) } else { 1 };
        sys::io::flush();
        for (fd, copy) in saved.into_iter().rev() {
            let _ = dup_to(copy.0, fd);
        }
        true
    }

    /// Opens what the redirections name; false when one could not, which has been told.
    fn redirect(&mut self, redirects: &[Redirect]) -> bool {
        for redirect in redirects {
            let target = self.expand_one(&redirect.target);
            let result = match redirect.kind {
                Some(Kind::Duplicate) => match sys::text::number(&target) {
                    Some(fd) if fd as i32 == redirect.fd => Ok(()),
                    Some(fd) => dup_to(fd as i32, redirect.fd),
                    None => Err(Error::EBADF),
                },
                Some(Kind::Read) => attach(&target, flags::RDONLY, redirect.fd),
                Some(Kind::Append) => {
                    attach(&target, flags::WRONLY | flags::CREAT | flags::APPEND, redirect.fd)
                }
                _ => attach(&target, flags::WRONLY | flags::CREAT | flags::TRUNC, redirect.fd),
            };
            if let Err(error) = result {
                sys::eprintln!("sh: {}: {error}", lossy(&target));
                return false;
            }
        }
        true
    }

    /// In a forked child: becomes the command.
    fn child(&mut self, command: &Simple, streams: [Option<i32>; 2], group: i32, background: bool) -> ! {
        if self.interactive {
            let _ = process::set_group(0, group);
            if !background {
                let group = if group == 0 { process::id() } else { group };
                let _ = sys::tty::set_foreground(0, group);
            }
            for signal in [signal::INT, signal::QUIT, signal::TSTP, signal::TTIN, signal::TTOU] {
                let _ = signal::on(signal, Action::Default);
            }
        }
        self.interactive = false;
        for (fd, end) in streams.into_iter().enumerate() {
            if let Some(end) = end {
                let _ = dup_to(end, fd as i32);
            }
        }
        if !self.redirect(&command.redirects) {
            process::exit(1);
        }
        let mut words = &command.words[..];
        while let Some((name, value)) = words.first().and_then(assignment) {
            let value = self.expand_one(&value);
            self.set(&name, &value, true);
            words = &words[1..];
        }
        let arguments: Vec<_> = words.iter().flat_map(|word| self.expand(word)).collect();
        let Some(name) = arguments.first() else { process::exit(0) };
        if let Some(builtin) = builtins::find(name) {
            let code = builtin(self, &arguments[1..]);
            sys::io::flush();
            process::exit(self.leaving.unwrap_or(code));
        }
        process::exit(self.exec(&arguments))
    }

    /// execve along `PATH`; comes back with the exit code of a failure.
    fn exec(&mut self, arguments: &[Vec<u8>]) -> i32 {
        let name = &arguments[0];
        let env = self.exported();
        let Some(path) = self.find_program(name) else {
            sys::eprintln!("sh: {}: not found (`help` lists what there is)", lossy(name));
            return 127;
        };
        match process::exec(&path, arguments, &env) {
            // A file without a magic number is a script for this shell.
            Error::ENOEXEC => {
                let script = [&[b"sh".to_vec(), path.clone()], &arguments[1..]].concat();
                process::exec(b"/bin/sh", &script, &env);
                126
            }
            error => {
                sys::eprintln!("sh: {}: {error}", lossy(name));
                if error == Error::ENOENT { 127 } else { 126 }
            }
        }
    }

    /// Where the program is: the name itself when it has a slash.
    fn find_program(&self, name: &[u8]) -> Option<Vec<u8>> {
        if name.contains(&b'/') {
            return Some(name.to_vec());
        }
        let path = self.get(b"PATH").unwrap_or(b"/bin");
        let mut places = path.split(|&b| b == b':').map(|directory| sys::text::join(directory, name));
        places
            .find(|place| sys::fs::executable(place) && !sys::fs::stat(place).is_ok_and(|stat| stat.is_dir()))
    }

    /// What `text` prints, run in a child; without newlines at the end.
    pub fn output_of(&mut self, text: &[u8]) -> Vec<u8> {
        sys::io::flush();
        let Ok((read, write)) = process::pipe() else { return Vec::new() };
        match process::fork() {
            Ok(0) => {
                let _ = dup_to(write.0, 1);
                self.interactive = false;
                let _ = signal::on(signal::INT, Action::Default);
                self.run_text(&[text, b"\n"].concat());
                sys::io::flush();
                process::exit(self.leaving.unwrap_or(self.status))
            }
            Ok(pid) => {
                drop(write);
                let mut output = sys::io::read_to_end(read.0).unwrap_or_default();
                if let Ok(Some((_, change))) = wait(pid, 0) {
                    self.status = change.code();
                }
                while output.ends_with(b"\n") {
                    output.pop();
                }
                output
            }
            Err(error) => {
                self.complain("fork", error);
                Vec::new()
            }
        }
    }
}

fn attach(path: &[u8], flags: u32, fd: i32) -> Result<()> {
    let file = open(path, flags)?;
    if file.0 == fd {
        // Opened right there, since `fd` was closed: keep it, and over execve too.
        let high = process::dup_high(file.0)?;
        return dup_to(high.0, core::mem::ManuallyDrop::new(file).0);
    }
    dup_to(file.0, fd)
}
