//! The demo image's tools in one program, chosen by the name it is called by
//! (`/bin/ls` is a link to `/bin/tools`). The table below is all there is.
#![no_std]
#![no_main]

extern crate alloc;

mod bench;
mod files;
mod mix;
mod shows;
mod streams;
mod system;

use alloc::vec::Vec;

use sys::text::{base_name, lossy};

/// Arguments after the name.
type Args = Vec<&'static [u8]>;

struct Tool {
    name: &'static str,
    run: fn(&Args) -> i32,
    help: &'static str,
}

/// One row of the table.
const fn tool(name: &'static str, run: fn(&Args) -> i32, help: &'static str) -> Tool {
    Tool { name, run, help }
}

/// Sorted by name, as `tools` lists them.
static TOOLS: &[Tool] = &[
    tool("bench", bench::bench, "[ITERATIONS] a mix of integer work, with a checksum"),
    tool("cat", streams::cat, "[FILE...] files one after the other"),
    tool("clear", shows::clear, "an empty screen"),
    tool("cp", files::cp, "[-r] FROM... TO copies"),
    tool("date", system::date, "the time, UTC; +%s for seconds since 1970"),
    tool("echo", streams::echo, "[-n] [WORD...] says it"),
    tool("env", system::env, "the environment"),
    tool("false", |_| 1, "fails"),
    tool("free", system::free, "memory, from /proc/meminfo"),
    tool("grep", streams::grep, "[-ivnc] TEXT [FILE...] lines with TEXT (^ and $ hold it to an end)"),
    tool("head", streams::head, "[-n LINES] [FILE...] the first lines"),
    tool("hexdump", streams::hexdump, "[FILE...] bytes as numbers and letters"),
    tool("kill", system::kill, "[-SIGNAL] PID... sends a signal"),
    tool("life", shows::life, "[GENERATIONS] Conway's game of life"),
    tool("ln", files::ln, "-s TARGET NAME a symbolic link"),
    tool("ls", files::ls, "[-la1] [FILE...] what is there"),
    tool("mandel", shows::mandel, "[COLUMNS ROWS] the Mandelbrot set, in floating point"),
    tool("mkdir", files::mkdir, "[-p] DIRECTORY... makes directories"),
    tool("mv", files::mv, "FROM... TO moves or renames"),
    tool("ps", system::ps, "processes, from /proc"),
    tool("pwd", files::pwd, "where you are"),
    tool("rm", files::rm, "[-rf] FILE... removes"),
    tool("rmdir", files::rmdir, "DIRECTORY... removes empty directories"),
    tool("seq", streams::seq, "[FIRST] LAST counts"),
    tool("sleep", system::sleep, "SECONDS waits"),
    tool("sort", streams::sort, "[-rnu] [FILE...] sorts lines"),
    tool("tail", streams::tail, "[-n LINES] [FILE...] the last lines"),
    tool("tools", |_| list(), "this list"),
    tool("touch", files::touch, "FILE... makes files, or makes them new"),
    tool("true", |_| 0, "succeeds"),
    tool("uname", system::uname, "[-a] the system's name"),
    tool("uptime", system::uptime, "how long it runs, from /proc/uptime"),
    tool("wc", streams::wc, "[-lwc] [FILE...] counts lines, words and bytes"),
];

fn list() -> i32 {
    for tool in TOOLS {
        sys::println!("  {:8} {}", tool.name, tool.help);
    }
    0
}

/// Says `tool: subject: error` and gives the exit code of a failure.
fn fail(tool: &str, subject: &[u8], error: sys::Error) -> i32 {
    sys::eprintln!("{tool}: {}: {error}", lossy(subject));
    1
}

/// Says how a tool is used.
fn usage(name: &str) -> i32 {
    let help = TOOLS.iter().find(|tool| tool.name == name).map_or("", |tool| tool.help);
    sys::eprintln!("usage: {name} {help}");
    2
}

/// Letters of leading `-abc` options, and what follows them.
fn options(args: &Args) -> (Vec<u8>, &[&'static [u8]]) {
    let mut letters = Vec::new();
    let mut rest = &args[..];
    while let [first, tail @ ..] = rest {
        if first.len() < 2 || first[0] != b'-' {
            break;
        }
        rest = tail;
        if *first == b"--" {
            break;
        }
        letters.extend_from_slice(&first[1..]);
    }
    (letters, rest)
}

fn main() -> i32 {
    let mut args = sys::args();
    if args.is_empty() {
        return 127;
    }
    let mut name = base_name(args.remove(0));
    // `tools ls` does what `ls` does.
    if name == b"tools" && !args.is_empty() {
        name = args.remove(0);
    }
    match TOOLS.iter().find(|tool| tool.name.as_bytes() == name) {
        Some(tool) => (tool.run)(&args),
        None => {
            sys::eprintln!("tools: no tool is called {}; `tools` lists them", lossy(name));
            127
        }
    }
}

sys::main!(main);
