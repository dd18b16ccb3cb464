//! Advisory locks: flock(2), and fcntl(2)'s record and open file description locks.

use std::rc::Rc;

use super::sys_rw::io_file;
use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::*;
use crate::abi::file::{F_RDLCK, F_UNLCK, F_WRLCK, Flock};
use crate::fs::locks::{FileLocks, Owner, Range};
use crate::fs::{FileRef, OpenFile};
use crate::kernel::Ctx;

/// flock(2).
pub(super) fn flock(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let operation = args.u32(1);
    let locks = locks_of(cx, &file);
    let owner = Owner::description(&file);
    let exclusive = match operation & !LOCK_NB {
        LOCK_UN => {
            locks.unlock_whole(owner);
            return Ok(0);
        }
        LOCK_SH => false,
        LOCK_EX => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    match locks.lock_whole(owner, exclusive) {
        Err(Errno::EAGAIN) if operation & LOCK_NB == 0 => {
            Err(Block::on(vec![locks.queue().clone()], Interrupt::Restart))
        }
        other => Ok(other.map(|()| 0)?),
    }
}

/// The locks of the file, which the description keeps from now on, to release its own when it is closed.
fn locks_of(cx: &Ctx<'_>, file: &OpenFile) -> Rc<FileLocks> {
    let mut kept = file.locks.borrow_mut();
    Rc::clone(kept.get_or_insert_with(|| cx.kernel.locks.of(file)))
}

/// First and last byte of a `struct flock`. EINVAL, EOVERFLOW.
fn span(file: &OpenFile, lock: &Flock) -> Result<(u64, u64), Errno> {
    let base = match u32::from(lock.l_whence.cast_unsigned()) {
        SEEK_SET => 0,
        SEEK_CUR => file.pos.get() as i64,
        SEEK_END => file.dentry.inode.stat().size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = match lock.l_len {
        0 => (start, i64::MAX),
        len @ 1.. => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    if start < 0 || end < start {
        return Err(Errno::EINVAL);
    }
    Ok((start.cast_unsigned(), end.cast_unsigned()))
}

/// F_GETLK, F_SETLK, F_SETLKW and their F_OFD_* kin.
pub(super) fn record_lock(cx: &mut Ctx<'_>, file: &FileRef, command: u32, addr: u64) -> SysResult {
    let flock: Flock = cx.read_user(addr)?;
    let of_description = matches!(command, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW);
    let table = Rc::clone(&cx.task.files.borrow());
    let (owner, pid) = if of_description {
        if flock.l_pid != 0 {
            return Err(Errno::EINVAL.into());
        }
        (Owner::description(file), -1)
    } else {
        (Owner::Table(table.id()), cx.task.process.tgid.cast_signed())
    };
    let (start, end) = span(file, &flock)?;
    let lock = Range { start, end, exclusive: flock.l_type == F_WRLCK, owner, pid };
    if matches!(command, F_GETLK | F_OFD_GETLK) {
        if !matches!(flock.l_type, F_RDLCK | F_WRLCK) {
            return Err(Errno::EINVAL.into());
        }
        let answer = match cx.kernel.locks.of(file).conflict(&lock) {
            None => Flock { l_type: F_UNLCK, ..flock },
            Some(held) => Flock {
                l_type: if held.exclusive { F_WRLCK } else { F_RDLCK },
                l_whence: 0,
                l_start: held.start.cast_signed(),
                l_len: if held.end == i64::MAX as u64 {
                    0
                } else {
                    (held.end - held.start + 1).cast_signed()
                },
                l_pid: held.pid,
                ..flock
            },
        };
        cx.write_user(addr, &answer)?;
        return Ok(0);
    }
    match flock.l_type {
        F_RDLCK if !file.readable() => return Err(Errno::EBADF.into()),
        F_WRLCK if !file.writable() => return Err(Errno::EBADF.into()),
        F_RDLCK | F_WRLCK | F_UNLCK => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    let locks = if of_description { locks_of(cx, file) } else { cx.kernel.locks.of(file) };
    if flock.l_type == F_UNLCK {
        locks.clear(owner, start, end);
        return Ok(0);
    }
    // A wait that ends here, with or without the lock, is no longer an edge in the search for deadlocks.
    cx.task.progress.borrow_mut().extra = None;
    if let Some(held) = locks.conflict(&lock) {
        let waits = matches!(command, F_SETLKW | F_OFD_SETLKW);
        return if waits { wait(cx, &locks, owner, held.owner) } else { Err(Errno::EAGAIN.into()) };
    }
    if !of_description {
        table.remember_locks(&locks);
    }
    locks.set(lock)?;
    Ok(0)
}

fn wait(cx: &Ctx<'_>, locks: &Rc<FileLocks>, owner: Owner, holder: Owner) -> SysResult {
    if let (Owner::Table(who), Owner::Table(whom)) = (owner, holder) {
        let edge = cx.kernel.locks.wait(who, whom)?;
        cx.task.progress.borrow_mut().extra = Some(edge);
    }
    let flow: Flow = Block::on(vec![locks.queue().clone()], Interrupt::Restart);
    Err(flow)
}
