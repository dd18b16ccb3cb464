//! Bytes from one file to another without passing through guest memory: sendfile(2), splice(2), tee(2),
//! vmsplice(2), copy_file_range(2).

use super::sys_file::pipe;
use super::sys_rw::{block_on, iovec, moved, pause, read_file, readable, writable, write_file};
use super::{Args, Flow, SysResult};
use crate::abi::Errno;
use crate::abi::event::{IN_ACCESS, IN_MODIFY};
use crate::abi::fcntl::*;
use crate::fs::{FileRef, Io, OpenFile, mode};
use crate::kernel::Ctx;

/// Bytes moved at a time.
const BUFFER: u64 = 64 << 10;
/// Bytes moved in one call at most; callers go on after a short count.
const CALL_MAX: u64 = 16 << 20;

/// A file offset behind a pointer, or the file's own position for NULL.
struct Offset {
    addr: u64,
    at: u64,
}

impl Offset {
    fn read(cx: &Ctx<'_>, addr: u64, file: &OpenFile) -> Result<Offset, Flow> {
        let at = if addr == 0 { file.pos.get() } else { cx.read_user::<u64>(addr)? };
        if at > i64::MAX as u64 {
            return Err(Errno::EINVAL.into());
        }
        Ok(Offset { addr, at })
    }

    fn advance(&self, cx: &Ctx<'_>, file: &OpenFile, by: u64) -> Result<(), Flow> {
        if self.addr == 0 {
            file.pos.set(self.at + by);
            return Ok(());
        }
        cx.write_user(self.addr, &(self.at + by))
    }
}

