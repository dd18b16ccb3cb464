//! Memory: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), msync(2), mincore(2), mlock(2), brk(2).
//!
//! Decodes and validates; what is done is in `mm`.

use std::rc::Rc;

use super::sys_memfd::{F_SEAL_FUTURE_WRITE, F_SEAL_WRITE};
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::fcntl::{O_ACCMODE, O_APPEND, O_PATH, O_RDONLY, O_RDWR, O_WRONLY};
use crate::abi::mman::*;
use crate::abi::mount::MS_NOEXEC;
use crate::fs::{OpenFile, Pages, mode};
use crate::kernel::Ctx;
use crate::mm::shared::SharedMemory;
use crate::mm::{Access, Advice, Area, AreaFlags, Backing, GUEST_END, Mapped, Mapping, PAGE, Place, Remap};

const PROT_ALL: u32 = PROT_READ | PROT_WRITE | PROT_EXEC;

/// mmap(2).
pub(super) fn mmap(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, len, prot, flags, offset) = (args.u64(0), args.u64(1), args.u32(2), args.u32(3), args.u64(5));
    if len == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let rounded = len.checked_next_multiple_of(PAGE).filter(|&len| len <= GUEST_END).ok_or(Errno::ENOMEM)?;
    let mut area = AreaFlags::empty();
    area.set(AreaFlags::NORESERVE, flags & MAP_NORESERVE != 0);
    area.set(AreaFlags::LOCKED, flags & MAP_LOCKED != 0);
    area.set(AreaFlags::GROWSDOWN, flags & MAP_GROWSDOWN != 0);
    let shared = match flags & MAP_TYPE {
        MAP_PRIVATE => false,
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    if flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & MAP_SYNC != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    area.set(AreaFlags::SHARED, shared);
    let mapping = if flags & MAP_ANONYMOUS != 0 {
        if flags & MAP_HUGETLB != 0 {
            return Err(Errno::ENOMEM.into()); // No huge pages are set aside (vm.nr_hugepages is 0).
        }
        anonymous(cx, rounded, prot, area)
    } else {
        file(cx, args.fd(4), rounded, prot, area, offset)?
    };
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else {
        Place::Hint(addr)
    };
    let mm = cx.mm();
    let at = mm.map(place, mapping)?;
    let populate = flags & MAP_POPULATE != 0 && flags & MAP_NONBLOCK == 0 || flags & MAP_LOCKED != 0;
    if populate && prot != PROT_NONE {
        // A hint: what does not come now comes on demand.
        let access = if !shared && prot & PROT_WRITE != 0 { Access::Write } else { Access::Read };
        let _ = mm.fault_in_part(at, rounded, access);
    }
    Ok(at)
}

fn anonymous(cx: &Ctx<'_>, len: u64, prot: u32, flags: AreaFlags) -> Mapping {
    if !flags.contains(AreaFlags::SHARED) {
        return Mapping { flags, ..Mapping::anonymous(len, prot) };
    }
    let pages = SharedMemory::new(&cx.kernel.linear, len);
    let backing =
        Backing::File(Rc::new(Mapped { pages, dentry: None, name: b"/dev/zero (deleted)".to_vec() }));
    Mapping { flags, backing, ..Mapping::anonymous(len, prot) }
}

/// A mapping of an open file. EBADF, EACCES, ENODEV, EPERM, EOVERFLOW.
fn file(cx: &Ctx<'_>, fd: i32, len: u64, prot: u32, flags: AreaFlags, offset: u64) -> Result<Mapping, Errno> {
    let file = cx.file(fd)?;
    let status = file.flags.get();
    if status & O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EOVERFLOW)?;
    let access = status & O_ACCMODE;
    if access == O_WRONLY {
        return Err(Errno::EACCES);
    }
    let shared = flags.contains(AreaFlags::SHARED);
    let mut may = PROT_ALL;
    let sealed = file.dentry.inode.seals().unwrap_or(0) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0;
    if shared && sealed {
        if prot & PROT_WRITE != 0 {
            return Err(Errno::EPERM);
        }
        may &= !PROT_WRITE;
    }
    if shared && access != O_RDWR {
        may &= !PROT_WRITE;
    }
    if shared
        && prot & PROT_WRITE != 0
        && (may & PROT_WRITE == 0 || status & O_APPEND != 0 && access == O_RDONLY)
    {
        return Err(Errno::EACCES);
    }
    if file.dentry.mount.flags.get() & MS_NOEXEC as u32 != 0 {
        if prot & PROT_EXEC != 0 {
            return Err(Errno::EPERM);
        }
        may &= !PROT_EXEC;
    }
    let Some(pages) = pages_of(&file) else {
        // /dev/zero is anonymous memory by another name.
        return if is_zero_device(&file) { Ok(anonymous(cx, len, prot, flags)) } else { Err(Errno::ENODEV) };
    };
    file.dentry.inode.accessed(cx.now());
    let backing =
        Backing::File(Rc::new(Mapped { pages, dentry: Some(Rc::clone(&file.dentry)), name: Vec::new() }));
    Ok(Mapping { len, prot, may, flags, backing, offset })
}

