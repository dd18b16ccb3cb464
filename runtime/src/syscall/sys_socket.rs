//! Sockets: socket(2) and everything that takes one. What a socket does is in `net/`, control messages are in
//! `ancillary.rs`.

use std::rc::Rc;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::sys_pipe::install_pair;
use super::sys_rw::{Pieces, iovec, slice, wait_for};
use super::{Args, Block, Flow, Interrupt, SysResult, ancillary};
use crate::abi::Errno;
use crate::abi::fcntl::{O_NONBLOCK, O_RDWR};
use crate::abi::socket::*;
use crate::fs::{FileRef, Stat, anon, mode};
use crate::kernel::{Ctx, user_io};
use crate::mm::Access;
use crate::net::address::ADDRESS_MAX;
use crate::net::bind::{self, find_unix};
use crate::net::transfer::{self, Ancillary, INBOX_BYTES, Received};
use crate::net::{Address, Socket, options};

/// Bytes moved in one go.
const SLICE: u64 = 256 << 10;
/// Messages of one sendmmsg(2) or recvmmsg(2) (UIO_MAXIOV).
const MESSAGES_MAX: u32 = 1024;

/// `struct user_msghdr`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct MsgHdr {
    name: u64,
    namelen: u32,
    pad: u32,
    iov: u64,
    iovlen: u64,
    pub(super) control: u64,
    pub(super) controllen: u64,
    flags: u32,
    pad2: u32,
}
const _: () = assert!(size_of::<MsgHdr>() == 56);
/// `struct mmsghdr`: a header and a length.
const MMSGHDR: u64 = 64;

/// The socket behind `file`; ENOTSOCK.
fn of(file: &FileRef) -> Result<&Socket, Errno> {
    file.ops.as_any().downcast_ref().ok_or(Errno::ENOTSOCK)
}

/// A description of `socket`.
fn describe(cx: &Ctx<'_>, socket: Rc<Socket>, flags: u32) -> FileRef {
    let stat = Stat { mode: mode::S_IFSOCK | 0o777, ..anon::stat(cx) };
    let name = format!("socket:[{}]", stat.ino);
    anon::open(cx, &name, anon::Node::new(stat), socket, O_RDWR | flags & O_NONBLOCK)
}

fn split_kind(raw: u32) -> Result<(u32, u32), Errno> {
    let flags = raw & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    let kind = raw & !flags;
    if kind > 15 { Err(Errno::EINVAL) } else { Ok((kind, flags)) }
}

/// socket(domain, type, protocol).
pub(super) fn socket(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (kind, flags) = split_kind(args.u32(1))?;
    let socket = Socket::new(cx, args.u32(0), kind, args.u32(2))?;
    let file = describe(cx, socket, flags);
    Ok(cx.task.files.borrow().install(file, flags & SOCK_CLOEXEC != 0, 0)? as u64)
}

/// socketpair(domain, type, protocol, fds).
pub(super) fn socketpair(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (kind, flags) = split_kind(args.u32(1))?;
    let family = args.u32(0);
    let [a, b] = [Socket::new(cx, family, kind, args.u32(2))?, Socket::new(cx, family, kind, args.u32(2))?];
    if family != AF_UNIX {
        return Err(Errno::EOPNOTSUPP.into());
    }
    cx.mm().fault_in(args.u64(3), 8, Access::Write)?;
    a.join(&b);
    let files = [describe(cx, a, flags), describe(cx, b, flags)];
    let fds = install_pair(cx, files, flags & SOCK_CLOEXEC != 0)?;
    cx.write_user(args.u64(3), &fds)?;
    Ok(0)
}

fn read_address(cx: &Ctx<'_>, addr: u64, len: i32) -> Result<Address, Flow> {
    let len = usize::try_from(len).ok().filter(|&n| n <= ADDRESS_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; len];
    cx.mm().copy_in(addr, &mut bytes)?;
    Ok(Address::parse(&bytes)?)
}

/// Store an address where `addr` points, cut to what `len_addr` says fits; the full length goes there.
fn write_address(cx: &Ctx<'_>, address: &Address, addr: u64, len_addr: u64) -> Result<(), Flow> {
    let room: i32 = cx.read_user(len_addr)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let bytes = address.encode();
    cx.mm().copy_out(addr, &bytes[..bytes.len().min(room)])?;
    cx.write_user(len_addr, &(bytes.len() as u32))
}

