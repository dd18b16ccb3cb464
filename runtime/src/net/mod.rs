//! Sockets, all of them inside the machine: AF_UNIX, TCP and UDP on the
//! loopback interface, and as much of AF_NETLINK as asks for the interfaces.
//!
//! `socket.rs` is the socket itself, `transfer.rs` what is sent and received,
//! `bind.rs` and `names.rs` who has which address,
//! `options.rs` getsockopt(2), `netlink.rs` the answers about interfaces,
//! `warm_up.rs` the kernel as a client of a service that is about to be frozen.
//! Decoding of system calls is `syscall/sys_socket.rs`. Whatever is not this
//! machine is unreachable (ENETUNREACH).

pub mod address;
pub mod bind;
pub mod names;
mod netlink;
pub mod options;
pub mod socket;
pub mod transfer;
pub mod warm_up;

pub use address::Address;
pub use names::Names;
pub use socket::Socket;
pub use warm_up::WarmUp;
