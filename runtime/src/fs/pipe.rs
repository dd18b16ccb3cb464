//! Pipes and fifos, see pipe(7) and fifo(7).
//!
//! A [`Pipe`] is the buffer; a [`PipeEnd`] is what one open file description
//! does with it. Anonymous pipes are made by `syscall/sys_pipe.rs`; a named one
//! hangs at its inode's `attachment` and is reached through [`open_fifo`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::{FileOps, Inode, InodeRef, Io, OpenFile, SetAttr, Stat, mode, poll};
use crate::abi::Errno;
use crate::abi::fcntl::{O_ACCMODE, O_DIRECT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};
use crate::abi::ioctl::FIONREAD;
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Target};
use crate::syscall::SysResult;

/// Writes up to this many bytes are not interleaved with others.
pub const PIPE_BUF: usize = 4096;
/// What a new pipe holds.
pub const DEFAULT_CAPACITY: usize = 65536;
/// What F_SETPIPE_SZ may ask for without CAP_SYS_RESOURCE (/proc/sys/fs/pipe-max-size).
pub const MAX_CAPACITY: usize = 1 << 20;

/// The buffer between writers and readers.
#[derive(Debug)]
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    /// Bytes cut into runs: packets (O_DIRECT writes) end a read, streams do not.
    runs: RefCell<VecDeque<Run>>,
    capacity: Cell<usize>,
    readers: Cell<u32>,
    writers: Cell<u32>,
    /// Opens so far: a fifo's open returns once the other side was opened, even when that side is gone again.
    reader_opens: Cell<u64>,
    writer_opens: Cell<u64>,
    readable: WaitQueue,
    writable: WaitQueue,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    len: usize,
    packet: bool,
}

impl Default for Pipe {
    fn default() -> Pipe {
        Pipe {
            bytes: RefCell::default(),
            runs: RefCell::default(),
            capacity: Cell::new(DEFAULT_CAPACITY),
            readers: Cell::new(0),
            writers: Cell::new(0),
            reader_opens: Cell::new(0),
            writer_opens: Cell::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        }
    }
}

impl Pipe {
    /// Bytes waiting to be read (FIONREAD).
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// F_SETPIPE_SZ: rounded up to a power of two pages. EBUSY when more is waiting, EPERM above the limit, EINVAL.
    pub fn set_capacity(&self, bytes: u64, privileged: bool) -> Result<usize, Errno> {
        let capacity = usize::try_from(bytes).ok().filter(|&n| n <= 1 << 30).ok_or(Errno::EINVAL)?;
        let capacity = capacity.max(PIPE_BUF).next_power_of_two();
        if capacity > self.capacity.get() && capacity > MAX_CAPACITY && !privileged {
            return Err(Errno::EPERM);
        }
        if capacity < self.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity.set(capacity);
        self.writable.wake_all();
        Ok(capacity)
    }

    /// Bytes that fit.
    pub fn room(&self) -> usize {
        self.capacity.get().saturating_sub(self.len())
    }

    /// The first bytes, left in place (tee(2)).
    pub fn peek(&self, max: usize) -> Vec<u8> {
        self.bytes.borrow().iter().take(max).copied().collect()
    }

    /// Somebody can still write.
    pub fn has_writers(&self) -> bool {
        self.writers.get() > 0
    }

    /// Somebody can still read.
    pub fn has_readers(&self) -> bool {
        self.readers.get() > 0
    }

