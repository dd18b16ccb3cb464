//! System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
//!
//! A segment is a shared-memory object with a number; attaching maps it. It
//! lives until it is removed (IPC_RMID) and no address space maps it.

use std::collections::BTreeMap;
use std::rc::Rc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::kernel::{Cred, Ctx};
use crate::mm::shared::SharedMemory;
use crate::mm::{AreaFlags, Backing, Mapped, Mapping, PAGE, Place};

const IPC_PRIVATE: i32 = 0;
const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
const IPC_RMID: u32 = 0;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100_000;
/// In the mode of a segment that goes with its last attachment.
const SHM_DEST: u32 = 0o1000;
/// Most segments (SHMMNI).
const SEGMENTS_MAX: usize = 4096;

/// All segments of a machine.
#[derive(Default)]
pub struct Segments {
    by_id: BTreeMap<i32, Segment>,
    last_id: i32,
}

struct Segment {
    status: ShmidDs,
    /// Each area that maps it holds one more reference.
    mapped: Rc<Mapped>,
}

/// `struct shmid64_ds`, `asm-generic/shmbuf.h`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct ShmidDs {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    seq: u32,
    pad: u32,
    unused: [u64; 2],
    bytes: u64,
    atime: i64,
    dtime: i64,
    ctime: i64,
    cpid: u32,
    lpid: u32,
    nattch: u64,
    unused2: [u64; 2],
}
const _: () = assert!(size_of::<ShmidDs>() == 112);

impl Segment {
    fn attachments(&self) -> u64 {
        Rc::strong_count(&self.mapped) as u64 - 1
    }

    /// EACCES unless `cred` may do this (4 read, 2 write). See sysvipc(7).
    fn check(&self, cred: &Cred, want: u32) -> Result<(), Errno> {
        let status = &self.status;
        let shift = if cred.euid == status.uid || cred.euid == status.cuid {
            6
        } else if cred.in_group(status.gid) || cred.in_group(status.cgid) {
            3
        } else {
            0
        };
        if cred.euid == 0 || status.mode >> shift & want == want { Ok(()) } else { Err(Errno::EACCES) }
    }
}

impl Segments {
    /// Drop what was removed and is no longer attached.
    fn sweep(&mut self) {
        self.by_id.retain(|_, segment| segment.status.mode & SHM_DEST == 0 || segment.attachments() > 0);
    }

    fn get(&mut self, id: i32) -> Result<&mut Segment, Errno> {
        self.sweep();
        self.by_id.get_mut(&id).ok_or(Errno::EINVAL)
    }
}

/// shmget(2).
pub(super) fn shmget(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (key, bytes, flags) = (args.i32(0), args.u64(1), args.u32(2));
    let cred = Rc::clone(&cx.task.cred.borrow());
    cx.kernel.shm.sweep();
    let found =
        cx.kernel.shm.by_id.iter().find(|(_, segment)| key != IPC_PRIVATE && segment.status.key == key);
    if let Some((&id, segment)) = found {
        if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
            return Err(Errno::EEXIST.into());
        }
        if bytes > segment.status.bytes {
            return Err(Errno::EINVAL.into());
        }
        segment.check(&cred, flags >> 6 & 6)?;
        return Ok(id as u64);
    }
    if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
        return Err(Errno::ENOENT.into());
    }
    let len = bytes.checked_next_multiple_of(PAGE).filter(|&len| len > 0).ok_or(Errno::EINVAL)?;
    if len > cx.kernel.linear.limit_bytes() || cx.kernel.shm.by_id.len() >= SEGMENTS_MAX {
        return Err(Errno::ENOSPC.into());
    }
    let pages = SharedMemory::new(&cx.kernel.linear, len);
    let name = format!("/SYSV{key:08x} (deleted)").into_bytes();
    let status = ShmidDs {
        key,
        uid: cred.euid,
        gid: cred.egid,
        cuid: cred.euid,
        cgid: cred.egid,
        mode: flags & 0o777,
        bytes,
        ctime: cx.now().sec,
        cpid: cx.task.process.tgid,
        ..ShmidDs::default()
    };
    let segments = &mut cx.kernel.shm;
    segments.last_id = segments.last_id.checked_add(1).ok_or(Errno::ENOSPC)?;
    let mapped = Rc::new(Mapped { pages, dentry: None, name });
    segments.by_id.insert(segments.last_id, Segment { status, mapped });
    Ok(segments.last_id as u64)
}

