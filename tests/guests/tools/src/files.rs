//! Tools about names: ls, cp, mv, rm, mkdir, rmdir, touch, ln, pwd.

use alloc::vec::Vec;

use sys::fs::{self, Stat, flags};
use sys::text::{base_name, join, lossy};
use sys::time::Date;
use sys::{Error, Result, print, println};

use crate::{Args, fail, options, usage};

/// `drwxr-xr-x` of a mode.
fn mode_text(mode: u32) -> [u8; 10] {
    let kind = match mode & 0o170_000 {
        0o040_000 => b'd',
        0o120_000 => b'l',
        0o020_000 => b'c',
        0o060_000 => b'b',
        0o010_000 => b'p',
        0o140_000 => b's',
        _ => b'-',
    };
    let mut text = *b"-rwxrwxrwx";
    text[0] = kind;
    for (at, letter) in text[1..].iter_mut().enumerate() {
        if mode >> (8 - at) & 1 == 0 {
            *letter = b'-';
        }
    }
    if mode & 0o1000 != 0 {
        text[9] = if text[9] == b'x' { b't' } else { b'T' };
    }
    text
}

fn long_line(path: &[u8], name: &[u8], stat: &Stat) {
    let date = Date::from_unix(stat.mtime[0]);
    print!(
        "{} {:3} {:4} {:4} {:9} {:04}-{:02}-{:02} {:02}:{:02} {}",
        lossy(&mode_text(stat.mode)),
        stat.nlink,
        stat.uid,
        stat.gid,
        stat.size,
        date.year,
        date.month,
        date.day,
        date.hour,
        date.minute,
        lossy(name)
    );
    match fs::read_link(path) {
        Ok(target) if stat.is_link() => println!(" -> {}", lossy(&target)),
        _ => println!(),
    }
}

/// Names in columns as wide as the terminal allows, filled downwards.
fn columns(names: &[Vec<u8>]) {
    let width = 2 + names.iter().map(|name| lossy(name).chars().count()).max().unwrap_or(0);
    let across = (sys::tty::size(1).1 / width).max(1);
    let down = names.len().div_ceil(across);
    for row in 0..down {
        let mut cells = names.iter().skip(row).step_by(down).peekable();
        while let Some(name) = cells.next() {
            let text = lossy(name);
            print!("{text}");
            if cells.peek().is_some() {
                print!("{:1$}", "", width - text.chars().count());
            }
        }
        println!();
    }
}

pub fn ls(args: &Args) -> i32 {
    let (letters, mut rest) = options(args);
    let has = |letter| letters.contains(&letter);
    if rest.is_empty() {
        rest = &[b"."];
    }
    let mut code = 0;
    let several = rest.len() > 1;
    for (index, path) in rest.iter().enumerate() {
        let names = match fs::stat(path).or_else(|_| fs::lstat(path)) {
            Ok(stat) if stat.is_dir() => fs::list(path),
            Ok(_) => {
                match fs::lstat(path) {
                    Ok(stat) if has(b'l') => long_line(path, path, &stat),
                    _ => println!("{}", lossy(path)),
                }
                continue;
            }
            Err(error) => Err(error),
        };
        let mut names = match names {
            Ok(names) => names,
            Err(error) => {
                code = fail("ls", path, error);
                continue;
            }
        };
        if has(b'a') {
            names.splice(0..0, [b".".to_vec(), b"..".to_vec()]);
        } else {
            names.retain(|name| !name.starts_with(b"."));
        }
        if several {
            println!("{}{}:", if index > 0 { "\n" } else { "" }, lossy(path));
        }
        if has(b'l') {
            for name in &names {
                let full = join(path, name);
                match fs::lstat(&full) {
                    Ok(stat) => long_line(&full, name, &stat),
                    Err(error) => code = fail("ls", &full, error),
                }
            }
        } else if !has(b'1') && sys::tty::is_tty(1) {
            columns(&names);
        } else {
            names.iter().for_each(|name| println!("{}", lossy(name)));
        }
    }
    code
}

pub fn pwd(_: &Args) -> i32 {
    match fs::current_dir() {
        Ok(path) => {
            println!("{}", lossy(&path));
            0
        }
        Err(error) => fail("pwd", b".", error),
    }
}

