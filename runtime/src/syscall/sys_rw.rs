//! read(2), write(2) and their variants, lseek(2), and the calls that flush and advise.
//!
//! A transfer is cut into slices, so that a guest length never decides how much
//! is faulted in at once. Bytes already moved are kept in `task.progress.done`
//! while the call waits (for room in a pipe, for a chunk).

use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::event::{IN_ACCESS, IN_MODIFY};
use crate::abi::fcntl::*;
use crate::abi::resource::RLIMIT_FSIZE;
use crate::abi::signal::SIGXFSZ;
use crate::fs::open::DirFile;
use crate::fs::{Dentry, FileRef, OpenFile, SetAttr, inotify, mode, permission};
use crate::kernel::{Ctx, Target, user_io};
use crate::mm::Access;

/// Most bytes in one call (Linux MAX_RW_COUNT).
const RW_MAX: u64 = 0x7fff_f000;
/// Bytes faulted in and moved at a time.
const SLICE: u64 = 256 << 10;
/// Most pieces in an iovec array (UIO_MAXIOV).
const IOV_MAX: usize = 1024;

/// Pieces of guest memory: address and length.
pub(super) type Pieces = Vec<(u64, usize)>;

/// The description behind `fd`, for anything but looking at it. EBADF, also for O_PATH.
pub(super) fn io_file(cx: &Ctx<'_>, fd: i32) -> Result<FileRef, Errno> {
    let file = cx.file(fd)?;
    if file.flags.get() & O_PATH != 0 { Err(Errno::EBADF) } else { Ok(file) }
}

/// Opened for reading. EBADF.
pub(super) fn readable(cx: &Ctx<'_>, fd: i32) -> Result<FileRef, Errno> {
    let file = cx.file(fd)?;
    if file.readable() { Ok(file) } else { Err(Errno::EBADF) }
}

/// Opened for writing. EBADF.
pub(super) fn writable(cx: &Ctx<'_>, fd: i32) -> Result<FileRef, Errno> {
    let file = cx.file(fd)?;
    if file.writable() { Ok(file) } else { Err(Errno::EBADF) }
}

/// Park the caller on the queues of `files`.
pub(super) fn block_on(files: &[&OpenFile]) -> Flow {
    let mut queues = Vec::new();
    for file in files {
        file.ops.queues(&mut |queue| queues.push(queue.clone()));
    }
    Block::on(queues, Interrupt::Restart)
}

/// Park the caller on a stream's queues until the deadline that the stream has
/// set for this call (a terminal's VTIME, SO_RCVTIMEO); when that is over, EAGAIN.
pub(super) fn wait_for(cx: &Ctx<'_>, file: &OpenFile) -> Flow {
    let deadline_ns = cx.task.progress.borrow().deadline_ns;
    if deadline_ns.is_some_and(|at| cx.kernel.monotonic_ns() >= at) {
        return Errno::EAGAIN.into();
    }
    let mut queues = Vec::new();
    file.ops.queues(&mut |queue| queues.push(queue.clone()));
    Flow::Block(Block { queues, deadline_ns, interrupt: Interrupt::Restart })
}

fn piece(addr: u64, len: u64) -> Result<Pieces, Errno> {
    if len > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    Ok(vec![(addr, len.min(RW_MAX) as usize)])
}

/// The pieces of a `struct iovec` array. EINVAL, EFAULT.
pub(super) fn iovec(cx: &Ctx<'_>, addr: u64, count: u64) -> Result<Pieces, Flow> {
    // The count is an int, or an unsigned long: negative is too many in both.
    let count = usize::try_from(count).ok().filter(|&n| n <= IOV_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; count * 16];
    cx.mm().copy_in(addr, &mut bytes)?;
    let mut pieces = Vec::with_capacity(count);
    let mut room = RW_MAX;
    for entry in bytes.as_chunks::<16>().0 {
        let (base, len) = entry.split_at(8);
        let base = u64::from_le_bytes(base.try_into().unwrap_or_default());
        let len = u64::from_le_bytes(len.try_into().unwrap_or_default());
        if len > i64::MAX as u64 {
            return Err(Errno::EINVAL.into());
        }
        let len = len.min(room);
        room -= len;
        if len > 0 {
            pieces.push((base, len as usize));
        }
    }
    Ok(pieces)
}