fn pages_of(file: &OpenFile) -> Option<Rc<dyn Pages>> {
    file.ops.pages().or_else(|| Rc::clone(&file.dentry.inode).pages())
}

/// Character device 1:5.
fn is_zero_device(file: &OpenFile) -> bool {
    let stat = file.dentry.inode.stat();
    stat.mode & mode::S_IFMT == mode::S_IFCHR && stat.rdev == 0x105
}

/// munmap(2).
pub(super) fn munmap(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    cx.mm().unmap(args.u64(0), args.u64(1))?;
    Ok(0)
}

/// mprotect(2).
pub(super) fn mprotect(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, len, prot) = (args.u64(0), args.u64(1), args.u32(2));
    let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    if grows == PROT_GROWSUP || prot & !(PROT_ALL | PROT_SEM | PROT_GROWSDOWN) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mm = cx.mm();
    let mut range = (addr, len);
    if grows == PROT_GROWSDOWN {
        // The change reaches down to the start of the stack's area.
        let areas = mm.areas();
        let area = areas.find(addr).ok_or(Errno::ENOMEM)?;
        if !area.flags.contains(AreaFlags::GROWSDOWN) {
            return Err(Errno::EINVAL.into());
        }
        range = (area.start, len.saturating_add(addr - area.start));
    }
    mm.protect(range.0, range.1, prot & PROT_ALL)?;
    Ok(0)
}

/// mremap(2).
pub(super) fn mremap(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(3);
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    let needs_move = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 && flags & MREMAP_MAYMOVE == 0;
    if flags & !known != 0 || needs_move {
        return Err(Errno::EINVAL.into());
    }
    let how = Remap {
        may_move: flags & MREMAP_MAYMOVE != 0,
        fixed: (flags & MREMAP_FIXED != 0).then(|| args.u64(4)),
        dont_unmap: flags & MREMAP_DONTUNMAP != 0,
    };
    Ok(cx.mm().remap(args.u64(0), args.u64(1), args.u64(2), how)?)
}

/// madvise(2).
pub(super) fn madvise(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, len) = (args.u64(0), args.u64(1));
    let advice = match args.u32(2) {
        // Nothing is read ahead, merged, made huge, dumped or swapped: these cannot be observed.
        MADV_NORMAL | MADV_RANDOM | MADV_SEQUENTIAL | MADV_MERGEABLE | MADV_UNMERGEABLE | MADV_HUGEPAGE
        | MADV_NOHUGEPAGE | MADV_COLD | MADV_PAGEOUT | MADV_COLLAPSE => Advice::Nothing,
        MADV_WILLNEED => Advice::WillNeed,
        MADV_DONTNEED | MADV_DONTNEED_LOCKED => Advice::DontNeed,
        MADV_FREE => Advice::Free,
        MADV_REMOVE => Advice::Remove,
        MADV_DONTFORK => Advice::Set(AreaFlags::DONTFORK, true),
        MADV_DOFORK => Advice::Set(AreaFlags::DONTFORK, false),
        MADV_WIPEONFORK => Advice::Set(AreaFlags::WIPEONFORK, true),
        MADV_KEEPONFORK => Advice::Set(AreaFlags::WIPEONFORK, false),
        MADV_DONTDUMP => Advice::Set(AreaFlags::DONTDUMP, true),
        MADV_DODUMP => Advice::Set(AreaFlags::DONTDUMP, false),
        MADV_POPULATE_READ => Advice::Populate(Access::Read),
        MADV_POPULATE_WRITE => Advice::Populate(Access::Write),
        MADV_HWPOISON | MADV_SOFT_OFFLINE => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    cx.mm().advise(addr, len, advice)?;
    Ok(0)
}