/// bind(fd, addr, len).
pub(super) fn bind(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    let address = read_address(cx, args.u64(1), args.i32(2))?;
    let address = if address == Address::Unspecified && socket.family == AF_INET {
        Address::Inet([0; 4], 0)
    } else {
        address
    };
    bind::bind(cx, socket, &address)?;
    socket.keep_local();
    Ok(0)
}

/// listen(fd, backlog).
pub(super) fn listen(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    bind_anywhere(cx, socket)?;
    socket.listen(args.i32(1))?;
    Ok(0)
}

/// An internet socket that has no address yet gets one.
fn bind_anywhere(cx: &Ctx<'_>, socket: &Socket) -> Result<(), Errno> {
    match (socket.local(), socket.family) {
        (None, AF_INET | AF_INET6) => bind::bind(cx, socket, &socket.local_name()),
        _ => Ok(()),
    }
}

/// connect(fd, addr, len).
pub(super) fn connect(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    let address = read_address(cx, args.u64(1), args.i32(2))?;
    if !socket.connection_oriented() {
        connect_datagram(cx, socket, &address)?;
        return Ok(0);
    }
    if socket.is_listening() {
        return Err(Errno::EISCONN.into());
    }
    if socket.is_connected() {
        return if socket.take_connecting() { Ok(0) } else { Err(Errno::EISCONN.into()) };
    }
    if let Some(error) = socket.take_error() {
        return Err(error.into());
    }
    let internet = matches!(socket.family, AF_INET | AF_INET6);
    let listener = if internet { find_listener(cx, socket, &address) } else { find_unix(cx, &address) };
    let (result, listener) = match listener {
        Ok(listener) => (socket.connect_to(&listener), Some(listener)),
        Err(errno) => (Err(errno), None),
    };
    match (result, listener) {
        (Ok(()) | Err(Errno::ECONNREFUSED), _) if internet && file.nonblocking() => {
            socket.finish_later(result.err());
            Err(Errno::EINPROGRESS.into())
        }
        (Err(Errno::EAGAIN), Some(listener)) if !file.nonblocking() => {
            Err(Block::on(vec![listener.room_queue()], Interrupt::Restart))
        }
        (Ok(()), _) => {
            if !internet {
                socket.aim(&address);
            }
            Ok(0)
        }
        (Err(errno), _) => Err(errno.into()),
    }
}

/// Who listens at an internet address. ENETUNREACH, ECONNREFUSED.
fn find_listener(cx: &Ctx<'_>, socket: &Socket, address: &Address) -> Result<Rc<Socket>, Errno> {
    let fits =
        matches!((socket.family, address), (AF_INET, Address::Inet(..)) | (AF_INET6, Address::Inet6(..)));
    if !fits {
        return Err(if socket.family == AF_INET { Errno::EAFNOSUPPORT } else { Errno::EINVAL });
    }
    let destination = address.destination();
    if !destination.is_loopback() {
        return Err(Errno::ENETUNREACH);
    }
    let listener = cx.kernel.names.receiver(&destination, socket.protocol).ok_or(Errno::ECONNREFUSED)?;
    take_source(cx, socket, &destination)?;
    socket.aim(&destination);
    Ok(listener)
}

/// A socket about to send to `destination` needs an address of its own: that of the same interface.
fn take_source(cx: &Ctx<'_>, socket: &Socket, destination: &Address) -> Result<(), Errno> {
    bind_anywhere(cx, socket)?;
    let local = socket.local_name();
    if local.is_wildcard() {
        socket.set_local(destination.with_port(local.port().unwrap_or(0)));
    }
    Ok(())
}