/// At most `max` bytes of the pieces, after the first `skip`.
pub(super) fn slice(pieces: &Pieces, skip: u64, max: u64) -> Pieces {
    let (mut skip, mut room) = (skip, max);
    let mut part = Vec::new();
    for &(addr, len) in pieces {
        let len = len as u64;
        if skip >= len {
            skip -= len;
            continue;
        }
        let n = (len - skip).min(room);
        if n == 0 {
            break;
        }
        part.push((addr.wrapping_add(skip), n as usize));
        room -= n;
        skip = 0;
    }
    part
}

fn total(pieces: &Pieces) -> u64 {
    pieces.iter().map(|p| p.1 as u64).sum()
}

/// Keep `done` bytes in mind while the call waits.
pub(super) fn pause(cx: &Ctx<'_>, done: u64, flow: Flow) -> SysResult {
    // A signal handler interrupts the wait: what was moved is the result.
    if done > 0 && cx.interrupted() && matches!(flow, Flow::Block(_)) {
        return Ok(done);
    }
    cx.task.progress.borrow_mut().done = done;
    Err(flow)
}

/// Read into `pieces`, at `at` or at the file's position.
pub(super) fn read_file(
    cx: &mut Ctx<'_>,
    file: &FileRef,
    pieces: &Pieces,
    at: Option<u64>,
    nowait: bool,
) -> SysResult {
    if file.ops.seekable() {
        return read_at(cx, file, pieces, at);
    }
    if at.is_some() {
        return Err(Errno::ESPIPE.into());
    }
    let part = slice(pieces, 0, SLICE);
    let mm = cx.mm();
    let mut io = user_io(&mm, part, Access::Write)?;
    match file.ops.read(cx, file, &mut io, None) {
        Ok(n) => {
            moved(file, IN_ACCESS, n as u64);
            Ok(n as u64)
        }
        Err(Errno::EAGAIN) if !nowait && !file.nonblocking() => Err(wait_for(cx, file)),
        Err(errno) => Err(errno.into()),
    }
}

