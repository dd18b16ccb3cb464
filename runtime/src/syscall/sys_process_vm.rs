//! What one process takes from another: process_vm_readv(2), process_vm_writev(2), pidfd_getfd(2).

use std::rc::Rc;

use super::sys_process::find_task;
use super::sys_rw::{Pieces, iovec};
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::kernel::{Ctx, Task, pidfd};
use crate::mm::Mm;

/// CAP_SYS_PTRACE.
const CAP_SYS_PTRACE: u32 = 19;
/// Bytes moved at a time.
const BUFFER: usize = 64 << 10;
/// Bytes moved in one call at most; callers go on after a short count.
const CALL_MAX: usize = 16 << 20;

/// EPERM unless the caller could trace `target`: ptrace(2), "Ptrace access mode checking".
fn may_trace(cx: &Ctx<'_>, target: &Task) -> Result<(), Errno> {
    let (own, theirs) = (cx.cred(), Rc::clone(&target.cred.borrow()));
    let same_user = [theirs.euid, theirs.suid, theirs.uid].iter().all(|id| *id == own.uid);
    let same_group = [theirs.egid, theirs.sgid, theirs.gid].iter().all(|id| *id == own.gid);
    let allowed = Rc::ptr_eq(&cx.task.process, &target.process)
        || own.capable(CAP_SYS_PTRACE)
        || same_user && same_group && target.process.dumpable.get() == 1;
    if allowed { Ok(()) } else { Err(Errno::EPERM) }
}

/// process_vm_readv(2).
pub(super) fn process_vm_readv(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    transfer(cx, args, false)
}

/// process_vm_writev(2).
pub(super) fn process_vm_writev(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    transfer(cx, args, true)
}

fn transfer(cx: &mut Ctx<'_>, args: Args, write: bool) -> SysResult {
    if args.u64(5) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let local = iovec(cx, args.u64(1), args.u64(2))?;
    let remote = iovec(cx, args.u64(3), args.u64(4))?;
    if args.i32(0) <= 0 {
        return Err(Errno::ESRCH.into());
    }
    let target = find_task(cx, args.i32(0))?;
    may_trace(cx, &target)?;
    let (own, theirs) = (cx.mm(), Rc::clone(&target.mm.borrow()));
    let (from, to) =
        if write { ((&own, &local), (&theirs, &remote)) } else { ((&theirs, &remote), (&own, &local)) };
    let done = copy(from, to)?;
    Ok(done as u64)
}

/// Bytes copied until one side's pieces end; an error only when it is none at all.
fn copy(from: (&Rc<Mm>, &Pieces), to: (&Rc<Mm>, &Pieces)) -> Result<usize, Errno> {
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    let (mut source, mut sink) = (Cursor::new(from.1), Cursor::new(to.1));
    while done < CALL_MAX {
        let (Some((at, room)), Some((target, space))) = (source.here(), sink.here()) else { break };
        let part = &mut buffer[..room.min(space).min(BUFFER)];
        let moved = from.0.copy_in(at, part).and_then(|()| to.0.copy_out(target, part));
        match moved {
            Ok(()) => {}
            Err(errno) if done == 0 || errno == Errno::PENDING => return Err(errno),
            Err(_) => break,
        }
        done += part.len();
        source.advance(part.len());
        sink.advance(part.len());
    }
    Ok(done)
}

/// A place in pieces of memory.
struct Cursor<'p> {
    pieces: &'p [(u64, usize)],
    offset: usize,
}

impl<'p> Cursor<'p> {
    fn new(pieces: &'p Pieces) -> Cursor<'p> {
        Cursor { pieces, offset: 0 }
    }

    /// Address and bytes that are left of the piece.
    fn here(&self) -> Option<(u64, usize)> {
        let &(addr, len) = self.pieces.first()?;
        Some((addr.wrapping_add(self.offset as u64), len - self.offset))
    }

    fn advance(&mut self, by: usize) {
        self.offset += by;
        if self.pieces.first().is_some_and(|piece| piece.1 == self.offset) {
            (self.pieces, self.offset) = (&self.pieces[1..], 0);
        }
    }
}

/// pidfd_getfd(pidfd, fd, flags): the other process's open file under a descriptor of the caller's.
pub(super) fn pidfd_getfd(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if args.u32(2) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = pidfd::process_of(&cx.file(args.fd(0))?)?;
    let target = process.live_threads().first().cloned().ok_or(Errno::ESRCH)?;
    may_trace(cx, &target)?;
    let files = Rc::clone(&target.files.borrow());
    let file = files.get(args.fd(1))?;
    Ok(cx.task.files.borrow().install(file, true, 0)? as u64)
}
