//! What sockets say to each other: sending, inboxes, receiving. Nothing crosses a wire; a message lies in the
//! receiver's inbox until it is read, and a full inbox holds senders back.

use std::collections::VecDeque;

use super::address::Address;
use super::bind::{bind, find_unix};
use super::socket::{Socket, State};
use super::{netlink, options};
use crate::abi::Errno;
use crate::abi::signal::SIGPIPE;
use crate::abi::socket::*;
use crate::fs::{FileRef, Io};
use crate::kernel::{Ctx, Target};

/// Bytes that wait in an inbox before senders have to (rmem_default).
pub const INBOX_BYTES: usize = 212_992;
/// Messages that wait in an inbox of datagrams, whatever their size.
const INBOX_MESSAGES: usize = 4096;
/// The largest UDP payload.
const UDP_MAX: usize = 65507;
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

/// What the sender of a message says beside its bytes: cmsg(3).
#[derive(Default)]
pub struct Ancillary {
    /// SCM_RIGHTS.
    pub rights: Vec<FileRef>,
    /// SCM_CREDENTIALS.
    pub cred: Option<Credentials>,
    /// IP_TTL or IPV6_HOPLIMIT of this message, instead of the socket's.
    pub hops: Option<i32>,
    /// IP_TOS or IPV6_TCLASS of this message, instead of the socket's.
    pub class: Option<i32>,
}

/// How an internet datagram travelled: what IP_PKTINFO and its kin show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Hops that it could have made.
    pub hops: i32,
    /// Type of service, traffic class.
    pub class: i32,
    /// Where it was sent to, IPv4 mapped into IPv6.
    pub to: [u8; 16],
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
    /// Internet datagrams.
    pub route: Option<Route>,
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
    /// How it came, for internet datagrams.
    pub route: Option<Route>,
}

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) segments: VecDeque<Segment>,
    pub(super) bytes: usize,
}

impl Socket {
    pub(super) fn room(&self) -> usize {
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
            peer.deliver(Segment { data, at: 0, rights, cred, from, route: None });
        }
        Ok(count)
    }

    /// Send one datagram to `target`. EAGAIN (Unix only: UDP loses it), EMSGSIZE, EPERM.
    pub fn send_message(
        &self,
        target: &Socket,
        src: &mut Io<'_>,
        (rights, cred): (Vec<FileRef>, Credentials),
        route: Option<Route>,
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
            target.deliver(Segment { data, at: 0, rights, cred, from, route });
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
        let cred = Credentials::default();
        self.deliver(Segment { data, at: 0, rights: Vec::new(), cred, from, route: None });
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
            route: segment.route,
        };
        if !peek {
            inbox.bytes -= out.full;
            inbox.segments.pop_front();
        }
        out
    }

    /// Bytes a read would get (FIONREAD): all of a stream, the next message else.
    pub(super) fn waiting_bytes(&self) -> usize {
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
}

/// The caller, as the other end sees it.
pub fn credentials(cx: &Ctx<'_>) -> Credentials {
    let cred = cx.task.cred.borrow();
    Credentials { pid: cx.task.process.tgid, uid: cred.euid, gid: cred.egid }
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
    beside: Ancillary,
    signal: bool,
) -> Result<usize, Errno> {
    let result = if socket.family == AF_NETLINK {
        netlink::request(socket, &src.take_all())
    } else if socket.connection_oriented() {
        match to {
            Some(_) if socket.is_stream() && socket.is_connected() && !socket.internet() => {
                Err(Errno::EISCONN)
            }
            _ => {
                let cred = beside.cred.unwrap_or_else(|| credentials(cx));
                socket.send_connected(src, beside.rights, cred)
            }
        }
    } else {
        send_datagram(cx, socket, src, to, beside)
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
    beside: Ancillary,
) -> Result<usize, Errno> {
    if let Some(error) = socket.take_error() {
        return Err(error);
    }
    let mut route = None;
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
            route = address.host().map(|to| route_of(socket, &beside, to));
            match cx.kernel.names.receiver(&address, socket.protocol) {
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
    let cred = beside.cred.unwrap_or_else(|| credentials(cx));
    socket.send_message(&target, src, (beside.rights, cred), route)
}

/// How a datagram from `socket` travels to `to`.
fn route_of(socket: &Socket, beside: &Ancillary, to: [u8; 16]) -> Route {
    let (level, hops, class) = match socket.family {
        AF_INET6 => (SOL_IPV6, IPV6_UNICAST_HOPS, IPV6_TCLASS),
        _ => (SOL_IP, IP_TTL, IP_TOS),
    };
    let number = |own: Option<i32>, name, unset| {
        Some(own.unwrap_or_else(|| options::number(socket, level, name))).filter(|&n| n >= 0).unwrap_or(unset)
    };
    Route { hops: number(beside.hops, hops, 64), class: number(beside.class, class, 0), to }
}
