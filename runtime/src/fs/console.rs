//! The console: what the first process has as standard input, output and
//! error. With a terminal it is the driver under a [`Tty`]; without, three
//! plain streams that behave like pipes to the host.
//!
//! Nothing here knows the ring. The machine takes output
//! ([`Console::take_output`]) and asks how much input is wanted
//! ([`Console::wants_input`]) before it returns to its host, and hands in what
//! the host answers. Of plain input only as much is asked for as somebody
//! reads, so that what a guest leaves unread stays with the host.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::anon;
use super::tty::{Driver, Tty, devpts};
use super::{FileOps, FileRef, Inode, Io, OpenFile, SetAttr, Stat, mode, poll};
use crate::abi::Errno;
use crate::abi::fcntl::{O_RDONLY, O_RDWR, O_WRONLY};
use crate::abi::ioctl::FIONREAD;
use crate::abi::signal::SIGPIPE;
use crate::abi::termios::{VEOF, Winsize};
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Outbox, Target};
use crate::syscall::SysResult;

/// Output that the host has not taken, before writers wait.
const OUTPUT_CAPACITY: usize = 65536;
/// What echo, which cannot wait, may add.
const ECHO_MARGIN: usize = 16384;
/// Asked for when a poll waits for input, or a terminal does.
const INPUT_CHUNK: usize = 4096;
/// The most that is asked for at once.
const INPUT_MAX: usize = 65536;

/// Host stream numbers, as in `ring::Op::ConsoleWrite`.
const STDOUT: u32 = 1;

