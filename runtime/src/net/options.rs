//! getsockopt(2) and setsockopt(2). Most options are numbers that are kept and
//! given back, because a wire that they would tune does not exist. See
//! socket(7), tcp(7), ip(7), ipv6(7).
#![allow(missing_docs, reason = "the names are Linux's; socket(7) and tcp(7) say what they mean")]

use zerocopy::{FromBytes, IntoBytes};

use super::socket::Socket;
use super::transfer::INBOX_BYTES;
use crate::abi::Errno;
use crate::abi::socket::*;
use crate::abi::time::Timeval;

pub const SO_DEBUG: u32 = 1;
pub const SO_REUSEADDR: u32 = 2;
pub const SO_TYPE: u32 = 3;
pub const SO_ERROR: u32 = 4;
pub const SO_SNDBUF: u32 = 7;
pub const SO_RCVBUF: u32 = 8;
pub const SO_LINGER: u32 = 13;
pub const SO_REUSEPORT: u32 = 15;
pub const SO_PASSCRED: u32 = 16;
pub const SO_PEERCRED: u32 = 17;
pub const SO_RCVTIMEO: u32 = 20;
pub const SO_SNDTIMEO: u32 = 21;
pub const SO_BINDTODEVICE: u32 = 25;
pub const SO_ACCEPTCONN: u32 = 30;
pub const SO_SNDBUFFORCE: u32 = 32;
pub const SO_RCVBUFFORCE: u32 = 33;
pub const SO_PROTOCOL: u32 = 38;
pub const SO_DOMAIN: u32 = 39;
pub const IPV6_V6ONLY: u32 = 26;
const TCP_INFO: u32 = 11;
const TCP_CONGESTION: u32 = 13;

/// Options that are plain numbers: level, name, initial value.
const NUMBERS: &[(u32, u32, i32)] = &[
    (SOL_SOCKET, SO_DEBUG, 0),
    (SOL_SOCKET, SO_REUSEADDR, 0),
    (SOL_SOCKET, 5, 0), // SO_DONTROUTE
    (SOL_SOCKET, 6, 0), // SO_BROADCAST
    (SOL_SOCKET, SO_SNDBUF, INBOX_BYTES as i32),
    (SOL_SOCKET, SO_RCVBUF, INBOX_BYTES as i32),
    (SOL_SOCKET, 9, 0),  // SO_KEEPALIVE
    (SOL_SOCKET, 10, 0), // SO_OOBINLINE
    (SOL_SOCKET, 12, 0), // SO_PRIORITY
    (SOL_SOCKET, SO_REUSEPORT, 0),
    (SOL_SOCKET, SO_PASSCRED, 0),
    (SOL_SOCKET, 18, 1),  // SO_RCVLOWAT
    (SOL_SOCKET, 29, 0),  // SO_TIMESTAMP
    (SOL_SOCKET, 35, 0),  // SO_TIMESTAMPNS
    (SOL_SOCKET, 36, 0),  // SO_MARK
    (SOL_SOCKET, 40, 0),  // SO_RXQ_OVFL
    (SOL_SOCKET, 46, 0),  // SO_BUSY_POLL
    (SOL_SOCKET, 49, -1), // SO_INCOMING_CPU
    (SOL_TCP, 1, 0),      // TCP_NODELAY
    (SOL_TCP, 2, 32741),  // TCP_MAXSEG
    (SOL_TCP, 3, 0),      // TCP_CORK
    (SOL_TCP, 4, 7200),   // TCP_KEEPIDLE
    (SOL_TCP, 5, 75),     // TCP_KEEPINTVL
    (SOL_TCP, 6, 9),      // TCP_KEEPCNT
    (SOL_TCP, 7, 6),      // TCP_SYNCNT
    (SOL_TCP, 8, 60),     // TCP_LINGER2
    (SOL_TCP, 9, 0),      // TCP_DEFER_ACCEPT
    (SOL_TCP, 10, 0),     // TCP_WINDOW_CLAMP
    (SOL_TCP, 12, 1),     // TCP_QUICKACK
    (SOL_TCP, 18, 0),     // TCP_USER_TIMEOUT
    (SOL_TCP, 23, 0),     // TCP_FASTOPEN
    (SOL_TCP, 25, 0),     // TCP_NOTSENT_LOWAT
    (SOL_TCP, 30, 0),     // TCP_FASTOPEN_CONNECT
    (SOL_IP, IP_TOS, 0),
    (SOL_IP, IP_TTL, 64),
    (SOL_IP, IP_PKTINFO, 0),
    (SOL_IP, 10, 1), // IP_MTU_DISCOVER
    (SOL_IP, 11, 0), // IP_RECVERR
    (SOL_IP, IP_RECVTTL, 0),
    (SOL_IP, IP_RECVTOS, 0),
    (SOL_IP, 15, 0), // IP_FREEBIND
    (SOL_IP, 24, 0), // IP_BIND_ADDRESS_NO_PORT
    (SOL_IP, 33, 1), // IP_MULTICAST_TTL
    (SOL_IP, 34, 1), // IP_MULTICAST_LOOP
    (SOL_IPV6, IPV6_UNICAST_HOPS, 64),
    (SOL_IPV6, 18, 1), // IPV6_MULTICAST_HOPS
    (SOL_IPV6, 19, 1), // IPV6_MULTICAST_LOOP
    (SOL_IPV6, 23, 1), // IPV6_MTU_DISCOVER
    (SOL_IPV6, 25, 0), // IPV6_RECVERR
    (SOL_IPV6, IPV6_V6ONLY, 0),
    (SOL_IPV6, IPV6_RECVPKTINFO, 0),
    (SOL_IPV6, IPV6_RECVHOPLIMIT, 0),
    (SOL_IPV6, IPV6_RECVTCLASS, 0),
    (SOL_IPV6, IPV6_TCLASS, 0),
    (SOL_UDPLITE, 10, 0), // UDPLITE_SEND_CSCOV
    (SOL_UDPLITE, 11, 0), // UDPLITE_RECV_CSCOV
    (SOL_NETLINK, 1, 0),  // NETLINK_ADD_MEMBERSHIP
    (SOL_NETLINK, 3, 0),  // NETLINK_PKTINFO
    (SOL_NETLINK, 10, 0), // NETLINK_CAP_ACK
    (SOL_NETLINK, 11, 0), // NETLINK_EXT_ACK
    (SOL_NETLINK, 12, 0), // NETLINK_GET_STRICT_CHK
];