/// Copy up to `len` bytes from a seekable file at `from` to `out` (at `to`, if that is seekable).
/// Goes on where it stopped when the call was parked.
fn transfer(
    cx: &mut Ctx<'_>,
    input: &FileRef,
    from: u64,
    out: &FileRef,
    to: Option<u64>,
    len: u64,
) -> SysResult {
    let len = len.min(CALL_MAX).min(i64::MAX as u64 - from);
    let mut done = cx.task.progress.borrow().done.min(len);
    let mut buffer = vec![0; len.min(BUFFER) as usize];
    while done < len {
        let part = (len - done).min(BUFFER) as usize;
        let got = match input.ops.read(cx, input, &mut Io::kernel(&mut buffer[..part]), Some(from + done)) {
            Ok(0) => break,
            Ok(n) => n,
            Err(Errno::PENDING) => return pause(cx, done, Errno::PENDING.into()),
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        let at = to.map(|to| to.saturating_add(done));
        match out.ops.write(cx, out, &mut Io::bytes(&buffer[..got]), at) {
            Ok(n) => done += n as u64,
            Err(Errno::PENDING) => return pause(cx, done, Errno::PENDING.into()),
            Err(Errno::EAGAIN) if !out.nonblocking() => {
                let flow = block_on(&[out]);
                return pause(cx, done, flow);
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    moved(input, IN_ACCESS, done);
    moved(out, IN_MODIFY, done);
    Ok(done)
}

/// sendfile(2).
pub(super) fn sendfile(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let out = writable(cx, args.fd(0))?;
    let input = readable(cx, args.fd(1))?;
    if !input.ops.seekable() || out.flags.get() & O_APPEND != 0 {
        return Err(Errno::EINVAL.into());
    }
    if args.u64(3) > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let from = Offset::read(cx, args.u64(2), &input)?;
    let to = out.ops.seekable().then(|| out.pos.get());
    let done = transfer(cx, &input, from.at, &out, to, args.u64(3))?;
    if let Some(to) = to {
        out.pos.set(to + done);
    }
    from.advance(cx, &input, done)?;
    Ok(done)
}

/// copy_file_range(2).
pub(super) fn copy_file_range(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if args.u32(5) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let input = readable(cx, args.fd(0))?;
    let out = writable(cx, args.fd(2))?;
    if out.flags.get() & O_APPEND != 0 {
        return Err(Errno::EBADF.into());
    }
    let (from_stat, to_stat) = (input.dentry.inode.stat(), out.dentry.inode.stat());
    for stat in [&from_stat, &to_stat] {
        match stat.mode & mode::S_IFMT {
            mode::S_IFREG => {}
            mode::S_IFDIR => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    let from = Offset::read(cx, args.u64(1), &input)?;
    let to = Offset::read(cx, args.u64(3), &out)?;
    let len = args.u64(4).min(from_stat.size.saturating_sub(from.at));
    let same = (from_stat.dev, from_stat.ino) == (to_stat.dev, to_stat.ino);
    if same && from.at < to.at.saturating_add(len) && to.at < from.at.saturating_add(len) {
        return Err(Errno::EINVAL.into());
    }
    let done = transfer(cx, &input, from.at, &out, Some(to.at), len)?;
    from.advance(cx, &input, done)?;
    to.advance(cx, &out, done)?;
    Ok(done)
}

/// Nothing can be moved now: wait for one of the files, unless told not to.
fn would_block(flags: u32, files: &[&OpenFile]) -> SysResult {
    let nonblocking = flags & SPLICE_F_NONBLOCK != 0 || files.iter().any(|f| f.nonblocking());
    if nonblocking { Err(Errno::EAGAIN.into()) } else { Err(block_on(files)) }
}

const SPLICE_FLAGS: u32 = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

/// splice(2).
pub(super) fn splice(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (len, flags) = (args.u64(4), args.u32(5));
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let input = readable(cx, args.fd(0))?;
    let out = writable(cx, args.fd(2))?;
    let (from_pipe, to_pipe) = (pipe(&input), pipe(&out));
    if from_pipe.is_some() && args.u64(1) != 0 || to_pipe.is_some() && args.u64(3) != 0 {
        return Err(Errno::ESPIPE.into());
    }
    if args.u64(1) != 0 && !input.ops.seekable() || args.u64(3) != 0 && !out.ops.seekable() {
        return Err(Errno::ESPIPE.into());
    }
    match (from_pipe, to_pipe) {
        (None, None) => Err(Errno::EINVAL.into()),
        (Some(_), Some(_)) => pipe_to_pipe(cx, &input, &out, len, flags, true),
        (Some(_), None) => {
            if out.flags.get() & O_APPEND != 0 {
                return Err(Errno::EINVAL.into());
            }
            let to = Offset::read(cx, args.u64(3), &out)?;
            from_pipe_to_file(cx, &input, &out, to, len, flags)
        }
        (None, Some(_)) => {
            let from = Offset::read(cx, args.u64(1), &input)?;
            file_to_pipe(cx, &input, from, &out, len, flags)
        }
    }
}

/// splice(2) (`consume`) and tee(2) between two pipes.
fn pipe_to_pipe(
    cx: &mut Ctx<'_>,
    input: &FileRef,
    out: &FileRef,
    len: u64,
    flags: u32,
    consume: bool,
) -> SysResult {
    let (Some(from), Some(to)) = (pipe(input), pipe(out)) else { return Err(Errno::EINVAL.into()) };
    if std::rc::Rc::ptr_eq(&from, &to) {
        return Err(Errno::EINVAL.into());
    }
    if from.is_empty() {
        return if from.has_writers() { would_block(flags, &[input]) } else { Ok(0) };
    }
    if to.has_readers() && to.room() == 0 {
        return would_block(flags, &[out]);
    }
    let room = if to.has_readers() { to.room() } else { 1 };
    let bytes = from.peek(usize::try_from(len).unwrap_or(usize::MAX).min(room));
    let written = out.ops.write(cx, out, &mut Io::bytes(&bytes), None)?;
    if consume {
        discard(cx, input, written)?;
    }
    Ok(written as u64)
}

/// Take `count` bytes, which were peeked at, out of a pipe.
fn discard(cx: &mut Ctx<'_>, input: &FileRef, count: usize) -> Result<(), Errno> {
    let mut scratch = vec![0; count];
    let mut io = Io::kernel(&mut scratch);
    while io.remaining() > 0 {
        if input.ops.read(cx, input, &mut io, None)? == 0 {
            break;
        }
    }
    Ok(())
}

fn from_pipe_to_file(
    cx: &mut Ctx<'_>,
    input: &FileRef,
    out: &FileRef,
    to: Offset,
    len: u64,
    flags: u32,
) -> SysResult {
    let Some(from) = pipe(input) else { return Err(Errno::EINVAL.into()) };
    if from.is_empty() {
        return if from.has_writers() { would_block(flags, &[input]) } else { Ok(0) };
    }
    let bytes = from.peek(len.min(BUFFER) as usize);
    let at = out.ops.seekable().then_some(to.at);
    match out.ops.write(cx, out, &mut Io::bytes(&bytes), at) {
        Ok(written) => {
            discard(cx, input, written)?;
            if at.is_some() {
                to.advance(cx, out, written as u64)?;
            }
            moved(out, IN_MODIFY, written as u64);
            Ok(written as u64)
        }
        Err(Errno::EAGAIN) => would_block(flags, &[out]),
        Err(errno) => Err(errno.into()),
    }
}

fn file_to_pipe(
    cx: &mut Ctx<'_>,
    input: &FileRef,
    from: Offset,
    out: &FileRef,
    len: u64,
    flags: u32,
) -> SysResult {
    let Some(to) = pipe(out) else { return Err(Errno::EINVAL.into()) };
    if to.has_readers() && to.room() == 0 {
        return would_block(flags, &[out]);
    }
    let room = if to.has_readers() { to.room() as u64 } else { 1 };
    let mut buffer = vec![0; len.min(room).min(BUFFER) as usize];
    let at = input.ops.seekable().then_some(from.at);
    let got = match input.ops.read(cx, input, &mut Io::kernel(&mut buffer), at) {
        Ok(got) => got,
        Err(Errno::EAGAIN) => return would_block(flags, &[input]),
        Err(errno) => return Err(errno.into()),
    };
    if got == 0 {
        return Ok(0);
    }
    let written = out.ops.write(cx, out, &mut Io::bytes(&buffer[..got]), None)?;
    if at.is_some() {
        from.advance(cx, input, written as u64)?;
    }
    moved(input, IN_ACCESS, written as u64);
    Ok(written as u64)
}

/// tee(2).
pub(super) fn tee(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (len, flags) = (args.u64(2), args.u32(3));
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let input = readable(cx, args.fd(0))?;
    let out = writable(cx, args.fd(1))?;
    pipe_to_pipe(cx, &input, &out, len, flags, false)
}

/// vmsplice(2): pages are copied, never given away.
pub(super) fn vmsplice(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = super::sys_rw::io_file(cx, args.fd(0))?;
    if pipe(&file).is_none() {
        return Err(Errno::EBADF.into());
    }
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    let nowait = flags & SPLICE_F_NONBLOCK != 0;
    if file.writable() {
        write_file(cx, &file, &pieces, None, false, nowait)
    } else {
        read_file(cx, &file, &pieces, None, nowait)
    }
}
