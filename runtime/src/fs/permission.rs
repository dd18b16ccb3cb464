//! Who may do what to an inode: mode bits, groups, capabilities. See path_resolution(7), capabilities(7).

use std::rc::Rc;

use super::{Dentry, Inode, Stat, mode, mount::Mount};
use crate::abi::Errno;
use crate::abi::mount::MS_RDONLY;
use crate::kernel::{Cred, Ctx};

#[allow(missing_docs, reason = "the names are Linux's; capabilities(7) says what they mean")]
mod caps {
    pub const CAP_CHOWN: u32 = 0;
    pub const CAP_DAC_OVERRIDE: u32 = 1;
    pub const CAP_DAC_READ_SEARCH: u32 = 2;
    pub const CAP_FOWNER: u32 = 3;
    pub const CAP_FSETID: u32 = 4;
    pub const CAP_SYS_CHROOT: u32 = 18;
    pub const CAP_SYS_ADMIN: u32 = 21;
    pub const CAP_SYS_RESOURCE: u32 = 24;
    pub const CAP_MKNOD: u32 = 27;
}
pub use caps::*;

/// Wanted access: search a directory, execute a file.
pub const MAY_EXEC: u32 = 1;
/// Wanted access: write.
pub const MAY_WRITE: u32 = 2;
/// Wanted access: read.
pub const MAY_READ: u32 = 4;

/// The caller has capability `cap`.
pub fn capable(cx: &Ctx<'_>, cap: u32) -> bool {
    has_cap(&cx.task.cred.borrow(), cap)
}

/// These credentials have capability `cap`.
pub fn has_cap(cred: &Cred, cap: u32) -> bool {
    cred.cap_effective >> cap & 1 != 0
}

/// The caller is in group `gid` (file system identity).
pub fn in_group(cred: &Cred, gid: u32) -> bool {
    cred.fsgid == gid || cred.groups.contains(&gid)
}

/// Is this access allowed by mode bits or capabilities? EACCES.
pub fn check(cred: &Cred, stat: &Stat, want: u32) -> Result<(), Errno> {
    let shift = if cred.fsuid == stat.uid {
        6
    } else if in_group(cred, stat.gid) {
        3
    } else {
        0
    };
    if stat.mode >> shift & want == want {
        return Ok(());
    }
    let is_dir = stat.mode & mode::S_IFMT == mode::S_IFDIR;
    // Executing a file needs an x bit for somebody, whoever asks.
    if has_cap(cred, CAP_DAC_OVERRIDE) && (want & MAY_EXEC == 0 || is_dir || stat.mode & 0o111 != 0) {
        return Ok(());
    }
    let search = want == MAY_READ || is_dir && want & MAY_WRITE == 0;
    if search && has_cap(cred, CAP_DAC_READ_SEARCH) { Ok(()) } else { Err(Errno::EACCES) }
}

/// May the caller access `inode` so? EACCES.
pub fn may(cx: &Ctx<'_>, inode: &dyn Inode, want: u32) -> Result<(), Errno> {
    check(&cx.task.cred.borrow(), &inode.stat(), want)
}

/// The caller owns the inode or has CAP_FOWNER. EPERM.
pub fn owner(cx: &Ctx<'_>, stat: &Stat) -> Result<(), Errno> {
    let cred = cx.task.cred.borrow();
    if cred.fsuid == stat.uid || has_cap(&cred, CAP_FOWNER) { Ok(()) } else { Err(Errno::EPERM) }
}

/// The mount takes changes. EROFS.
pub fn writable(mount: &Mount) -> Result<(), Errno> {
    if mount.flags.get() & MS_RDONLY as u32 != 0 { Err(Errno::EROFS) } else { Ok(()) }
}

/// No process runs this file: nobody writes to a program under its feet. ETXTBSY.
pub fn not_running(cx: &Ctx<'_>, dentry: &Dentry, stat: &Stat) -> Result<(), Errno> {
    if stat.mode & 0o111 == 0 {
        return Ok(());
    }
    let runs = cx.kernel.tasks.values().any(|task| {
        let exe = task.process.exe.borrow();
        let live = task.is_leader() && task.process.zombie.get().is_none();
        live && exe.as_ref().is_some_and(|exe| Rc::ptr_eq(&exe.inode, &dentry.inode))
    });
    if runs { Err(Errno::ETXTBSY) } else { Ok(()) }
}

/// Nobody has this file open for writing: what a process runs does not change. ETXTBSY.
pub fn not_written(cx: &Ctx<'_>, dentry: &Dentry) -> Result<(), Errno> {
    let written = cx.kernel.tasks.values().any(|task| {
        task.files.borrow().any(|file| file.writable() && Rc::ptr_eq(&file.dentry.inode, &dentry.inode))
    });
    if written { Err(Errno::ETXTBSY) } else { Ok(()) }
}

/// May the caller remove or replace the entry of `victim` in directory `dir`? In a sticky directory only the
/// owner of either may. EACCES, EPERM.
pub fn may_delete(cx: &Ctx<'_>, dir: &Stat, victim: &Stat) -> Result<(), Errno> {
    let cred = cx.task.cred.borrow();
    check(&cred, dir, MAY_WRITE | MAY_EXEC)?;
    let sticky = dir.mode & mode::S_ISVTX != 0;
    if sticky && cred.fsuid != victim.uid && cred.fsuid != dir.uid && !has_cap(&cred, CAP_FOWNER) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Permission bits of a file with this mode whose contents the caller changes, when they become others: without
/// CAP_FSETID the set-ID bits go. See chmod(2).
pub fn mode_after_write(cx: &Ctx<'_>, mode: u32) -> Option<u32> {
    let (bits, kept) = (mode & 0o7777, without_set_id(mode & 0o7777));
    (kept != bits && !capable(cx, CAP_FSETID)).then_some(kept)
}

/// Permission bits after a change by somebody unprivileged: no set-user-ID, no set-group-ID on executables.
pub fn without_set_id(bits: u32) -> u32 {
    let bits = bits & !mode::S_ISUID;
    if bits & 0o010 != 0 { bits & !mode::S_ISGID } else { bits }
}
