//! The scheduler: who runs next, and who is parked where.
//!
//! One hart, one queue ordered by weighted instructions run (Linux's CFS in
//! small). It counts instructions, not time, so the same machine schedules the
//! same way each time.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Kernel;
use super::task::{CpuTime, Process, Task, TaskState, Usage};
use super::wait::Waiter;
use crate::syscall::Block;

/// How far a task that slept may be behind the others: about one slice.
const SLEEPER_CREDIT: u64 = 1_000_000;
/// Shift of `vruntime` against instructions at nice 0.
const WEIGHT_0: u64 = 1024;

/// Runnable tasks, and the accounts of the hart.
#[derive(Debug, Default)]
pub struct RunQueue {
    queue: BTreeSet<(u64, u32)>,
    /// The least `vruntime` seen at a switch; never goes back.
    floor: u64,
    /// Monotonic time from which the running task is charged.
    charged_ns: u64,
    /// System calls since then.
    calls: u64,
}

impl RunQueue {
    /// Somebody waits for the hart.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many tasks wait for the hart.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// Linux's weights: each step of nice is about 10 % of the hart.
fn weight(nice: i32) -> u64 {
    const WEIGHTS: [u64; 40] = [
        88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906,
        3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45,
        36, 29, 23, 18, 15,
    ];
    let index = usize::try_from(nice.clamp(-20, 19) + 20).unwrap_or(20);
    WEIGHTS[index]
}

impl Kernel {
    /// Let `task` wait for its turn.
    pub fn make_runnable(&mut self, task: &Rc<Task>) {
        task.state.set(TaskState::Runnable);
        let least = self.run_queue.floor.saturating_sub(SLEEPER_CREDIT);
        task.sched.vruntime.set(task.sched.vruntime.get().max(least));
        self.run_queue.queue.insert((task.sched.vruntime.get(), task.tid));
    }

    /// A new task starts level with the others.
    pub(super) fn enqueue_new(&mut self, task: &Rc<Task>) {
        task.sched.vruntime.set(self.run_queue.floor.max(task.sched.vruntime.get()));
        self.make_runnable(task);
    }

    /// The task to run next; it leaves the queue.
    pub(crate) fn pick(&mut self) -> Option<Rc<Task>> {
        while let Some((vruntime, tid)) = self.run_queue.queue.pop_first() {
            let Some(task) = self.tasks.get(&tid).filter(|t| t.state.get() == TaskState::Runnable) else {
                continue;
            };
            self.run_queue.floor = self.run_queue.floor.max(vruntime);
            return Some(Rc::clone(task));
        }
        None
    }

    /// Back into the queue, if it still can run.
    pub(crate) fn put_back(&mut self, task: &Rc<Task>) {
        if task.state.get() == TaskState::Runnable {
            self.run_queue.queue.insert((task.sched.vruntime.get(), task.tid));
        }
    }

    /// sched_yield(2): behind everybody who waits.
    pub fn yield_task(&mut self, task: &Task) {
        self.need_resched = true;
        if let Some(&(last, _)) = self.run_queue.queue.last() {
            task.sched.vruntime.set(task.sched.vruntime.get().max(last.saturating_add(1)));
        }
    }

    /// `task` ran `instructions`.
    pub(crate) fn charge_instructions(&mut self, task: &Task, instructions: u64) {
        self.retired = self.retired.wrapping_add(instructions);
        let sched = &task.sched;
        sched.retired.set(sched.retired.get().wrapping_add(instructions));
        let weighted = instructions.saturating_mul(WEIGHT_0) / weight(sched.nice.get());
        // At least one, so that a task that only makes system calls moves on as well.
        sched.vruntime.set(sched.vruntime.get().saturating_add(weighted.max(1)));
    }

    /// One system call of the running task.
    pub(crate) fn charge_call(&mut self) {
        self.run_queue.calls += 1;
    }

    /// Time passed while nobody ran.
    pub(crate) fn start_charging(&mut self) {
        self.run_queue.charged_ns = self.monotonic_ns();
        self.run_queue.calls = 0;
    }

    /// Charge the time since the last charge to `task`. Clock reads are not
    /// free in a browser, so this happens at switches and when somebody asks, and system time is an estimate by calls.
    pub fn charge_time(&mut self, task: &Task) {
        /// About what a system call costs.
        const CALL_NS: u64 = 500;
        let now = self.monotonic_ns();
        let elapsed = now.saturating_sub(self.run_queue.charged_ns);
        let system_ns = self.run_queue.calls.saturating_mul(CALL_NS).min(elapsed / 2);
        self.run_queue.charged_ns = now;
        self.run_queue.calls = 0;
        let spent = CpuTime { user_ns: elapsed - system_ns, system_ns };
        task.sched.cpu.set(task.sched.cpu.get().plus(spent));
        let process = Rc::clone(&task.process);
        self.check_cpu_timers(&process);
    }

    /// Park `task` until one of the block's queues is woken, its deadline passes or a signal comes.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub(crate) fn park(&mut self, task: &Rc<Task>, block: &Block) {
        let waiter = Waiter::new(task.tid, Rc::clone(&self.ready));
        for queue in &block.queues {
            queue.add(&waiter);
        }
        let timer = block.deadline_ns.map(|at| self.timers.wake(at, &waiter));
        let mut park = task.park.borrow_mut();
        park.waiter = Some(waiter);
        park.timer = timer;
        park.interrupt = block.interrupt;
        task.state.set(TaskState::Blocked);
    }

    /// Out of its sleep, for whatever reason; the caller knows what comes next.
    pub(super) fn unpark(&mut self, task: &Rc<Task>) {
        let timer = {
            let mut park = task.park.borrow_mut();
            park.waiter = None;
            park.timer.take()
        };
        if let Some(id) = timer {
            self.timers.cancel(id);
        }
        if task.state.get() == TaskState::Blocked {
            self.make_runnable(task);
        }
    }

    /// Tasks whose queues were woken become runnable.
    pub(crate) fn drain_ready(&mut self) {
        if self.ready.borrow().is_empty() {
            return;
        }
        let ready = self.ready.take();
        for tid in ready {
            let Some(task) = self.tasks.get(&tid).cloned() else { continue };
            // A ticket of an earlier sleep says nothing about this one.
            let woken = task.park.borrow().waiter.as_ref().is_some_and(|waiter| waiter.woken());
            if task.state.get() == TaskState::Blocked && woken {
                self.unpark(&task);
            }
        }
    }

    /// What a process has used, its ended threads included, its children not.
    pub fn process_usage(&self, process: &Process) -> Usage {
        let mut usage = process.own_usage.get();
        for task in process.live_threads() {
            usage.add(&task_usage(&task));
        }
        usage
    }
}

/// What one thread has used.
pub fn task_usage(task: &Task) -> Usage {
    Usage {
        cpu: task.sched.cpu.get(),
        minor_faults: task.sched.minor_faults.get(),
        voluntary_switches: task.sched.voluntary_switches.get(),
        involuntary_switches: task.sched.involuntary_switches.get(),
        maxrss_kib: 0,
    }
}
