//! Pseudo-terminals, see pty(7), pts(4): a master that is a plain two-way
//! stream, and a slave that is a terminal. `devpts.rs` names the slaves.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::{Driver, Tty, ioctl, output};
use crate::abi::Errno;
use crate::abi::termios::*;
use crate::fs::{FileOps, Io, OpenFile, poll};
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Outbox};
use crate::syscall::SysResult;

/// Output of the slave that the master has not read.
const CAPACITY: usize = 65536;
/// Unread output is kept up to here when it is echo, which cannot wait.
const ECHO_CAPACITY: usize = CAPACITY + 16384;

/// The wire from slave to master, and what each end knows of the other.
#[derive(Debug, Default)]
struct Wire {
    bytes: RefCell<VecDeque<u8>>,
    /// Packet mode (TIOCPKT), and its pending status bits.
    packet: Cell<bool>,
    status: Cell<u8>,
    master_closed: Cell<bool>,
    /// Was opened and is closed now: the master reads EIO.
    slave_closed: Cell<bool>,
    /// Of the master.
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Driver for Wire {
    fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.bytes.borrow().len())
    }

    fn write(&self, data: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        let space = ECHO_CAPACITY.saturating_sub(bytes.len()).min(data.len());
        bytes.extend(&data[..space]);
        drop(bytes);
        self.readable.wake_all();
    }

    fn flush(&self) {
        self.bytes.borrow_mut().clear();
    }

    fn closed(&self) -> bool {
        self.master_closed.get()
    }

    fn opened(&self, open: bool) {
        self.slave_closed.set(!open);
        if !open {
            self.readable.wake_all();
            self.writable.wake_all();
        }
    }

    fn status(&self, bits: u8) {
        if !self.packet.get() {
            return;
        }
        // Start and stop, and their two settings, replace each other.
        let opposite = match bits {
            TIOCPKT_STOP => TIOCPKT_START,
            TIOCPKT_START => TIOCPKT_STOP,
            TIOCPKT_NOSTOP => TIOCPKT_DOSTOP,
            TIOCPKT_DOSTOP => TIOCPKT_NOSTOP,
            _ => 0,
        };
        self.status.set(self.status.get() & !opposite | bits);
        self.readable.wake_all();
    }

    fn input_room(&self) {
        self.writable.wake_all();
    }
}

/// The master end: what opening /dev/ptmx gives.
pub struct Master {
    /// The terminal at the other end.
    pub slave: Rc<Tty>,
    /// Number of the slave, /dev/pts/N.
    pub index: u32,
    /// TIOCSPTLCK: the slave cannot be opened.
    pub locked: Rc<Cell<bool>>,
    wire: Rc<Wire>,
    /// Told when the master is closed: the name goes away, with the session and group the slave had.
    on_close: Box<dyn Fn(u32, (u32, u32))>,
}

impl Master {
    /// A new pair whose slave is `/dev/pts/INDEX` with device number `rdev`.
    pub fn new(index: u32, rdev: u64, outbox: Outbox, on_close: Box<dyn Fn(u32, (u32, u32))>) -> Rc<Master> {
        let wire = Rc::new(Wire::default());
        let slave = Tty::new(format!("pts/{index}"), rdev, Rc::clone(&wire) as Rc<dyn Driver>, outbox);
        Rc::new(Master { slave, index, locked: Rc::new(Cell::new(true)), wire, on_close })
    }

    /// Bytes that the master could read (FIONREAD).
    pub(super) fn waiting(&self) -> usize {
        self.wire.bytes.borrow().len()
    }

    pub(super) fn packet_mode(&self) -> bool {
        self.wire.packet.get()
    }

    pub(super) fn set_packet_mode(&self, on: bool) {
        self.wire.packet.set(on);
        self.wire.status.set(0);
    }

    /// Forget what the slave wrote (TCIFLUSH of the master).
    pub(super) fn flush_from_slave(&self) {
        self.wire.flush();
        self.slave.output_room();
    }

    fn room(&self) -> usize {
        self.slave.input_room()
    }
}

impl FileOps for Master {
    fn read(&self, _: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let packet = self.wire.packet.get();
        let status = self.wire.status.get();
        if packet && status != 0 {
            self.wire.status.set(0);
            return Ok(dst.put(&[status]));
        }
        let mut bytes = self.wire.bytes.borrow_mut();
        if bytes.is_empty() {
            return Err(if self.wire.slave_closed.get() { Errno::EIO } else { Errno::EAGAIN });
        }
        let header = if packet { dst.put(&[TIOCPKT_DATA]) } else { 0 };
        let count = dst.remaining().min(bytes.len());
        let (front, back) = bytes.as_slices();
        let first = count.min(front.len());
        dst.put(&front[..first]);
        dst.put(&back[..count - first]);
        bytes.drain(..count);
        drop(bytes);
        self.slave.output_room();
        Ok(header + count)
    }

    fn write(&self, _: &mut Ctx<'_>, _: &OpenFile, src: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if self.wire.slave_closed.get() {
            return Err(Errno::EIO);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let mut bytes = vec![0; src.remaining().min(self.room())];
        if bytes.is_empty() {
            return Err(Errno::EAGAIN);
        }
        let count = src.take(&mut bytes);
        self.slave.receive(&bytes[..count]);
        Ok(count)
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        if !self.wire.bytes.borrow().is_empty() {
            bits |= poll::IN | poll::RDNORM;
        }
        if self.wire.packet.get() && self.wire.status.get() != 0 {
            bits |= poll::PRI | poll::IN | poll::RDNORM;
        }
        if self.wire.slave_closed.get() {
            bits |= poll::HUP;
        }
        if self.room() >= output::EXPANSION {
            bits |= poll::OUT | poll::WRNORM;
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.wire.readable);
        visit(&self.wire.writable);
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, file: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        ioctl::master(cx, self, file, cmd, arg)
    }

    fn release(&self, _: &OpenFile) {
        self.wire.master_closed.set(true);
        let old = self.slave.hang_up();
        (self.on_close)(self.index, old);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
