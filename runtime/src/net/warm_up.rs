//! Requests that a service answers before it is frozen. The kernel itself is the client, over the loopback interface,
//! so that nothing else has to be in the image; whenever the machine is at rest, it goes a step further.

use std::collections::VecDeque;
use std::rc::Rc;

use super::address::Address;
use super::names::Names;
use super::socket::Socket;
use super::transfer::Credentials;
use crate::abi::Errno;
use crate::abi::socket::{AF_INET, AF_INET6, SOCK_STREAM, SOL_TCP};
use crate::fs::Io;

/// Read at once. Answers are thrown away.
const PIECE: usize = 16384;

/// What is left to ask.
#[derive(Default)]
pub struct WarmUp {
    requests: VecDeque<Vec<u8>>,
    /// Requests for which there was a connection.
    asked: usize,
    client: Option<Client>,
    /// Why it does not go on.
    trouble: Option<&'static str>,
}

/// What the machine does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Freeze: everything is answered, and no connection is left.
    Done,
    /// Run: there is news for the service.
    Runs,
    /// Wait for time to pass: the service has not answered.
    Waits,
}

/// One connection to the service.
struct Client {
    socket: Rc<Socket>,
    unsent: Vec<u8>,
    answered: bool,
}

impl WarmUp {
    /// Ask this as well, after the others and on a connection of its own.
    pub fn add(&mut self, request: Vec<u8>) {
        self.requests.push_back(request);
    }

    /// The machine is at rest and somebody listens on TCP `port`.
    pub fn step(&mut self, names: &Names, port: u16) -> Step {
        self.trouble = None;
        if let Some(client) = &mut self.client {
            if client.transfer() {
                return Step::Runs;
            }
            if !client.answered {
                let ended = client.socket.receive(&mut Io::kernel(&mut [0]), true).is_ok();
                self.trouble = Some(if ended { "the connection was closed" } else { "no answer" });
                return Step::Waits;
            }
            // Closed: its end is news for the service.
            self.client = None;
            return Step::Runs;
        }
        let Some(request) = self.requests.pop_front() else { return Step::Done };
        match connect(names, port) {
            Ok(socket) => {
                self.asked += 1;
                self.client.insert(Client { socket, unsent: request, answered: false }).transfer();
                Step::Runs
            }
            Err(_) => {
                // It stays the next one: without an answer there is no freeze.
                self.requests.push_front(request);
                self.trouble = Some("the connection was refused");
                Step::Waits
            }
        }
    }

    /// Which request holds everything up, and why.
    pub fn describe(&self) -> Option<String> {
        let number = self.asked + usize::from(self.client.is_none());
        self.trouble.map(|trouble| format!("request {number} of --warm: {trouble}"))
    }
}

/// Connect to whoever listens on `port` of the loopback interface, by IPv4 where that is possible.
/// ECONNREFUSED, EAGAIN (its backlog is full), EADDRINUSE.
fn connect(names: &Names, port: u16) -> Result<Rc<Socket>, Errno> {
    let mut v6 = [0; 16];
    v6[15] = 1;
    for (family, to) in
        [(AF_INET, Address::Inet([127, 0, 0, 1], port)), (AF_INET6, Address::Inet6(v6, port, 0))]
    {
        let Some(listener) = names.receiver(&to, SOL_TCP) else { continue };
        // The connection is of the listener's family, whichever way it is reached.
        let socket = Socket::with_owner(family, SOCK_STREAM, SOL_TCP, Credentials::default());
        socket.set_local(names.bind_port(&to.with_port(0), &socket)?);
        socket.aim(&to);
        socket.connect_to(&listener)?;
        return Ok(socket);
    }
    Err(Errno::ECONNREFUSED)
}

impl Client {
    /// Send and receive what can be; whether there was anything.
    fn transfer(&mut self) -> bool {
        let sent = match self.unsent.is_empty() {
            true => 0,
            false => {
                let mut bytes = Io::bytes(&self.unsent);
                self.socket.send_connected(&mut bytes, Vec::new(), Credentials::default()).unwrap_or(0)
            }
        };
        self.unsent.drain(..sent);
        let mut piece = [0; PIECE];
        let mut received = 0;
        while let Ok(now @ 1..) = self.socket.receive(&mut Io::kernel(&mut piece), false).map(|r| r.count) {
            received += now;
        }
        self.answered |= received > 0;
        sent + received > 0
    }
}

#[cfg(test)]
#[path = "warm_up_test.rs"]
mod tests;
