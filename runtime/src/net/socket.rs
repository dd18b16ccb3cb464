//! A socket: streams, datagrams and sequenced packets between two of them.
//!
//! What is sent lies in the receiver's inbox; there is no wire. A connection
//! is two sockets that know each other weakly; closing one tells the other.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::address::Address;
use super::{netlink, options};
use crate::abi::Errno;
use crate::abi::ioctl::{FIONREAD, SIOCATMARK, TIOCOUTQ};
use crate::abi::signal::SIGPIPE;
use crate::abi::socket::*;
use crate::fs::{FileOps, FileRef, Io, OpenFile, poll};
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Target};
use crate::syscall::SysResult;

/// Bytes that wait in an inbox before senders have to (rmem_default).
pub const INBOX_BYTES: usize = 212_992;
/// Messages that wait in an inbox of datagrams, whatever their size.
const INBOX_MESSAGES: usize = 4096;
/// The largest UDP payload.
const UDP_MAX: usize = 65507;
/// Connections that wait for accept(2) at most (somaxconn).
const BACKLOG_MAX: usize = 4096;
/// Small writes to a stream are joined up to here.
const JOIN: usize = 16384;

/// Who sent something (SCM_CREDENTIALS).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What was sent at once.
pub struct Segment {
    data: Vec<u8>,
    /// Bytes already read (streams).
    at: usize,
    /// SCM_RIGHTS.
    pub rights: Vec<FileRef>,
    /// The sender.
    pub cred: Credentials,
    /// The sender's address.
    pub from: Address,
}

/// What recv(2) brought beside the bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes stored.
    pub count: usize,
    /// Bytes the message had.
    pub full: usize,
    /// Passed descriptors.
    pub rights: Vec<FileRef>,
    /// The sender.
    pub cred: Option<Credentials>,
    /// The sender's address, for datagrams.
    pub from: Option<Address>,
}

#[derive(Default)]
struct Inbox {
    segments: VecDeque<Segment>,
    bytes: usize,
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Listening,
    Connected,
    Closed,
}

/// A socket.
pub struct Socket {
    this: Weak<Socket>,
    /// AF_*.
    pub family: u32,
    /// SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW.
    pub kind: u32,
    /// Protocol number.
    pub protocol: u32,
    state: Cell<State>,
    inbox: RefCell<Inbox>,
    /// The other end, or where datagrams go by default.
    peer: RefCell<Weak<Socket>>,
    local: RefCell<Option<Address>>,
    /// What bind(2) asked for; `local` can be more exact, or chosen by the kernel.
    bound: RefCell<Option<Address>>,
    remote: RefCell<Option<Address>>,
    waiting: RefCell<VecDeque<FileRefless>>,
    backlog: Cell<usize>,
    /// Nothing more will come.
    eof: Cell<bool>,
    /// shutdown(2), both ways.
    read_shut: Cell<bool>,
    write_shut: Cell<bool>,
    /// The other end of a TCP connection is gone, and one write has found out.
    reset_seen: Cell<bool>,
    /// A non-blocking connect was told EINPROGRESS and is done.
    connecting: Cell<bool>,
    /// SO_ERROR.
    error: Cell<Option<Errno>>,
    /// SO_PEERCRED.
    pub peer_cred: Cell<Option<Credentials>>,
    owner: Cell<Credentials>,
    /// Options set, by level and name.
    pub(super) options: RefCell<BTreeMap<(u32, u32), i32>>,
    /// SO_RCVTIMEO and SO_SNDTIMEO, ns; 0 none.
    pub receive_timeout_ns: Cell<u64>,
    /// See above.
    pub send_timeout_ns: Cell<u64>,
    readable: WaitQueue,
    writable: WaitQueue,
}

/// A connection that nobody has accepted yet.
type FileRefless = Rc<Socket>;

