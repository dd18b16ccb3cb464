//! System V semaphores: semget(2), semop(2), semtimedop(2), semctl(2).
//!
//! A set is an array of counters. An operation that cannot be done waits on
//! the set's queue and tries again as a whole when any counter has changed.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Args, Block, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::time::Timespec;
use crate::kernel::ipc::{IPC_64, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Object, Perm, Registry};
use crate::kernel::wait::WaitQueue;
use crate::kernel::{Ctx, Kernel};

const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;
const SEM_UNDO: u16 = 0x1000;
/// Largest value (SEMVMX).
const VALUE_MAX: i32 = 32767;
/// Most sets (SEMMNI), semaphores of a set (SEMMSL), operations of a call (SEMOPM).
const SETS_MAX: usize = 32000;
const SET_MAX: i32 = 32000;
const OPERATIONS_MAX: u64 = 500;

/// All sets of a machine.
pub type Sets = Registry<Set>;

/// One set.
pub struct Set {
    /// Owner and mode.
    pub perm: Perm,
    values: Vec<Semaphore>,
    /// Last semop(2), seconds.
    pub otime: i64,
    /// Last change by semctl(2), seconds.
    pub ctime: i64,
    /// What the end of a process gives back (SEM_UNDO), by pid.
    undo: BTreeMap<u32, Vec<i32>>,
    waiting: Vec<Weak<Waiting>>,
    queue: WaitQueue,
}

#[derive(Debug, Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    pid: u32,
}

/// A call that waits: for which semaphore, and for zero or for more.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    semaphore: usize,
    for_zero: bool,
}

/// `struct sembuf`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct SemBuf {
    number: u16,
    by: i16,
    flags: u16,
}
const _: () = assert!(size_of::<SemBuf>() == 6);

/// `struct semid64_ds`, `asm-generic/sembuf.h`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct SemidDs {
    perm: Perm,
    otime: i64,
    ctime: i64,
    semaphores: u64,
    unused: [u64; 2],
}
const _: () = assert!(size_of::<SemidDs>() == 88);

impl Object for Set {
    fn perm(&self) -> &Perm {
        &self.perm
    }
}

impl Set {
    /// How many semaphores it has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never: semget(2) refuses to make an empty set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Do all of `operations` or none. What to wait for when that is not possible now. ERANGE.
    fn apply(&mut self, operations: &[SemBuf], pid: u32) -> Result<Option<Waiting>, Errno> {
        let mut values: Vec<i32> = self.values.iter().map(|s| s.value).collect();
        let mut undo = self.undo.get(&pid).cloned().unwrap_or_else(|| vec![0; values.len()]);
        for operation in operations {
            let semaphore = usize::from(operation.number);
            let value = &mut values[semaphore];
            let next = *value + i32::from(operation.by);
            if operation.by == 0 && *value != 0 || next < 0 {
                let waiting = Waiting { semaphore, for_zero: operation.by == 0 };
                let now = u32::from(operation.flags) & IPC_NOWAIT != 0;
                return if now { Err(Errno::EAGAIN) } else { Ok(Some(waiting)) };
            }
            if next > VALUE_MAX {
                return Err(Errno::ERANGE);
            }
            *value = next;
            if operation.flags & SEM_UNDO != 0 {
                undo[semaphore] -= i32::from(operation.by);
                if undo[semaphore].abs() > VALUE_MAX {
                    return Err(Errno::ERANGE);
                }
            }
        }
        for (semaphore, value) in self.values.iter_mut().zip(values) {
            semaphore.value = value;
        }
        for operation in operations {
            self.values[usize::from(operation.number)].pid = pid;
        }
        if operations.iter().any(|operation| operation.flags & SEM_UNDO != 0) {
            self.undo.insert(pid, undo);
        }
        if operations.iter().any(|operation| operation.by != 0) {
            self.queue.wake_all();
        }
        Ok(None)
    }

    /// Process `pid` has ended.
    fn give_back(&mut self, pid: u32) {
        let Some(undo) = self.undo.remove(&pid) else { return };
        for (semaphore, by) in self.values.iter_mut().zip(undo).filter(|(_, by)| *by != 0) {
            semaphore.value = (semaphore.value + by).clamp(0, VALUE_MAX);
            semaphore.pid = pid;
        }
        self.queue.wake_all();
    }

