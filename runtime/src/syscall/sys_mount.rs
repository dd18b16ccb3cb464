//! mount(2) and umount2(2): one mount namespace, the file systems that need no device, and bind mounts.

use std::rc::Rc;

use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::AT_FDCWD;
use crate::abi::mount::*;
use crate::fs::permission::{self, CAP_SYS_ADMIN};
use crate::fs::{Dentry, mount, namei};
use crate::kernel::Ctx;

/// Flags of a mount that stay with it.
const KEPT: u64 = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
/// Changes of propagation, which means nothing with one namespace.
const PROPAGATION: u64 = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

/// A string argument that may be NULL.
fn string(cx: &Ctx<'_>, addr: u64) -> Result<Vec<u8>, Flow> {
    if addr == 0 { Ok(Vec::new()) } else { cx.read_path(addr) }
}

/// mount(2).
pub(super) fn mount(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let source = string(cx, args.u64(0))?;
    let target = cx.read_path(args.u64(1))?;
    let fstype = string(cx, args.u64(2))?;
    let flags = args.u64(3);
    let data = string(cx, args.u64(4))?;
    let at = namei::lookup(cx, AT_FDCWD, &target, 0)?;
    if !permission::capable(cx, CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let kept = (flags & KEPT) as u32;
    if flags & MS_REMOUNT != 0 {
        mount_root(&at)?;
        at.mount.flags.set(kept);
        return Ok(0);
    }
    if flags & MS_BIND != 0 {
        let from = namei::lookup(cx, AT_FDCWD, &source, 0)?;
        if flags & MS_REC != 0 {
            cx.kernel.vfs.bind_all(&from, at)?;
        } else {
            cx.kernel.vfs.bind(&from, at)?;
        }
        return Ok(0);
    }
    if flags & PROPAGATION != 0 {
        mount_root(&at)?;
        return Ok(0);
    }
    if flags & MS_MOVE != 0 {
        let from = namei::lookup(cx, AT_FDCWD, &source, 0)?;
        cx.kernel.vfs.move_mount(&from, at)?;
        return Ok(0);
    }
    let now = cx.now();
    let (name, root) = mount::filesystem(cx.kernel, &fstype, &data, now)?;
    cx.kernel.vfs.mount(name, &source, root, at, kept)?;
    Ok(0)
}

/// The dentry is the root of a mount. EINVAL.
fn mount_root(dentry: &Dentry) -> Result<(), Errno> {
    if dentry.parent.borrow().is_some() { Err(Errno::EINVAL) } else { Ok(()) }
}

/// umount2(2).
pub(super) fn umount2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(1);
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(args.u64(0))?;
    let nofollow = if flags & UMOUNT_NOFOLLOW != 0 { crate::abi::fcntl::AT_SYMLINK_NOFOLLOW } else { 0 };
    let root = namei::lookup(cx, AT_FDCWD, &path, nofollow)?;
    if !permission::capable(cx, CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    mount_root(&root)?;
    let in_use = in_use(cx, &root);
    cx.kernel.vfs.unmount(&root, flags & MNT_DETACH != 0, in_use)?;
    Ok(0)
}

/// Some task has a file of the mount open, or stands in it.
fn in_use(cx: &Ctx<'_>, root: &Dentry) -> bool {
    let here = |dentry: &Rc<Dentry>| Rc::ptr_eq(&dentry.mount, &root.mount);
    cx.kernel.tasks.values().any(|task| {
        let fs = task.fs.borrow();
        let files = task.files.borrow();
        let open = files.list().into_iter().any(|fd| files.get(fd).is_ok_and(|file| here(&file.dentry)));
        open || here(&fs.cwd.borrow()) || here(&fs.root.borrow())
    })
}
