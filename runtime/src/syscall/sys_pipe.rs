//! pipe2(2). What a pipe does is in `fs/pipe.rs`; splice and tee are with the other transfers.

use std::rc::Rc;

use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::{O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_RDONLY, O_WRONLY};
use crate::fs::pipe::{Pipe, PipeEnd, PipeInode};
use crate::fs::{FileRef, anon};
use crate::kernel::Ctx;
use crate::mm::Access;

/// pipe2(fds, flags).
pub(super) fn pipe2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, flags) = (args.u64(0), args.u32(1));
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    cx.mm().fault_in(addr, 8, Access::Write)?;
    let pipe = Rc::new(Pipe::default());
    let stat = anon::stat(cx);
    let name = format!("pipe:[{}]", stat.ino);
    let inode = PipeInode::new(Rc::clone(&pipe), stat);
    let status = flags & (O_NONBLOCK | O_DIRECT);
    let end = |access| {
        let ops = PipeEnd::new(&pipe, access);
        anon::open(cx, &name, Rc::clone(&inode), ops, access | status)
    };
    let fds = install_pair(cx, [end(O_RDONLY), end(O_WRONLY)], flags & O_CLOEXEC != 0)?;
    cx.write_user(addr, &fds)?;
    Ok(0)
}

/// Two descriptors or none. EMFILE.
pub(super) fn install_pair(cx: &Ctx<'_>, files: [FileRef; 2], cloexec: bool) -> Result<[i32; 2], Errno> {
    let table = cx.task.files.borrow();
    let [first, second] = files;
    let first = table.install(first, cloexec, 0)?;
    match table.install(second, cloexec, 0) {
        Ok(second) => Ok([first, second]),
        Err(errno) => {
            let undone = table.remove(first);
            drop(undone);
            Err(errno)
        }
    }
}
