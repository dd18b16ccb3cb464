//! ppoll(2), pselect6(2) and epoll(7). What is ready is the files' business
//! (`FileOps::poll`); epoll's own state is in `fs/epoll.rs`.

use std::rc::Rc;

use zerocopy::IntoBytes;

use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::event::{EPOLL_CLOEXEC, EpollEvent, PollFd};
use crate::abi::time::Timespec;
use crate::fs::epoll::Epoll;
use crate::fs::{FileRef, anon, console, poll};
use crate::kernel::Ctx;
use crate::kernel::wait::WaitQueue;
use crate::mm::Access;

/// Bytes of a signal set.
const SIGSET_BYTES: u64 = 8;
/// What select(2) calls readable, writable and exceptional.
const SELECT_BITS: [u32; 3] = [
    poll::RDNORM | poll::RDBAND | poll::IN | poll::HUP | poll::ERR,
    poll::WRBAND | poll::WRNORM | poll::OUT | poll::ERR,
    poll::PRI,
];

/// Take the mask at `addr` (0: none) for the duration of this call. EINVAL, EFAULT.
fn take_mask(cx: &Ctx<'_>, addr: u64, size: u64) -> Result<(), Flow> {
    if addr == 0 {
        return Ok(());
    }
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let mask: u64 = cx.read_user(addr)?;
    cx.task.set_temporary_mask(mask);
    Ok(())
}

/// The absolute deadline of a call whose relative timeout is at `addr` (0: none), the same on every run.
fn deadline_at(cx: &Ctx<'_>, addr: u64) -> Result<Option<u64>, Flow> {
    if addr == 0 {
        return Ok(None);
    }
    let timeout = cx.read_user::<Timespec>(addr)?.to_ns()?;
    Ok(Some(deadline_after(cx, timeout)))
}

fn deadline_after(cx: &Ctx<'_>, timeout_ns: u64) -> u64 {
    let now = cx.kernel.monotonic_ns();
    *cx.task.progress.borrow_mut().deadline_ns.get_or_insert(now.saturating_add(timeout_ns))
}

/// The time that is left is written back, best effort, as Linux does.
fn write_remaining(cx: &Ctx<'_>, addr: u64, deadline: Option<u64>) {
    if let Some(deadline) = deadline {
        let left = Timespec::from_ns(deadline.saturating_sub(cx.kernel.monotonic_ns()));
        // A timeout in read-only memory is no reason to lose the result.
        let _ = cx.write_user(addr, &left);
    }
}

fn expired(cx: &Ctx<'_>, deadline: Option<u64>) -> bool {
    deadline.is_some_and(|at| cx.kernel.monotonic_ns() >= at)
}

/// Wait until one of `files` changes; each with the poll bits of interest.
fn wait<'f>(
    files: impl Iterator<Item = (&'f FileRef, u32)>,
    more: &[WaitQueue],
    deadline_ns: Option<u64>,
    interrupt: Interrupt,
) -> SysResult {
    let mut queues = more.to_vec();
    for (file, events) in files {
        file.ops.queues(&mut |queue| queues.push(queue.clone()));
        console::note_interest(file, events);
    }
    Err(Flow::Block(Block { queues, deadline_ns, interrupt }))
}

/// ppoll(fds, nfds, timeout, sigmask, sigsetsize).
pub(super) fn ppoll(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, count, timeout) = (args.u64(0), u64::from(args.u32(1)), args.u64(2));
    if count > u64::from(cx.task.files.borrow().limit.get()) {
        return Err(Errno::EINVAL.into());
    }
    let deadline = deadline_at(cx, timeout)?;
    take_mask(cx, args.u64(3), args.u64(4))?;
    let mut fds = vec![PollFd::default(); count as usize];
    cx.mm().copy_in(addr, fds.as_mut_bytes())?;
    let files: Vec<_> = fds.iter().map(|p| cx.file(p.fd)).collect();
    let mut ready = 0;
    for (entry, file) in fds.iter_mut().zip(&files) {
        let wanted = u32::from(entry.events as u16) | poll::ERR | poll::HUP;
        let bits = match file {
            _ if entry.fd < 0 => 0,
            Err(_) => poll::NVAL,
            Ok(file) => file.ops.poll(file) & wanted,
        };
        entry.revents = bits as i16;
        ready += u64::from(bits != 0);
    }
    if ready == 0 && !expired(cx, deadline) {
        let waited =
            fds.iter().zip(&files).filter_map(|(p, f)| Some((f.as_ref().ok()?, u32::from(p.events as u16))));
        return wait(waited, &[], deadline, Interrupt::NoHandler);
    }
    cx.mm().copy_out(addr, fds.as_bytes())?;
    write_remaining(cx, timeout, deadline);
    Ok(ready)
}

/// One of select's sets: words of 64 bits.
type FdSet = Vec<u64>;