fn connect_datagram(cx: &Ctx<'_>, socket: &Socket, address: &Address) -> Result<(), Errno> {
    match (socket.family, address) {
        (_, Address::Unspecified) => socket.dissolve(&cx.kernel.names),
        (AF_UNIX, Address::Unix(_)) => {
            let peer = find_unix(cx, address)?;
            if peer.kind != socket.kind {
                return Err(Errno::EPROTOTYPE);
            }
            socket.set_remote(Some(address.clone()), Some(&peer));
        }
        (AF_INET, Address::Inet(..)) | (AF_INET6, Address::Inet(..) | Address::Inet6(..)) => {
            if matches!((socket.family, address), (AF_INET6, Address::Inet(..))) && socket.v6_only() {
                return Err(Errno::EAFNOSUPPORT);
            }
            let destination = address.destination().in_family(socket.family);
            if !destination.is_loopback() {
                return Err(Errno::ENETUNREACH);
            }
            take_source(cx, socket, &destination)?;
            socket.set_remote(Some(destination), None);
        }
        (AF_NETLINK, Address::Netlink(_)) => {}
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    Ok(())
}

/// accept(fd, addr, len).
pub(super) fn accept(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    accept_with(cx, args, 0)
}

/// accept4(fd, addr, len, flags).
pub(super) fn accept4(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    accept_with(cx, args, flags)
}

fn accept_with(cx: &mut Ctx<'_>, args: Args, flags: u32) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    if args.u64(1) != 0 {
        cx.mm().fault_in(args.u64(1), 1, Access::Write)?;
        cx.mm().fault_in(args.u64(2), 4, Access::Write)?;
    }
    transfer::set_deadline(cx, socket.receive_timeout_ns.get());
    let connection = match socket.accept() {
        Err(Errno::EAGAIN) if !file.nonblocking() => return Err(wait_for(cx, &file)),
        other => other?,
    };
    let peer = connection.remote().unwrap_or(Address::Unix(Vec::new()));
    let accepted = describe(cx, connection, flags);
    let fd = cx.task.files.borrow().install(accepted, flags & SOCK_CLOEXEC != 0, 0)?;
    if args.u64(1) != 0 {
        write_address(cx, &peer, args.u64(1), args.u64(2))?;
    }
    Ok(fd as u64)
}

/// getsockname(fd, addr, len).
pub(super) fn getsockname(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let name = of(&file)?.local_name();
    write_address(cx, &name, args.u64(1), args.u64(2))?;
    Ok(0)
}

/// getpeername(fd, addr, len).
pub(super) fn getpeername(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    if !socket.is_connected() {
        return Err(Errno::ENOTCONN.into());
    }
    let unnamed = Address::Unix(Vec::new());
    write_address(cx, &socket.remote().unwrap_or(unnamed), args.u64(1), args.u64(2))?;
    Ok(0)
}

/// shutdown(fd, how).
pub(super) fn shutdown(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let how = args.u32(1);
    if how > SHUT_RDWR {
        return Err(Errno::EINVAL.into());
    }
    of(&file)?.shutdown(how != SHUT_WR, how != SHUT_RD)?;
    Ok(0)
}

/// setsockopt(fd, level, name, value, len).
pub(super) fn setsockopt(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    /// No option is longer.
    const LONGEST: usize = 256;
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    let len = usize::try_from(args.i32(4)).map_err(|_| Errno::EINVAL)?;
    let mut value = vec![0; len.min(LONGEST)];
    cx.mm().copy_in(args.u64(3), &mut value)?;
    options::set(socket, args.u32(1), args.u32(2), &value)?;
    Ok(0)
}

/// getsockopt(fd, level, name, value, len).
pub(super) fn getsockopt(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    let room: i32 = cx.read_user(args.u64(4))?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    cx.mm().fault_in(args.u64(4), 4, Access::Write)?;
    let value = options::get(socket, args.u32(1), args.u32(2))?;
    let count = value.len().min(room);
    cx.mm().copy_out(args.u64(3), &value[..count])?;
    cx.write_user(args.u64(4), &(count as u32))?;
    Ok(0)
}

/// What one message is sent with.
struct Outgoing {
    pieces: Pieces,
    to: Option<Address>,
    beside: Ancillary,
    flags: u32,
}

