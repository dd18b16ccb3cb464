//! A socket and its connections.
//!
//! A connection is two sockets that know each other weakly; closing one tells
//! the other. What they say to each other is in `transfer.rs`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::address::Address;
use super::transfer::{Ancillary, Credentials, INBOX_BYTES, Inbox, credentials, send, set_deadline};
use super::{netlink, options};
use crate::abi::Errno;
use crate::abi::ioctl::{FIONREAD, SIOCATMARK, TIOCOUTQ};
use crate::abi::socket::*;
use crate::fs::{FileOps, Io, OpenFile, poll};
use crate::kernel::Ctx;
use crate::kernel::wait::WaitQueue;
use crate::syscall::SysResult;

/// Connections that wait for accept(2) at most (somaxconn).
const BACKLOG_MAX: usize = 4096;

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Listening,
    Connected,
    Closed,
}

/// A socket.
pub struct Socket {
    pub(super) this: Weak<Socket>,
    /// AF_*.
    pub family: u32,
    /// SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW.
    pub kind: u32,
    /// Protocol number.
    pub protocol: u32,
    pub(super) state: Cell<State>,
    pub(super) inbox: RefCell<Inbox>,
    /// The other end, or where datagrams go by default.
    peer: RefCell<Weak<Socket>>,
    local: RefCell<Option<Address>>,
    /// What bind(2) asked for; `local` can be more exact, or chosen by the kernel.
    bound: RefCell<Option<Address>>,
    remote: RefCell<Option<Address>>,
    waiting: RefCell<VecDeque<FileRefless>>,
    backlog: Cell<usize>,
    /// Nothing more will come.
    pub(super) eof: Cell<bool>,
    /// shutdown(2), both ways.
    pub(super) read_shut: Cell<bool>,
    pub(super) write_shut: Cell<bool>,
    /// The other end of a TCP connection is gone, and one write has found out.
    pub(super) reset_seen: Cell<bool>,
    /// A non-blocking connect was told EINPROGRESS and is done.
    connecting: Cell<bool>,
    /// SO_ERROR.
    pub(super) error: Cell<Option<Errno>>,
    /// SO_PEERCRED.
    pub peer_cred: Cell<Option<Credentials>>,
    owner: Cell<Credentials>,
    /// Options set, by level and name.
    pub(super) options: RefCell<BTreeMap<(u32, u32), i32>>,
    /// SO_RCVTIMEO and SO_SNDTIMEO, ns; 0 none.
    pub receive_timeout_ns: Cell<u64>,
    /// See above.
    pub send_timeout_ns: Cell<u64>,
    pub(super) readable: WaitQueue,
    pub(super) writable: WaitQueue,
}

/// A connection that nobody has accepted yet.
type FileRefless = Rc<Socket>;