    /// Move bytes out; 0 = all writers are gone, EAGAIN = none there yet.
    pub fn read(&self, dst: &mut Io<'_>) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        if self.is_empty() {
            return if self.has_writers() { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        let mut done = 0;
        let mut runs = self.runs.borrow_mut();
        while let Some(run) = runs.front_mut().filter(|_| dst.remaining() > 0) {
            let wanted = run.len.min(dst.remaining());
            done += self.move_out(wanted, dst);
            if run.packet {
                // What of a packet does not fit is lost.
                self.bytes.borrow_mut().drain(..run.len - wanted);
                runs.pop_front();
                break;
            }
            run.len -= wanted;
            if run.len == 0 {
                runs.pop_front();
            }
        }
        drop(runs);
        self.writable.wake_all();
        Ok(done)
    }

    fn move_out(&self, count: usize, dst: &mut Io<'_>) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let (front, back) = bytes.as_slices();
        let first = count.min(front.len());
        dst.put(&front[..first]);
        dst.put(&back[..count - first]);
        bytes.drain(..count);
        count
    }

    /// Move bytes in. EPIPE without readers; EAGAIN when nothing may be
    /// written now. A short count means that the pipe is full.
    pub fn write(&self, src: &mut Io<'_>, packet: bool) -> Result<usize, Errno> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        if !self.has_readers() {
            return Err(Errno::EPIPE);
        }
        let (want, room) = (src.remaining(), self.room());
        if room == 0 || (want <= PIPE_BUF && room < want) {
            return Err(Errno::EAGAIN);
        }
        let count = want.min(room);
        let mut chunk = [0; PIPE_BUF];
        let mut done = 0;
        while done < count {
            let n = src.take(&mut chunk[..PIPE_BUF.min(count - done)]);
            self.bytes.borrow_mut().extend(&chunk[..n]);
            self.push_run(n, packet);
            done += n;
        }
        self.readable.wake_all();
        Ok(done)
    }

    fn push_run(&self, len: usize, packet: bool) {
        let mut runs = self.runs.borrow_mut();
        match runs.back_mut() {
            Some(last) if !packet && !last.packet => last.len += len,
            _ => runs.push_back(Run { len, packet }),
        }
    }

    fn opened(&self, access: u32) {
        if access != O_WRONLY {
            self.readers.set(self.readers.get() + 1);
            self.reader_opens.set(self.reader_opens.get() + 1);
            self.writable.wake_all();
        }
        if access != O_RDONLY {
            self.writers.set(self.writers.get() + 1);
            self.writer_opens.set(self.writer_opens.get() + 1);
            self.readable.wake_all();
        }
    }

    fn closed(&self, access: u32) {
        if access != O_WRONLY {
            self.readers.set(self.readers.get() - 1);
        }
        if access != O_RDONLY {
            self.writers.set(self.writers.get() - 1);
        }
        if self.readers.get() == 0 && self.writers.get() == 0 {
            *self.bytes.borrow_mut() = VecDeque::new();
            self.runs.borrow_mut().clear();
        }
        self.readable.wake_all();
        self.writable.wake_all();
    }
}

/// One open file description's end of a pipe.
#[derive(Debug)]
pub struct PipeEnd {
    pipe: Rc<Pipe>,
    /// O_RDONLY, O_WRONLY or O_RDWR.
    access: u32,
    /// `writer_opens` and `reader_opens` when this was opened.
    seen_writers: u64,
    seen_readers: u64,
    /// Opened by name as a fifo: open(2) waits for the other end. Re-opening a pipe through /proc/PID/fd does not.
    fifo: bool,
}

impl PipeEnd {
    /// An end with this access mode (O_RDONLY, O_WRONLY, O_RDWR). It counts as open until its description is released.
    pub fn new(pipe: &Rc<Pipe>, flags: u32) -> Rc<PipeEnd> {
        PipeEnd::open(pipe, flags, false)
    }

    fn open(pipe: &Rc<Pipe>, flags: u32, fifo: bool) -> Rc<PipeEnd> {
        let access = flags & O_ACCMODE;
        let (seen_writers, seen_readers) = (pipe.writer_opens.get(), pipe.reader_opens.get());
        pipe.opened(access);
        Rc::new(PipeEnd { pipe: Rc::clone(pipe), access, seen_writers, seen_readers, fifo })
    }

    /// The buffer (splice, tee, F_SETPIPE_SZ).
    pub fn pipe(&self) -> &Rc<Pipe> {
        &self.pipe
    }

    fn reads(&self) -> bool {
        self.access != O_WRONLY
    }

