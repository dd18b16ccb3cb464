//! Tools about the machine: uname, ps, free, uptime, date, sleep, kill, env.

use alloc::string::String;

use sys::fs::{list, read_file};
use sys::text::{join, lossy, number, words};
use sys::time::{Clock, Date, now_ns};
use sys::{print, println, signal};

use crate::{Args, fail, usage};

pub fn uname(args: &Args) -> i32 {
    let fields = match sys::process::uname() {
        Ok(fields) => fields,
        Err(error) => return fail("uname", b"uname", error),
    };
    match args.first() {
        None | Some(&b"-s") => println!("{}", lossy(&fields[0])),
        Some(&b"-n") => println!("{}", lossy(&fields[1])),
        Some(&b"-r") => println!("{}", lossy(&fields[2])),
        Some(&b"-m") => println!("{}", lossy(&fields[4])),
        Some(&b"-a") => println!("{}", lossy(&fields[..5].join(&b' '))),
        Some(_) => return usage("uname"),
    }
    0
}

pub fn env(_: &Args) -> i32 {
    for entry in sys::env() {
        println!("{}", lossy(entry));
    }
    0
}

/// Fields of /proc/PID/stat after the name in parentheses, and that name.
fn process_row(pid: &[u8]) -> Option<String> {
    let directory = join(b"/proc", pid);
    let stat = read_file(&join(&directory, b"stat")).ok()?;
    let open = stat.iter().position(|&b| b == b'(')?;
    let close = stat.iter().rposition(|&b| b == b')')?;
    let mut fields = words(&stat[close + 1..]);
    let state = lossy(fields.next()?);
    let parent = lossy(fields.next()?);
    let command = read_file(&join(&directory, b"cmdline")).unwrap_or_default();
    let command = if command.is_empty() {
        alloc::format!("[{}]", lossy(&stat[open + 1..close]))
    } else {
        lossy(&command).trim_end_matches('\0').replace('\0', " ")
    };
    Some(alloc::format!("{:>5} {parent:>5} {state:5} {command}", lossy(pid)))
}

pub fn ps(_: &Args) -> i32 {
    let names = match list(b"/proc") {
        Ok(names) => names,
        Err(error) => return fail("ps", b"/proc", error),
    };
    let mut pids: alloc::vec::Vec<_> = names.iter().filter(|name| number(name).is_some()).collect();
    if pids.is_empty() {
        sys::eprintln!("ps: /proc is not mounted");
        return 1;
    }
    pids.sort_by_key(|name| number(name));
    println!("  PID  PPID STATE COMMAND");
    // A process may have ended since the listing; it has no row then.
    for row in pids.into_iter().filter_map(|pid| process_row(pid)) {
        println!("{row}");
    }
    0
}

pub fn free(_: &Args) -> i32 {
    let text = match read_file(b"/proc/meminfo") {
        Ok(text) => text,
        Err(error) => return fail("free", b"/proc/meminfo", error),
    };
    for line in text.split(|&b| b == b'\n') {
        let mut fields = words(line);
        let (Some(name), Some(kib)) = (fields.next(), fields.next().and_then(number)) else { continue };
        if [&b"MemTotal:"[..], b"MemFree:", b"MemAvailable:"].contains(&name) {
            println!("{:14} {:>6}.{} MiB", lossy(name), kib / 1024, kib % 1024 * 10 / 1024);
        }
    }
    0
}

pub fn uptime(_: &Args) -> i32 {
    let text = match read_file(b"/proc/uptime") {
        Ok(text) => text,
        Err(error) => return fail("uptime", b"/proc/uptime", error),
    };
    let seconds = text.split(|&b| b == b'.').next().and_then(number).unwrap_or(0);
    println!("up {}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    0
}

pub fn date(args: &Args) -> i32 {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let seconds = (now_ns(Clock::Realtime) / 1_000_000_000) as i64;
    match args.first() {
        None => {
            let date = Date::from_unix(seconds);
            print!("{} {:04}-{:02}-{:02} ", DAYS[date.weekday], date.year, date.month, date.day);
            println!("{:02}:{:02}:{:02} UTC", date.hour, date.minute, date.second);
        }
        Some(&b"+%s") => println!("{seconds}"),
        Some(_) => return usage("date"),
    }
    0
}

/// Nanoseconds of `1.5`.
fn duration_ns(text: &[u8]) -> Option<u64> {
    let mut parts = text.splitn(2, |&b| b == b'.');
    let whole = parts.next().filter(|part| !part.is_empty()).map_or(Some(0), number)?;
    let mut ns = u64::try_from(whole).ok()?.checked_mul(1_000_000_000)?;
    let mut unit = 100_000_000;
    for digit in parts.next().unwrap_or_default() {
        ns += u64::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
        unit /= 10;
    }
    Some(ns)
}

pub fn sleep(args: &Args) -> i32 {
    match args.first().and_then(|text| duration_ns(text)) {
        Some(ns) => i32::from(sys::time::sleep_ns(ns).is_err()),
        None => usage("sleep"),
    }
}

pub fn kill(args: &Args) -> i32 {
    let (signal, pids) = match args.split_first() {
        Some((&b"-l", _)) => {
            println!("{}", signal::NAMES.join(" "));
            return 0;
        }
        Some((first, rest)) if first.len() > 1 && first[0] == b'-' => match signal::by_name(&first[1..]) {
            Some(signal) => (signal, rest),
            None => return usage("kill"),
        },
        _ => (signal::TERM, &args[..]),
    };
    if pids.is_empty() {
        return usage("kill");
    }
    let mut code = 0;
    for pid in pids {
        let result =
            number(pid).ok_or(sys::Error::EINVAL).and_then(|pid| sys::process::kill(pid as i32, signal));
        if let Err(error) = result {
            code = fail("kill", pid, error);
        }
    }
    code
}
