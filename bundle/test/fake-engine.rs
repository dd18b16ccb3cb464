//! A stand-in for the engine that only speaks the ring: for tests of the hosts
//! that need a certain behaviour at a certain time. It answers lines:
//!
//! `size` the terminal's size · `flood N` N KiB of output · `spin N` N slices of
//! work · `sleep N` N ms · `grow` grows the memory · `crash` · `exit N`
//!
//! rustc --target wasm32-unknown-unknown --crate-type cdylib -O -C panic=abort fake-engine.rs
#![allow(static_mut_refs, reason = "one thread; the host calls one export at a time")]

use std::fmt::Write as _;

const ENTRIES: usize = 64;

#[repr(C)]
struct Header {
    magic: u32,
    version: u32,
    sq_head: u32,
    sq_tail: u32,
    cq_head: u32,
    cq_tail: u32,
    sq: u32,
    cq: u32,
    status: u32,
    exit_code: u32,
    deadline_ns: u64,
    retired: u64,
    rows: u32,
    cols: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Submission {
    op: u32,
    arg: u32,
    token: u64,
    addr: u64,
    len: u64,
    offset: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Completion {
    token: u64,
    result: i64,
}

const WINSIZE: u64 = 1 << 63;
const SIGNAL: u64 = 1 << 63 | 1;
const READ: u64 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn fd_write(fd: u32, vectors: *const [u32; 2], count: usize, written: *mut usize) -> u32;
}

struct State {
    header: Header,
    sq: [Submission; ENTRIES],
    cq: [Completion; ENTRIES],
    /// Output that waits, and what the host is writing now.
    output: String,
    writing: String,
    /// Input that is no whole line yet.
    typed: String,
    reading: bool,
    line: [u8; 64],
    /// Slices of work left.
    spin: u64,
    wake_ns: Option<u64>,
    exit: Option<u32>,
    resizes: u32,
}

static mut STATE: State = State {
    header: Header {
        magic: u32::from_le_bytes(*b"FRSC"),
        version: 2,
        sq_head: 0,
        sq_tail: 0,
        cq_head: 0,
        cq_tail: 0,
        sq: 0,
        cq: 0,
        status: 0,
        exit_code: 0,
        deadline_ns: u64::MAX,
        retired: 0,
        rows: 0,
        cols: 0,
    },
    sq: [Submission { op: 0, arg: 0, token: 0, addr: 0, len: 0, offset: 0 }; ENTRIES],
    cq: [Completion { token: 0, result: 0 }; ENTRIES],
    output: String::new(),
    writing: String::new(),
    typed: String::new(),
    reading: false,
    line: [0; 64],
    spin: 0,
    wake_ns: None,
    exit: None,
    resizes: 0,
};

fn now_ns() -> u64 {
    let mut time = 0;
    // SAFETY: `time` outlives the call.
    unsafe { clock_time_get(1, 1, &mut time) };
    time
}

impl State {
    fn submit(&mut self, op: u32, arg: u32, token: u64, addr: usize, len: usize) {
        let at = self.header.sq_tail as usize % ENTRIES;
        self.sq[at] = Submission { op, arg, token, addr: addr as u64, len: len as u64, offset: 0 };
        self.header.sq_tail += 1;
    }

    fn prompt(&mut self) {
        self.output.push_str("> ");
    }

    fn command(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("");
        let number: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match name {
            "size" => {
                let (rows, cols, resizes) = (self.header.rows, self.header.cols, self.resizes);
                let _ = writeln!(self.output, "{rows}x{cols} after {resizes}");
            }
            "flood" => (0..number).for_each(|_| self.output.push_str(&"x".repeat(1023).replacen('x', "\n", 1))),
            "spin" => return self.spin = number,
            "sleep" => return self.wake_ns = Some(now_ns() + number * 1_000_000),
            "grow" => {
                core::arch::wasm32::memory_grow::<0>(16);
                self.output.push_str("grown\n");
            }
            "crash" => {
                let words = "the words before the end";
                let mut written = 0;
                // SAFETY: one vector, describing a static string.
                unsafe { fd_write(2, &[words.as_ptr() as u32, words.len() as u32], 1, &mut written) };
                core::arch::wasm32::unreachable();
            }
            "exit" => {
                self.output.push_str("bye\n");
                return self.exit = Some(number as u32);
            }
            _ => {
                let _ = writeln!(self.output, "you said {line}");
            }
        }
        self.prompt();
    }

    fn completed(&mut self, Completion { token, result }: Completion) {
        match token {
            WINSIZE => self.resizes += 1,
            SIGNAL => {
                let _ = writeln!(self.output, "signal {result}");
            }
            READ => {
                self.reading = false;
                if result <= 0 {
                    self.exit = Some(99);
                    return;
                }
                self.typed.push_str(&String::from_utf8_lossy(&self.line[..result as usize]));
                while let Some(end) = self.typed.find(['\n', '\r']) {
                    let line: String = self.typed.drain(..=end).collect();
                    self.command(line.trim());
                }
            }
            _ => self.writing.clear(),
        }
    }

    fn step(&mut self, budget: u64) -> u32 {
        while self.header.cq_head != self.header.cq_tail {
            let completion = self.cq[self.header.cq_head as usize % ENTRIES];
            self.header.cq_head += 1;
            self.completed(completion);
        }
        self.header.deadline_ns = u64::MAX;
        if self.spin > 0 {
            self.spin -= 1;
            self.header.retired += budget;
            if self.spin == 0 {
                self.output.push_str("spun\n");
                self.prompt();
            }
        }
        if let Some(wake_ns) = self.wake_ns {
            if now_ns() >= wake_ns {
                self.wake_ns = None;
                self.output.push_str("slept\n");
                self.prompt();
            } else {
                self.header.deadline_ns = wake_ns;
            }
        }
        if self.writing.is_empty() && !self.output.is_empty() {
            self.writing = core::mem::take(&mut self.output);
            self.submit(1, 1, 2, self.writing.as_ptr() as usize, self.writing.len());
        }
        if !self.reading && self.exit.is_none() {
            self.reading = true;
            self.submit(2, 0, READ, self.line.as_ptr() as usize, self.line.len());
        }
        match self.exit {
            Some(code) if self.output.is_empty() => {
                self.header.exit_code = code;
                2
            }
            _ if self.spin > 0 => 0,
            _ => 1,
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn friscy_ring() -> *mut u8 {
    // SAFETY: one thread.
    unsafe {
        STATE.header.sq = &raw const STATE.sq as u32;
        STATE.header.cq = &raw const STATE.cq as u32;
        (&raw mut STATE.header).cast()
    }
}

#[unsafe(no_mangle)]
extern "C" fn friscy_thaw() {
    // SAFETY: one thread.
    unsafe {
        STATE.output.push_str("fake engine\n");
        STATE.prompt();
    }
}

#[unsafe(no_mangle)]
extern "C" fn friscy_resume(budget: i64) -> u32 {
    // SAFETY: one thread.
    unsafe {
        let status = STATE.step(budget as u64);
        STATE.header.status = status;
        status
    }
}
