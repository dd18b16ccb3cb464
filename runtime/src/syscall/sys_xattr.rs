//! Extended attributes, see xattr(7).

use std::rc::Rc;

use super::sys_rw::io_file;
use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::event::IN_ATTRIB;
use crate::abi::fcntl::*;
use crate::fs::permission::{self, CAP_SYS_ADMIN, MAY_READ, MAY_WRITE};
use crate::fs::{Dentry, inotify, mode, namei};
use crate::kernel::Ctx;

/// Longest name (XATTR_NAME_MAX).
const NAME_MAX: usize = 255;
/// Longest value (XATTR_SIZE_MAX).
const SIZE_MAX: u64 = 65536;
/// What may give a program capabilities takes a capability of its own.
const CAP_SETFCAP: u32 = 31;

fn by_path(cx: &Ctx<'_>, args: Args, flags: u32) -> Result<Rc<Dentry>, Flow> {
    let path = cx.read_path(args.u64(0))?;
    Ok(namei::lookup(cx, AT_FDCWD, &path, flags)?)
}

fn by_fd(cx: &Ctx<'_>, args: Args) -> Result<Rc<Dentry>, Flow> {
    Ok(Rc::clone(&io_file(cx, args.fd(0))?.dentry))
}

/// The name at `addr`. ERANGE when it is empty or too long.
fn name(cx: &Ctx<'_>, addr: u64) -> Result<Vec<u8>, Flow> {
    let name = cx.mm().read_cstr(addr, NAME_MAX + 1, Errno::ERANGE)?;
    if name.is_empty() { Err(Errno::ERANGE.into()) } else { Ok(name) }
}

/// May the caller use the attribute so? `want`: MAY_READ or MAY_WRITE.
fn permit(cx: &Ctx<'_>, dentry: &Dentry, name: &[u8], want: u32) -> Result<(), Errno> {
    let writes = want == MAY_WRITE;
    if writes {
        permission::writable(&dentry.mount)?;
    }
    let stat = dentry.inode.stat();
    let refused = if writes { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"security.") {
        let cap = if name == b"security.capability" { CAP_SETFCAP } else { CAP_SYS_ADMIN };
        return if writes && !permission::capable(cx, cap) { Err(Errno::EPERM) } else { Ok(()) };
    }
    if name.starts_with(b"trusted.") {
        return if permission::capable(cx, CAP_SYS_ADMIN) { Ok(()) } else { Err(refused) };
    }
    if !name.starts_with(b"user.") {
        return Err(Errno::EOPNOTSUPP);
    }
    if !matches!(stat.mode & mode::S_IFMT, mode::S_IFREG | mode::S_IFDIR) {
        return Err(refused);
    }
    let sticky = stat.mode & mode::S_IFMT == mode::S_IFDIR && stat.mode & mode::S_ISVTX != 0;
    if sticky && writes {
        permission::owner(cx, &stat)?;
    }
    permission::check(&cx.task.cred.borrow(), &stat, want)
}

fn set(cx: &Ctx<'_>, dentry: &Dentry, args: Args) -> SysResult {
    let flags = args.u32(4);
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = name(cx, args.u64(1))?;
    if args.u64(3) > SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let mut value = vec![0; args.u64(3) as usize];
    cx.mm().copy_in(args.u64(2), &mut value)?;
    permit(cx, dentry, &name, MAY_WRITE)?;
    dentry.inode.set_xattr(&name, &value, flags)?;
    inotify::happened(dentry, IN_ATTRIB);
    Ok(0)
}

/// Copy `bytes` to a guest buffer of `size` bytes; a size of 0 asks how much it would be. ERANGE.
fn give(cx: &Ctx<'_>, bytes: &[u8], addr: u64, size: u64) -> SysResult {
    let len = bytes.len() as u64;
    if size != 0 {
        if len > size {
            return Err(Errno::ERANGE.into());
        }
        cx.mm().copy_out(addr, bytes)?;
    }
    Ok(len)
}

fn get(cx: &Ctx<'_>, dentry: &Dentry, args: Args) -> SysResult {
    let name = name(cx, args.u64(1))?;
    permit(cx, dentry, &name, MAY_READ)?;
    give(cx, &dentry.inode.xattr(&name)?, args.u64(2), args.u64(3))
}

fn list(cx: &Ctx<'_>, dentry: &Dentry, args: Args) -> SysResult {
    let admin = permission::capable(cx, CAP_SYS_ADMIN);
    let mut bytes = Vec::new();
    for name in dentry.inode.xattrs() {
        if admin || !name.starts_with(b"trusted.") {
            bytes.extend_from_slice(&name);
            bytes.push(0);
        }
    }
    give(cx, &bytes, args.u64(1), args.u64(2))
}

fn remove(cx: &Ctx<'_>, dentry: &Dentry, args: Args) -> SysResult {
    let name = name(cx, args.u64(1))?;
    permit(cx, dentry, &name, MAY_WRITE)?;
    dentry.inode.remove_xattr(&name)?;
    inotify::happened(dentry, IN_ATTRIB);
    Ok(0)
}

macro_rules! xattr_calls {
    ($($name:ident: $how:ident, |$cx:ident, $args:ident| $find:expr;)*) => {$(
        #[doc = concat!(stringify!($name), "(2).")]
        pub(super) fn $name($cx: &mut Ctx<'_>, $args: Args) -> SysResult {
            let dentry = $find?;
            $how($cx, &dentry, $args)
        }
    )*};
}

xattr_calls! {
    setxattr: set, |cx, args| by_path(cx, args, 0);
    lsetxattr: set, |cx, args| by_path(cx, args, AT_SYMLINK_NOFOLLOW);
    fsetxattr: set, |cx, args| by_fd(cx, args);
    getxattr: get, |cx, args| by_path(cx, args, 0);
    lgetxattr: get, |cx, args| by_path(cx, args, AT_SYMLINK_NOFOLLOW);
    fgetxattr: get, |cx, args| by_fd(cx, args);
    listxattr: list, |cx, args| by_path(cx, args, 0);
    llistxattr: list, |cx, args| by_path(cx, args, AT_SYMLINK_NOFOLLOW);
    flistxattr: list, |cx, args| by_fd(cx, args);
    removexattr: remove, |cx, args| by_path(cx, args, 0);
    lremovexattr: remove, |cx, args| by_path(cx, args, AT_SYMLINK_NOFOLLOW);
    fremovexattr: remove, |cx, args| by_fd(cx, args);
}