    fn writes(&self) -> bool {
        self.access != O_RDONLY
    }
}

impl FileOps for PipeEnd {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        self.pipe.read(dst)
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        file: &OpenFile,
        src: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        let packet = file.flags.get() & O_DIRECT != 0;
        let result = self.pipe.write(src, packet);
        if result == Err(Errno::EPIPE) {
            cx.kernel.outbox.post(Target::Task(cx.task.tid), crate::abi::signal::SIGPIPE);
        }
        result
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        if self.reads() {
            if !self.pipe.is_empty() {
                bits |= poll::IN | poll::RDNORM;
            }
            if !self.pipe.has_writers() && self.pipe.writer_opens.get() != self.seen_writers {
                bits |= poll::HUP;
            }
        }
        if self.writes() {
            if self.pipe.room() >= PIPE_BUF {
                bits |= poll::OUT | poll::WRNORM;
            }
            if !self.pipe.has_readers() {
                bits |= poll::ERR;
            }
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        if self.reads() {
            visit(&self.pipe.readable);
        }
        if self.writes() {
            visit(&self.pipe.writable);
        }
    }

    fn open_ready(&self, file: &OpenFile) -> bool {
        let met = match self.access {
            O_RDONLY => self.pipe.has_writers() || self.pipe.writer_opens.get() != self.seen_writers,
            O_WRONLY => self.pipe.has_readers() || self.pipe.reader_opens.get() != self.seen_readers,
            _ => true,
        };
        met || !self.fifo || file.flags.get() & O_NONBLOCK != 0
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        match cmd {
            FIONREAD => {
                let waiting = i32::try_from(self.pipe.len()).unwrap_or(i32::MAX);
                cx.write_user(arg, &waiting)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn release(&self, _: &OpenFile) {
        self.pipe.closed(self.access);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Open a fifo whose pipe hangs at `inode`'s attachment. ENXIO for a
/// non-blocking writer without readers. The caller waits for
/// `FileOps::open_ready` when it may block.
pub fn open_fifo(inode: &dyn Inode, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
    let slot = inode.attachment().ok_or(Errno::ENXIO)?;
    let pipe = pipe_at(slot);
    let access = flags & O_ACCMODE;
    if access == O_WRONLY && flags & O_NONBLOCK != 0 && !pipe.has_readers() {
        return Err(Errno::ENXIO);
    }
    if access > O_RDWR {
        return Err(Errno::EINVAL);
    }
    Ok(PipeEnd::open(&pipe, access, true))
}

/// The living pipe in `slot`, or a new one. The slot holds it weakly: contents vanish with the last end.
fn pipe_at(slot: &RefCell<Option<Rc<dyn Any>>>) -> Rc<Pipe> {
    let mut slot = slot.borrow_mut();
    let known = slot.as_ref().and_then(|any| any.downcast_ref::<Weak<Pipe>>()).and_then(Weak::upgrade);
    known.unwrap_or_else(|| {
        let pipe = Rc::new(Pipe::default());
        *slot = Some(Rc::new(Rc::downgrade(&pipe)));
        pipe
    })
}

/// The inode of an anonymous pipe, as fstat(2) and /proc/PID/fd show it.
#[derive(Debug)]
pub struct PipeInode {
    pipe: Rc<Pipe>,
    stat: Cell<Stat>,
}

impl PipeInode {
    /// `stat` holds number, owner and times; the kind is set here.
    pub fn new(pipe: Rc<Pipe>, stat: Stat) -> InodeRef {
        let stat = Stat { mode: mode::S_IFIFO | 0o600, nlink: 1, blksize: 4096, ..stat };
        Rc::new(PipeInode { pipe, stat: Cell::new(stat) })
    }
}

impl Inode for PipeInode {
    fn stat(&self) -> Stat {
        self.stat.get()
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<(), Errno> {
        self.stat.set(super::anon::with_attr(self.stat.get(), attr));
        Ok(())
    }

    /// Through /proc/PID/fd: another end of the same pipe.
    fn open(&self, _: &mut Ctx<'_>, flags: u32) -> Result<Rc<dyn FileOps>, Errno> {
        let access = flags & O_ACCMODE;
        if access > O_RDWR {
            return Err(Errno::EINVAL);
        }
        if access == O_WRONLY && flags & O_NONBLOCK != 0 && !self.pipe.has_readers() {
            return Err(Errno::ENXIO);
        }
        Ok(PipeEnd::new(&self.pipe, access))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_pipe() -> (Pipe, impl Fn(&Pipe, &[u8], bool) -> Result<usize, Errno>) {
        let pipe = Pipe::default();
        pipe.opened(O_RDWR);
        (pipe, |pipe, bytes, packet| pipe.write(&mut Io::bytes(bytes), packet))
    }

    fn read(pipe: &Pipe, max: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; max];
        let count = pipe.read(&mut Io::kernel(&mut bytes))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Random writes and reads beside a plain queue: small writes go in whole or not at all, order is kept.
    #[test]
    fn small_writes_are_atomic() {
        let (pipe, write) = open_pipe();
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for step in 0..20_000u32 {
            let len = if random(8) == 0 { random(100_000) } else { random(5000) } as usize;
            if random(2) == 0 {
                let bytes: Vec<u8> = (0..len).map(|i| (i as u32 ^ step) as u8).collect();
                let room = DEFAULT_CAPACITY - model.len();
                let expected = match len {
                    0 => Ok(0),
                    _ if room == 0 || (len <= PIPE_BUF && len > room) => Err(Errno::EAGAIN),
                    _ => Ok(len.min(room)),
                };
                assert_eq!(write(&pipe, &bytes, false), expected, "step {step}");
                model.extend(&bytes[..expected.unwrap_or(0)]);
            } else {
                let expected = match (len, model.len()) {
                    (0, _) => Ok(Vec::new()),
                    (_, 0) => Err(Errno::EAGAIN),
                    (_, waiting) => Ok(model.drain(..len.min(waiting)).collect()),
                };
                assert_eq!(read(&pipe, len), expected, "step {step}");
            }
            assert_eq!(pipe.len(), model.len());
        }
    }

    #[test]
    fn packets_end_reads_and_lose_their_rest() {
        let (pipe, write) = open_pipe();
        write(&pipe, b"one", true).unwrap();
        write(&pipe, b"two!", true).unwrap();
        write(&pipe, b"stream", false).unwrap();
        write(&pipe, b"ing", false).unwrap();
        assert_eq!(read(&pipe, 100).unwrap(), b"one");
        assert_eq!(read(&pipe, 2).unwrap(), b"tw");
        assert_eq!(read(&pipe, 100).unwrap(), b"streaming");
    }

    #[test]
    fn ends_that_close_are_noticed() {
        let pipe = Rc::new(Pipe::default());
        pipe.opened(O_RDONLY);
        pipe.opened(O_WRONLY);
        assert_eq!(read(&pipe, 1), Err(Errno::EAGAIN));
        pipe.closed(O_WRONLY);
        assert_eq!(read(&pipe, 1), Ok(Vec::new()));
        pipe.opened(O_WRONLY);
        pipe.closed(O_RDONLY);
        assert_eq!(pipe.write(&mut Io::bytes(b"x"), false), Err(Errno::EPIPE));
    }

    #[test]
    fn sizes_are_powers_of_two_pages() {
        let (pipe, write) = open_pipe();
        assert_eq!(pipe.set_capacity(1, false), Ok(4096));
        assert_eq!(pipe.set_capacity(5000, false), Ok(8192));
        assert_eq!(pipe.set_capacity(2 << 20, false), Err(Errno::EPERM));
        assert_eq!(pipe.set_capacity(2 << 20, true), Ok(2 << 20));
        write(&pipe, &[0; 9000], false).unwrap();
        assert_eq!(pipe.set_capacity(4096, false), Err(Errno::EBUSY));
        assert_eq!(pipe.set_capacity(u64::MAX, true), Err(Errno::EINVAL));
    }
}
