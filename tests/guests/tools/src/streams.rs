//! Tools about contents: cat, echo, head, tail, wc, grep, sort, seq, hexdump.

use alloc::vec::Vec;

use sys::fs::{flags, open};
use sys::io::{Lines, put, read};
use sys::text::{contains, lossy, number, words};
use sys::{Result, print, println};

use crate::{Args, fail, options, usage};

/// Calls `action` with a descriptor for each file, standard input when there is none or it is `-`.
fn each_input(tool: &str, paths: &[&[u8]], mut action: impl FnMut(i32, &[u8]) -> Result<()>) -> i32 {
    let mut code = 0;
    let paths = if paths.is_empty() { &[b"-" as &[u8]][..] } else { paths };
    for path in paths {
        let result = if *path == b"-" {
            action(0, path)
        } else {
            open(path, flags::RDONLY).and_then(|file| action(file.0, path))
        };
        if let Err(error) = result {
            code = fail(tool, path, error);
        }
    }
    code
}

pub fn cat(args: &Args) -> i32 {
    each_input("cat", args, |fd, _| {
        let mut block = [0; 16 << 10];
        loop {
            let count = read(fd, &mut block)?;
            if count == 0 {
                return Ok(());
            }
            put(&block[..count]);
            // What is typed comes back at once.
            sys::io::flush();
        }
    })
}

pub fn echo(args: &Args) -> i32 {
    let (words, newline) = match args.split_first() {
        Some((first, rest)) if *first == b"-n" => (rest, false),
        _ => (&args[..], true),
    };
    put(&words.join(&b' '));
    if newline {
        put(b"\n");
    }
    0
}

/// `-n 5`, `-n5` or `-5`, and the files after it.
fn line_count<'a>(args: &'a [&'static [u8]]) -> Option<(usize, &'a [&'static [u8]])> {
    let (count, rest): (&[u8], _) = match args {
        [b"-n", count, rest @ ..] => (count, rest),
        [first, rest @ ..] if first.len() > 1 && first[0] == b'-' => {
            (first.strip_prefix(b"-n").unwrap_or(&first[1..]), rest)
        }
        rest => (b"10", rest),
    };
    Some((usize::try_from(number(count)?).ok()?, rest))
}

pub fn head(args: &Args) -> i32 {
    let Some((count, files)) = line_count(args) else { return usage("head") };
    each_input("head", files, |fd, _| {
        let mut lines = Lines::new(fd);
        for _ in 0..count {
            match lines.next_line()? {
                Some(line) => put(&line),
                None => break,
            }
        }
        Ok(())
    })
}

pub fn tail(args: &Args) -> i32 {
    let Some((count, files)) = line_count(args) else { return usage("tail") };
    each_input("tail", files, |fd, _| {
        let mut lines = all_lines(fd)?;
        lines.drain(..lines.len().saturating_sub(count));
        lines.iter().for_each(|line| put(line));
        Ok(())
    })
}

fn all_lines(fd: i32) -> Result<Vec<Vec<u8>>> {
    let mut lines = Lines::new(fd);
    let mut all = Vec::new();
    while let Some(line) = lines.next_line()? {
        all.push(line);
    }
    Ok(all)
}

pub fn wc(args: &Args) -> i32 {
    let (letters, files) = options(args);
    let shown = |letter| letters.is_empty() || letters.contains(&letter);
    let print_row = |counts: [usize; 3], name: &[u8]| {
        for (count, letter) in counts.into_iter().zip(*b"lwc") {
            if shown(letter) {
                print!("{count:7} ");
            }
        }
        println!("{}", if name == b"-" { "".into() } else { lossy(name) });
    };
    let mut total = [0; 3];
    let code = each_input("wc", files, |fd, path| {
        let mut lines = Lines::new(fd);
        let mut counts = [0; 3];
        while let Some(line) = lines.next_line()? {
            counts[0] += usize::from(line.ends_with(b"\n"));
            counts[1] += words(&line).count();
            counts[2] += line.len();
        }
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        print_row(counts, path);
        Ok(())
    });
    if files.len() > 1 {
        print_row(total, b"total");
    }
    code
}

/// Does the line match: text, perhaps held to the line's beginning or end?
fn matches(line: &[u8], pattern: &[u8]) -> bool {
    match (pattern.strip_prefix(b"^"), pattern.strip_suffix(b"$")) {
        (Some(_), Some(_)) if pattern.len() > 1 => line == &pattern[1..pattern.len() - 1],
        (Some(start), _) => line.starts_with(start),
        (_, Some(end)) => line.ends_with(end),
        _ => contains(line, pattern),
    }
}

pub fn grep(args: &Args) -> i32 {
    let (letters, rest) = options(args);
    let has = |letter| letters.contains(&letter);
    let [pattern, files @ ..] = rest else { return usage("grep") };
    let fold = |bytes: &[u8]| if has(b'i') { bytes.to_ascii_lowercase() } else { bytes.to_vec() };
    let pattern = fold(pattern);
    let mut found = false;
    let code = each_input("grep", files, |fd, path| {
        let prefix = if files.len() > 1 { lossy(path) + ":" } else { Default::default() };
        let mut count = 0;
        for (index, line) in all_lines(fd)?.iter().enumerate() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if matches(&fold(line), &pattern) == has(b'v') {
                continue;
            }
            count += 1;
            if has(b'c') {
                continue;
            }
            print!("{prefix}");
            if has(b'n') {
                print!("{}:", index + 1);
            }
            put(line);
            put(b"\n");
        }
        if has(b'c') {
            println!("{prefix}{count}");
        }
        found |= count > 0;
        Ok(())
    });
    if code != 0 { 2 } else { i32::from(!found) }
}

pub fn sort(args: &Args) -> i32 {
    let (letters, files) = options(args);
    let has = |letter| letters.contains(&letter);
    let mut lines = Vec::new();
    let code = each_input("sort", files, |fd, _| {
        lines.append(&mut all_lines(fd)?);
        Ok(())
    });
    for line in &mut lines {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
    }
    let value = |line: &[u8]| words(line).next().and_then(number).unwrap_or(0);
    lines.sort_by(|a, b| {
        let order = if has(b'n') { value(a).cmp(&value(b)).then_with(|| a.cmp(b)) } else { a.cmp(b) };
        if has(b'r') { order.reverse() } else { order }
    });
    if has(b'u') {
        lines.dedup();
    }
    lines.iter().for_each(|line| put(line));
    code
}

pub fn seq(args: &Args) -> i32 {
    let bounds: Option<Vec<i64>> = args.iter().map(|arg| number(arg)).collect();
    let (first, last) = match bounds.as_deref() {
        Some([last]) => (1, *last),
        Some([first, last]) => (*first, *last),
        _ => return usage("seq"),
    };
    for value in first..=last {
        println!("{value}");
    }
    0
}

pub fn hexdump(args: &Args) -> i32 {
    each_input("hexdump", args, |fd, _| {
        for (row, bytes) in sys::io::read_to_end(fd)?.chunks(16).enumerate() {
            print!("{:08x} ", row * 16);
            for at in 0..16 {
                let gap = if at % 8 == 0 { " " } else { "" };
                match bytes.get(at) {
                    Some(byte) => print!("{gap}{byte:02x} "),
                    None => print!("{gap}   "),
                }
            }
            let letters = bytes.iter().map(|&b| if (0x20..0x7f).contains(&b) { b } else { b'.' });
            println!(" |{}|", lossy(&letters.collect::<Vec<_>>()));
        }
        Ok(())
    })
}
