//! /proc/net: the sockets that processes have open, as ss(8), netstat(8) and lsof(8) read them. See proc_pid_net(5).

use std::fmt::Write as _;
use std::rc::Rc;

use super::system::{NET_TCP, NET_TCP6, NET_UDP, NET_UDP6};
use crate::abi::Errno;
use crate::abi::socket::{AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_STREAM};
use crate::fs::FileRef;
use crate::fs::pseudo::Subject;
use crate::kernel::Ctx;
use crate::net::Address;
use crate::net::socket::Socket;

type Contents = Result<Vec<u8>, Errno>;

const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// All open descriptions of sockets, each once, in the order of their inode numbers.
fn sockets(cx: &Ctx<'_>) -> Vec<(u64, FileRef)> {
    let mut all: Vec<(u64, FileRef)> = Vec::new();
    for task in cx.kernel.tasks.values() {
        let files = Rc::clone(&task.files.borrow());
        let open = files.list().into_iter().filter_map(|fd| files.get(fd).ok());
        all.extend(open.filter(|f| socket(f).is_some()).map(|f| (f.dentry.inode.stat().ino, f)));
    }
    all.sort_by_key(|(ino, _)| *ino);
    all.dedup_by_key(|(ino, _)| *ino);
    all
}

fn socket(file: &FileRef) -> Option<&Socket> {
    file.ops.as_any().downcast_ref()
}

/// Host and port as Linux prints them: words of the address in the processor's byte order, which is little-endian.
fn endpoint(address: Option<Address>, wide: bool) -> String {
    let (host, port) = match address {
        Some(Address::Inet(host, port)) if wide => (crate::net::address::mapped(host).to_vec(), port),
        Some(Address::Inet(host, port)) => (host.to_vec(), port),
        Some(Address::Inet6(host, port, _)) => (host.to_vec(), port),
        _ => (vec![0; if wide { 16 } else { 4 }], 0),
    };
    let mut text = String::new();
    for word in host.as_chunks::<4>().0 {
        let _ = write!(text, "{:08X}", u32::from_le_bytes(*word));
    }
    let _ = write!(text, ":{port:04X}");
    text
}

/// The internet sockets of one family and kind, one line each.
fn internet(cx: &Ctx<'_>, header: &str, family: u32, kind: u32) -> Contents {
    let wide = family == AF_INET6;
    let mut text = header.to_owned();
    let all = sockets(cx);
    let shown = all.iter().filter_map(|(ino, file)| Some((ino, socket(file)?)));
    let shown = shown.filter(|(_, s)| s.family == family && s.kind == kind && s.local().is_some());
    for (line, (ino, socket)) in shown.enumerate() {
        let state = match (socket.is_listening(), socket.remote().is_some()) {
            (true, _) => TCP_LISTEN,
            (_, true) => TCP_ESTABLISHED,
            _ => TCP_CLOSE,
        };
        let ends = format!("{} {}", endpoint(socket.local(), wide), endpoint(socket.remote(), wide));
        let (waiting, uid) = (socket.inbox_bytes(), socket.owner().uid);
        let common =
            format!("{ends} {state:02X} 00000000:{waiting:08X} 00:00000000 00000000 {uid:5}        0 {ino}");
        let _ = if kind == SOCK_STREAM {
            writeln!(text, "{line:4}: {common} 1 0000000000000000 100 0 0 10 0")
        } else {
            writeln!(text, "{line:5}: {common} 2 0000000000000000 0")
        };
    }
    Ok(text.into_bytes())
}

pub(super) fn tcp(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    internet(cx, NET_TCP, AF_INET, SOCK_STREAM)
}

pub(super) fn tcp6(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    internet(cx, NET_TCP6, AF_INET6, SOCK_STREAM)
}

pub(super) fn udp(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    internet(cx, NET_UDP, AF_INET, SOCK_DGRAM)
}

pub(super) fn udp6(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    internet(cx, NET_UDP6, AF_INET6, SOCK_DGRAM)
}

pub(super) fn unix(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    const ACCEPTS: u32 = 0x1_0000;
    const UNCONNECTED: u8 = 1;
    const CONNECTED: u8 = 3;
    let mut out = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
    for (ino, file) in sockets(cx) {
        let Some(socket) = socket(&file).filter(|s| s.family == AF_UNIX) else { continue };
        let flags = if socket.is_listening() { ACCEPTS } else { 0 };
        let state = if socket.is_connected() { CONNECTED } else { UNCONNECTED };
        let kind = socket.kind;
        let line = format!("0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {state:02X} {ino:5}");
        out.extend_from_slice(line.as_bytes());
        if let Some(Address::Unix(name)) = socket.local().filter(|a| *a != Address::Unix(Vec::new())) {
            out.push(b' ');
            out.extend(name.iter().map(|&b| if b == 0 { b'@' } else { b }));
        }
        out.push(b'\n');
    }
    Ok(out)
}

pub(super) fn sockstat(cx: &mut Ctx<'_>, _: &Subject) -> Contents {
    let all = sockets(cx);
    let count = |kind: u32| {
        let of_kind = all.iter().filter_map(|(_, file)| socket(file));
        of_kind.filter(|s| s.family == AF_INET && s.kind == kind && s.local().is_some()).count()
    };
    let (used, tcp, udp) = (all.len(), count(SOCK_STREAM), count(SOCK_DGRAM));
    Ok(format!(
        "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
    )
    .into_bytes())
}