/// shmat(2).
pub(super) fn shmat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, addr, flags) = (args.i32(0), args.u64(1), args.u32(2));
    let cred = Rc::clone(&cx.task.cred.borrow());
    let (now, pid, mm) = (cx.now().sec, cx.task.process.tgid, cx.mm());
    let segment = cx.kernel.shm.get(id)?;
    let writes = flags & SHM_RDONLY == 0;
    segment.check(&cred, if writes { 6 } else { 4 })?;
    let addr = if flags & SHM_RND != 0 { addr & !(PAGE - 1) } else { addr };
    let place = match addr {
        0 if flags & SHM_REMAP != 0 => return Err(Errno::EINVAL.into()),
        0 => Place::Hint(0),
        addr if flags & SHM_REMAP != 0 => Place::Fixed(addr),
        addr => Place::FixedNoReplace(addr),
    };
    let write = if writes { PROT_WRITE } else { 0 };
    let exec = if flags & SHM_EXEC != 0 { PROT_EXEC } else { 0 };
    let mapping = Mapping {
        len: segment.status.bytes,
        prot: PROT_READ | write | exec,
        may: PROT_READ | PROT_EXEC | write,
        flags: AreaFlags::SHARED | AreaFlags::SYSV,
        backing: Backing::File(Rc::clone(&segment.mapped)),
        offset: 0,
    };
    let at =
        mm.map(place, mapping).map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })?;
    (segment.status.atime, segment.status.lpid) = (now, pid);
    Ok(at)
}

/// shmdt(2).
pub(super) fn shmdt(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (addr, mm) = (args.u64(0), cx.mm());
    let (mapped, bytes) = {
        let areas = mm.areas();
        let area = areas
            .find(addr)
            .filter(|a| a.start == addr && a.offset == 0 && a.flags.contains(AreaFlags::SYSV));
        let Some(Backing::File(mapped)) = area.map(|area| area.backing.clone()) else {
            return Err(Errno::EINVAL.into());
        };
        let bytes = mapped.pages.size();
        (mapped, bytes)
    };
    // What is still mapped of it: parts may have been unmapped or replaced since.
    let parts: Vec<(u64, u64)> = mm
        .areas()
        .overlapping(addr..addr.saturating_add(bytes))
        .filter(|a| {
            matches!(&a.backing, Backing::File(m) if Rc::ptr_eq(m, &mapped))
                && a.start.wrapping_sub(a.offset) == addr
        })
        .map(|a| (a.start, a.len()))
        .collect();
    for (start, len) in parts {
        mm.unmap(start, len)?;
    }
    let (now, pid) = (cx.now().sec, cx.task.process.tgid);
    for segment in cx.kernel.shm.by_id.values_mut().filter(|s| Rc::ptr_eq(&s.mapped, &mapped)) {
        (segment.status.dtime, segment.status.lpid) = (now, pid);
    }
    drop(mapped);
    cx.kernel.shm.sweep();
    Ok(0)
}

/// shmctl(2).
pub(super) fn shmctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    /// IPC_64: a flag of old interfaces that glibc may still set.
    const IPC_64: u32 = 0x100;
    let (id, command, addr) = (args.i32(0), args.u32(1) & !IPC_64, args.u64(2));
    let cred = Rc::clone(&cx.task.cred.borrow());
    let now = cx.now().sec;
    if command == IPC_STAT {
        let segment = cx.kernel.shm.get(id)?;
        segment.check(&cred, 4)?;
        let status = ShmidDs { nattch: segment.attachments(), ..segment.status };
        cx.write_user(addr, &status)?;
        return Ok(0);
    }
    let given = if command == IPC_SET { Some(cx.read_user::<ShmidDs>(addr)?) } else { None };
    let segment = cx.kernel.shm.get(id)?;
    let owner = cred.euid == 0 || cred.euid == segment.status.uid || cred.euid == segment.status.cuid;
    if !owner {
        return Err(Errno::EPERM.into());
    }
    match (command, given) {
        (IPC_RMID, _) => {
            segment.status.mode |= SHM_DEST;
            segment.status.key = IPC_PRIVATE;
            cx.kernel.shm.sweep();
        }
        (IPC_SET, Some(given)) => {
            let status = &mut segment.status;
            (status.uid, status.gid, status.ctime) = (given.uid, given.gid, now);
            status.mode = status.mode & SHM_DEST | given.mode & 0o777;
        }
        // Nothing is ever swapped out.
        (SHM_LOCK | SHM_UNLOCK, _) => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
