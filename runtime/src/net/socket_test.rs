//! Tests of [`super`]: joining, descriptors, ends, backlogs.

use super::*;
use crate::fs::FileRef;
use crate::fs::eventfd::EventFd;
use crate::fs::testing::anonymous;

fn make(family: u32, kind: u32) -> Rc<Socket> {
    Socket::with_owner(family, kind, 0, Credentials { pid: 7, uid: 1, gid: 2 })
}

fn pair(kind: u32) -> (Rc<Socket>, Rc<Socket>) {
    let (a, b) = (make(AF_UNIX, kind), make(AF_UNIX, kind));
    a.join(&b);
    (a, b)
}

fn send(socket: &Socket, bytes: &[u8], rights: Vec<FileRef>) -> Result<usize, Errno> {
    socket.send_connected(&mut Io::bytes(bytes), rights, Credentials::default())
}

fn receive(socket: &Socket, max: usize) -> Result<(Vec<u8>, usize), Errno> {
    let mut bytes = vec![0; max];
    let received = socket.receive(&mut Io::kernel(&mut bytes), false)?;
    bytes.truncate(received.count);
    Ok((bytes, received.rights.len()))
}

#[test]
fn streams_join_and_messages_do_not() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"ab", Vec::new()).unwrap();
    send(&a, b"cd", Vec::new()).unwrap();
    assert_eq!(receive(&b, 3).unwrap().0, b"abc");
    assert_eq!(receive(&b, 3).unwrap().0, b"d");
    assert_eq!(receive(&b, 3), Err(Errno::EAGAIN));
    let (a, b) = pair(SOCK_SEQPACKET);
    send(&a, b"ab", Vec::new()).unwrap();
    send(&a, b"cd", Vec::new()).unwrap();
    assert_eq!(receive(&b, 1).unwrap().0, b"a");
    assert_eq!(receive(&b, 9).unwrap().0, b"cd");
}

#[test]
fn descriptors_travel_with_their_bytes() {
    let (a, b) = pair(SOCK_STREAM);
    let file = anonymous(Rc::new(EventFd::new(0, false)), 2);
    send(&a, b"x", Vec::new()).unwrap();
    send(&a, b"yz", vec![Rc::clone(&file)]).unwrap();
    send(&a, b"w", Vec::new()).unwrap();
    assert_eq!(Rc::strong_count(&file), 2);
    // A read stops after the bytes that carried descriptors.
    assert_eq!(receive(&b, 9).unwrap(), (b"xyz".to_vec(), 1));
    assert_eq!(receive(&b, 9).unwrap(), (b"w".to_vec(), 0));
    assert_eq!(Rc::strong_count(&file), 1);
}

#[test]
fn ends_are_noticed() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"last", Vec::new()).unwrap();
    a.shutdown(false, true).unwrap();
    assert_eq!(send(&a, b"x", Vec::new()), Err(Errno::EPIPE));
    assert_eq!(receive(&b, 9).unwrap().0, b"last");
    assert_eq!(receive(&b, 9).unwrap().0, b"");
    // The other direction still works, until the end with unread bytes closes.
    send(&b, b"back", Vec::new()).unwrap();
    a.close();
    assert_eq!(receive(&b, 9), Err(Errno::ECONNRESET));
    assert_eq!(send(&b, b"x", Vec::new()), Err(Errno::EPIPE));
}

#[test]
fn connections_wait_for_accept() {
    let listener = make(AF_UNIX, SOCK_STREAM);
    let client = make(AF_UNIX, SOCK_STREAM);
    assert_eq!(client.connect_to(&listener), Err(Errno::ECONNREFUSED));
    listener.set_local(Address::Unix(b"/s".to_vec()));
    listener.listen(1).unwrap();
    assert!(matches!(listener.accept(), Err(Errno::EAGAIN)));
    client.connect_to(&listener).unwrap();
    send(&client, b"early", Vec::new()).unwrap();
    let others: Vec<_> = (0..2).map(|_| make(AF_UNIX, SOCK_STREAM)).collect();
    others[0].connect_to(&listener).unwrap();
    assert_eq!(others[1].connect_to(&listener), Err(Errno::EAGAIN), "the backlog is full");
    let server = listener.accept().unwrap();
    assert_eq!(receive(&server, 9).unwrap().0, b"early");
    assert_eq!(server.peer_cred.get().map(|c| c.pid), Some(7));
    listener.close();
    assert_eq!(receive(&others[0], 1), Err(Errno::ECONNRESET));
}

#[test]
fn a_full_inbox_holds_senders_back() {
    let (a, b) = pair(SOCK_STREAM);
    assert_eq!(send(&a, &vec![0; INBOX_BYTES + 9], Vec::new()), Ok(INBOX_BYTES));
    assert_eq!(send(&a, b"x", Vec::new()), Err(Errno::EAGAIN));
    receive(&b, 10).unwrap();
    assert_eq!(send(&a, &[0; 20], Vec::new()), Ok(10));
}