/// The console.
#[derive(Default)]
pub struct Console {
    /// Output for the host, in order, and the stream each piece goes to.
    output: RefCell<VecDeque<(u32, Vec<u8>)>>,
    /// Bytes in `output` and in the host's hands.
    pending: Cell<usize>,
    /// The host's answer to output was an error: readers are gone. By stream number.
    broken: [Cell<bool>; 3],
    input: RefCell<VecDeque<u8>>,
    /// Bytes that somebody waits for; 0 nobody.
    wanted: Cell<usize>,
    /// A request for input is with the host.
    asked: Cell<bool>,
    eof: Cell<bool>,
    /// A terminal's readers have been told of the end.
    end_told: Cell<bool>,
    /// The terminal has hung up.
    closed: Cell<bool>,
    tty: RefCell<Option<Rc<Tty>>>,
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Console {
    /// The terminal, when there is one.
    pub fn terminal(&self) -> Option<Rc<Tty>> {
        self.tty.borrow().clone()
    }

    /// The next piece of output for the host: stream number and bytes. Each is answered by one [`output_done`](Self::output_done).
    pub fn take_output(&self) -> Option<(u32, Vec<u8>)> {
        self.output.borrow_mut().pop_front()
    }

    /// Whether there is output to take.
    pub fn has_output(&self) -> bool {
        !self.output.borrow().is_empty()
    }

    /// The host took `taken` of a piece's bytes, or failed.
    pub fn output_done(&self, stream: u32, piece: Vec<u8>, taken: Result<usize, Errno>) {
        let taken = taken.unwrap_or_else(|_| {
            if let Some(broken) = self.broken.get(stream as usize) {
                broken.set(true);
            }
            piece.len()
        });
        if taken < piece.len() {
            self.output.borrow_mut().push_front((stream, piece[taken..].to_vec()));
        }
        self.pending.set(self.pending.get().saturating_sub(taken.min(piece.len())));
        self.writable.wake_all();
        if let Some(tty) = self.terminal() {
            tty.output_room();
        }
    }

    /// How many bytes of input to ask the host for now; none when nobody waits
    /// or a request is under way. Each Some is answered by one [`input_done`](Self::input_done).
    pub fn wants_input(&self) -> Option<usize> {
        if self.asked.get() || self.eof.get() {
            return None;
        }
        let wanted = match self.terminal() {
            Some(tty) => tty.input_room().min(INPUT_CHUNK),
            None => self.wanted.get(),
        };
        let wanted = Some(wanted).filter(|&n| n > 0)?;
        self.asked.set(true);
        Some(wanted)
    }

    /// Input arrived; none means that there will never be more.
    pub fn input_done(&self, bytes: &[u8]) {
        self.asked.set(false);
        self.wanted.set(0);
        self.eof.set(bytes.is_empty());
        match self.terminal() {
            Some(tty) => tty.receive(bytes),
            None => {
                self.input.borrow_mut().extend(bytes);
                self.readable.wake_all();
            }
        }
    }

    /// Nobody can run. When a terminal's input has ended, all of it was read, and somebody waits for more, they get the
    /// end-of-file character, as from script(1); when they wait again, the terminal hangs up. True if that happened.
    pub fn tell_end(&self) -> bool {
        let Some(tty) = self.terminal().filter(|tty| self.eof.get() && !self.closed.get() && tty.starved())
        else {
            return false;
        };
        match tty.termios().cc[VEOF] {
            // It ends the line, which is no end of input yet.
            end if end != 0 && tty.line_begun() => tty.receive(&[end]),
            end if end != 0 && !self.end_told.replace(true) => tty.receive(&[end]),
            _ => {
                self.closed.set(true);
                tty.hang_up();
            }
        }
        true
    }

    /// The host's window has this size.
    pub fn resized(&self, rows: u32, cols: u32) {
        let clamp = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        if let Some(tty) = self.terminal() {
            tty.set_winsize(Winsize { rows: clamp(rows), cols: clamp(cols), ..tty.winsize() });
        }
    }

    /// The host asks for a signal to whoever is in the foreground; without a terminal, to the first process.
    pub fn interrupted(&self, outbox: &Outbox, signal: u32) {
        let foreground = self.terminal().map_or(0, |tty| tty.foreground());
        let target = if foreground != 0 { Target::Group(foreground) } else { Target::Process(1) };
        outbox.post(target, signal);
    }

    /// Somebody waits for up to `count` bytes of plain input.
    fn want(&self, count: usize) {
        self.wanted.set(self.wanted.get().max(count.min(INPUT_MAX)));
    }

    fn push_output(&self, stream: u32, bytes: &[u8]) {
        let mut output = self.output.borrow_mut();
        match output.back_mut() {
            Some((last, piece)) if *last == stream && piece.len() < OUTPUT_CAPACITY => {
                piece.extend_from_slice(bytes)
            }
            _ => output.push_back((stream, bytes.to_vec())),
        }
        self.pending.set(self.pending.get() + bytes.len());
    }

    fn output_room(&self) -> usize {
        OUTPUT_CAPACITY.saturating_sub(self.pending.get())
    }
}

/// The driver under the console's terminal.
struct ConsoleDriver(Rc<Console>);

impl Driver for ConsoleDriver {
    fn room(&self) -> usize {
        self.0.output_room()
    }

    fn write(&self, bytes: &[u8]) {
        let space = (self.0.output_room() + ECHO_MARGIN).min(bytes.len());
        self.0.push_output(STDOUT, &bytes[..space]);
    }

    fn flush(&self) {
        let dropped: usize = self.0.output.take().iter().map(|(_, piece)| piece.len()).sum();
        self.0.pending.set(self.0.pending.get().saturating_sub(dropped));
    }

    fn pending(&self) -> usize {
        self.0.pending.get()
    }