/// The value of an option that is a number; 0 for any other.
pub fn number(socket: &Socket, level: u32, name: u32) -> i32 {
    let set = socket.options.borrow().get(&(level, name)).copied();
    set.or_else(|| number_of(level, name)).unwrap_or(0)
}

fn number_of(level: u32, name: u32) -> Option<i32> {
    NUMBERS.iter().find(|row| (row.0, row.1) == (level, name)).map(|row| row.2)
}

/// The level is one that this kind of socket has.
fn has_level(socket: &Socket, level: u32) -> bool {
    match level {
        SOL_SOCKET => true,
        SOL_TCP => socket.protocol == 6,
        SOL_UDPLITE => socket.protocol == SOL_UDPLITE,
        SOL_IP => matches!(socket.family, AF_INET | AF_INET6),
        SOL_IPV6 => socket.family == AF_INET6,
        SOL_NETLINK => socket.family == AF_NETLINK,
        _ => false,
    }
}

/// setsockopt(2). ENOPROTOOPT, EOPNOTSUPP, EINVAL, EDOM.
pub fn set(socket: &Socket, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    if !has_level(socket, level) {
        return Err(if socket.family == AF_UNIX { Errno::EOPNOTSUPP } else { Errno::ENOPROTOOPT });
    }
    if level == SOL_SOCKET {
        match name {
            SO_RCVTIMEO | SO_SNDTIMEO => {
                let (time, _) = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
                let ns = time.to_ns().map_err(|_| Errno::EDOM)?;
                let slot =
                    if name == SO_RCVTIMEO { &socket.receive_timeout_ns } else { &socket.send_timeout_ns };
                slot.set(ns);
                return Ok(());
            }
            SO_LINGER => {
                let (linger, _) = <[i32; 2]>::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
                let mut options = socket.options.borrow_mut();
                options.insert((level, name), if linger[0] != 0 { linger[1] } else { -1 });
                return Ok(());
            }
            SO_BINDTODEVICE => {
                // The one interface, or (empty) any.
                let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
                let bound = match &value[..end] {
                    b"" => 0,
                    b"lo" => 1,
                    _ => return Err(Errno::ENODEV),
                };
                socket.options.borrow_mut().insert((level, name), bound);
                return Ok(());
            }
            SO_TYPE | SO_ERROR | SO_PROTOCOL | SO_DOMAIN | SO_ACCEPTCONN | SO_PEERCRED => {
                return Err(Errno::ENOPROTOOPT);
            }
            _ => {}
        }
    }
    if (level, name) == (SOL_TCP, TCP_CONGESTION) {
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
        return if matches!(&value[..end], b"cubic" | b"reno") { Ok(()) } else { Err(Errno::ENOENT) };
    }
    let (plain, doubled) = match (level, name) {
        (SOL_SOCKET, SO_SNDBUF | SO_SNDBUFFORCE) => (SO_SNDBUF, true),
        (SOL_SOCKET, SO_RCVBUF | SO_RCVBUFFORCE) => (SO_RCVBUF, true),
        _ => (name, false),
    };
    number_of(level, plain).ok_or(Errno::ENOPROTOOPT)?;
    let number = match value {
        [a, b, c, d, ..] => i32::from_le_bytes([*a, *b, *c, *d]),
        [byte, ..] if level != SOL_SOCKET => i32::from(*byte),
        _ => return Err(Errno::EINVAL),
    };
    // The kernel doubles buffer sizes, for its own accounting.
    // Eight bytes are the header, which is always covered; 0 is all of it. See udplite(7).
    let number = match level {
        SOL_UDPLITE if number > 0 => number.clamp(8, 0xffff),
        _ => number,
    };
    let number = if doubled { number.clamp(2304 / 2, INBOX_BYTES as i32) * 2 } else { number };
    socket.options.borrow_mut().insert((level, plain), number);
    Ok(())
}