/// Applies `action` to each name; the exit code says whether all went well.
fn each(tool: &str, paths: &[&[u8]], mut action: impl FnMut(&[u8]) -> Result<()>) -> i32 {
    if paths.is_empty() {
        return usage(tool);
    }
    let mut code = 0;
    for path in paths {
        if let Err(error) = action(path) {
            code = fail(tool, path, error);
        }
    }
    code
}

pub fn mkdir(args: &Args) -> i32 {
    let (letters, rest) = options(args);
    let parents = letters.contains(&b'p');
    each("mkdir", rest, |path| {
        if parents {
            for (at, _) in path.iter().enumerate().filter(|&(at, &b)| b == b'/' && at > 0) {
                let _ = fs::make_dir(&path[..at]);
            }
        }
        match fs::make_dir(path) {
            Err(Error::EEXIST) if parents && fs::stat(path)?.is_dir() => Ok(()),
            other => other,
        }
    })
}

pub fn rmdir(args: &Args) -> i32 {
    each("rmdir", args, fs::remove_dir)
}

fn remove(path: &[u8], recursive: bool) -> Result<()> {
    if !fs::lstat(path)?.is_dir() {
        return fs::unlink(path);
    }
    if !recursive {
        return Err(Error::EISDIR);
    }
    for name in fs::list(path)? {
        remove(&join(path, &name), true)?;
    }
    fs::remove_dir(path)
}

pub fn rm(args: &Args) -> i32 {
    let (letters, rest) = options(args);
    let force = letters.contains(&b'f');
    if force && rest.is_empty() {
        return 0;
    }
    each("rm", rest, |path| match remove(path, letters.contains(&b'r')) {
        Err(Error::ENOENT) if force => Ok(()),
        other => other,
    })
}

pub fn touch(args: &Args) -> i32 {
    each("touch", args, |path| {
        drop(fs::open(path, flags::WRONLY | flags::CREAT)?);
        fs::touch(path)
    })
}

pub fn ln(args: &Args) -> i32 {
    match options(args) {
        (letters, [target, name]) if letters == b"s" => match fs::symlink(target, name) {
            Ok(()) => 0,
            Err(error) => fail("ln", name, error),
        },
        _ => usage("ln"),
    }
}

fn copy(from: &[u8], to: &[u8], recursive: bool) -> Result<()> {
    if fs::stat(from)?.is_dir() {
        if !recursive {
            return Err(Error::EISDIR);
        }
        match fs::make_dir(to) {
            Err(Error::EEXIST) => {}
            other => other?,
        }
        for name in fs::list(from)? {
            copy(&join(from, &name), &join(to, &name), true)?;
        }
        return Ok(());
    }
    let input = fs::open(from, flags::RDONLY)?;
    let output = fs::open(to, flags::WRONLY | flags::CREAT | flags::TRUNC)?;
    let mut block = [0; 16 << 10];
    loop {
        match sys::io::read(input.0, &mut block)? {
            0 => return Ok(()),
            count => sys::io::write_all(output.0, &block[..count])?,
        }
    }
}

/// For each but the last, with the name that it gets: in the last when that is a directory.
fn each_to(tool: &str, paths: &[&[u8]], action: impl Fn(&[u8], &[u8]) -> Result<()>) -> i32 {
    let [sources @ .., target] = paths else { return usage(tool) };
    let into = fs::stat(target).is_ok_and(|stat| stat.is_dir());
    if !into && sources.len() > 1 {
        return fail(tool, target, Error::ENOTDIR);
    }
    each(tool, sources, |from| {
        if into { action(from, &join(target, base_name(from))) } else { action(from, target) }
    })
}

pub fn cp(args: &Args) -> i32 {
    let (letters, rest) = options(args);
    let recursive = letters.contains(&b'r') || letters.contains(&b'a');
    each_to("cp", rest, |from, to| copy(from, to, recursive))
}

pub fn mv(args: &Args) -> i32 {
    each_to("mv", args, |from, to| match fs::rename(from, to) {
        Err(Error::EXDEV) => copy(from, to, true).and_then(|()| remove(from, true)),
        other => other,
    })
}