fn send_message(cx: &mut Ctx<'_>, file: &FileRef, message: Outgoing) -> SysResult {
    let socket = of(file)?;
    let Outgoing { pieces, to, beside, flags } = message;
    if flags & MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    transfer::set_deadline(cx, socket.send_timeout_ns.get());
    let waits = flags & MSG_DONTWAIT == 0 && !file.nonblocking();
    let total: u64 = pieces.iter().map(|p| p.1 as u64).sum();
    let mut done = cx.task.progress.borrow().done.min(total);
    let mm = cx.mm();
    loop {
        let limit = if socket.is_stream() { SLICE } else { u64::MAX };
        // A message too large for any socket is not faulted in.
        if !socket.is_stream() && total > INBOX_BYTES as u64 {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut io = user_io(&mm, slice(&pieces, done, limit), Access::Read)?;
        let rights = if done == 0 { beside.rights.clone() } else { Vec::new() };
        let beside = Ancillary { rights, ..beside };
        let signal = flags & MSG_NOSIGNAL == 0 && done == 0;
        match transfer::send(cx, socket, &mut io, to.as_ref(), beside, signal) {
            Ok(count) => done += count as u64,
            Err(Errno::EAGAIN) if done > 0 && (!waits || cx.task.progress.borrow().interrupted) => {
                return Ok(done);
            }
            Err(Errno::EAGAIN) if waits => {
                cx.task.progress.borrow_mut().done = done;
                return Err(wait_to_send(cx, file, to.as_ref()));
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno.into()),
        }
        if done >= total || !socket.is_stream() {
            return Ok(done);
        }
    }
}

/// A datagram waits for room at its destination, which is nobody's peer.
fn wait_to_send(cx: &Ctx<'_>, file: &FileRef, to: Option<&Address>) -> Flow {
    let mut flow = wait_for(cx, file);
    if let (Flow::Block(block), Some(target)) = (&mut flow, to.and_then(|to| find_unix(cx, to).ok())) {
        block.queues.push(target.room_queue());
    }
    flow
}

/// sendto(fd, buffer, len, flags, addr, addrlen).
pub(super) fn sendto(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    of(&file)?;
    let to = match args.ptr(4) {
        Some(addr) => Some(read_address(cx, addr, args.i32(5))?),
        None => None,
    };
    let len = args.u64(2).min(0x7fff_f000) as usize;
    let pieces = vec![(args.u64(1), len)];
    send_message(cx, &file, Outgoing { pieces, to, beside: Ancillary::default(), flags: args.u32(3) })
}

fn outgoing(cx: &Ctx<'_>, socket: &Socket, header: &MsgHdr, flags: u32) -> Result<Outgoing, Flow> {
    let to = match header.name {
        0 => None,
        addr if header.namelen > 0 => Some(read_address(cx, addr, header.namelen as i32)?),
        _ => None,
    };
    let pieces = message_pieces(cx, header)?;
    let beside = ancillary::read(cx, socket, header)?;
    Ok(Outgoing { pieces, to, beside, flags })
}

fn message_pieces(cx: &Ctx<'_>, header: &MsgHdr) -> Result<Pieces, Flow> {
    match iovec(cx, header.iov, header.iovlen) {
        Err(Flow::Errno(Errno::EINVAL)) if header.iovlen > 1024 => Err(Errno::EMSGSIZE.into()),
        other => other,
    }
}

/// sendmsg(fd, header, flags).
pub(super) fn sendmsg(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let header: MsgHdr = cx.read_user(args.u64(1))?;
    let message = outgoing(cx, of(&file)?, &header, args.u32(2))?;
    send_message(cx, &file, message)
}

/// sendmmsg(fd, headers, count, flags). Blocks for the first message only; what was sent is kept.
pub(super) fn sendmmsg(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let socket = of(&file)?;
    let count = args.u32(2).min(MESSAGES_MAX);
    let mut sent = 0;
    while sent < u64::from(count) {
        let addr = args.u64(1).wrapping_add(sent * MMSGHDR);
        let flags = args.u32(3) | if sent > 0 { MSG_DONTWAIT } else { 0 };
        let one = cx.read_user(addr).and_then(|header: MsgHdr| outgoing(cx, socket, &header, flags));
        match one.and_then(|message| send_message(cx, &file, message)) {
            Ok(bytes) => cx.write_user(addr.wrapping_add(56), &(bytes as u32))?,
            Err(_) if sent > 0 => break,
            Err(flow) => return Err(flow),
        }
        sent += 1;
    }
    Ok(sent)
}

/// Receive into `pieces`. Waits as the flags and the file say.
fn receive(cx: &mut Ctx<'_>, file: &FileRef, pieces: &Pieces, flags: u32) -> Result<Received, Flow> {
    let socket = of(file)?;
    if flags & MSG_OOB != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MSG_ERRQUEUE != 0 {
        return Err(Errno::EAGAIN.into());
    }
    transfer::set_deadline(cx, socket.receive_timeout_ns.get());
    let waits = flags & MSG_DONTWAIT == 0 && !file.nonblocking();
    let total: u64 = pieces.iter().map(|p| p.1 as u64).sum();
    let mm = cx.mm();
    let peek = flags & MSG_PEEK != 0;
    let all = flags & MSG_WAITALL != 0 && socket.is_stream() && !peek && waits;
    let mut done = if all { cx.task.progress.borrow().done.min(total) } else { 0 };
    loop {
        let mut io = user_io(&mm, slice(pieces, done, SLICE), Access::Write)?;
        let outcome = if total == 0 && socket.is_stream() {
            Ok(Received::default())
        } else {
            socket.receive(&mut io, peek)
        };
        match outcome {
            Ok(mut received) => {
                let end = received.count == 0 || !received.rights.is_empty();
                received.count += done as usize;
                received.full += done as usize;
                done = received.count as u64;
                if !all || done >= total || end {
                    return Ok(received);
                }
            }
            Err(Errno::EAGAIN) if done > 0 && cx.task.progress.borrow().interrupted => {
                return Ok(Received { count: done as usize, full: done as usize, ..Received::default() });
            }
            Err(Errno::EAGAIN) if waits => {
                cx.task.progress.borrow_mut().done = done;
                return match wait_for(cx, file) {
                    Flow::Errno(_) if done > 0 => {
                        Ok(Received { count: done as usize, full: done as usize, ..Received::default() })
                    }
                    flow => Err(flow),
                };
            }
            Err(_) if done > 0 => {
                return Ok(Received { count: done as usize, full: done as usize, ..Received::default() });
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// recvfrom(fd, buffer, len, flags, addr, addrlen).
pub(super) fn recvfrom(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    let flags = args.u32(3);
    let pieces = vec![(args.u64(1), args.u64(2).min(0x7fff_f000) as usize)];
    let received = receive(cx, &file, &pieces, flags)?;
    if args.u64(4) != 0 {
        match &received.from {
            Some(from) => write_address(cx, from, args.u64(4), args.u64(5))?,
            None => cx.write_user(args.u64(5), &0u32)?,
        }
    }
    Ok(if flags & MSG_TRUNC != 0 { received.full } else { received.count } as u64)
}

/// One message into the buffers of the header at `addr`; the header is updated.
fn receive_message(cx: &mut Ctx<'_>, file: &FileRef, addr: u64, flags: u32) -> SysResult {
    let mut header: MsgHdr = cx.read_user(addr)?;
    let pieces = message_pieces(cx, &header)?;
    cx.mm().fault_in(addr, size_of::<MsgHdr>() as u64, Access::Write)?;
    let received = receive(cx, file, &pieces, flags)?;
    let mut out_flags = if received.full > received.count { MSG_TRUNC } else { 0 };
    if header.name != 0 {
        let bytes = received.from.as_ref().map(Address::encode).unwrap_or_default();
        cx.mm().copy_out(header.name, &bytes[..bytes.len().min(header.namelen as usize)])?;
        header.namelen = bytes.len() as u32;
    }
    let (written, truncated) = ancillary::write(cx, of(file)?, &header, &received, flags)?;
    header.controllen = written;
    out_flags |= if truncated { MSG_CTRUNC } else { 0 };
    header.flags = out_flags | flags & MSG_CMSG_CLOEXEC;
    cx.write_user(addr, &header)?;
    Ok(if flags & MSG_TRUNC != 0 { received.full } else { received.count } as u64)
}

/// recvmsg(fd, header, flags).
pub(super) fn recvmsg(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    receive_message(cx, &file, args.u64(1), args.u32(2))
}

/// recvmmsg(fd, headers, count, flags, timeout). Waits for the first message only, as with MSG_WAITFORONE.
pub(super) fn recvmmsg(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = cx.file(args.fd(0))?;
    of(&file)?;
    let count = args.u32(2).min(MESSAGES_MAX);
    let mut done = 0;
    while done < u64::from(count) {
        let addr = args.u64(1).wrapping_add(done * MMSGHDR);
        let flags = args.u32(3) & !MSG_WAITFORONE | if done > 0 { MSG_DONTWAIT } else { 0 };
        match receive_message(cx, &file, addr, flags) {
            Ok(bytes) => cx.write_user(addr.wrapping_add(56), &(bytes as u32))?,
            Err(_) if done > 0 => break,
            Err(flow) => return Err(flow),
        }
        done += 1;
    }
    Ok(done)
}
