//! NETLINK_ROUTE as far as getifaddrs(3) and if_nameindex(3) ask: the loopback
//! interface and its addresses; and the same through the old ioctls. See
//! rtnetlink(7), netdevice(7).

use super::Address;
use super::socket::Socket;
use crate::abi::Errno;
use crate::abi::ioctl::*;
use crate::kernel::Ctx;
use crate::syscall::SysResult;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const NLM_F_MULTI: u16 = 2;
/// IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP.
const LO_FLAGS: u32 = 0x1_0049;
const LO_MTU: u32 = 65536;
const ARPHRD_LOOPBACK: u16 = 772;

/// Answer the requests in `bytes`.
pub(super) fn request(socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
    let mut rest = bytes;
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (length, sequence) = (word(0) as usize, word(8));
        let kind = u16::from_le_bytes([rest[4], rest[5]]);
        if length < 16 || length > rest.len() {
            break;
        }
        let port = match socket.local() {
            Some(Address::Netlink(port)) => port,
            _ => 0,
        };
        let answer = Answer { sequence, port };
        let family = rest.get(16).copied().unwrap_or(0);
        let reply = match kind {
            RTM_GETLINK => [answer.link(), answer.done()].concat(),
            RTM_GETADDR => [answer.addresses(family), answer.done()].concat(),
            RTM_GETROUTE => answer.done(),
            _ => answer.error(Errno::EOPNOTSUPP, &rest[..16]),
        };
        socket.deliver_bytes(reply, Address::Netlink(0));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(bytes.len())
}

struct Answer {
    sequence: u32,
    port: u32,
}

impl Answer {
    fn message(&self, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = ((16 + body.len()) as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.port.to_le_bytes());
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn done(&self) -> Vec<u8> {
        self.message(NLMSG_DONE, NLM_F_MULTI, &[0; 4])
    }

    fn error(&self, errno: Errno, header: &[u8]) -> Vec<u8> {
        let code = -i32::from(errno.0);
        self.message(NLMSG_ERROR, 0, &[&code.to_le_bytes(), header].concat())
    }

    fn link(&self) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend_from_slice(&ARPHRD_LOOPBACK.to_le_bytes());
        body.extend_from_slice(&1u32.to_le_bytes());
        body.extend_from_slice(&LO_FLAGS.to_le_bytes());
        body.extend_from_slice(&0u32.to_le_bytes());
        for (kind, value) in [(3, b"lo\0".as_slice()), (4, &LO_MTU.to_le_bytes()), (1, &[0; 6]), (2, &[0; 6])]
        {
            attribute(&mut body, kind, value);
        }
        self.message(RTM_NEWLINK, NLM_F_MULTI, &body)
    }

    /// 127.0.0.1/8 and ::1/128, or one of them.
    fn addresses(&self, family: u8) -> Vec<u8> {
        let mut one = [0; 16];
        one[15] = 1;
        let all: [(u8, u8, &[u8]); 2] = [(2, 8, &[127, 0, 0, 1]), (10, 128, &one)];
        let wanted = all.iter().filter(|(own, ..)| family == 0 || family == *own);
        let message = |(family, prefix, host): &(u8, u8, &[u8])| {
            // IFA_F_PERMANENT, RT_SCOPE_HOST.
            let mut body = vec![*family, *prefix, 0x80, 254];
            body.extend_from_slice(&1u32.to_le_bytes());
            attribute(&mut body, 1, host);
            if *family == 2 {
                attribute(&mut body, 2, host);
                attribute(&mut body, 3, b"lo\0");
            }
            self.message(RTM_NEWADDR, NLM_F_MULTI, &body)
        };
        wanted.flat_map(message).collect()
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&((4 + value.len()) as u16).to_le_bytes());
    body.extend_from_slice(&kind.to_le_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The ioctls about interfaces: `struct ifreq` is 40 bytes, a name and a union. ENODEV, ENOTTY.
pub(super) fn interface_ioctl(cx: &mut Ctx<'_>, cmd: u32, arg: u64) -> SysResult {
    const NAME: usize = 16;
    if !matches!(
        cmd,
        SIOCGIFFLAGS
            | SIOCGIFADDR
            | SIOCGIFNETMASK
            | SIOCGIFBRDADDR
            | SIOCGIFMTU
            | SIOCGIFHWADDR
            | SIOCGIFINDEX
            | SIOCGIFNAME
    ) {
        return Err(Errno::ENOTTY.into());
    }
    let mut request: [u8; 40] = cx.read_user(arg)?;
    if cmd == SIOCGIFNAME {
        if request[NAME..NAME + 4] != 1u32.to_le_bytes() {
            return Err(Errno::ENODEV.into());
        }
        request[..NAME].fill(0);
        request[..2].copy_from_slice(b"lo");
    } else if !request.starts_with(b"lo\0") {
        return Err(Errno::ENODEV.into());
    }
    let inet = |host: [u8; 4]| Address::Inet(host, 0).encode();
    let value = match cmd {
        SIOCGIFFLAGS => (LO_FLAGS as u16).to_le_bytes().to_vec(),
        SIOCGIFADDR => inet([127, 0, 0, 1]),
        SIOCGIFNETMASK => inet([255, 0, 0, 0]),
        SIOCGIFBRDADDR => inet([0; 4]),
        SIOCGIFMTU => LO_MTU.to_le_bytes().to_vec(),
        SIOCGIFHWADDR => [ARPHRD_LOOPBACK.to_le_bytes().as_slice(), &[0; 14]].concat(),
        SIOCGIFINDEX => 1u32.to_le_bytes().to_vec(),
        _ => Vec::new(),
    };
    request[NAME..NAME + value.len()].copy_from_slice(&value);
    cx.write_user(arg, &request)?;
    Ok(0)
}
