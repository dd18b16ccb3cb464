//! Tests of [`super`]: a service of one socket, played by the test.

use super::*;

const PORT: u16 = 8000;

fn asking(requests: &[&str]) -> WarmUp {
    let mut warm_up = WarmUp::default();
    requests.iter().for_each(|request| warm_up.add(request.as_bytes().to_vec()));
    warm_up
}

fn listener(names: &Names, family: u32, at: Address) -> Rc<Socket> {
    let socket = Socket::with_owner(family, SOCK_STREAM, SOL_TCP, Credentials::default());
    socket.set_local(names.bind_port(&at, &socket).unwrap());
    socket.listen(8).unwrap();
    socket
}

fn read(socket: &Socket) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; 100];
    let received = socket.receive(&mut Io::kernel(&mut bytes), false)?;
    bytes.truncate(received.count);
    Ok(bytes)
}

fn write(socket: &Socket, bytes: &[u8]) {
    socket.send_connected(&mut Io::bytes(bytes), Vec::new(), Credentials::default()).unwrap();
}

#[test]
fn each_request_is_sent_answered_and_closed() {
    let names = Names::default();
    let service = listener(&names, AF_INET, Address::Inet([0; 4], PORT));
    let mut warm_up = asking(&["one", "two"]);
    for request in ["one", "two"] {
        assert_eq!(warm_up.step(&names, PORT), Step::Runs);
        let connection = service.accept().unwrap();
        assert_eq!(read(&connection).unwrap(), request.as_bytes());
        // It rests without an answer, and time has to pass.
        assert_eq!(warm_up.step(&names, PORT), Step::Waits);
        write(&connection, b"answer");
        assert_eq!(warm_up.step(&names, PORT), Step::Runs);
        assert_eq!((warm_up.step(&names, PORT), warm_up.describe()), (Step::Runs, None));
        assert_eq!(read(&connection).unwrap(), b"", "the client is gone");
    }
    assert_eq!(warm_up.step(&names, PORT), Step::Done);
    assert_eq!(service.accept().map(|_| ()), Err(Errno::EAGAIN));
}

#[test]
fn a_service_may_listen_on_ipv6_alone() {
    let names = Names::default();
    let mut localhost = [0; 16];
    localhost[15] = 1;
    let service = listener(&names, AF_INET6, Address::Inet6(localhost, PORT, 0));
    let mut warm_up = asking(&["hello"]);
    assert_eq!(warm_up.step(&names, PORT), Step::Runs);
    assert_eq!(read(&service.accept().unwrap()).unwrap(), b"hello");
}

#[test]
fn what_holds_it_up_is_named() {
    let names = Names::default();
    let mut warm_up = asking(&["hello"]);
    assert_eq!(warm_up.step(&names, PORT), Step::Waits);
    assert_eq!(warm_up.describe().as_deref(), Some("request 1 of --warm: the connection was refused"));
    assert_eq!(warm_up.step(&names, PORT), Step::Waits, "a refused request is asked again, and no freeze");
    assert_eq!(warm_up.describe().as_deref(), Some("request 1 of --warm: the connection was refused"));

    let service = listener(&names, AF_INET, Address::Inet([0; 4], PORT));
    let mut warm_up = asking(&["hello"]);
    assert_eq!(warm_up.step(&names, PORT), Step::Runs);
    let connection = service.accept().unwrap();
    assert_eq!(warm_up.step(&names, PORT), Step::Waits);
    assert_eq!(warm_up.describe().as_deref(), Some("request 1 of --warm: no answer"));
    drop(connection);
    assert_eq!(warm_up.step(&names, PORT), Step::Waits);
    assert_eq!(warm_up.describe().as_deref(), Some("request 1 of --warm: the connection was closed"));
}
