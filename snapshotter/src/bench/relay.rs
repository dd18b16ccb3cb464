//! A TCP relay on this machine that plays a slow line: bandwidth, delay, and a
//! count of the bytes that came down.
//!
//! The browser's own emulation does not do: `Network.emulateNetworkConditions`
//! on a page leaves its workers alone (Chromium 156: 2 MB at 1 MB/s took the page
//! 2.2 s and its worker 8 ms), and to attach to a worker one must hold it at its
//! start, inside what is measured. A relay slows all of them alike, and the floor
//! with them. It plays no packet loss and no slow start.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::plan::Network;

/// Bytes passed on at once.
const PIECE: usize = 16 << 10;
/// Pieces under way in one direction of a connection: at 16 kB each, more than bandwidth × delay of any usual line.
const UNDER_WAY: usize = 256;

/// A port of its own in front of a server, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    network: Network,
    down_bytes: AtomicU64,
    /// When the line has sent what it was given, in each direction.
    down_free: Mutex<Instant>,
    up_free: Mutex<Instant>,
    closed: AtomicBool,
}

impl Relay {
    /// A new port in front of `server`.
    pub(super) fn open(server: SocketAddr, network: &Network) -> Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on this machine")?;
        let address = listener.local_addr()?;
        let now = Instant::now();
        let shared = Arc::new(Shared {
            network: network.clone(),
            down_bytes: AtomicU64::new(0),
            down_free: Mutex::new(now),
            up_free: Mutex::new(now),
            closed: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        std::thread::Builder::new().spawn(move || {
            for client in listener.incoming() {
                if ours.closed.load(Relaxed) {
                    break;
                }
                let Ok(client) = client else { continue };
                // A browser whose connection fails says so itself.
                let _ = connect(client, server, &ours);
            }
        })?;
        Ok(Relay { address, shared })
    }

    /// Where it is reached.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Bytes that came down so far, heads of HTTP included.
    pub(super) fn down_bytes(&self) -> u64 {
        self.shared.down_bytes.load(Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        // Wakes the listener, which then goes.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, server: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // The handshake of a distant server takes a round trip before the first byte can go.
    let open = Instant::now() + shared.network.round_trip;
    direction(client.try_clone()?, server.try_clone()?, open, Arc::clone(shared), false)?;
    direction(server, client, open, Arc::clone(shared), true)
}

/// Two threads: one reads and says when each piece arrives, one lets it arrive.
fn direction(
    from: TcpStream,
    to: TcpStream,
    open: Instant,
    shared: Arc<Shared>,
    down: bool,
) -> io::Result<()> {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let line = Arc::clone(&shared);
    std::thread::Builder::new().spawn(move || read(from, &sender, open, &line, down))?;
    std::thread::Builder::new().spawn(move || write(to, &receiver, &shared, down))?;
    Ok(())
}

fn read(
    mut from: TcpStream,
    sender: &SyncSender<(Instant, Vec<u8>)>,
    open: Instant,
    shared: &Shared,
    down: bool,
) {
    let mut buffer = [0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let due = shared.arrival(count, open, down);
        if sender.send((due, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, shared: &Shared, down: bool) {
    for (due, bytes) in receiver {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Counted first: whoever acts on these bytes must find them counted.
        if down {
            shared.down_bytes.fetch_add(bytes.len() as u64, Relaxed);
        }
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    // The other direction may still have something to say.
    let _ = to.shutdown(Shutdown::Write);
}

impl Shared {
    /// When `count` bytes that are given to the line now have all come out of it.
    fn arrival(&self, count: usize, open: Instant, down: bool) -> Instant {
        let now = Instant::now();
        let Some(bits_per_second) = self.network.bits_per_second else { return now.max(open) };
        let free = if down { &self.down_free } else { &self.up_free };
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let sending = Duration::from_nanos((count as u64).saturating_mul(8_000_000_000) / bits_per_second);
        *free = now.max(open).max(*free) + sending;
        *free + self.network.round_trip / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each connection's first bytes with `len` bytes and closes.
    fn server(len: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(&vec![7; len]);
            }
        });
        address
    }

    fn fetch(relay: &Relay) -> (usize, Duration) {
        let start = Instant::now();
        let mut stream = TcpStream::connect(relay.address).expect("it listens");
        stream.write_all(b"GET").expect("it takes a request");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        assert!(bytes.iter().all(|&byte| byte == 7));
        (bytes.len(), start.elapsed())
    }

    #[test]
    fn bytes_pass_unchanged_and_are_counted() {
        let relay = Relay::open(server(300_000), &Network::loopback()).expect("a relay");
        assert_eq!(fetch(&relay).0, 300_000);
        assert_eq!(relay.down_bytes(), 300_000);
        fetch(&relay);
        assert_eq!(relay.down_bytes(), 600_000);
    }

    #[test]
    fn a_slow_line_is_never_faster_than_it_says() {
        // 100 kB at 8 Mbit/s are 100 ms; the handshake and the answer take a round trip each.
        let network: Network = "8mbit,50ms".parse().expect("a network");
        let relay = Relay::open(server(100_000), &network).expect("a relay");
        let (len, elapsed) = fetch(&relay);
        assert_eq!(len, 100_000);
        assert!(elapsed >= Duration::from_millis(200), "{elapsed:?}");
    }
}