impl Socket {
    /// A socket of this kind, owned by the caller. EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT.
    pub fn new(cx: &Ctx<'_>, family: u32, kind: u32, protocol: u32) -> Result<Rc<Socket>, Errno> {
        const TCP: u32 = SOL_TCP;
        const UDP: u32 = SOL_UDP;
        let protocol = match (family, kind, protocol) {
            (AF_UNIX, SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET, 0 | 1) => 0,
            (AF_UNIX, SOCK_RAW, 0 | 1) => return Socket::new(cx, family, SOCK_DGRAM, 0),
            (AF_UNIX, _, 0 | 1) => return Err(Errno::ESOCKTNOSUPPORT),
            (AF_UNIX, ..) => return Err(Errno::EPROTONOSUPPORT),
            (AF_INET | AF_INET6, SOCK_STREAM, 0 | TCP) => TCP,
            (AF_INET | AF_INET6, SOCK_DGRAM, 0 | UDP) => UDP,
            // Checksums that cover less are for wires that damage some; the rest is UDP. See udplite(7).
            (AF_INET | AF_INET6, SOCK_DGRAM, SOL_UDPLITE) => SOL_UDPLITE,
            (AF_INET | AF_INET6, SOCK_RAW, _) => return Err(Errno::EPERM),
            (AF_INET | AF_INET6, SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
            (AF_INET | AF_INET6, ..) => return Err(Errno::ESOCKTNOSUPPORT),
            (AF_NETLINK, SOCK_RAW | SOCK_DGRAM, 0) => 0,
            (AF_NETLINK, SOCK_RAW | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        Ok(Socket::with_owner(family, kind, protocol, credentials(cx)))
    }

    pub(super) fn with_owner(family: u32, kind: u32, protocol: u32, owner: Credentials) -> Rc<Socket> {
        Rc::new_cyclic(|this| Socket {
            this: Weak::clone(this),
            family,
            kind,
            protocol,
            state: Cell::new(State::Fresh),
            inbox: RefCell::default(),
            peer: RefCell::default(),
            local: RefCell::new(None),
            bound: RefCell::new(None),
            remote: RefCell::new(None),
            waiting: RefCell::default(),
            backlog: Cell::new(0),
            eof: Cell::new(false),
            read_shut: Cell::new(false),
            write_shut: Cell::new(false),
            reset_seen: Cell::new(false),
            connecting: Cell::new(false),
            error: Cell::new(None),
            peer_cred: Cell::new(None),
            owner: Cell::new(owner),
            options: RefCell::default(),
            receive_timeout_ns: Cell::new(0),
            send_timeout_ns: Cell::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    /// SOCK_STREAM.
    pub fn is_stream(&self) -> bool {
        self.kind == SOCK_STREAM
    }

    /// Connections rather than single messages.
    pub fn connection_oriented(&self) -> bool {
        self.kind == SOCK_STREAM || self.kind == SOCK_SEQPACKET
    }

    /// listen(2) was called.
    pub fn is_listening(&self) -> bool {
        self.state.get() == State::Listening
    }

    /// Has a peer, or had.
    pub fn is_connected(&self) -> bool {
        self.state.get() == State::Connected
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }

    /// AF_INET or AF_INET6.
    pub fn internet(&self) -> bool {
        self.family == AF_INET || self.family == AF_INET6
    }

    /// Who made it.
    pub fn owner(&self) -> Credentials {
        self.owner.get()
    }

    /// The address it is bound to.
    pub fn local(&self) -> Option<Address> {
        self.local.borrow().clone()
    }

    /// The other end's address.
    pub fn remote(&self) -> Option<Address> {
        self.remote.borrow().clone()
    }

    /// What getsockname(2) shows.
    pub fn local_name(&self) -> Address {
        self.local().unwrap_or_else(|| self.nowhere())
    }

    pub(super) fn nowhere(&self) -> Address {
        match self.family {
            AF_INET => Address::Inet([0; 4], 0),
            AF_INET6 => Address::Inet6([0; 16], 0, 0),
            AF_NETLINK => Address::Netlink(0),
            _ => Address::Unix(Vec::new()),
        }
    }

    pub(super) fn flag(&self, level: u32, name: u32) -> bool {
        self.options.borrow().get(&(level, name)).is_some_and(|value| *value != 0)
    }

    /// IPV6_V6ONLY.
    pub fn v6_only(&self) -> bool {
        self.flag(SOL_IPV6, options::IPV6_V6ONLY)
    }

    pub(super) fn reuse_address(&self) -> bool {
        self.flag(SOL_SOCKET, options::SO_REUSEADDR)
    }

    pub(super) fn reuse_port(&self) -> bool {
        self.flag(SOL_SOCKET, options::SO_REUSEPORT)
    }

    /// SO_PASSCRED.
    pub fn pass_cred(&self) -> bool {
        self.flag(SOL_SOCKET, options::SO_PASSCRED)
    }

    /// Take and clear SO_ERROR.
    pub fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    pub(super) fn peer(&self) -> Option<Rc<Socket>> {
        self.peer.borrow().upgrade().filter(|peer| !peer.is_closed())
    }

    /// Remember a bound address.
    pub fn set_local(&self, address: Address) {
        *self.local.borrow_mut() = Some(address);
    }

    /// bind(2) chose the address: it stays when an association is dissolved.
    pub fn keep_local(&self) {
        *self.bound.borrow_mut() = self.local();
    }

    /// connect(2) to AF_UNSPEC: no peer, and no address but what bind(2) chose.
    pub fn dissolve(&self, names: &super::Names) {
        self.set_remote(None, None);
        if !self.internet() {
            return;
        }
        let bound = self.bound.borrow().clone();
        if let (None, Some(this)) = (&bound, self.this.upgrade()) {
            names.release_port(&this);
        }
        *self.local.borrow_mut() = bound;
    }

    /// Make two sockets each other's peer (socketpair(2)).
    pub fn join(&self, other: &Socket) {
        for (a, b) in [(self, other), (other, self)] {
            *a.peer.borrow_mut() = Weak::clone(&b.this);
            a.peer_cred.set(Some(b.owner.get()));
            a.state.set(State::Connected);
        }
    }

    /// listen(2). EOPNOTSUPP, EINVAL.
    pub fn listen(&self, backlog: i32) -> Result<(), Errno> {
        if !self.connection_oriented() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.state.get() == State::Connected || self.local.borrow().is_none() {
            return Err(Errno::EINVAL);
        }
        self.backlog.set(usize::try_from(backlog).unwrap_or(BACKLOG_MAX).clamp(1, BACKLOG_MAX));
        self.state.set(State::Listening);
        Ok(())
    }

    /// Connect to `listener`. ECONNREFUSED, EAGAIN (its backlog is full), EPROTOTYPE.
    pub fn connect_to(&self, listener: &Rc<Socket>) -> Result<(), Errno> {
        if listener.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if !listener.is_listening() || listener.read_shut.get() {
            return Err(Errno::ECONNREFUSED);
        }
        // One more than asked for, as Linux counts.
        if listener.waiting.borrow().len() > listener.backlog.get() {
            return Err(Errno::EAGAIN);
        }
        let server =
            Socket::with_owner(listener.family, listener.kind, listener.protocol, listener.owner.get());
        server.options.replace(listener.options.borrow().clone());
        let reached = self.remote().map(|r| r.in_family(listener.family));
        *server.local.borrow_mut() = if self.internet() { reached } else { listener.local() };
        *server.remote.borrow_mut() = self.local().map(|l| l.in_family(listener.family));
        self.join(&server);
        listener.waiting.borrow_mut().push_back(server);
        listener.readable.wake_all();
        self.writable.wake_all();
        Ok(())
    }

    /// Remember where this is, or is going to be, connected to.
    pub fn set_remote(&self, address: Option<Address>, peer: Option<&Rc<Socket>>) {
        self.state.set(if address.is_some() { State::Connected } else { State::Fresh });
        *self.remote.borrow_mut() = address;
        *self.peer.borrow_mut() = peer.map(Rc::downgrade).unwrap_or_default();
    }

    /// Remember an address before the connection stands.
    pub fn aim(&self, address: &Address) {
        *self.remote.borrow_mut() = Some(address.clone());
    }

    /// A non-blocking connect ended at once; the program hears of it later.
    pub fn finish_later(&self, error: Option<Errno>) {
        self.connecting.set(error.is_none());
        self.error.set(error);
        self.writable.wake_all();
    }

    /// Whether the program has just been told that a connection in progress stands.
    pub fn take_connecting(&self) -> bool {
        self.connecting.replace(false)
    }

    /// The next connection. EAGAIN, EINVAL.
    pub fn accept(&self) -> Result<Rc<Socket>, Errno> {
        if !self.is_listening() {
            return Err(if self.connection_oriented() { Errno::EINVAL } else { Errno::EOPNOTSUPP });
        }
        let next = self.waiting.borrow_mut().pop_front();
        let connection = next.ok_or(if self.read_shut.get() { Errno::EINVAL } else { Errno::EAGAIN })?;
        self.writable.wake_all();
        Ok(connection)
    }

    /// A queue that is woken when this listener has room.
    pub fn room_queue(&self) -> WaitQueue {
        self.writable.clone()
    }

    /// shutdown(2). ENOTCONN.
    pub fn shutdown(&self, read: bool, write: bool) -> Result<(), Errno> {
        if self.state.get() == State::Fresh {
            return Err(Errno::ENOTCONN);
        }
        self.read_shut.set(self.read_shut.get() || read);
        self.write_shut.set(self.write_shut.get() || write);
        if let Some(peer) = self.peer().filter(|_| self.connection_oriented()) {
            peer.eof.set(peer.eof.get() || write);
            // Over TCP the other end does not learn of SHUT_RD.
            if read && !self.internet() {
                peer.write_shut.set(true);
            }
            peer.readable.wake_all();
            peer.writable.wake_all();
        }
        self.readable.wake_all();
        self.writable.wake_all();
        Ok(())
    }

    fn close(&self) {
        self.state.set(State::Closed);
        let unread = self.inbox.take();
        let refused = self.waiting.take();
        if let Some(peer) = self.peer.take().upgrade().filter(|_| self.connection_oriented()) {
            peer.eof.set(true);
            if unread.bytes > 0 {
                peer.error.set(Some(Errno::ECONNRESET));
            }
            peer.readable.wake_all();
            peer.writable.wake_all();
        }
        for connection in refused {
            if let Some(peer) = connection.peer() {
                peer.error.set(Some(Errno::ECONNRESET));
            }
            connection.close();
        }
        drop(unread);
        self.readable.wake_all();
        self.writable.wake_all();
    }
}

impl Drop for Socket {
    /// A connection that was never accepted has no file to close it.
    fn drop(&mut self) {
        if !self.is_closed() {
            self.close();
        }
    }
}

impl FileOps for Socket {
    fn read(&self, cx: &mut Ctx<'_>, _: &OpenFile, dst: &mut Io<'_>, _: Option<u64>) -> Result<usize, Errno> {
        if dst.remaining() == 0 && self.is_stream() {
            return Ok(0);
        }
        set_deadline(cx, self.receive_timeout_ns.get());
        Ok(self.receive(dst, false)?.count)
    }

    fn write(
        &self,
        cx: &mut Ctx<'_>,
        _: &OpenFile,
        src: &mut Io<'_>,
        _: Option<u64>,
    ) -> Result<usize, Errno> {
        set_deadline(cx, self.send_timeout_ns.get());
        send(cx, self, src, None, Ancillary::default(), true)
    }

    fn poll(&self, _: &OpenFile) -> u32 {
        let mut bits = 0;
        let (eof, reading) = (self.eof.get(), self.read_shut.get());
        if !self.inbox.borrow().segments.is_empty() || !self.waiting.borrow().is_empty() || eof || reading {
            bits |= poll::IN | poll::RDNORM;
        }
        if self.error.get().is_some() {
            bits |= poll::ERR | poll::IN | poll::RDNORM;
        }
        if self.connection_oriented() && !self.is_listening() {
            let fresh = self.state.get() == State::Fresh;
            if fresh || (eof && self.write_shut.get()) || (eof && self.peer().is_none() && !self.internet()) {
                bits |= poll::HUP;
            }
            if eof || reading {
                bits |= poll::RDHUP;
            }
        }
        let room = match self.peer().filter(|_| self.connection_oriented()) {
            Some(peer) => peer.room() >= INBOX_BYTES / 4,
            None => true,
        };
        if room && !self.is_listening() {
            bits |= poll::OUT | poll::WRNORM | poll::WRBAND;
        }
        bits
    }

    fn queues(&self, visit: &mut dyn FnMut(&WaitQueue)) {
        visit(&self.readable);
        visit(&self.writable);
    }

    fn ioctl(&self, cx: &mut Ctx<'_>, _: &OpenFile, cmd: u32, arg: u64) -> SysResult {
        let value = match cmd {
            FIONREAD => i32::try_from(self.waiting_bytes()).unwrap_or(i32::MAX),
            TIOCOUTQ | SIOCATMARK => 0,
            _ => return netlink::interface_ioctl(cx, cmd, arg),
        };
        cx.write_user(arg, &value)?;
        Ok(0)
    }

    fn release(&self, _: &OpenFile) {
        self.close();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[path = "socket_test.rs"]
mod tests;
