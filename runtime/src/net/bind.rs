//! bind(2), and who has a Unix name. Ports and abstract names are in `names.rs`.

use std::rc::{Rc, Weak};

use super::address::Address;
use super::socket::Socket;
use crate::abi::Errno;
use crate::abi::fcntl::AT_FDCWD;
use crate::abi::socket::*;
use crate::fs::{Make, mode, namei, permission};
use crate::kernel::Ctx;

/// The Unix socket bound to `address`. ECONNREFUSED, and what the path walk says.
pub fn find_unix(cx: &Ctx<'_>, address: &Address) -> Result<Rc<Socket>, Errno> {
    let Address::Unix(name) = address else { return Err(Errno::EINVAL) };
    if name.is_empty() {
        return Err(Errno::ECONNREFUSED);
    }
    if name[0] == 0 {
        return cx.kernel.names.find_abstract(name).ok_or(Errno::ECONNREFUSED);
    }
    let dentry = namei::lookup(cx, AT_FDCWD, name, 0)?;
    permission::may(cx, &*dentry.inode, permission::MAY_WRITE)?;
    if dentry.inode.stat().mode & mode::S_IFMT != mode::S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    let slot = dentry.inode.attachment().ok_or(Errno::ECONNREFUSED)?;
    let slot = slot.borrow();
    let weak = slot.as_ref().and_then(|any| any.downcast_ref::<Weak<Socket>>());
    weak.and_then(Weak::upgrade).filter(|socket| !socket.is_closed()).ok_or(Errno::ECONNREFUSED)
}

/// bind(2). EINVAL, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT.
pub fn bind(cx: &Ctx<'_>, socket: &Socket, address: &Address) -> Result<(), Errno> {
    if socket.local().is_some() {
        return Err(Errno::EINVAL);
    }
    let this = socket.this.upgrade().ok_or(Errno::EBADF)?;
    let bound = match (socket.family, address) {
        (AF_UNIX, Address::Unix(name)) if name.is_empty() => {
            let name = cx.kernel.names.free_abstract();
            cx.kernel.names.bind_abstract(&name, &this)?;
            Address::Unix(name)
        }
        (AF_UNIX, Address::Unix(name)) if name[0] == 0 => {
            cx.kernel.names.bind_abstract(name, &this)?;
            address.clone()
        }
        (AF_UNIX, Address::Unix(name)) => {
            let last = namei::parent(cx, AT_FDCWD, name)?;
            let exists = |errno| if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno };
            if !last.is_name() {
                return Err(Errno::EADDRINUSE);
            }
            let bits = mode::S_IFSOCK | 0o777;
            let dentry = namei::create(cx, &last.parent, &last.name, Make::Node(0), bits).map_err(exists)?;
            let slot = dentry.inode.attachment().ok_or(Errno::EADDRNOTAVAIL)?;
            *slot.borrow_mut() = Some(Rc::new(Rc::downgrade(&this)));
            address.clone()
        }
        (AF_INET, Address::Inet(..)) | (AF_INET6, Address::Inet6(..)) => {
            if !address.is_wildcard() && !address.is_loopback() {
                return Err(Errno::EADDRNOTAVAIL);
            }
            cx.kernel.names.bind_port(address, &this)?
        }
        (AF_NETLINK, Address::Netlink(pid)) => {
            Address::Netlink(if *pid == 0 { cx.task.process.tgid } else { *pid })
        }
        (AF_INET, _) => return Err(Errno::EAFNOSUPPORT),
        _ => return Err(Errno::EINVAL),
    };
    socket.set_local(bound);
    Ok(())
}
