//! Which socket has which address: abstract Unix names and internet ports.
//! Unix sockets bound to paths hang at their inode.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::address::{Address, mapped};
use super::socket::Socket;
use crate::abi::Errno;
use crate::abi::socket::{AF_INET6, SOL_TCP};

/// Ports that are handed out (ip_local_port_range).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// All bound names of the machine.
pub struct Names {
    abstracts: RefCell<BTreeMap<Vec<u8>, Weak<Socket>>>,
    /// By protocol and port.
    ports: RefCell<BTreeMap<(u32, u16), Vec<Weak<Socket>>>>,
    next_port: Cell<u16>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            abstracts: RefCell::default(),
            ports: RefCell::default(),
            next_port: Cell::new(*EPHEMERAL.start()),
        }
    }
}

fn alive(weak: &Weak<Socket>) -> Option<Rc<Socket>> {
    weak.upgrade().filter(|socket| !socket.is_closed())
}

impl Names {
    /// The socket with an abstract name.
    pub fn find_abstract(&self, name: &[u8]) -> Option<Rc<Socket>> {
        alive(self.abstracts.borrow().get(name)?)
    }

    /// Take an abstract name. EADDRINUSE.
    pub fn bind_abstract(&self, name: &[u8], socket: &Rc<Socket>) -> Result<(), Errno> {
        if self.find_abstract(name).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        self.abstracts.borrow_mut().insert(name.to_vec(), Rc::downgrade(socket));
        Ok(())
    }

    /// An abstract name nobody has: five hexadecimal digits (autobind).
    pub fn free_abstract(&self) -> Vec<u8> {
        let abstracts = self.abstracts.borrow();
        let candidates = (0u32..1 << 20).map(|n| format!("\0{n:05x}").into_bytes());
        candidates.into_iter().find(|name| abstracts.get(name).and_then(alive).is_none()).unwrap_or_default()
    }

    /// Take an internet address for `socket`; port 0 is replaced by a free one. EADDRINUSE.
    pub fn bind_port(&self, address: &Address, socket: &Rc<Socket>) -> Result<Address, Errno> {
        let protocol = socket.protocol;
        let mut ports = self.ports.borrow_mut();
        let port = match address.port() {
            Some(0) => self.free_port(&mut ports, protocol)?,
            port => port.ok_or(Errno::EINVAL)?,
        };
        let holders = ports.entry((protocol, port)).or_default();
        holders.retain(|holder| alive(holder).is_some());
        if holders.iter().filter_map(alive).any(|holder| conflict(&holder, socket, address)) {
            return Err(Errno::EADDRINUSE);
        }
        holders.push(Rc::downgrade(socket));
        Ok(address.with_port(port))
    }

    /// Give up the port that `socket` has.
    pub fn release_port(&self, socket: &Rc<Socket>) {
        let Some(port) = socket.local().and_then(|local| local.port()) else { return };
        if let Some(holders) = self.ports.borrow_mut().get_mut(&(socket.protocol, port)) {
            holders.retain(|holder| alive(holder).is_some_and(|other| !Rc::ptr_eq(&other, socket)));
        }
    }

    fn free_port(
        &self,
        ports: &mut BTreeMap<(u32, u16), Vec<Weak<Socket>>>,
        protocol: u32,
    ) -> Result<u16, Errno> {
        for _ in EPHEMERAL {
            let port = self.next_port.get();
            self.next_port.set(if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 });
            let holders = ports.entry((protocol, port)).or_default();
            holders.retain(|holder| alive(holder).is_some());
            if holders.is_empty() {
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    /// Somebody listens on this TCP port.
    pub fn listens(&self, port: u16) -> bool {
        let ports = self.ports.borrow();
        ports.get(&(SOL_TCP, port)).is_some_and(|all| all.iter().filter_map(alive).any(|s| s.is_listening()))
    }

    /// Who gets what is sent to `destination`: the most exact address wins.
    pub fn receiver(&self, destination: &Address, protocol: u32) -> Option<Rc<Socket>> {
        let port = destination.port()?;
        let ports = self.ports.borrow();
        let holders: Vec<Rc<Socket>> = ports.get(&(protocol, port))?.iter().filter_map(alive).collect();
        let usable = |socket: &&Rc<Socket>| !socket.is_stream() || socket.is_listening();
        let exact =
            holders.iter().filter(usable).find(|s| s.local().is_some_and(|l| l.host() == destination.host()));
        let wild = || {
            holders.iter().filter(usable).find(|socket| {
                let wildcard = socket.local().is_some_and(|l| l.is_wildcard());
                wildcard && reaches(socket, destination)
            })
        };
        exact.or_else(wild).cloned()
    }
}

/// A wildcard socket takes its own family, and IPv4 as well when it is an IPv6 one without IPV6_V6ONLY.
fn reaches(socket: &Socket, destination: &Address) -> bool {
    let v4 = destination.host().is_some_and(|host| host.starts_with(&mapped([0; 4])[..12]));
    if socket.family == AF_INET6 { !v4 || !socket.v6_only() } else { v4 }
}

/// `new` may not have `address` because `old` has a port in common with it.
fn conflict(old: &Socket, new: &Socket, address: &Address) -> bool {
    let Some(local) = old.local() else { return false };
    let same_family = old.family == new.family;
    let separate =
        !same_family && (old.v6_only() && old.family == AF_INET6 || new.v6_only() && new.family == AF_INET6);
    let overlap = local.is_wildcard() || address.is_wildcard() || local.host() == address.host();
    let shared = old.reuse_port() && new.reuse_port();
    let reused = old.reuse_address() && new.reuse_address() && !old.is_listening();
    // A connection keeps its port without keeping others from listening on it.
    let connection = old.is_stream() && old.is_connected();
    overlap && !separate && !shared && !reused && !(connection && new.reuse_address())
}