    fn closed(&self) -> bool {
        self.0.closed.get()
    }
}

/// Standard input, output and error of the first process. With `tty` one
/// description of a new terminal, which controls the caller's session;
/// else three streams.
pub fn open_standard(cx: &mut Ctx<'_>, tty: bool, rows: u32, cols: u32) -> [FileRef; 3] {
    let console = Rc::clone(&cx.kernel.console);
    if tty {
        return open_terminal(cx, &console, rows, cols);
    }
    let flags = [O_RDONLY, O_WRONLY, O_WRONLY];
    std::array::from_fn(|fd| {
        let stream = Rc::new(Stream { console: Rc::clone(&console), number: fd as u32 });
        let stat = Stat { mode: mode::S_IFIFO | 0o600, ..anon::stat(cx) };
        let name = format!("pipe:[{}]", stat.ino);
        let inode = Rc::new(StreamInode { stream: Rc::clone(&stream), stat: Cell::new(stat) });
        anon::open(cx, &name, inode, stream, flags[fd])
    })
}

fn open_terminal(cx: &mut Ctx<'_>, console: &Rc<Console>, rows: u32, cols: u32) -> [FileRef; 3] {
    let stat = Stat { nlink: 1, ..anon::stat(cx) };
    let terminals = Rc::clone(&cx.kernel.terminals);
    let (index, tty) = terminals.add_console(Rc::new(ConsoleDriver(Rc::clone(console))), stat);
    *console.tty.borrow_mut() = Some(Rc::clone(&tty));
    console.resized(rows, cols);
    tty.set_session(cx.task.process.sid.get(), cx.task.process.pgid.get());
    let name = format!("/dev/pts/{index}");
    let inode = devpts::inode_of(&terminals, index).expect("the terminal was just added");
    let ops = tty.open_description();
    let file = anon::open(cx, &name, inode, ops, O_RDWR);
    std::array::from_fn(|_| Rc::clone(&file))
}

/// A poll is about to wait for `events` on `file`: if that is plain standard input, let the host be asked for some.
pub fn note_interest(file: &OpenFile, events: u32) {
    if events & (poll::IN | poll::RDNORM) == 0 {
        return;
    }
    if let Some(stream) = file.ops.as_any().downcast_ref::<Stream>() {
        stream.want_input();
    }
}

/// One of the three plain streams.
pub struct Stream {
    console: Rc<Console>,
    /// 0, 1 or 2.
    number: u32,
}

impl Stream {
    fn want_input(&self) {
        if self.number == 0 {
            self.console.want(INPUT_CHUNK);
        }
    }

    fn broken(&self) -> bool {
        self.console.broken[self.number as usize].get()
    }
}

impl FileOps for Stream {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        let mut input = self.console.input.borrow_mut();
        if dst.remaining() == 0 || (input.is_empty() && self.console.eof.get()) {
            return Ok(0);
        }
        if input.is_empty() {
            self.console.want(dst.remaining());
            return Err(Errno::EAGAIN);
        }
        let count = dst.remaining().min(input.len());
        let bytes: Vec<u8> = input.drain(..count).collect();
        Ok(dst.put(&bytes))
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        _: &OpenFile,
        src: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        if self.broken() {
            cx.kernel.outbox.post(Target::Task(cx.task.tid), SIGPIPE);
            return Err(Errno::EPIPE);
        }
        let count = src.remaining().min(self.console.output_room());
        if count == 0 && src.remaining() > 0 {
            return Err(Errno::EAGAIN);
        }
        let mut bytes = vec![0; count];
        src.take(&mut bytes);
        self.console.push_output(self.number, &bytes);
        Ok(count)
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        if self.number == 0 {
            if !self.console.input.borrow().is_empty() {
                bits |= poll::IN | poll::RDNORM;
            }
            if self.console.eof.get() {
                bits |= poll::HUP;
            }
        } else {
            if self.console.output_room() >= super::pipe::PIPE_BUF {
                bits |= poll::OUT | poll::WRNORM;
            }
            if self.broken() {
                bits |= poll::ERR;
            }
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(if self.number == 0 { &self.console.readable } else { &self.console.writable });
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        if cmd != FIONREAD {
            return Err(Errno::ENOTTY.into());
        }
        let waiting = if self.number == 0 { self.console.input.borrow().len() } else { 0 };
        cx.write_user(arg, &i32::try_from(waiting).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What fstat(2) shows of a stream; reopened through /proc/self/fd it is the same stream.
struct StreamInode {
    stream: Rc<Stream>,
    stat: Cell<Stat>,
}

impl Inode for StreamInode {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(super::anon::with_attr(self.stat.get(), attr));
        Ok(())
    }

    fn open(&self, _: &mut Ctx<'_>, _: u32) -> Result<Rc<dyn FileOps>, Errno> {
        Ok(Rc::clone(&self.stream) as Rc<dyn FileOps>)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
