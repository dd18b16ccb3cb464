//! Control messages of sendmsg(2) and recvmsg(2): descriptors, credentials, how internet datagrams travel.
//! See cmsg(3), unix(7), ip(7), ipv6(7), RFC 3542.

use std::rc::Rc;

use zerocopy::IntoBytes;

use super::Flow;
use super::sys_socket::MsgHdr;
use crate::abi::Errno;
use crate::abi::socket::*;
use crate::kernel::Ctx;
use crate::net::address::unmapped;
use crate::net::transfer::{Ancillary, Credentials, Received, Route};
use crate::net::{Socket, options};

/// Bytes of control data of one message (optmem_max is of this order).
const CONTROL_MAX: u64 = 20480;
/// Descriptors in one message (SCM_MAX_FD).
const RIGHTS_MAX: usize = 253;
/// sizeof(struct cmsghdr).
const HEAD: usize = 16;
/// Index of the one interface, lo.
const LOOPBACK: u32 = 1;

/// What the sender's control messages say. EINVAL, ENOBUFS, EPERM, EBADF.
pub(super) fn read(cx: &Ctx<'_>, socket: &Socket, header: &MsgHdr) -> Result<Ancillary, Flow> {
    let mut found = Ancillary::default();
    if header.control == 0 || header.controllen == 0 {
        return Ok(found);
    }
    if header.controllen > CONTROL_MAX {
        return Err(Errno::ENOBUFS.into());
    }
    let mut bytes = vec![0; header.controllen as usize];
    cx.mm().copy_in(header.control, &mut bytes)?;
    let mut rest = bytes.as_slice();
    while let Some((head, _)) = rest.split_first_chunk::<HEAD>() {
        let len =
            u64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]]);
        let level = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let kind = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        let len = usize::try_from(len).ok().filter(|&n| n >= HEAD && n <= rest.len()).ok_or(Errno::EINVAL)?;
        one(cx, socket, (level, kind), &rest[HEAD..len], &mut found)?;
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(found)
}

fn one(
    cx: &Ctx<'_>,
    socket: &Socket,
    what: (u32, u32),
    data: &[u8],
    found: &mut Ancillary,
) -> Result<(), Errno> {
    let words: Vec<u32> = data.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
    // -1 means the default, as an option does.
    let number = |least: i32| match words.as_slice() {
        [word] if (least..=255).contains(&(*word as i32)) => Ok(Some(*word as i32).filter(|&n| n >= 0)),
        _ => Err(Errno::EINVAL),
    };
    match what {
        (SOL_SOCKET, SCM_RIGHTS) => {
            if found.rights.len() + words.len() > RIGHTS_MAX {
                return Err(Errno::EINVAL);
            }
            for fd in words {
                found.rights.push(cx.file(fd as i32)?);
            }
        }
        (SOL_SOCKET, SCM_CREDENTIALS) => found.cred = Some(checked_credentials(cx, &words)?),
        (SOL_SOCKET, _) => return Err(Errno::EINVAL),
        _ if !socket.internet() || socket.is_stream() => {}
        (SOL_IP, IP_TTL) => found.hops = number(1)?,
        (SOL_IP, IP_TOS) => match data {
            [class] => found.class = Some(i32::from(*class)),
            _ => found.class = number(0)?,
        },
        (SOL_IPV6, IPV6_HOPLIMIT) => found.hops = number(-1)?,
        (SOL_IPV6, IPV6_TCLASS) => found.class = number(-1)?,
        // Where it goes from is where it goes to.
        (SOL_IP, IP_PKTINFO) if data.len() == 12 => {}
        (SOL_IPV6, IPV6_PKTINFO) if data.len() == 20 => {}
        (SOL_IP | SOL_IPV6, _) => return Err(Errno::EINVAL),
        _ => {}
    }
    Ok(())
}

/// Only root may say that it is somebody else. EPERM.
fn checked_credentials(cx: &Ctx<'_>, words: &[u32]) -> Result<Credentials, Errno> {
    let [pid, uid, gid] = *words else { return Err(Errno::EINVAL) };
    let cred = cx.task.cred.borrow();
    let own = pid == cx.task.process.tgid
        && [cred.uid, cred.euid, cred.suid].contains(&uid)
        && [cred.gid, cred.egid, cred.sgid].contains(&gid);
    if own || cred.euid == 0 { Ok(Credentials { pid, uid, gid }) } else { Err(Errno::EPERM) }
}

