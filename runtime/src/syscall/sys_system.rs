//! The system as a whole: uname, limits, accounts, random numbers, hardware probes.

use std::rc::Rc;

use super::sys_process::find_task;
use super::{Args, SysResult};
use crate::abi::Errno;
use crate::abi::resource::{
    RLIM_NLIMITS, RLIMIT_NOFILE, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD, Rlimit, Rusage,
};
use crate::abi::time::Timeval;
use crate::kernel::cred::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use crate::kernel::sched::task_usage;
use crate::kernel::task::{TaskState, Usage};
use crate::kernel::{Ctx, Task, load};
use crate::mm::Access;

/// What uname(2) and /proc say: the Linux that this is like.
pub const RELEASE: &str = "6.12.0-friscy";
/// The build that they name.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";
/// Bytes of each field of `struct utsname`.
const UTS_FIELD: usize = 65;
/// __NEW_UTS_LEN.
const NAME_MAX: u64 = 64;

pub(super) fn uname(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let mut fields = [[0u8; UTS_FIELD]; 6];
    let uts = cx.uts();
    let (host, domain) = (uts.hostname.borrow().clone(), uts.domainname.borrow().clone());
    let texts = [b"Linux".as_slice(), &host, RELEASE.as_bytes(), VERSION.as_bytes(), b"riscv64", &domain];
    for (field, text) in fields.iter_mut().zip(texts) {
        let len = text.len().min(UTS_FIELD - 1);
        field[..len].copy_from_slice(&text[..len]);
    }
    cx.write_user(args.u64(0), &fields)?;
    Ok(0)
}

