//! Socket addresses, from and to guest memory. See unix(7), ip(7), ipv6(7).

use crate::abi::Errno;
use crate::abi::socket::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC};

/// Bytes of the largest address, `struct sockaddr_storage`.
pub const ADDRESS_MAX: usize = 128;
/// Bytes of `sun_path`.
const PATH_MAX: usize = 108;

/// An address of any family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// AF_UNSPEC: dissolves a datagram association.
    Unspecified,
    /// A path, an abstract name (first byte 0), or (empty) none.
    Unix(Vec<u8>),
    /// Host and port.
    Inet([u8; 4], u16),
    /// Host, port, and scope.
    Inet6([u8; 16], u16, u32),
    /// Port number of a netlink socket.
    Netlink(u32),
}

/// `::ffff:a.b.c.d`.
pub fn mapped(host: [u8; 4]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[10] = 0xff;
    wide[11] = 0xff;
    wide[12..].copy_from_slice(&host);
    wide
}

/// The IPv4 address in `host`, when it is a mapped one.
pub fn unmapped(host: [u8; 16]) -> Option<[u8; 4]> {
    let (prefix, low) = host.split_at(12);
    (prefix == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).then(|| [low[0], low[1], low[2], low[3]])
}

impl Address {
    /// From the bytes a program passed. EINVAL: too short; EAFNOSUPPORT.
    pub fn parse(bytes: &[u8]) -> Result<Address, Errno> {
        let family =
            bytes.first_chunk::<2>().map(|b| u32::from(u16::from_le_bytes(*b))).ok_or(Errno::EINVAL)?;
        let port = |b: &[u8]| b.get(2..4).map(|p| u16::from_be_bytes([p[0], p[1]]));
        match family {
            AF_UNSPEC => Ok(Address::Unspecified),
            AF_UNIX => {
                let name = &bytes[2..];
                if name.len() > PATH_MAX {
                    return Err(Errno::EINVAL);
                }
                let end = match name.first() {
                    Some(0) => name.len(),
                    _ => name.iter().position(|b| *b == 0).unwrap_or(name.len()),
                };
                Ok(Address::Unix(name[..end].to_vec()))
            }
            AF_INET => {
                let host: [u8; 4] = bytes.get(4..8).and_then(|b| b.try_into().ok()).ok_or(Errno::EINVAL)?;
                let full = bytes.len() >= 16;
                Ok(Address::Inet(host, port(bytes).filter(|_| full).ok_or(Errno::EINVAL)?))
            }
            AF_INET6 => {
                let host: [u8; 16] = bytes.get(8..24).and_then(|b| b.try_into().ok()).ok_or(Errno::EINVAL)?;
                let scope = bytes.get(24..28).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Ok(Address::Inet6(host, port(bytes).ok_or(Errno::EINVAL)?, scope))
            }
            AF_NETLINK => {
                let pid: [u8; 4] = bytes.get(4..8).and_then(|b| b.try_into().ok()).ok_or(Errno::EINVAL)?;
                Ok(Address::Netlink(u32::from_le_bytes(pid)))
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// As the kernel fills it in.
    pub fn encode(&self) -> Vec<u8> {
        let family = |number: u32| (number as u16).to_le_bytes().to_vec();
        match self {
            Address::Unspecified => family(AF_UNSPEC),
            Address::Unix(name) => {
                let mut out = family(AF_UNIX);
                out.extend_from_slice(name);
                if name.first().is_some_and(|b| *b != 0) {
                    out.push(0);
                }
                out
            }
            Address::Inet(host, port) => {
                let mut out = family(AF_INET);
                out.extend_from_slice(&port.to_be_bytes());
                out.extend_from_slice(host);
                out.resize(16, 0);
                out
            }
            Address::Inet6(host, port, scope) => {
                let mut out = family(AF_INET6);
                out.extend_from_slice(&port.to_be_bytes());
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(host);
                out.extend_from_slice(&scope.to_le_bytes());
                out
            }
            Address::Netlink(pid) => {
                let mut out = family(AF_NETLINK);
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&pid.to_le_bytes());
                out.extend_from_slice(&[0; 4]);
                out
            }
        }
    }

    /// The port of an internet address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Inet(_, port) | Address::Inet6(_, port, _) => Some(*port),
            _ => None,
        }
    }

    /// The same host with another port.
    pub fn with_port(&self, port: u16) -> Address {
        match self {
            Address::Inet(host, _) => Address::Inet(*host, port),
            Address::Inet6(host, _, scope) => Address::Inet6(*host, port, *scope),
            other => other.clone(),
        }
    }

    /// The host in IPv6 form, IPv4 mapped into it.
    pub fn host(&self) -> Option<[u8; 16]> {
        match self {
            Address::Inet(host, _) => Some(mapped(*host)),
            Address::Inet6(host, ..) => Some(*host),
            _ => None,
        }
    }

    /// Stands for any host.
    pub fn is_wildcard(&self) -> bool {
        self.host().is_some_and(|host| host == [0; 16] || host == mapped([0; 4]))
    }

    /// The host is this machine: 127.0.0.0/8 or ::1.
    pub fn is_loopback(&self) -> bool {
        let one = {
            let mut host = [0; 16];
            host[15] = 1;
            host
        };
        self.host().is_some_and(|host| host == one || unmapped(host).is_some_and(|v4| v4[0] == 127))
    }

    /// Where a packet to this address goes: the wildcard means this machine.
    pub fn destination(&self) -> Address {
        match self {
            Address::Inet(host, port) if *host == [0; 4] => Address::Inet([127, 0, 0, 1], *port),
            Address::Inet6(host, port, scope) if *host == [0; 16] => {
                let mut one = [0; 16];
                one[15] = 1;
                Address::Inet6(one, *port, *scope)
            }
            other => other.clone(),
        }
    }

    /// In the form of a socket of `family`: IPv4 is mapped for an IPv6 one.
    pub fn in_family(&self, family: u32) -> Address {
        match self {
            Address::Inet(host, port) if family == AF_INET6 => Address::Inet6(mapped(*host), *port, 0),
            Address::Inet6(host, port, _) if family == AF_INET => {
                Address::Inet(unmapped(*host).unwrap_or([127, 0, 0, 1]), *port)
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        let all = [
            Address::Unix(b"/run/x".to_vec()),
            Address::Unix(b"\0abstract".to_vec()),
            Address::Unix(Vec::new()),
            Address::Inet([127, 0, 0, 1], 8080),
            Address::Inet6([9; 16], 443, 2),
            Address::Netlink(7),
        ];
        for address in all {
            assert_eq!(Address::parse(&address.encode()), Ok(address));
        }
        assert_eq!(Address::parse(&[1]), Err(Errno::EINVAL));
        assert_eq!(Address::parse(&[2, 0, 0, 80, 127]), Err(Errno::EINVAL));
        assert_eq!(Address::parse(&[77, 0, 0, 0]), Err(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn mapped_addresses_are_the_same_host() {
        let v6 = Address::Inet6(mapped([127, 0, 0, 1]), 80, 0);
        assert!(v6.is_loopback());
        assert_eq!(v6.in_family(AF_INET), Address::Inet([127, 0, 0, 1], 80));
        assert!(!Address::Inet([10, 0, 0, 1], 80).is_loopback());
    }
}