/// Control messages on their way to the receiver's buffer.
struct Control {
    out: Vec<u8>,
    room: usize,
    truncated: bool,
}

impl Control {
    /// As Linux's put_cmsg(): what does not fit whole is cut, or left out when not even its head fits.
    fn put(&mut self, level: u32, kind: u32, data: &[u8]) {
        let left = self.room - self.out.len();
        if left < HEAD {
            self.truncated = true;
            return;
        }
        let len = (HEAD + data.len()).min(left);
        self.truncated |= len < HEAD + data.len();
        self.out.extend_from_slice(&(len as u64).to_le_bytes());
        self.out.extend_from_slice(&level.to_le_bytes());
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out.extend_from_slice(&data[..len - HEAD]);
        // The last one is padded only as far as there is room.
        self.out.resize(self.out.len().next_multiple_of(8).min(self.room), 0);
    }

    /// How an internet datagram came, as far as the receiver asked.
    fn put_route(&mut self, socket: &Socket, route: &Route) {
        let wants = |level, option| options::number(socket, level, option) != 0;
        let (hops, class) = (route.hops.to_le_bytes(), route.class.to_le_bytes());
        if socket.family == AF_INET6 {
            if wants(SOL_IPV6, IPV6_RECVPKTINFO) {
                let data = [route.to.as_slice(), &LOOPBACK.to_le_bytes()].concat();
                self.put(SOL_IPV6, IPV6_PKTINFO, &data);
            }
            if wants(SOL_IPV6, IPV6_RECVHOPLIMIT) {
                self.put(SOL_IPV6, IPV6_HOPLIMIT, &hops);
            }
            if wants(SOL_IPV6, IPV6_RECVTCLASS) {
                self.put(SOL_IPV6, IPV6_TCLASS, &class);
            }
            return;
        }
        if wants(SOL_IP, IP_PKTINFO) {
            let to = unmapped(route.to).unwrap_or_default();
            self.put(SOL_IP, IP_PKTINFO, &[LOOPBACK.to_le_bytes(), to, to].concat());
        }
        if wants(SOL_IP, IP_RECVTTL) {
            self.put(SOL_IP, IP_TTL, &hops);
        }
        if wants(SOL_IP, IP_RECVTOS) {
            self.put(SOL_IP, IP_TOS, &class[..1]);
        }
    }
}

/// Control messages for the receiver: bytes written, and whether something did not fit.
pub(super) fn write(
    cx: &Ctx<'_>,
    socket: &Socket,
    header: &MsgHdr,
    received: &Received,
    flags: u32,
) -> Result<(u64, bool), Flow> {
    let room = if header.control == 0 { 0 } else { header.controllen.min(CONTROL_MAX) as usize };
    let mut control = Control { out: Vec::new(), room, truncated: false };
    if let Some(route) = &received.route {
        control.put_route(socket, route);
    }
    if let Some(cred) = received.cred.filter(|_| socket.pass_cred()) {
        control.put(SOL_SOCKET, SCM_CREDENTIALS, [cred.pid, cred.uid, cred.gid].as_bytes());
    }
    // Descriptors that do not fit are closed, not cut.
    let fits = room.saturating_sub(control.out.len() + HEAD) / 4;
    let mut fds: Vec<u8> = Vec::new();
    for file in &received.rights {
        if fds.len() / 4 == fits {
            control.truncated = true;
            break;
        }
        match cx.task.files.borrow().install(Rc::clone(file), flags & MSG_CMSG_CLOEXEC != 0, 0) {
            Ok(fd) => fds.extend_from_slice(&fd.to_le_bytes()),
            Err(_) => {
                control.truncated = true;
                break;
            }
        }
    }
    if !fds.is_empty() {
        control.put(SOL_SOCKET, SCM_RIGHTS, &fds);
    }
    cx.mm().copy_out(header.control, &control.out)?;
    Ok((control.out.len() as u64, control.truncated))
}