/// pselect6(n, readfds, writefds, exceptfds, timeout, {sigmask, size}).
pub(super) fn pselect6(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let limit = cx.task.files.borrow().limit.get();
    let count = u32::try_from(args.i32(0)).map_err(|_| Errno::EINVAL)?.min(limit) as usize;
    let timeout = args.u64(4);
    let deadline = deadline_at(cx, timeout)?;
    if let Some(addr) = args.ptr(5) {
        let [mask, size] = cx.read_user::<[u64; 2]>(addr)?;
        take_mask(cx, mask, size)?;
    }
    let words = count.div_ceil(64);
    let mut wanted: [Option<FdSet>; 3] = [const { None }; 3];
    for (set, addr) in wanted.iter_mut().zip(&args.0[1..4]).filter(|(_, addr)| **addr != 0) {
        let mut bits = vec![0u64; words];
        cx.mm().copy_in(*addr, bits.as_mut_bytes())?;
        *set = Some(bits);
    }
    let (watched, result, ready) = select_now(cx, &wanted, count)?;
    if ready == 0 && !expired(cx, deadline) {
        let waited = watched.iter().map(|(file, bits)| (file, *bits));
        return wait(waited, &[], deadline, Interrupt::NoHandler);
    }
    for (set, addr) in result.iter().zip(&args.0[1..4]).filter(|(_, addr)| **addr != 0) {
        cx.mm().copy_out(*addr, set.as_bytes())?;
    }
    write_remaining(cx, timeout, deadline);
    Ok(ready)
}

/// What is ready of the `wanted` sets: the files looked at, the sets, how many bits. EBADF.
#[allow(clippy::type_complexity, reason = "three results of one walk, taken apart at once")]
fn select_now(
    cx: &Ctx<'_>,
    wanted: &[Option<FdSet>; 3],
    count: usize,
) -> Result<(Vec<(FileRef, u32)>, [FdSet; 3], u64), Errno> {
    let words = count.div_ceil(64);
    let mut result = [const { Vec::new() }; 3].map(|_: FdSet| vec![0u64; words]);
    let (mut watched, mut ready) = (Vec::new(), 0);
    for word in 0..words {
        let used = if word == count / 64 { (1 << (count % 64)) - 1 } else { u64::MAX };
        let bits_of = |set: usize| wanted[set].as_ref().map_or(0, |s| s[word]) & used;
        let mut any = bits_of(0) | bits_of(1) | bits_of(2);
        while any != 0 {
            let bit = any.trailing_zeros();
            any &= any - 1;
            let file = cx.file((word as u32 * 64 + bit) as i32)?;
            let now = file.ops.poll(&file);
            let mut interest = 0;
            for set in (0..3).filter(|&set| bits_of(set) >> bit & 1 != 0) {
                interest |= SELECT_BITS[set];
                if now & SELECT_BITS[set] != 0 {
                    result[set][word] |= 1 << bit;
                    ready += 1;
                }
            }
            watched.push((file, interest));
        }
    }
    Ok((watched, result, ready))
}

/// epoll_create1(flags).
pub(super) fn epoll_create1(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(0);
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = anon::open_kind(cx, "[eventpoll]", Rc::new(Epoll::default()), crate::abi::fcntl::O_RDWR);
    Ok(cx.task.files.borrow().install(file, flags & EPOLL_CLOEXEC != 0, 0)? as u64)
}

/// The epoll behind `fd`: EBADF, EINVAL.
fn epoll_of(file: &FileRef) -> Result<&Epoll, Errno> {
    file.ops.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

/// epoll_ctl(epfd, op, fd, event).
pub(super) fn epoll_ctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    use crate::abi::event::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD};
    let (op, fd) = (args.u32(1), args.fd(2));
    let event = if op == EPOLL_CTL_DEL { EpollEvent::default() } else { cx.read_user(args.u64(3))? };
    let (file, target) = (cx.file(args.fd(0))?, cx.file(fd)?);
    if Rc::ptr_eq(&file, &target) {
        return Err(Errno::EINVAL.into());
    }
    let epoll = epoll_of(&file)?;
    match op {
        EPOLL_CTL_ADD => epoll.add(fd, &target, event)?,
        EPOLL_CTL_MOD => epoll.modify(fd, &target, event)?,
        EPOLL_CTL_DEL => epoll.remove(fd, &target)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// epoll_pwait(epfd, events, maxevents, timeout_ms, sigmask, sigsetsize).
pub(super) fn epoll_pwait(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let timeout_ms = args.i32(3);
    let deadline = match u64::try_from(timeout_ms) {
        Ok(ms) => Some(deadline_after(cx, ms * 1_000_000)),
        Err(_) => None,
    };
    epoll_wait(cx, args, deadline)
}

/// epoll_pwait2(epfd, events, maxevents, timeout, sigmask, sigsetsize).
pub(super) fn epoll_pwait2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let deadline = deadline_at(cx, args.u64(3))?;
    epoll_wait(cx, args, deadline)
}

fn epoll_wait(cx: &mut Ctx<'_>, args: Args, deadline: Option<u64>) -> SysResult {
    let (addr, max) = (args.u64(1), args.i32(2));
    let max =
        usize::try_from(max).ok().filter(|&n| n > 0 && n <= i32::MAX as usize / 16).ok_or(Errno::EINVAL)?;
    let file = cx.file(args.fd(0))?;
    let epoll = epoll_of(&file)?;
    take_mask(cx, args.u64(4), args.u64(5))?;
    let max = max.min(epoll.len().max(1));
    cx.mm().fault_in(addr, (max * size_of::<EpollEvent>()) as u64, Access::Write)?;
    let events = epoll.take_ready(max);
    if events.is_empty() && !expired(cx, deadline) {
        epoll.note_interest();
        return wait(std::iter::once((&file, 0)), &[], deadline, Interrupt::Fail);
    }
    cx.mm().copy_out(addr, events.as_bytes())?;
    Ok(events.len() as u64)
}
