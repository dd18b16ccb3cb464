//! POSIX message queues: mq_open(3) and what belongs to it. The queues are in `fs::mqueue`.

use std::rc::Rc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::{O_ACCMODE, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};
use crate::abi::resource::RLIMIT_MSGQUEUE;
use crate::abi::signal::{NSIG, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigEvent};
use crate::abi::time::Timespec;
use crate::fs::mqueue::{self, Notification, Notify, Queue, QueueFile};
use crate::fs::permission::{self, MAY_READ, MAY_WRITE};
use crate::fs::{Dentry, FileRef, Inode, NewInode, namei, open};
use crate::kernel::Ctx;
use crate::kernel::cred::CAP_SYS_RESOURCE;
use crate::mm::Access;
use crate::net::socket::Socket;

/// Priorities are below this (MQ_PRIO_MAX).
const PRIORITIES: u32 = 32768;
/// Most messages and bytes of a message: for everybody (fs.mqueue.msg_max, msgsize_max), and for CAP_SYS_RESOURCE.
const MAX: (u64, u64) = (10, 8192);
const HARD_MAX: (u64, u64) = (65536, 16 << 20);

/// `struct mq_attr`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Attributes {
    flags: i64,
    max_messages: i64,
    message_size: i64,
    messages: i64,
    reserved: [i64; 4],
}
const _: () = assert!(size_of::<Attributes>() == 64);

/// A queue's name, which is one component. EACCES, ENOENT, ENAMETOOLONG.
fn name(cx: &Ctx<'_>, addr: u64) -> Result<Vec<u8>, Flow> {
    let name = cx.read_path(addr)?;
    match name.as_slice() {
        b"" => Err(Errno::ENOENT.into()),
        b"." | b".." => Err(Errno::EACCES.into()),
        name if name.contains(&b'/') => Err(Errno::EACCES.into()),
        name if name.len() > namei::NAME_MAX => Err(Errno::ENAMETOOLONG.into()),
        _ => Ok(name),
    }
}

/// The dentry of a queue, on the mount that the kernel has of all queues.
fn dentry(cx: &Ctx<'_>, name: &[u8], queue: Rc<Queue>) -> Rc<Dentry> {
    cx.kernel.vfs.queues().adopt(name, queue)
}