impl Socket {
    /// A socket of this kind, owned by the caller. EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT.
    pub fn new(cx: &Ctx<'_>, family: u32, kind: u32, protocol: u32) -> Result<Rc<Socket>, Errno> {
        const TCP: u32 = 6;
        const UDP: u32 = 17;
        let protocol = match (family, kind, protocol) {
            (AF_UNIX, SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET, 0 | 1) => 0,
            (AF_UNIX, SOCK_RAW, 0 | 1) => return Socket::new(cx, family, SOCK_DGRAM, 0),
            (AF_UNIX, _, 0 | 1) => return Err(Errno::ESOCKTNOSUPPORT),
            (AF_UNIX, ..) => return Err(Errno::EPROTONOSUPPORT),
            (AF_INET | AF_INET6, SOCK_STREAM, 0 | TCP) => TCP,
            (AF_INET | AF_INET6, SOCK_DGRAM, 0 | UDP) => UDP,
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

    fn internet(&self) -> bool {
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

    fn nowhere(&self) -> Address {
        match self.family {
            AF_INET => Address::Inet([0; 4], 0),
            AF_INET6 => Address::Inet6([0; 16], 0, 0),
            AF_NETLINK => Address::Netlink(0),
            _ => Address::Unix(Vec::new()),
        }
    }

    fn flag(&self, level: u32, name: u32) -> bool {
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

    fn peer(&self) -> Option<Rc<Socket>> {
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

    fn room(&self) -> usize {
        let inbox = self.inbox.borrow();
        let full = !self.is_stream() && inbox.segments.len() >= INBOX_MESSAGES;
        if full { 0 } else { INBOX_BYTES.saturating_sub(inbox.bytes) }
    }

    /// Send along a connection. EAGAIN; EPIPE (the caller sends SIGPIPE), ENOTCONN, EMSGSIZE, ECONNRESET.
    pub fn send_connected(
        &self,
        src: &mut Io<'_>,
        rights: Vec<FileRef>,
        cred: Credentials,
    ) -> Result<usize, Errno> {
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        if self.write_shut.get() {
            return Err(Errno::EPIPE);
        }
        if self.state.get() != State::Connected {
            return Err(if self.is_stream() && self.internet() { Errno::EPIPE } else { Errno::ENOTCONN });
        }
        let Some(peer) = self.peer() else {
            if self.internet() && !self.reset_seen.replace(true) {
                return Ok(src.take_all().len());
            }
            return Err(Errno::EPIPE);
        };
        if peer.read_shut.get() && !self.internet() {
            return Err(Errno::EPIPE);
        }
        if !self.is_stream() && src.remaining() > INBOX_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        let (want, room) = (src.remaining(), peer.room());
        if (want > 0 || !self.is_stream()) && (room == 0 || (!self.is_stream() && room < want)) {
            return Err(Errno::EAGAIN);
        }
        let mut data = vec![0; want.min(room)];
        let count = src.take(&mut data);
        if count > 0 || !self.is_stream() {
            let from = self.local_name();
            peer.deliver(Segment { data, at: 0, rights, cred, from });
        }
        Ok(count)
    }

    /// Send one datagram to `target`. EAGAIN (Unix only: UDP loses it), EMSGSIZE, EPERM.
    pub fn send_message(
        &self,
        target: &Socket,
        src: &mut Io<'_>,
        rights: Vec<FileRef>,
        cred: Credentials,
    ) -> Result<usize, Errno> {
        if self.write_shut.get() {
            return Err(Errno::EPIPE);
        }
        let limit = if self.internet() { UDP_MAX } else { INBOX_BYTES };
        if src.remaining() > limit {
            return Err(Errno::EMSGSIZE);
        }
        // A connected datagram socket takes only what its peer sends.
        let deaf = target.state.get() == State::Connected && !target.hears(self);
        if deaf && !self.internet() {
            return Err(Errno::EPERM);
        }
        let full = target.room() < src.remaining().max(1);
        if full && !self.internet() {
            return Err(Errno::EAGAIN);
        }
        let data = src.take_all();
        let count = data.len();
        if !full && !deaf && !target.read_shut.get() {
            let from = self.local_name().in_family(target.family);
            target.deliver(Segment { data, at: 0, rights, cred, from });
        }
        Ok(count)
    }

    fn hears(&self, sender: &Socket) -> bool {
        if !self.internet() {
            return self.peer().is_none_or(|peer| std::ptr::eq(&*peer, sender));
        }
        let (remote, local) = (self.remote(), sender.local().map(|l| l.in_family(self.family).destination()));
        remote.is_none_or(|remote| {
            local.is_none_or(|local| remote == local || local.is_wildcard() && remote.port() == local.port())
        })
    }

    /// Put a message into the inbox.
    pub(super) fn deliver(&self, segment: Segment) {
        let mut inbox = self.inbox.borrow_mut();
        inbox.bytes += segment.data.len();
        let joinable = self.is_stream() && segment.rights.is_empty() && !self.pass_cred();
        match inbox
            .segments
            .back_mut()
            .filter(|last| joinable && last.rights.is_empty() && last.data.len() < JOIN)
        {
            Some(last) => last.data.extend_from_slice(&segment.data),
            None => inbox.segments.push_back(segment),
        }
        drop(inbox);
        self.readable.wake_all();
    }

    /// A message of the kernel's own (netlink).
    pub fn deliver_bytes(&self, data: Vec<u8>, from: Address) {
        self.deliver(Segment { data, at: 0, rights: Vec::new(), cred: Credentials::default(), from });
    }

    /// Receive. EAGAIN: nothing there yet. A count of 0 on a connection is its end.
    pub fn receive(&self, dst: &mut Io<'_>, peek: bool) -> Result<Received, Errno> {
        if self.inbox.borrow().segments.is_empty() {
            return self.nothing_to_receive();
        }
        let received =
            if self.is_stream() { self.receive_stream(dst, peek) } else { self.receive_message(dst, peek) };
        if !peek {
            // Room: for the other end of a connection, and for whoever waits to send datagrams here.
            if let Some(peer) = self.peer() {
                peer.writable.wake_all();
            }
            self.writable.wake_all();
        }
        Ok(received)
    }

    fn nothing_to_receive(&self) -> Result<Received, Errno> {
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        if self.eof.get() || self.read_shut.get() {
            return Ok(Received::default());
        }
        if self.connection_oriented() && self.state.get() != State::Connected {
            return Err(if self.internet() || self.kind == SOCK_SEQPACKET {
                Errno::ENOTCONN
            } else {
                Errno::EINVAL
            });
        }
        Err(Errno::EAGAIN)
    }

    fn receive_stream(&self, dst: &mut Io<'_>, peek: bool) -> Received {
        let mut inbox = self.inbox.borrow_mut();
        let mut out = Received::default();
        let (mut index, mut finished) = (0, 0);
        while let Some(segment) = inbox.segments.get_mut(index).filter(|_| dst.remaining() > 0) {
            // Senders are kept apart when the receiver wants to know them.
            if self.pass_cred() && out.cred.is_some_and(|cred| cred != segment.cred) {
                break;
            }
            let count = dst.put(&segment.data[segment.at..]);
            out.count += count;
            out.cred = Some(segment.cred);
            let with_rights = !segment.rights.is_empty();
            if with_rights {
                out.rights = if peek { segment.rights.clone() } else { std::mem::take(&mut segment.rights) };
            }
            if !peek {
                segment.at += count;
                finished += usize::from(segment.at == segment.data.len());
            }
            index += 1;
            if with_rights {
                break;
            }
        }
        inbox.segments.drain(..finished);
        if !peek {
            inbox.bytes -= out.count;
        }
        out.full = out.count;
        out
    }

    fn receive_message(&self, dst: &mut Io<'_>, peek: bool) -> Received {
        let mut inbox = self.inbox.borrow_mut();
        let Some(segment) = inbox.segments.front_mut() else { return Received::default() };
        let rights = if peek { segment.rights.clone() } else { std::mem::take(&mut segment.rights) };
        let out = Received {
            count: dst.put(&segment.data),
            full: segment.data.len(),
            rights,
            cred: Some(segment.cred),
            from: Some(segment.from.clone()),
        };
        if !peek {
            inbox.bytes -= out.full;
            inbox.segments.pop_front();
        }
        out
    }

    /// Bytes a read would get (FIONREAD): all of a stream, the next message else.
    fn waiting_bytes(&self) -> usize {
        let inbox = self.inbox.borrow();
        if self.is_stream() { inbox.bytes } else { inbox.segments.front().map_or(0, |s| s.data.len()) }
    }

    /// Bytes that wait, whatever the kind (MSG_WAITALL).
    pub fn inbox_bytes(&self) -> usize {
        self.inbox.borrow().bytes
    }

    /// Nothing more can come after what waits.
    pub fn ended(&self) -> bool {
        self.eof.get() || self.read_shut.get() || self.error.get().is_some()
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

/// The caller, as the other end sees it.
pub fn credentials(cx: &Ctx<'_>) -> Credentials {
    let cred = cx.task.cred.borrow();
    Credentials { pid: cx.task.process.tgid, uid: cred.euid, gid: cred.egid }
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
        send(cx, self, src, None, Vec::new(), None, true)
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

/// The deadline of this call, `timeout_ns` after its first run; 0 means none.
pub fn set_deadline(cx: &Ctx<'_>, timeout_ns: u64) {
    if timeout_ns > 0 {
        let now = cx.kernel.monotonic_ns();
        cx.task.progress.borrow_mut().deadline_ns.get_or_insert(now.saturating_add(timeout_ns));
    }
}

/// Send from `socket`, to `to` or along its connection. SIGPIPE goes with EPIPE when `signal`.
pub fn send(
    cx: &mut Ctx<'_>,
    socket: &Socket,
    src: &mut Io<'_>,
    to: Option<&Address>,
    rights: Vec<FileRef>,
    cred: Option<Credentials>,
    signal: bool,
) -> Result<usize, Errno> {
    let cred = cred.unwrap_or_else(|| credentials(cx));
    let result = if socket.family == AF_NETLINK {
        netlink::request(socket, &src.take_all())
    } else if socket.connection_oriented() {
        match to {
            Some(_) if socket.is_stream() && socket.is_connected() && !socket.internet() => {
                Err(Errno::EISCONN)
            }
            _ => socket.send_connected(src, rights, cred),
        }
    } else {
        send_datagram(cx, socket, src, to, rights, cred)
    };
    if result == Err(Errno::EPIPE) && signal && socket.connection_oriented() {
        cx.kernel.outbox.post(Target::Task(cx.task.tid), SIGPIPE);
    }
    result
}

fn send_datagram(
    cx: &mut Ctx<'_>,
    socket: &Socket,
    src: &mut Io<'_>,
    to: Option<&Address>,
    rights: Vec<FileRef>,
    cred: Credentials,
) -> Result<usize, Errno> {
    if let Some(error) = socket.take_error() {
        return Err(error);
    }
    let missing = if socket.internet() { Errno::EDESTADDRREQ } else { Errno::ENOTCONN };
    let remote = socket.remote();
    let target = match to.or(remote.as_ref()) {
        Some(address) if socket.internet() => {
            if socket.local().is_none() {
                bind(cx, socket, &socket.nowhere())?;
            }
            let address = address.destination();
            if !address.is_loopback() {
                return Err(Errno::ENETUNREACH);
            }
            match cx.kernel.names.receiver(&address, false) {
                Some(target) => target,
                None => {
                    // The answer (ICMP) reaches only a socket that is connected.
                    if remote.is_some() {
                        socket.error.set(Some(Errno::ECONNREFUSED));
                        socket.writable.wake_all();
                    }
                    return Ok(src.take_all().len());
                }
            }
        }
        Some(address) if to.is_some() => find_unix(cx, address)?,
        _ if socket.is_connected() => socket.peer().ok_or(Errno::ECONNREFUSED)?,
        _ => return Err(missing),
    };
    if target.kind != socket.kind {
        return Err(Errno::EPROTOTYPE);
    }
    socket.send_message(&target, src, rights, cred)
}

/// The Unix socket bound to `address`. ECONNREFUSED, and what the path walk says.
pub fn find_unix(cx: &Ctx<'_>, address: &Address) -> Result<Rc<Socket>, Errno> {
    use crate::fs::{mode, namei, permission};
    let Address::Unix(name) = address else { return Err(Errno::EINVAL) };
    if name.is_empty() {
        return Err(Errno::ECONNREFUSED);
    }
    if name[0] == 0 {
        return cx.kernel.names.find_abstract(name).ok_or(Errno::ECONNREFUSED);
    }
    let dentry = namei::lookup(cx, crate::abi::fcntl::AT_FDCWD, name, 0)?;
    permission::may(cx, &*dentry.inode, permission::MAY_WRITE)?;
    if dentry.inode.stat().mode & mode::S_IFMT != mode::S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    let slot = dentry.inode.attachment().ok_or(Errno::ECONNREFUSED)?;
    let slot = slot.borrow();
    let weak = slot.as_ref().and_then(|any| any.downcast_ref::<Weak<Socket>>());
    weak.and_then(Weak::upgrade).filter(|socket| !socket.is_closed()).ok_or(Errno::ECONNREFUSED)
}

/// bind(2). EINVAL, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT.
pub fn bind(cx: &Ctx<'_>, socket: &Socket, address: &Address) -> Result<(), Errno> {
    use crate::fs::{Make, mode, namei};
    if socket.local().is_some() {
        return Err(Errno::EINVAL);
    }
    let this = socket.this.upgrade().ok_or(Errno::EBADF)?;
    let bound = match (socket.family, address) {
        (AF_UNIX, Address::Unix(name)) if name.is_empty() => {
            let name = cx.kernel.names.free_abstract();
            cx.kernel.names.bind_abstract(&name, &this)?;
            Address::Unix(name)
        }
        (AF_UNIX, Address::Unix(name)) if name[0] == 0 => {
            cx.kernel.names.bind_abstract(name, &this)?;
            address.clone()
        }
        (AF_UNIX, Address::Unix(name)) => {
            let last = namei::parent(cx, crate::abi::fcntl::AT_FDCWD, name)?;
            let exists = |errno| if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno };
            if !last.is_name() {
                return Err(Errno::EADDRINUSE);
            }
            let bits = mode::S_IFSOCK | 0o777;
            let dentry = namei::create(cx, &last.parent, &last.name, Make::Node(0), bits).map_err(exists)?;
            let slot = dentry.inode.attachment().ok_or(Errno::EADDRNOTAVAIL)?;
            *slot.borrow_mut() = Some(Rc::new(Rc::downgrade(&this)));
            address.clone()
        }
        (AF_INET, Address::Inet(..)) | (AF_INET6, Address::Inet6(..)) => {
            if !address.is_wildcard() && !address.is_loopback() {
                return Err(Errno::EADDRNOTAVAIL);
            }
            cx.kernel.names.bind_port(address, &this)?
        }
        (AF_NETLINK, Address::Netlink(pid)) => {
            Address::Netlink(if *pid == 0 { cx.task.process.tgid } else { *pid })
        }
        (AF_INET, _) => return Err(Errno::EAFNOSUPPORT),
        _ => return Err(Errno::EINVAL),
    };
    socket.set_local(bound);
    Ok(())
}
#[cfg(test)]
#[path = "socket_test.rs"]
mod tests;