    fn waiting(&mut self, semaphore: usize, for_zero: bool) -> u64 {
        self.waiting.retain(|waiting| waiting.strong_count() > 0);
        let wanted = Waiting { semaphore, for_zero };
        self.waiting.iter().filter(|waiting| waiting.upgrade().is_some_and(|w| *w == wanted)).count() as u64
    }

    fn status(&self) -> SemidDs {
        SemidDs {
            perm: self.perm,
            otime: self.otime,
            ctime: self.ctime,
            semaphores: self.values.len() as u64,
            unused: [0; 2],
        }
    }
}

impl Kernel {
    /// SEM_UNDO of a process that has ended.
    pub(crate) fn undo_semaphores(&mut self, pid: u32) {
        for set in self.semaphores.values_mut() {
            set.give_back(pid);
        }
    }
}

/// semget(2).
pub(super) fn semget(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (key, count, flags) = (args.i32(0), args.i32(1), args.u32(2));
    if !(0..=SET_MAX).contains(&count) {
        return Err(Errno::EINVAL.into());
    }
    let (cred, now) = (cx.cred(), cx.now().sec);
    let sets = &mut cx.kernel.semaphores;
    if let Some(id) = sets.find(key, flags, &cred, SETS_MAX)? {
        let enough = sets.get(id)?.values.len() >= count as usize;
        return if enough { Ok(id as u64) } else { Err(Errno::EINVAL.into()) };
    }
    if count == 0 {
        return Err(Errno::EINVAL.into());
    }
    let set = Set {
        perm: Perm::new(key, flags, &cred),
        values: vec![Semaphore::default(); count as usize],
        otime: 0,
        ctime: now,
        undo: BTreeMap::new(),
        waiting: Vec::new(),
        queue: WaitQueue::new(),
    };
    Ok(sets.add(set)? as u64)
}

/// semop(2).
pub(super) fn semop(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    operate(cx, args, None)
}

/// semtimedop(2).
pub(super) fn semtimedop(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let deadline = match args.ptr(3) {
        Some(addr) => Some(cx.deadline(cx.read_user::<Timespec>(addr)?.to_ns()?)),
        None => None,
    };
    operate(cx, args, deadline)
}

fn operate(cx: &mut Ctx<'_>, args: Args, deadline_ns: Option<u64>) -> SysResult {
    let (id, count) = (args.i32(0), args.u64(2));
    let waited = cx.task.progress.borrow_mut().extra.take().is_some();
    if count == 0 || id < 0 {
        return Err(Errno::EINVAL.into());
    }
    if count > OPERATIONS_MAX {
        return Err(Errno::E2BIG.into());
    }
    let size = size_of::<SemBuf>() as u64;
    let operation = |i: u64| cx.read_user::<SemBuf>(args.u64(1).wrapping_add(i * size));
    let operations = (0..count).map(operation).collect::<Result<Vec<SemBuf>, Flow>>()?;
    let (cred, pid, now) = (cx.cred(), cx.task.process.tgid, cx.now().sec);
    let expired = deadline_ns.is_some_and(|at| cx.expired(at));
    // A set that was there when the wait began has been removed meanwhile.
    let gone = if waited { Errno::EIDRM } else { Errno::EINVAL };
    let set = cx.kernel.semaphores.get(id).map_err(|_| gone)?;
    if operations.iter().any(|o| usize::from(o.number) >= set.values.len()) {
        return Err(Errno::EFBIG.into());
    }
    let alters = operations.iter().any(|o| o.by != 0);
    set.perm.check(&cred, if alters { 2 } else { 4 })?;
    let Some(waiting) = set.apply(&operations, pid)? else {
        set.otime = now;
        return Ok(0);
    };
    if expired {
        return Err(Errno::EAGAIN.into());
    }
    let waiting = Rc::new(waiting);
    set.waiting.retain(|other| other.strong_count() > 0);
    set.waiting.push(Rc::downgrade(&waiting));
    let queues = vec![set.queue.clone()];
    cx.task.progress.borrow_mut().extra = Some(Box::new(waiting));
    Err(Flow::Block(Block { queues, deadline_ns, interrupt: Interrupt::Fail }))
}