/// mq_open(name, flags, mode, attributes).
pub(super) fn mq_open(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (flags, permissions) = (args.u32(1), args.u32(2));
    let name = name(cx, args.u64(0))?;
    let want = match flags & O_ACCMODE {
        O_RDONLY => MAY_READ,
        O_WRONLY => MAY_WRITE,
        O_RDWR => MAY_READ | MAY_WRITE,
        _ => return Err(Errno::EINVAL.into()),
    };
    let attributes = match args.ptr(3) {
        Some(addr) if flags & O_CREAT != 0 => Some(cx.read_user::<Attributes>(addr)?),
        _ => None,
    };
    let known = cx.kernel.vfs.mqueue().find(&name);
    let created = known.is_none();
    let queue = match known {
        Some(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => return Err(Errno::EEXIST.into()),
        Some(queue) => {
            permission::check(&cx.task.cred.borrow(), &queue.stat(), want)?;
            queue
        }
        None if flags & O_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None => create(cx, &name, permissions, attributes)?,
    };
    let dentry = dentry(cx, &name, queue);
    let file = open::open_dentry(cx, dentry, flags & (O_ACCMODE | O_NONBLOCK), created)?;
    // Queues are never inherited by another program.
    Ok(cx.task.files.borrow().install(file, true, 0)? as u64)
}

fn create(
    cx: &Ctx<'_>,
    name: &[u8],
    permissions: u32,
    attributes: Option<Attributes>,
) -> Result<Rc<Queue>, Errno> {
    let cred = cx.cred();
    let privileged = cred.capable(CAP_SYS_RESOURCE);
    let sizes = match attributes {
        None => mqueue::DEFAULT,
        Some(wanted) => {
            let most = if privileged { HARD_MAX } else { MAX };
            let positive = |value: i64| u64::try_from(value).ok().filter(|&value| value > 0);
            let sizes = positive(wanted.max_messages).zip(positive(wanted.message_size));
            sizes.filter(|sizes| sizes.0 <= most.0 && sizes.1 <= most.1).ok_or(Errno::EINVAL)?
        }
    };
    let mode = permissions & 0o7777 & !cx.task.fs.borrow().umask.get();
    let new = NewInode { mode, uid: cred.fsuid, gid: cred.fsgid, now: cx.now() };
    let budget = cx.task.process.rlimit(RLIMIT_MSGQUEUE);
    cx.kernel.vfs.mqueue().create(name, new, sizes, budget, privileged)
}

/// mq_unlink(name).
pub(super) fn mq_unlink(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let name = name(cx, args.u64(0))?;
    let root = cx.kernel.vfs.queues();
    let queue = cx.kernel.vfs.mqueue().find(&name).ok_or(Errno::ENOENT)?;
    permission::may_delete(cx, &root.inode.stat(), &queue.stat())?;
    root.inode.unlink(&name, cx.now())?;
    root.forget(&name);
    Ok(0)
}

/// The queue behind an open file. EBADF.
fn queue_of(file: &FileRef) -> Result<Rc<Queue>, Errno> {
    let file = file.ops.as_any().downcast_ref::<QueueFile>().ok_or(Errno::EBADF)?;
    Ok(Rc::clone(&file.0))
}

/// An absolute wall-clock deadline as a monotonic one; none for NULL.
fn deadline(cx: &Ctx<'_>, addr: Option<u64>) -> Result<Option<u64>, Flow> {
    let Some(addr) = addr else { return Ok(None) };
    let at = cx.read_user::<Timespec>(addr)?.to_ns()?;
    Ok(Some(cx.wall_deadline(at)))
}

/// The queue is full, or empty: wait, unless the file or the deadline says otherwise.
fn wait(cx: &Ctx<'_>, file: &FileRef, queue: &Queue, deadline_ns: Option<u64>) -> SysResult {
    if file.nonblocking() {
        return Err(Errno::EAGAIN.into());
    }
    if deadline_ns.is_some_and(|at| cx.expired(at)) {
        return Err(Errno::ETIMEDOUT.into());
    }
    let queues = vec![queue.queue().clone()];
    Err(Flow::Block(Block { queues, deadline_ns, interrupt: Interrupt::Restart }))
}

/// mq_timedsend(fd, text, length, priority, deadline).
pub(super) fn mq_timedsend(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (len, priority) = (args.u64(2), args.u32(3));
    let deadline_ns = deadline(cx, args.ptr(4))?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(args.fd(0))?;
    let queue = queue_of(&file)?;
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    if len > queue.message_size {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut text = vec![0; len as usize];
    cx.mm().copy_in(args.u64(1), &mut text)?;
    match queue.send(cx, priority, text) {
        Ok(()) => Ok(0),
        Err(Errno::EAGAIN) => wait(cx, &file, &queue, deadline_ns),
        Err(errno) => Err(errno.into()),
    }
}

/// mq_timedreceive(fd, text, length, priority, deadline).
pub(super) fn mq_timedreceive(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let deadline_ns = deadline(cx, args.ptr(4))?;
    let file = cx.file(args.fd(0))?;
    let queue = queue_of(&file)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    if args.u64(2) < queue.message_size {
        return Err(Errno::EMSGSIZE.into());
    }
    let mm = cx.mm();
    if !queue.is_empty() {
        mm.fault_in(args.u64(1), queue.message_size, Access::Write)?;
        if let Some(addr) = args.ptr(3) {
            mm.fault_in(addr, 4, Access::Write)?;
        }
    }
    let Some((priority, text)) = queue.receive() else {
        let flow = wait(cx, &file, &queue, deadline_ns);
        cx.task.progress.borrow_mut().extra = Some(Box::new(queue.wait_for_message()));
        return flow;
    };
    mm.copy_out(args.u64(1), &text)?;
    if let Some(addr) = args.ptr(3) {
        cx.write_user(addr, &priority)?;
    }
    Ok(text.len() as u64)
}

/// mq_notify(fd, event).
pub(super) fn mq_notify(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let how = match args.ptr(1) {
        None => None,
        Some(addr) => {
            let event: SigEvent = cx.read_user(addr)?;
            Some(match event.notify {
                SIGEV_NONE => Notify::Nothing,
                SIGEV_SIGNAL if event.signo <= NSIG => Notify::Signal(event.signo, event.value),
                SIGEV_THREAD => {
                    let cookie = cx.read_user(event.value)?;
                    Notify::Socket(netlink_socket(cx, event.signo.cast_signed())?, cookie)
                }
                _ => return Err(Errno::EINVAL.into()),
            })
        }
    };
    let file = cx.file(args.fd(0))?;
    let queue = queue_of(&file)?;
    let process = &cx.task.process;
    match how {
        None => queue.forget(process),
        Some(how) => queue.notify(Notification { owner: Rc::downgrade(process), how })?,
    }
    Ok(0)
}

/// EBADF, EINVAL.
fn netlink_socket(cx: &Ctx<'_>, fd: i32) -> Result<Rc<Socket>, Errno> {
    let file = cx.file(fd)?;
    let ops: Rc<dyn std::any::Any> = Rc::clone(&file.ops) as Rc<dyn std::any::Any>;
    let socket = ops.downcast::<Socket>().map_err(|_| Errno::EINVAL)?;
    if socket.family == crate::abi::socket::AF_NETLINK { Ok(socket) } else { Err(Errno::EINVAL) }
}

/// mq_getsetattr(fd, new, old).
pub(super) fn mq_getsetattr(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let new = match args.ptr(1) {
        Some(addr) => Some(cx.read_user::<Attributes>(addr)?),
        None => None,
    };
    let nonblock = i64::from(O_NONBLOCK);
    if new.is_some_and(|new| new.flags & !nonblock != 0) {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(args.fd(0))?;
    let queue = queue_of(&file)?;
    let flags = file.flags.get();
    let old = Attributes {
        flags: i64::from(flags & O_NONBLOCK),
        max_messages: queue.max_messages as i64,
        message_size: queue.message_size as i64,
        messages: queue.len() as i64,
        ..Attributes::default()
    };
    if let Some(addr) = args.ptr(2) {
        cx.write_user(addr, &old)?;
    }
    if let Some(new) = new {
        file.flags.set(if new.flags & nonblock != 0 { flags | O_NONBLOCK } else { flags & !O_NONBLOCK });
    }
    Ok(0)
}
