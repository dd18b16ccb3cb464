//! System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
//!
//! A segment is a shared-memory object with a number; attaching maps it. It
//! lives until it is removed (IPC_RMID) and no address space maps it.

use std::rc::Rc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::kernel::Ctx;
use crate::kernel::ipc::{
    IPC_64, IPC_INFO, IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT, Object, Perm, Registry,
};
use crate::mm::shared::SharedMemory;
use crate::mm::{AreaFlags, Backing, Mapped, Mapping, PAGE, Place};

const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;
const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100_000;
/// In the mode of a segment that goes with its last attachment.
const SHM_DEST: u32 = 0o1000;
/// Most segments (SHMMNI).
const SEGMENTS_MAX: usize = 4096;

/// All segments of a machine.
pub type Segments = Registry<Segment>;

/// One segment.
pub struct Segment {
    status: ShmidDs,
    /// Each area that maps it holds one more reference.
    mapped: Rc<Mapped>,
}

/// `struct shmid64_ds`, `asm-generic/shmbuf.h`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are Linux's; shmctl(2) says what they mean")]
pub struct ShmidDs {
    pub perm: Perm,
    pub bytes: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: u32,
    pub lpid: u32,
    pub nattch: u64,
    unused: [u64; 2],
}
const _: () = assert!(size_of::<ShmidDs>() == 112);

impl Object for Segment {
    fn perm(&self) -> &Perm {
        &self.status.perm
    }
}

impl Segment {
    fn attachments(&self) -> u64 {
        Rc::strong_count(&self.mapped) as u64 - 1
    }

    /// What IPC_STAT and /proc/sysvipc/shm show.
    pub fn status(&self) -> ShmidDs {
        ShmidDs { nattch: self.attachments(), ..self.status }
    }
}

/// Drop what was removed and is no longer attached.
fn sweep(segments: &mut Segments) {
    segments.retain(|segment| segment.status.perm.mode & SHM_DEST == 0 || segment.attachments() > 0);
}

fn get<'c>(cx: &'c mut Ctx<'_>, id: i32) -> Result<&'c mut Segment, Errno> {
    sweep(&mut cx.kernel.shm);
    cx.kernel.shm.get(id)
}

/// shmget(2).
pub(super) fn shmget(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (key, bytes, flags) = (args.i32(0), args.u64(1), args.u32(2));
    let cred = cx.cred();
    sweep(&mut cx.kernel.shm);
    if let Some(id) = cx.kernel.shm.find(key, flags, &cred, SEGMENTS_MAX)? {
        let fits = bytes <= cx.kernel.shm.get(id)?.status.bytes;
        return if fits { Ok(id as u64) } else { Err(Errno::EINVAL.into()) };
    }
    let len = bytes.checked_next_multiple_of(PAGE).filter(|&len| len > 0).ok_or(Errno::EINVAL)?;
    if len > cx.kernel.linear.limit_bytes() {
        return Err(Errno::ENOSPC.into());
    }
    let pages = SharedMemory::new(&cx.kernel.linear, len);
    let name = format!("/SYSV{key:08x} (deleted)").into_bytes();
    let perm = Perm::new(key, flags, &cred);
    let status =
        ShmidDs { perm, bytes, ctime: cx.now().sec, cpid: cx.task.process.tgid, ..ShmidDs::default() };
    let mapped = Rc::new(Mapped { pages, dentry: None, name });
    Ok(cx.kernel.shm.add(Segment { status, mapped })? as u64)
}

/// shmat(2).
pub(super) fn shmat(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, addr, flags) = (args.i32(0), args.u64(1), args.u32(2));
    let cred = cx.cred();
    let (now, pid, mm) = (cx.now().sec, cx.task.process.tgid, cx.mm());
    let segment = get(cx, id)?;
    let writes = flags & SHM_RDONLY == 0;
    segment.status.perm.check(&cred, if writes { 6 } else { 4 })?;
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
    for segment in cx.kernel.shm.values_mut().filter(|s| Rc::ptr_eq(&s.mapped, &mapped)) {
        (segment.status.dtime, segment.status.lpid) = (now, pid);
    }
    drop(mapped);
    sweep(&mut cx.kernel.shm);
    Ok(0)
}

/// shmctl(2).
pub(super) fn shmctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, command, addr) = (args.i32(0), args.u32(1) & !IPC_64, args.u64(2));
    let cred = cx.cred();
    let now = cx.now().sec;
    match command {
        IPC_INFO => {
            // struct shminfo64: shmmax, shmmin, shmmni, shmseg, shmall.
            let most = u64::MAX - (1 << 24);
            cx.write_user(addr, &[most, 1, SEGMENTS_MAX as u64, SEGMENTS_MAX as u64, most, 0, 0, 0, 0])?;
            return Ok(cx.kernel.shm.highest());
        }
        SHM_INFO => {
            sweep(&mut cx.kernel.shm);
            // struct shm_info: segments, pages, pages resident, pages swapped, and two that are always 0.
            let pages = cx.kernel.shm.iter().map(|(_, s)| s.status.bytes.div_ceil(PAGE)).sum::<u64>();
            let segments = cx.kernel.shm.len() as u64;
            cx.write_user(addr, &[segments, pages, pages, 0, 0, 0])?;
            return Ok(cx.kernel.shm.highest());
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let id = if command == IPC_STAT { id } else { cx.kernel.shm.at(id)? };
            let segment = get(cx, id)?;
            if command != SHM_STAT_ANY {
                segment.status.perm.check(&cred, 4)?;
            }
            let status = segment.status();
            cx.write_user(addr, &status)?;
            return Ok(if command == IPC_STAT { 0 } else { id as u64 });
        }
        _ => {}
    }
    let given = if command == IPC_SET { Some(cx.read_user::<ShmidDs>(addr)?) } else { None };
    let segment = get(cx, id)?;
    segment.status.perm.check_owner(&cred)?;
    match (command, given) {
        (IPC_RMID, _) => {
            segment.status.perm.mode |= SHM_DEST;
            segment.status.perm.key = IPC_PRIVATE;
            sweep(&mut cx.kernel.shm);
        }
        (IPC_SET, Some(given)) => {
            segment.status.perm.set(&given.perm);
            segment.status.ctime = now;
        }
        // Nothing is ever swapped out.
        (SHM_LOCK | SHM_UNLOCK, _) => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