/// semctl(2).
pub(super) fn semctl(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, command, arg) = (args.i32(0), args.u32(2) & !IPC_64, args.u64(3));
    let cred = cx.cred();
    match command {
        IPC_INFO | SEM_INFO => return info(cx, command, arg),
        SEM_STAT | SEM_STAT_ANY => {
            let id = cx.kernel.semaphores.at(id)?;
            let set = cx.kernel.semaphores.get(id)?;
            if command == SEM_STAT {
                set.perm.check(&cred, 4)?;
            }
            let status = set.status();
            cx.write_user(arg, &status)?;
            return Ok(id as u64);
        }
        IPC_STAT => {
            let set = cx.kernel.semaphores.get(id)?;
            set.perm.check(&cred, 4)?;
            let status = set.status();
            cx.write_user(arg, &status)?;
            return Ok(0);
        }
        IPC_SET => {
            let given: SemidDs = cx.read_user(arg)?;
            let now = cx.now().sec;
            let set = cx.kernel.semaphores.get(id)?;
            set.perm.check_owner(&cred)?;
            set.perm.set(&given.perm);
            set.ctime = now;
            return Ok(0);
        }
        IPC_RMID => {
            cx.kernel.semaphores.get(id)?.perm.check_owner(&cred)?;
            if let Some(set) = cx.kernel.semaphores.remove(id) {
                set.queue.wake_all();
            }
            return Ok(0);
        }
        GETALL | SETALL => return all_values(cx, id, command == SETALL, arg),
        GETPID | GETVAL | GETNCNT | GETZCNT | SETVAL => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    let (now, pid) = (cx.now().sec, cx.task.process.tgid);
    let set = cx.kernel.semaphores.get(id)?;
    set.perm.check(&cred, if command == SETVAL { 2 } else { 4 })?;
    let number = usize::try_from(args.i32(1)).ok().filter(|&n| n < set.values.len()).ok_or(Errno::EINVAL)?;
    match command {
        GETPID => Ok(u64::from(set.values[number].pid)),
        GETVAL => Ok(set.values[number].value as u64),
        GETNCNT => Ok(set.waiting(number, false)),
        GETZCNT => Ok(set.waiting(number, true)),
        _ => {
            let value = arg as i32;
            if !(0..=VALUE_MAX).contains(&value) {
                return Err(Errno::ERANGE.into());
            }
            set.values[number] = Semaphore { value, pid };
            set.undo.values_mut().for_each(|undo| undo[number] = 0);
            set.ctime = now;
            set.queue.wake_all();
            Ok(0)
        }
    }
}

/// GETALL and SETALL: an array of u16.
fn all_values(cx: &mut Ctx<'_>, id: i32, change: bool, addr: u64) -> SysResult {
    let (cred, now, pid) = (cx.cred(), cx.now().sec, cx.task.process.tgid);
    let set = cx.kernel.semaphores.get(id)?;
    set.perm.check(&cred, if change { 2 } else { 4 })?;
    let mut bytes: Vec<u8> = set.values.iter().flat_map(|s| (s.value as u16).to_le_bytes()).collect();
    if !change {
        cx.mm().copy_out(addr, &bytes)?;
        return Ok(0);
    }
    cx.mm().copy_in(addr, &mut bytes)?;
    let values: Vec<i32> =
        bytes.as_chunks::<2>().0.iter().map(|pair| i32::from(u16::from_le_bytes(*pair))).collect();
    if values.iter().any(|&value| value > VALUE_MAX) {
        return Err(Errno::ERANGE.into());
    }
    let set = cx.kernel.semaphores.get(id)?;
    for (semaphore, value) in set.values.iter_mut().zip(values) {
        *semaphore = Semaphore { value, pid };
    }
    set.undo.clear();
    set.ctime = now;
    set.queue.wake_all();
    Ok(0)
}

/// IPC_INFO and SEM_INFO: `struct seminfo`.
fn info(cx: &mut Ctx<'_>, command: u32, addr: u64) -> SysResult {
    let sets = &cx.kernel.semaphores;
    let (count, semaphores) = (sets.len(), sets.iter().map(|(_, set)| set.values.len()).sum::<usize>());
    let in_use = command == SEM_INFO;
    let info: [i32; 10] = [
        1_024_000_000,
        SETS_MAX as i32,
        1_024_000_000,
        1_024_000_000,
        SET_MAX,
        OPERATIONS_MAX as i32,
        OPERATIONS_MAX as i32,
        if in_use { count as i32 } else { 20 },
        VALUE_MAX,
        if in_use { semaphores as i32 } else { VALUE_MAX },
    ];
    let highest = sets.highest();
    cx.write_user(addr, &info)?;
    Ok(highest)
}
