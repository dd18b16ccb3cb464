//! Futexes: wait queues named by a word of user memory. See futex(2).
//!
//! A waiter is a record that the call keeps in its `Progress` and the table
//! holds weakly, so a task that ends or is interrupted leaves nothing behind.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use super::task::Task;
use super::wait::WaitQueue;
use super::{Ctx, Kernel};
use crate::abi::Errno;
use crate::mm::{Access, FutexKey, Mm};
use crate::syscall::{Block, Flow, Interrupt, SysResult};

/// One waiting call.
pub struct FutexWaiter {
    bitset: u32,
    woken: Cell<bool>,
    queue: WaitQueue,
    /// Which of the futexes of futex_waitv(2).
    index: usize,
}

/// All futexes that somebody waits on.
#[derive(Default)]
pub struct FutexTable {
    queues: BTreeMap<FutexKey, VecDeque<Weak<FutexWaiter>>>,
}

impl FutexTable {
    fn add(&mut self, key: FutexKey, waiter: &Rc<FutexWaiter>) {
        let queue = self.queues.entry(key).or_default();
        queue.retain(|w| w.strong_count() > 0);
        queue.push_back(Rc::downgrade(waiter));
    }

    /// Wake up to `count` waiters whose bitset meets `bitset`; how many were.
    fn wake(&mut self, key: FutexKey, count: u32, bitset: u32) -> u32 {
        let Some(queue) = self.queues.get_mut(&key) else { return 0 };
        let mut woken = 0;
        queue.retain(|weak| {
            let Some(waiter) = weak.upgrade().filter(|w| !w.woken.get()) else { return false };
            if woken >= count || waiter.bitset & bitset == 0 {
                return true;
            }
            woken += 1;
            waiter.woken.set(true);
            waiter.queue.wake_all();
            false
        });
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        woken
    }

    /// Move up to `count` waiters to another futex; how many were.
    fn requeue(&mut self, from: FutexKey, to: FutexKey, count: u32) -> u32 {
        if from == to {
            let waiting = self.queues.get(&from).map_or(0, VecDeque::len);
            return count.min(u32::try_from(waiting).unwrap_or(u32::MAX));
        }
        let Some(mut queue) = self.queues.remove(&from) else { return 0 };
        let mut moved = 0;
        while moved < count {
            let Some(weak) = queue.pop_front() else { break };
            if weak.strong_count() > 0 {
                self.queues.entry(to).or_default().push_back(weak);
                moved += 1;
            }
        }
        if !queue.is_empty() {
            self.queues.insert(from, queue);
        }
        moved
    }