fn read_at(cx: &mut Ctx<'_>, file: &FileRef, pieces: &Pieces, at: Option<u64>) -> SysResult {
    let start = at.unwrap_or(file.pos.get());
    let wanted = total(pieces);
    if start.checked_add(wanted).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    let mut done = cx.task.progress.borrow().done.min(wanted);
    let mm = cx.mm();
    loop {
        // What lies past the end of a file is not faulted in; a size of 0 says nothing (proc(5)).
        let stat = file.dentry.inode.stat();
        let sized = stat.mode & mode::S_IFMT == mode::S_IFREG && stat.size > 0;
        let left = if sized { stat.size.saturating_sub(start + done) } else { u64::MAX };
        let part = slice(pieces, done, SLICE.min(left));
        let mut io = match user_io(&mm, part, Access::Write) {
            Ok(io) => io,
            Err(flow @ Flow::Errno(Errno::PENDING)) => return pause(cx, done, flow),
            Err(_) if done > 0 => break,
            Err(flow) => return Err(flow),
        };
        match file.ops.read(cx, file, &mut io, Some(start + done)) {
            Ok(0) => break,
            Ok(n) => done += n as u64,
            Err(Errno::PENDING) => return pause(cx, done, Errno::PENDING.into()),
            Err(Errno::EAGAIN) if done == 0 && !file.nonblocking() => return Err(block_on(&[file])),
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        if done >= wanted {
            break;
        }
    }
    if at.is_none() {
        file.pos.set(start + done);
    }
    moved(file, IN_ACCESS, done);
    Ok(done)
}

/// Say to who watches `file` that bytes were moved.
pub(super) fn moved(file: &OpenFile, event: u32, bytes: u64) {
    if bytes > 0 {
        inotify::file_happened(file, event);
    }
}

/// Write from `pieces`, at `at`, at the file's position, or at its end (`append`).
pub(super) fn write_file(
    cx: &mut Ctx<'_>,
    file: &FileRef,
    pieces: &Pieces,
    at: Option<u64>,
    append: bool,
    nowait: bool,
) -> SysResult {
    let written = if file.ops.seekable() {
        write_at(cx, file, pieces, at, append || file.flags.get() & O_APPEND != 0)?
    } else if at.is_some() {
        return Err(Errno::ESPIPE.into());
    } else {
        write_stream(cx, file, pieces, nowait)?
    };
    moved(file, IN_MODIFY, written);
    Ok(written)
}

fn write_stream(cx: &mut Ctx<'_>, file: &FileRef, pieces: &Pieces, nowait: bool) -> SysResult {
    let wanted = total(pieces);
    let mut done = cx.task.progress.borrow().done.min(wanted);
    let mm = cx.mm();
    loop {
        let mut io = match user_io(&mm, slice(pieces, done, SLICE), Access::Read) {
            Ok(io) => io,
            Err(flow @ Flow::Errno(Errno::PENDING)) => return pause(cx, done, flow),
            Err(_) if done > 0 => return Ok(done),
            Err(flow) => return Err(flow),
        };
        match file.ops.write(cx, file, &mut io, None) {
            Ok(n) => done += n as u64,
            Err(Errno::EAGAIN) if done > 0 && cx.task.progress.borrow().interrupted => return Ok(done),
            Err(Errno::EAGAIN) if !nowait && !file.nonblocking() => {
                return pause(cx, done, wait_for(cx, file));
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno.into()),
        }
        if done >= wanted {
            return Ok(done);
        }
    }
}

fn write_at(cx: &mut Ctx<'_>, file: &FileRef, pieces: &Pieces, at: Option<u64>, append: bool) -> SysResult {
    let start = at.unwrap_or(file.pos.get());
    let wanted = total(pieces);
    if start > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let mut done = cx.task.progress.borrow().done.min(wanted);
    let mm = cx.mm();
    let mut end = start + done;
    while done < wanted {
        let to = if append { file.dentry.inode.stat().size } else { start.saturating_add(done) };
        let room = file_room(cx, file, to, done)?;
        let mut io = match user_io(&mm, slice(pieces, done, SLICE.min(room)), Access::Read) {
            Ok(io) => io,
            Err(flow @ Flow::Errno(Errno::PENDING)) => return pause(cx, done, flow),
            Err(_) if done > 0 => break,
            Err(flow) => return Err(flow),
        };
        match file.ops.write(cx, file, &mut io, Some(to)) {
            Ok(0) => break,
            Ok(n) => {
                done += n as u64;
                end = to + n as u64;
            }
            Err(Errno::PENDING) => return pause(cx, done, Errno::PENDING.into()),
            Err(Errno::EAGAIN) if done == 0 && !file.nonblocking() => return Err(block_on(&[file])),
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    if at.is_none() && done > 0 {
        file.pos.set(end);
    }
    Ok(done)
}

/// Bytes that RLIMIT_FSIZE lets a write at `to` add. EFBIG with SIGXFSZ when there are none.
fn file_room(cx: &mut Ctx<'_>, file: &OpenFile, to: u64, done: u64) -> Result<u64, Errno> {
    let regular = file.dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFREG;
    if !regular {
        return Ok(u64::MAX);
    }
    let room = size_max(cx).saturating_sub(to);
    if room == 0 && done == 0 {
        size_limit(cx);
        return Err(Errno::EFBIG);
    }
    Ok(room)
}

/// RLIMIT_FSIZE.
fn size_max(cx: &Ctx<'_>) -> u64 {
    cx.task.process.rlimit(RLIMIT_FSIZE)
}

/// The caller hit RLIMIT_FSIZE.
pub(super) fn size_limit(cx: &mut Ctx<'_>) {
    cx.kernel.outbox.post(Target::Task(cx.task.tid), SIGXFSZ);
}

/// read(2).
pub(super) fn read(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = readable(cx, args.fd(0))?;
    read_file(cx, &file, &piece(args.u64(1), args.u64(2))?, None, false)
}

/// write(2).
pub(super) fn write(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = writable(cx, args.fd(0))?;
    write_file(cx, &file, &piece(args.u64(1), args.u64(2))?, None, false, false)
}

/// readv(2).
pub(super) fn readv(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = readable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    read_file(cx, &file, &pieces, None, false)
}

/// writev(2).
pub(super) fn writev(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = writable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    write_file(cx, &file, &pieces, None, false, false)
}

fn offset(args: Args, index: usize) -> Result<u64, Errno> {
    u64::try_from(args.i64(index)).map_err(|_| Errno::EINVAL)
}

/// pread64(2).
pub(super) fn pread64(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let at = offset(args, 3)?;
    let file = readable(cx, args.fd(0))?;
    read_file(cx, &file, &piece(args.u64(1), args.u64(2))?, Some(at), false)
}

/// pwrite64(2).
pub(super) fn pwrite64(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let at = offset(args, 3)?;
    let file = writable(cx, args.fd(0))?;
    write_file(cx, &file, &piece(args.u64(1), args.u64(2))?, Some(at), false, false)
}

/// preadv(2).
pub(super) fn preadv(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let at = offset(args, 3)?;
    let file = readable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    read_file(cx, &file, &pieces, Some(at), false)
}

/// pwritev(2).
pub(super) fn pwritev(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let at = offset(args, 3)?;
    let file = writable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    write_file(cx, &file, &pieces, Some(at), false, false)
}

/// The offset of preadv2(2) and pwritev2(2): -1 is the file's position.
fn offset_or_position(args: Args) -> Result<Option<u64>, Errno> {
    if args.i64(3) == -1 { Ok(None) } else { offset(args, 3).map(Some) }
}

/// preadv2(2).
pub(super) fn preadv2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(5);
    if flags & !(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let at = offset_or_position(args)?;
    let file = readable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    read_file(cx, &file, &pieces, at, flags & RWF_NOWAIT != 0)
}

/// pwritev2(2).
pub(super) fn pwritev2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(5);
    if flags & !(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let at = offset_or_position(args)?;
    let file = writable(cx, args.fd(0))?;
    let pieces = iovec(cx, args.u64(1), args.u64(2))?;
    write_file(cx, &file, &pieces, at, flags & RWF_APPEND != 0, flags & RWF_NOWAIT != 0)
}

/// lseek(2).
pub(super) fn lseek(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let (by, whence) = (args.i64(1), args.u32(2));
    if !file.ops.seekable() {
        return Err(Errno::ESPIPE.into());
    }
    let is_dir = file.ops.as_any().is::<DirFile>();
    let position = file.pos.get() as i64;
    let size = file.dentry.inode.stat().size as i64;
    let to = match whence {
        SEEK_SET => by,
        SEEK_CUR => position.checked_add(by).ok_or(Errno::EOVERFLOW)?,
        SEEK_END if !is_dir => size.checked_add(by).ok_or(Errno::EOVERFLOW)?,
        SEEK_DATA | SEEK_HOLE if !is_dir => {
            let from = u64::try_from(by).map_err(|_| Errno::ENXIO)?;
            file.ops.seek_data(&file, from, whence == SEEK_DATA)? as i64
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    let to = u64::try_from(to).map_err(|_| Errno::EINVAL)?;
    file.pos.set(to);
    Ok(to)
}

/// fsync(2), fdatasync(2), syncfs(2): what was written is as durable as it gets.
pub(super) fn fsync(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let kind = file.dentry.inode.stat().mode & mode::S_IFMT;
    match kind {
        mode::S_IFREG | mode::S_IFDIR | mode::S_IFBLK => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// syncfs(2).
pub(super) fn syncfs(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    io_file(cx, args.fd(0))?;
    Ok(0)
}

/// sync(2).
pub(super) fn sync(_cx: &mut Ctx<'_>, _args: Args) -> SysResult {
    Ok(0)
}

/// sync_file_range(2).
pub(super) fn sync_file_range(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let known = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    let (from, len) = (args.i64(1), args.i64(2));
    if args.u32(3) & !known != 0 || from < 0 || len < 0 || from.checked_add(len).is_none() {
        return Err(Errno::EINVAL.into());
    }
    match file.dentry.inode.stat().mode & mode::S_IFMT {
        mode::S_IFREG | mode::S_IFDIR | mode::S_IFBLK | mode::S_IFLNK => Ok(0),
        _ => Err(Errno::ESPIPE.into()),
    }
}

/// fadvise64(2). Contents are in memory already or come in chunks that the store chooses.
pub(super) fn fadvise64(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    if file.dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFIFO {
        return Err(Errno::ESPIPE.into());
    }
    if args.i64(2) < 0 || args.u32(3) > POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// readahead(2).
pub(super) fn readahead(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = readable(cx, args.fd(0))?;
    match file.dentry.inode.stat().mode & mode::S_IFMT {
        mode::S_IFREG | mode::S_IFBLK => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// truncate(2) and ftruncate(2) of an inode that may be written: the limit, then the size.
pub(super) fn set_size(cx: &mut Ctx<'_>, dentry: &Dentry, size: i64) -> SysResult {
    let inode = &dentry.inode;
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size > inode.stat().size && size > size_max(cx) {
        size_limit(cx);
        return Err(Errno::EFBIG.into());
    }
    let now = cx.now();
    let mode = permission::mode_after_write(cx, inode.stat().mode);
    inode.set_attr(&SetAttr { mode, size: Some(size), mtime: Some(now), now, ..SetAttr::default() })?;
    inotify::happened(dentry, IN_MODIFY);
    Ok(0)
}

/// ftruncate(2).
pub(super) fn ftruncate(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let regular = file.dentry.inode.stat().mode & mode::S_IFMT == mode::S_IFREG;
    if !regular || !file.writable() || args.i64(1) < 0 {
        return Err(Errno::EINVAL.into());
    }
    set_size(cx, &file.dentry, args.i64(1))
}

/// fallocate(2).
pub(super) fn fallocate(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let file = io_file(cx, args.fd(0))?;
    let (bits, from, len) = (args.u32(1), args.i64(2), args.i64(3));
    let known = FALLOC_FL_KEEP_SIZE
        | FALLOC_FL_PUNCH_HOLE
        | FALLOC_FL_COLLAPSE_RANGE
        | FALLOC_FL_ZERO_RANGE
        | FALLOC_FL_INSERT_RANGE
        | FALLOC_FL_UNSHARE_RANGE;
    if from < 0 || len <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if bits & !known != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    match file.dentry.inode.stat().mode & mode::S_IFMT {
        mode::S_IFREG | mode::S_IFBLK => {}
        mode::S_IFIFO => return Err(Errno::ESPIPE.into()),
        mode::S_IFDIR => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = from.checked_add(len).ok_or(Errno::EFBIG)? as u64;
    if bits & FALLOC_FL_KEEP_SIZE == 0 && end > size_max(cx) {
        size_limit(cx);
        return Err(Errno::EFBIG.into());
    }
    let now = cx.now();
    file.ops.allocate(&file, bits, from as u64, len as u64, now)?;
    let inode = &file.dentry.inode;
    if let Some(mode) = permission::mode_after_write(cx, inode.stat().mode) {
        inode.set_attr(&SetAttr { mode: Some(mode), now, ..SetAttr::default() })?;
    }
    inotify::file_happened(&file, IN_MODIFY);
    Ok(0)
}