/// getsockopt(2): the value's bytes. ENOPROTOOPT, EOPNOTSUPP.
pub fn get(socket: &Socket, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
    if !has_level(socket, level) {
        return Err(if socket.family == AF_UNIX { Errno::EOPNOTSUPP } else { Errno::ENOPROTOOPT });
    }
    let int = |value: u32| Ok(value.to_le_bytes().to_vec());
    let timeval = |ns: u64| Ok(Timeval::from_ns(ns).as_bytes().to_vec());
    match (level, name) {
        (SOL_SOCKET, SO_TYPE) => int(socket.kind),
        (SOL_SOCKET, SO_DOMAIN) => int(socket.family),
        (SOL_SOCKET, SO_PROTOCOL) => int(socket.protocol),
        (SOL_SOCKET, SO_ERROR) => int(socket.take_error().map_or(0, |e| u32::from(e.0))),
        (SOL_SOCKET, SO_ACCEPTCONN) => int(u32::from(socket.is_listening())),
        (SOL_SOCKET, SO_RCVTIMEO) => timeval(socket.receive_timeout_ns.get()),
        (SOL_SOCKET, SO_SNDTIMEO) => timeval(socket.send_timeout_ns.get()),
        (SOL_SOCKET, SO_LINGER) => {
            let linger = socket.options.borrow().get(&(level, name)).copied().unwrap_or(-1);
            Ok([i32::from(linger >= 0), linger.max(0)].as_bytes().to_vec())
        }
        (SOL_SOCKET, SO_BINDTODEVICE) => {
            let bound = socket.options.borrow().get(&(level, name)).is_some_and(|v| *v != 0);
            Ok(if bound { b"lo\0".to_vec() } else { Vec::new() })
        }
        (SOL_SOCKET, SO_PEERCRED) => {
            let peer = socket.peer_cred.get();
            let [pid, uid, gid] = peer.map_or([0, u32::MAX, u32::MAX], |c| [c.pid, c.uid, c.gid]);
            Ok([pid, uid, gid].as_bytes().to_vec())
        }
        (SOL_TCP, TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        (SOL_TCP, TCP_INFO) => {
            // Only the state: ESTABLISHED, LISTEN, CLOSE.
            let state = if socket.is_listening() {
                10
            } else if socket.is_connected() {
                1
            } else {
                7
            };
            let mut info = vec![0; 104];
            info[0] = state;
            Ok(info)
        }
        _ => {
            let initial = number_of(level, name).ok_or(Errno::ENOPROTOOPT)?;
            let value = socket.options.borrow().get(&(level, name)).copied().unwrap_or(initial);
            Ok(value.to_le_bytes().to_vec())
        }
    }
}
