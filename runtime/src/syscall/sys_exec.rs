//! execve(2), execveat(2).

use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use crate::fs::{mode, namei};
use crate::kernel::Ctx;
use crate::kernel::exec::{self, Arguments};
use crate::kernel::exec_stack::{STRING_MAX, TOTAL_MAX};

/// execve(path, argv, envp).
pub(super) fn execve(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    run(cx, AT_FDCWD, args.u64(0), (args.u64(1), args.u64(2)), 0)
}

/// execveat(dirfd, path, argv, envp, flags).
pub(super) fn execveat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(4);
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    run(cx, args.fd(0), args.u64(1), (args.u64(2), args.u64(3)), flags)
}

fn run(cx: &mut Ctx<'_>, dirfd: i32, path: u64, (argv, envp): (u64, u64), flags: u32) -> SysResult {
    let mut path = cx.read_path(path)?;
    let dentry = namei::lookup(cx, dirfd, &path, flags)?;
    if flags & AT_SYMLINK_NOFOLLOW != 0 && dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFLNK {
        return Err(Errno::ELOOP.into());
    }
    if dirfd != AT_FDCWD && !path.starts_with(b"/") {
        // What the program (or a script's interpreter) is told: a name that leads to the descriptor.
        let base = format!("/dev/fd/{dirfd}").into_bytes();
        path = if path.is_empty() { base } else { [base, path].join(&b'/') };
    }
    let mut budget = TOTAL_MAX;
    let arguments =
        Arguments { argv: strings(cx, argv, &mut budget)?, envp: strings(cx, envp, &mut budget)? };
    exec::execve(cx, dentry, &path, arguments).map_err(|error| error.errno)?;
    Err(Flow::Done)
}

/// The strings of a NULL-terminated vector of pointers; an absent vector is an empty one. E2BIG, EFAULT.
fn strings(cx: &Ctx<'_>, vector: u64, budget: &mut u64) -> Result<Vec<Vec<u8>>, Flow> {
    let mut list = Vec::new();
    if vector == 0 {
        return Ok(list);
    }
    loop {
        let slot = vector.checked_add(8 * list.len() as u64).ok_or(Errno::EFAULT)?;
        let pointer: u64 = cx.read_user(slot)?;
        if pointer == 0 {
            return Ok(list);
        }
        let string = cx.mm().read_cstr(pointer, STRING_MAX, Errno::E2BIG)?;
        *budget = budget.checked_sub(string.len() as u64 + 9).ok_or(Errno::E2BIG)?;
        list.push(string);
    }
}