/// msync(2).
pub(super) fn msync(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(2);
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
    {
        return Err(Errno::EINVAL.into());
    }
    cx.mm().sync(args.u64(0), args.u64(1), flags & MS_INVALIDATE != 0)?;
    Ok(0)
}

/// mincore(2).
pub(super) fn mincore(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let mm = cx.mm();
    let present = mm.residency(args.u64(0), args.u64(1))?;
    mm.copy_out(args.u64(2), &present)?;
    Ok(0)
}

/// mlock(2).
pub(super) fn mlock(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    lock(cx, args.u64(0), args.u64(1), true)
}

/// mlock2(2).
pub(super) fn mlock2(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const MLOCK_ONFAULT: u32 = 1;
    match args.u32(2) {
        0 => lock(cx, args.u64(0), args.u64(1), true),
        MLOCK_ONFAULT => lock(cx, args.u64(0), args.u64(1), false),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// munlock(2).
pub(super) fn munlock(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, len) = whole_pages(args.u64(0), args.u64(1))?;
    cx.mm().advise(addr, len, Advice::Set(AreaFlags::LOCKED, false))?;
    Ok(0)
}

/// Nothing is ever swapped out, so locking is an account and a prefault.
fn lock(cx: &mut Ctx<'_>, addr: u64, len: u64, now: bool) -> SysResult {
    let (addr, len) = whole_pages(addr, len)?;
    let mm = cx.mm();
    if !may_lock(cx, len.saturating_add(mm.locked_bytes())) {
        return Err(Errno::ENOMEM.into());
    }
    mm.advise(addr, len, Advice::Set(AreaFlags::LOCKED, true))?;
    if now {
        mm.fault_in_part(addr, len, Access::Read)?;
    }
    Ok(0)
}

/// RLIMIT_MEMLOCK, which CAP_IPC_LOCK lifts.
fn may_lock(cx: &Ctx<'_>, bytes: u64) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    bytes <= cx.mm().limits().locked || cx.task.cred.borrow().capable(CAP_IPC_LOCK)
}

fn whole_pages(addr: u64, len: u64) -> Result<(u64, u64), Errno> {
    let start = addr & !(PAGE - 1);
    let len = len
        .checked_add(addr - start)
        .and_then(|len| len.checked_next_multiple_of(PAGE))
        .ok_or(Errno::EINVAL)?;
    Ok((start, len))
}

/// mlockall(2).
pub(super) fn mlockall(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let flags = args.u32(0);
    if flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags & (MCL_CURRENT | MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mm = cx.mm();
    if flags & MCL_CURRENT != 0 && !may_lock(cx, mm.size_bytes().0) {
        return Err(Errno::ENOMEM.into());
    }
    mm.lock_all(flags & MCL_CURRENT != 0, flags & MCL_FUTURE != 0);
    Ok(0)
}

/// munlockall(2).
pub(super) fn munlockall(cx: &mut Ctx<'_>, _args: Args) -> SysResult {
    cx.mm().unlock_all();
    Ok(0)
}

/// brk(2), the system call: the new break, or the old one.
pub(super) fn brk(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(cx.mm().brk(args.u64(0)))
}

/// mseal(addr, len, flags).
pub(super) fn mseal(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if args.u64(2) != 0 {
        return Err(Errno::EINVAL.into());
    }
    cx.mm().seal(args.u64(0), args.u64(1))?;
    Ok(0)
}

/// remap_file_pages(addr, size, prot, pgoff, flags): as Linux does it since 4.0, by mapping the file anew.
pub(super) fn remap_file_pages(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (start, len) = whole_pages(args.u64(0), args.u64(1) & !(PAGE - 1))?;
    let offset = args.u64(3).checked_mul(PAGE).ok_or(Errno::EINVAL)?;
    offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
    if args.u64(2) != 0 || len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mm = cx.mm();
    let area = mm.areas().find(start).cloned().ok_or(Errno::EINVAL)?;
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    if !area.shared() || !matches!(area.backing, Backing::File(_)) || end > area.end {
        return Err(Errno::EINVAL.into());
    }
    let Area { prot, may, flags, backing, .. } = area;
    mm.map(Place::Fixed(start), Mapping { len, prot, may, flags, backing, offset })?;
    Ok(0)
}