fn new_name(cx: &Ctx<'_>, args: Args) -> Result<Vec<u8>, super::Flow> {
    if !cx.task.cred.borrow().capable(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if args.u64(1) > NAME_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut name = vec![0; args.u64(1) as usize];
    cx.mm().copy_in(args.u64(0), &mut name)?;
    Ok(name)
}

pub(super) fn sethostname(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let name = new_name(cx, args)?;
    cx.uts().hostname.replace(name);
    Ok(0)
}

pub(super) fn setdomainname(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let name = new_name(cx, args)?;
    cx.uts().domainname.replace(name);
    Ok(0)
}

/// syslog(2): an empty kernel log.
pub(super) fn syslog(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const READ_ALL: i32 = 3;
    const SIZE_UNREAD: i32 = 9;
    const SIZE_BUFFER: i32 = 10;
    let privileged = cx.task.cred.borrow().capable(CAP_SYS_ADMIN);
    match args.i32(0) {
        READ_ALL | SIZE_UNREAD => Ok(0),
        SIZE_BUFFER => Ok(1 << 14),
        0..=8 if privileged => Ok(0),
        0..=8 => Err(Errno::EPERM.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn sysinfo(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let mut words = [0u64; 14];
    // Fixed point with 16 bits after the point.
    let loads = cx.kernel.load.averages().map(|load| (load << 16) / load::ONE);
    words[1..4].copy_from_slice(&loads);
    let total = cx.kernel.linear.limit_bytes();
    let used = cx.kernel.linear.resident_bytes();
    words[0] = cx.kernel.monotonic_ns() / 1_000_000_000;
    words[4] = total;
    words[5] = total.saturating_sub(used);
    let live = cx.kernel.tasks.values().filter(|task| task.state.get() != TaskState::Dead).count();
    words[10] = u64::try_from(live).unwrap_or(0).min(u64::from(u16::MAX));
    // mem_unit: bytes.
    words[13] = 1;
    cx.write_user(args.u64(0), &words)?;
    Ok(0)
}

/// getrandom(2). The pool is always ready: it is seeded from the platform.
pub(super) fn getrandom(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const FLAGS: u32 = 7;
    const RANDOM_AND_INSECURE: u32 = 6;
    /// Produced at a time: lengths are the guest's.
    const PIECE: usize = 1024;
    let (addr, len, flags) = (args.u64(0), args.u64(1), args.u32(2));
    if flags & !FLAGS != 0 || flags & RANDOM_AND_INSECURE == RANDOM_AND_INSECURE {
        return Err(Errno::EINVAL.into());
    }
    let len = len.min(i32::MAX as u64);
    let mm = cx.mm();
    mm.fault_in(addr, len, Access::Write)?;
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < len {
        let part = &mut piece[..(len - done).min(PIECE as u64) as usize];
        cx.kernel.random_bytes(part);
        mm.copy_out(addr.wrapping_add(done), part)?;
        done += part.len() as u64;
    }
    Ok(len)
}

// ---- Limits ----

fn may_limit(cx: &Ctx<'_>, target: &Task) -> bool {
    let (caller, owner) = (cx.task.cred.borrow(), target.cred.borrow());
    let same = [owner.uid, owner.euid, owner.suid].iter().all(|&id| id == caller.uid)
        && [owner.gid, owner.egid, owner.sgid].iter().all(|&id| id == caller.gid);
    Rc::ptr_eq(&cx.task.process, &target.process) || same || caller.capable(CAP_SYS_RESOURCE)
}

fn limit(cx: &mut Ctx<'_>, target: &Task, resource: u32, new: Option<Rlimit>) -> Result<Rlimit, Errno> {
    const NR_OPEN: u64 = 1 << 20;
    let index = usize::try_from(resource).ok().filter(|&i| i < RLIM_NLIMITS).ok_or(Errno::EINVAL)?;
    let process = Rc::clone(&target.process);
    let old = process.rlimits.borrow()[index];
    let Some(new) = new else { return Ok(old) };
    if new.cur > new.max {
        return Err(Errno::EINVAL);
    }
    if resource == RLIMIT_NOFILE && new.max > NR_OPEN {
        return Err(Errno::EPERM);
    }
    if new.max > old.max && !cx.task.cred.borrow().capable(CAP_SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    process.rlimits.borrow_mut()[index] = new;
    for task in process.live_threads() {
        if resource == RLIMIT_NOFILE {
            task.files.borrow().limit.set(process.max_files());
        }
        task.mm.borrow().set_limits(crate::kernel::limits::memory(&process));
    }
    Ok(old)
}

pub(super) fn prlimit64(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let target = find_task(cx, args.i32(0))?;
    if !may_limit(cx, &target) {
        return Err(Errno::EPERM.into());
    }
    let new = match args.ptr(2) {
        Some(addr) => Some(cx.read_user::<Rlimit>(addr)?),
        None => None,
    };
    let old = limit(cx, &target, args.u32(1), new)?;
    if let Some(addr) = args.ptr(3) {
        cx.write_user(addr, &old)?;
    }
    Ok(0)
}

pub(super) fn getrlimit(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    let old = limit(cx, &task, args.u32(0), None)?;
    cx.write_user(args.u64(1), &old)?;
    Ok(0)
}

pub(super) fn setrlimit(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let new = cx.read_user::<Rlimit>(args.u64(1))?;
    let task = Rc::clone(&cx.task);
    limit(cx, &task, args.u32(0), Some(new))?;
    Ok(0)
}

// ---- Accounts ----

/// As getrusage(2) and wait4(2) have it.
pub(super) fn rusage(usage: &Usage) -> Rusage {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Rusage {
        utime: Timeval::from_ns(usage.cpu.user_ns),
        stime: Timeval::from_ns(usage.cpu.system_ns),
        maxrss: count(usage.maxrss_kib),
        minflt: count(usage.minor_faults),
        nvcsw: count(usage.voluntary_switches),
        nivcsw: count(usage.involuntary_switches),
        ..Rusage::default()
    }
}

pub(super) fn getrusage(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    cx.kernel.charge_time(&task);
    let peak = task.mm.borrow().resident_bytes().1 / 1024;
    let usage = match args.i32(0) {
        RUSAGE_SELF => Usage { maxrss_kib: peak, ..cx.kernel.process_usage(&task.process) },
        RUSAGE_THREAD => Usage { maxrss_kib: peak, ..task_usage(&task) },
        RUSAGE_CHILDREN => task.process.child_usage.get(),
        _ => return Err(Errno::EINVAL.into()),
    };
    cx.write_user(args.u64(1), &rusage(&usage))?;
    Ok(0)
}

pub(super) fn times(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const TICK_NS: u64 = 10_000_000;
    let task = Rc::clone(&cx.task);
    cx.kernel.charge_time(&task);
    let (own, children) = (cx.kernel.process_usage(&task.process).cpu, task.process.child_usage.get().cpu);
    if let Some(addr) = args.ptr(0) {
        let times = [own.user_ns, own.system_ns, children.user_ns, children.system_ns].map(|ns| ns / TICK_NS);
        cx.write_user(addr, &times)?;
    }
    Ok(cx.kernel.monotonic_ns() / TICK_NS)
}

// ---- Hardware ----

/// riscv_hwprobe(2): what RV64GC is. Unknown keys become -1, as Linux does.
pub(super) fn riscv_hwprobe(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const IMA_EXT_0: i64 = 4;
    const CPUPERF_0: i64 = 5;
    const ZICBOZ_BLOCK_SIZE: i64 = 6;
    const PAIRS_MAX: u64 = 1024;
    let (pairs, count, flags) = (args.u64(0), args.u64(1), args.u32(4));
    if flags != 0 || count > PAIRS_MAX {
        return Err(Errno::EINVAL.into());
    }
    for i in 0..count {
        let addr = pairs.wrapping_add(i * 16);
        let [key, _] = cx.read_user::<[i64; 2]>(addr)?;
        let answer = match key {
            // mvendorid, marchid, mimpid: a machine without a maker.
            0..=2 => [key, 0],
            // BASE_BEHAVIOR: IMA.
            3 => [key, 1],
            // FD and C.
            IMA_EXT_0 => [key, 3],
            // Misaligned scalar accesses are fast.
            CPUPERF_0 => [key, 3],
            ZICBOZ_BLOCK_SIZE => [key, 0],
            _ => [-1, 0],
        };
        cx.write_user(addr, &answer)?;
    }
    Ok(0)
}

/// riscv_flush_icache(2): stores to code drop what was decoded from it, so there is nothing left to do.
pub(super) fn riscv_flush_icache(_: &mut Ctx<'_>, args: Args) -> SysResult {
    const LOCAL: u64 = 1;
    if args.u64(2) & !LOCAL != 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// kcmp(2) could tell whether two processes share something.
pub(super) fn kcmp(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    const FILE: i32 = 0;
    const VM: i32 = 1;
    const FILES: i32 = 2;
    const FS: i32 = 3;
    const SIGHAND: i32 = 4;
    let (a, b) = (find_task(cx, args.i32(0))?, find_task(cx, args.i32(1))?);
    if !may_limit(cx, &a) || !may_limit(cx, &b) {
        return Err(Errno::EPERM.into());
    }
    let order = |same: bool| Ok(if same { 0 } else { 1 + u64::from(a.tid > b.tid) });
    match args.i32(2) {
        FILE => {
            let first = a.files.borrow().get(args.u32(3) as i32)?;
            let second = b.files.borrow().get(args.u32(4) as i32)?;
            order(Rc::ptr_eq(&first, &second))
        }
        VM => order(Rc::ptr_eq(&a.mm.borrow(), &b.mm.borrow())),
        FILES => order(Rc::ptr_eq(&a.files.borrow(), &b.files.borrow())),
        FS => order(Rc::ptr_eq(&a.fs.borrow(), &b.fs.borrow())),
        SIGHAND => order(Rc::ptr_eq(&a.sighand.borrow(), &b.sighand.borrow())),
        _ => Err(Errno::EINVAL.into()),
    }
}