    /// How many futexes have waiters (tests, leaks).
    pub fn len(&self) -> usize {
        self.queues.values().filter(|queue| queue.iter().any(|w| w.strong_count() > 0)).count()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A futex word: EINVAL when it is not aligned, EFAULT.
pub(super) fn read_word(mm: &Mm, addr: u64) -> Result<u32, Errno> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; 4];
    mm.copy_in(addr, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// One futex to wait for.
#[derive(Debug, Clone, Copy)]
pub struct WaitOn {
    /// Address of the word.
    pub addr: u64,
    /// What it must hold.
    pub expected: u32,
    /// FUTEX_PRIVATE_FLAG.
    pub private: bool,
    /// Who may wake.
    pub bitset: u32,
}

/// Wait until one of `on` is woken: its index. EAGAIN when a word does not hold
/// what is expected, ETIMEDOUT at `deadline_ns` (monotonic; another one on a later run when the wall clock moved).
/// Calls with a deadline are not restarted by signals.
pub fn wait(cx: &mut Ctx<'_>, on: &[WaitOn], deadline_ns: Option<u64>) -> Result<usize, Flow> {
    let waiting = cx.task.progress.borrow_mut().extra.take();
    let waiters = match waiting.map(|any| any.downcast::<Vec<Rc<FutexWaiter>>>()) {
        Some(Ok(waiters)) => waiters,
        _ => Box::new(start_waiting(cx, on)?),
    };
    if let Some(woken) = waiters.iter().find(|w| w.woken.get()) {
        return Ok(woken.index);
    }
    if deadline_ns.is_some_and(|at| cx.expired(at)) {
        return Err(Errno::ETIMEDOUT.into());
    }
    let queues = waiters.iter().map(|w| w.queue.clone()).collect();
    cx.task.progress.borrow_mut().extra = Some(waiters);
    // Linux restarts a timed wait only after a stop, not after a handler.
    let interrupt = if deadline_ns.is_none() { Interrupt::Restart } else { Interrupt::Fail };
    Err(Flow::Block(Block { queues, deadline_ns, interrupt }))
}

fn start_waiting(cx: &mut Ctx<'_>, on: &[WaitOn]) -> Result<Vec<Rc<FutexWaiter>>, Errno> {
    let mm = cx.mm();
    for futex in on {
        if read_word(&mm, futex.addr)? != futex.expected {
            return Err(Errno::EAGAIN);
        }
    }
    let queue = WaitQueue::new();
    let start = |(index, futex): (usize, &WaitOn)| {
        let (bitset, queue) = (futex.bitset, queue.clone());
        let waiter = Rc::new(FutexWaiter { bitset, woken: Cell::new(false), queue, index });
        cx.kernel.futexes.add(mm.futex_key(futex.addr, futex.private), &waiter);
        waiter
    };
    Ok(on.iter().enumerate().map(start).collect())
}

/// FUTEX_WAKE, FUTEX_WAKE_BITSET.
pub fn wake(cx: &mut Ctx<'_>, addr: u64, private: bool, count: u32, bitset: u32) -> Result<u32, Errno> {
    if !addr.is_multiple_of(4) || bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let key = cx.mm().futex_key(addr, private);
    Ok(cx.kernel.futexes.wake(key, count, bitset))
}

/// Two futexes and how many waiters of each.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The first word.
    pub from: u64,
    /// The second word.
    pub to: u64,
    /// FUTEX_PRIVATE_FLAG of both.
    pub private: bool,
    /// Waiters of the first to wake.
    pub wake: u32,
    /// Waiters to move, or of the second to wake.
    pub other: u32,
}

/// FUTEX_REQUEUE (`expected` none), FUTEX_CMP_REQUEUE: how many were woken, and moved.
pub fn requeue(cx: &mut Ctx<'_>, pair: Pair, expected: Option<u32>) -> Result<(u32, u32), Errno> {
    let mm = cx.mm();
    if !pair.from.is_multiple_of(4) || !pair.to.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if let Some(expected) = expected
        && read_word(&mm, pair.from)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let (from, to) = (mm.futex_key(pair.from, pair.private), mm.futex_key(pair.to, pair.private));
    let woken = cx.kernel.futexes.wake(from, pair.wake, u32::MAX);
    Ok((woken, cx.kernel.futexes.requeue(from, to, pair.other)))
}

/// FUTEX_WAKE_OP: change the second word as `op` says, wake the first, and the
/// second if its old value compares as `op` says.
pub fn wake_op(cx: &mut Ctx<'_>, pair: Pair, op: u32) -> SysResult {
    const OPARG_SHIFT: u32 = 8;
    let mm = cx.mm();
    if !pair.from.is_multiple_of(4) {
        return Err(Errno::EINVAL.into());
    }
    mm.fault_in(pair.to, 4, Access::Write)?;
    let old = read_word(&mm, pair.to)?;
    let sign_extend = |bits: u32| (bits << 20) as i32 >> 20;
    let mut operand = sign_extend(op >> 12 & 0xfff) as u32;
    let compared = sign_extend(op & 0xfff);
    let action = op >> 28;
    if action & OPARG_SHIFT != 0 {
        operand = 1u32.wrapping_shl(operand & 31);
    }
    let new = match action & 7 {
        0 => operand,
        1 => old.wrapping_add(operand),
        2 => old | operand,
        3 => old & !operand,
        4 => old ^ operand,
        _ => return Err(Errno::ENOSYS.into()),
    };
    let signed = old as i32;
    let holds = match op >> 24 & 15 {
        0 => signed == compared,
        1 => signed != compared,
        2 => signed < compared,
        3 => signed <= compared,
        4 => signed > compared,
        5 => signed >= compared,
        _ => return Err(Errno::ENOSYS.into()),
    };
    mm.copy_out(pair.to, &new.to_le_bytes())?;
    let (from, to) = (mm.futex_key(pair.from, pair.private), mm.futex_key(pair.to, pair.private));
    let mut woken = cx.kernel.futexes.wake(from, pair.wake, u32::MAX);
    if holds {
        woken += cx.kernel.futexes.wake(to, pair.other, u32::MAX);
    }
    Ok(u64::from(woken))
}

impl Kernel {
    /// Wake `count` waiters of the word at `addr`, as the kernel does at the end of a thread.
    pub fn futex_wake_at(&mut self, mm: &Rc<Mm>, addr: u64, count: u32) {
        // Linux wakes the shared key here; a private waiter in a private mapping has the same one.
        for private in [false, true] {
            let key = mm.futex_key(addr, private);
            if self.futexes.wake(key, count, u32::MAX) > 0 {
                return;
            }
        }
    }

    /// A task that ends waits no more.
    pub(super) fn release_futex(&mut self, task: &Task) {
        drop(task.progress.borrow_mut().extra.take());
    }
}
