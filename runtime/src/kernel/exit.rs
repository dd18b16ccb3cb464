//! The end of tasks and processes, and wait(2)'s view of it. See _exit(2), wait(2).

use std::rc::Rc;

use friscy_formats::ring::LogLevel;

use super::sched::task_usage;
use super::signal::bit;
use super::task::{JobState, Process, Task, TaskState};
use super::{FdTable, Kernel};
use crate::abi::Errno;
use crate::abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use crate::abi::signal::{
    CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SA_NOCLDWAIT, SIG_IGN, SIGBUS, SIGCHLD,
    SIGCONT, SIGHUP, SIGILL, SIGSEGV, SigInfo,
};
use crate::abi::wait::{__WALL, __WCLONE, WCONTINUED, WEXITED, WNOWAIT, WUNTRACED};
use crate::mm::Mm;

/// Which children wait(2) is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Any.
    All,
    /// This one.
    Pid(u32),
    /// Those of this process group.
    Group(u32),
}

/// What wait(2) found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The child.
    pub pid: u32,
    /// Its real user ID.
    pub uid: u32,
    /// A wait(2) status.
    pub status: u32,
    /// The same as siginfo has it: `CLD_*`, and an exit code or signal number.
    pub code: (i32, u32),
    /// What it used.
    pub usage: super::task::Usage,
}

/// `CLD_*` and status of a siginfo for an exit's wait(2) status.
fn exit_code(status: u32) -> (i32, u32) {
    match (status & 0x7f, status & 0x80) {
        (0, _) => (CLD_EXITED, status >> 8 & 0xff),
        (signal, 0) => (CLD_KILLED, signal),
        (signal, _) => (CLD_DUMPED, signal),
    }
}

impl Kernel {
    /// exit_group(2) by `task`, or a fatal signal: all threads end with `status` (as wait(2) has it).
    pub fn exit_process(&mut self, task: &Rc<Task>, status: u32) {
        let process = Rc::clone(&task.process);
        let status = process.exiting.get().unwrap_or(status);
        process.exiting.set(Some(status));
        for other in process.live_threads() {
            if !Rc::ptr_eq(&other, task) {
                self.exit_task(&other, status);
            }
        }
        self.exit_task(task, status);
    }

    /// One thread ends.
    pub fn exit_task(&mut self, task: &Rc<Task>, status: u32) {
        if task.state.get() == TaskState::Dead {
            return;
        }
        self.charge_time_if_current(task);
        self.unpark(task);
        self.walk_robust_list(task);
        self.release_child_tid(task);
        self.release_vfork(task);
        self.release_futex(task);
        self.release_pi_futexes(task.tid);
        task.state.set(TaskState::Dead);
        task.in_call.set(false);
        // Whatever the call kept (futures, tickets, references to files) goes now.
        drop(task.progress.take());
        let process = Rc::clone(&task.process);
        let mut usage = process.own_usage.get();
        usage.add(&task_usage(task));
        process.own_usage.set(usage);
        process.threads.borrow_mut().retain(|thread| thread.upgrade().is_some_and(|t| !Rc::ptr_eq(&t, task)));
        let last = process.threads.borrow().is_empty();
        // Dropping the last reference closes the files, which may post signals and wake queues.
        drop(task.files.replace(Rc::new(FdTable::default())));
        let no_memory = Rc::clone(&self.no_memory);
        drop(task.mm.replace(no_memory));
        if !task.is_leader() {
            self.tasks.remove(&task.tid);
        }
        if process.exiting.get().is_none() && task.is_leader() {
            // exit(2) of the first thread alone: its code is the process's, unless exit_group(2) comes.
            process.leader_status.set(status);
        }
        if last {
            let status = process.exiting.get().unwrap_or(process.leader_status.get());
            self.end_process(task, &process, status);
        }
    }

    fn charge_time_if_current(&mut self, task: &Rc<Task>) {
        if self.current == Some(task.tid) {
            self.charge_time(task);
        }
    }

    /// CLONE_CHILD_CLEARTID: what pthread_join(3) waits for.
    pub(super) fn release_child_tid(&mut self, task: &Rc<Task>) {
        let addr = task.clear_child_tid.replace(0);
        let mm = Rc::clone(&task.mm.borrow());
        if addr != 0 && Rc::strong_count(&mm) > 2 && mm.copy_out(addr, &[0; 4]).is_ok() {
            self.futex_wake_at(&mm, addr, 1);
        }
    }

    /// A vfork(2) parent goes on.
    pub fn release_vfork(&mut self, task: &Task) {
        if let Some(queue) = task.vfork_done.take() {
            queue.wake_all();
        }
    }

    /// Robust futexes held by the thread pass to whoever waits. See get_robust_list(2).
    pub(super) fn walk_robust_list(&mut self, task: &Rc<Task>) {
        /// As in Linux: the list may be a cycle.
        const LIMIT: u32 = 2048;
        let head = task.robust_list.replace(0);
        if head == 0 {
            return;
        }
        let mm = Rc::clone(&task.mm.borrow());
        let read = |addr: u64| -> Result<u64, Errno> {
            let mut bytes = [0; 8];
            mm.copy_in(addr, &mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let (Ok(first), Ok(offset), Ok(pending)) =
            (read(head), read(head.wrapping_add(8)), read(head.wrapping_add(16)))
        else {
            return;
        };
        // Bit 0 marks a PI futex; its address does not have it.
        let futex_of = |entry: u64| (entry & !1).wrapping_add(offset);
        let mut entry = first;
        for _ in 0..LIMIT {
            if entry & !1 == head {
                break;
            }
            let next = read(entry & !1);
            if entry & !1 != pending & !1 && self.futex_owner_died(task, &mm, futex_of(entry)).is_err() {
                return;
            }
            let Ok(next) = next else { return };
            entry = next;
        }
        if pending & !1 != 0 {
            let _ = self.futex_owner_died(task, &mm, futex_of(pending));
        }
    }

    fn futex_owner_died(&mut self, task: &Task, mm: &Rc<Mm>, addr: u64) -> Result<(), Errno> {
        let mut bytes = [0; 4];
        mm.copy_in(addr, &mut bytes)?;
        let value = u32::from_le_bytes(bytes);
        if value & FUTEX_TID_MASK != task.tid {
            return Ok(());
        }
        mm.copy_out(addr, &(value & FUTEX_WAITERS | FUTEX_OWNER_DIED).to_le_bytes())?;
        if value & FUTEX_WAITERS != 0 {
            self.futex_wake_at(mm, addr, 1);
        }
        Ok(())
    }

    /// The last thread is gone.
    fn end_process(&mut self, last: &Rc<Task>, process: &Rc<Process>, status: u32) {
        for timer in std::mem::take(&mut *process.posix_timers.borrow_mut()).into_values() {
            if let Some(id) = timer.id {
                self.timers.cancel(id);
            }
        }
        self.set_real_timer(process, None, 0);
        self.undo_semaphores(process.tgid);
        self.strace_exit(last, None);
        self.strace_end(process.tgid, status);
        self.reparent_children(process);
        process.zombie.set(Some(status));
        process.exit_events.wake_all();
        *process.exe.borrow_mut() = None;
        if process.sid.get() == process.tgid {
            crate::fs::tty::job::leader_exited(self, process.sid.get());
        }
        self.hang_up_orphaned_groups(process);
        if process.tgid == 1 {
            self.exited = Some(match status & 0x7f {
                0 => status >> 8 & 0xff,
                signal => 128 + signal,
            });
            return;
        }
        self.tell_parent_of_end(last, process, status);
    }

    fn tell_parent_of_end(&mut self, last: &Rc<Task>, process: &Rc<Process>, status: u32) {
        let Some(parent) = process.parent.borrow().upgrade() else {
            self.reap(process);
            return;
        };
        let signal = process.exit_signal.get();
        let action =
            parent.live_threads().first().map(|t| t.sighand.borrow().get(SIGCHLD)).unwrap_or_default();
        let auto = signal == SIGCHLD && (action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0);
        if signal != 0 {
            let (code, value) = exit_code(status);
            let cpu = process.own_usage.get().cpu;
            let uid = last.cred.borrow().uid;
            let info = SigInfo::child(signal, code, process.tgid, uid, value, (cpu.user_ns, cpu.system_ns));
            let _ = self.signal_process(&parent, info);
        }
        if auto {
            self.reap(process);
        }
        parent.child_events.wake_all();
    }

    /// Children of an ended process go to the nearest living subreaper, or to pid 1.
    fn reparent_children(&mut self, process: &Rc<Process>) {
        let children = process.children.take();
        if children.is_empty() {
            return;
        }
        let mut heir = process.parent.borrow().upgrade();
        while let Some(candidate) = &heir {
            if candidate.tgid == 1 || (candidate.subreaper.get() && candidate.zombie.get().is_none()) {
                break;
            }
            let next = candidate.parent.borrow().upgrade();
            heir = next;
        }
        for child in children {
            *child.parent.borrow_mut() = heir.as_ref().map(Rc::downgrade).unwrap_or_default();
            for task in child.live_threads() {
                if task.pdeathsig.get() != 0 {
                    let _ = self.signal_task(&task, SigInfo::kernel(task.pdeathsig.get()));
                }
            }
            let Some(heir) = &heir else { continue };
            child.exit_signal.set(SIGCHLD);
            heir.children.borrow_mut().push(Rc::clone(&child));
            if let (Some(status), Some(leader)) = (child.zombie.get(), self.tasks.get(&child.tgid).cloned()) {
                self.tell_parent_of_end(&leader, &child, status);
            }
        }
    }

    /// No member has a parent in the same session outside the group: nobody could continue it.
    pub fn group_is_orphaned(&self, pgid: u32) -> bool {
        let members = self.processes(|p| p.pgid.get() == pgid && p.zombie.get().is_none());
        !members.iter().any(|process| {
            let parent = process.parent.borrow().upgrade();
            parent.is_some_and(|parent| {
                parent.pgid.get() != pgid
                    && parent.sid.get() == process.sid.get()
                    && parent.zombie.get().is_none()
            })
        })
    }

    /// Groups that this exit orphans and that have stopped members get SIGHUP and SIGCONT: _exit(2), POSIX.
    fn hang_up_orphaned_groups(&mut self, process: &Rc<Process>) {
        let mut groups = vec![process.pgid.get()];
        groups.extend(
            self.processes(|p| p.parent.borrow().upgrade().is_some_and(|q| q.tgid == 1))
                .iter()
                .map(|child| child.pgid.get()),
        );
        groups.sort_unstable();
        groups.dedup();
        for pgid in groups {
            let stopped = self.processes(|p| {
                p.pgid.get() == pgid
                    && p.sid.get() == process.sid.get()
                    && matches!(p.job.get(), JobState::Stopped(_))
                    && p.zombie.get().is_none()
            });
            if !stopped.is_empty() && self.group_is_orphaned(pgid) {
                self.signal_group(pgid, SigInfo::kernel(SIGHUP));
                self.signal_group(pgid, SigInfo::kernel(SIGCONT));
            }
        }
    }

    /// Forget a zombie.
    pub(super) fn reap(&mut self, process: &Rc<Process>) {
        if let Some(parent) = process.parent.borrow().upgrade() {
            parent.children.borrow_mut().retain(|child| !Rc::ptr_eq(child, process));
        }
        self.tasks.remove(&process.tgid);
    }

    /// The next child of `parent` that `options` (`W*`) ask for; it is reaped
    /// or marked as seen unless WNOWAIT. None: there are children, but no news. ECHILD.
    pub fn wait_for_child(
        &mut self,
        parent: &Rc<Process>,
        which: Which,
        options: u32,
    ) -> Result<Option<Found>, Errno> {
        let children: Vec<Rc<Process>> = parent.children.borrow().clone();
        let mut any = false;
        for child in children {
            let matches = match which {
                Which::All => true,
                Which::Pid(pid) => child.tgid == pid,
                Which::Group(pgid) => child.pgid.get() == pgid,
            };
            // "Clone" children are those that do not announce their end by SIGCHLD.
            let clone = child.exit_signal.get() != SIGCHLD;
            if !matches || (options & __WALL == 0 && clone != (options & __WCLONE != 0)) {
                continue;
            }
            any = true;
            if let Some(found) = self.news_of(parent, &child, options) {
                return Ok(Some(found));
            }
        }
        if any { Ok(None) } else { Err(Errno::ECHILD) }
    }

    fn news_of(&mut self, parent: &Rc<Process>, child: &Rc<Process>, options: u32) -> Option<Found> {
        let leader = self.tasks.get(&child.tgid).cloned();
        let uid = leader.map_or(0, |task| task.cred.borrow().uid);
        let keep = options & WNOWAIT != 0;
        let mut usage = self.process_usage(child);
        let pid = child.tgid;
        if let Some(status) = child.zombie.get() {
            if options & WEXITED == 0 {
                return None;
            }
            usage.add(&child.child_usage.get());
            if !keep {
                let mut all = parent.child_usage.get();
                all.add(&usage);
                parent.child_usage.set(all);
                self.reap(child);
            }
            return Some(Found { pid, uid, status, code: exit_code(status), usage });
        }
        if !child.job_news.get() {
            return None;
        }
        let found = match child.job.get() {
            JobState::Stopped(signal) if options & WUNTRACED != 0 => {
                Found { pid, uid, status: signal << 8 | 0x7f, code: (CLD_STOPPED, signal), usage }
            }
            JobState::Continued if options & WCONTINUED != 0 => {
                Found { pid, uid, status: 0xffff, code: (CLD_CONTINUED, SIGCONT), usage }
            }
            _ => return None,
        };
        if !keep {
            child.job_news.set(false);
        }
        Some(found)
    }

    /// A program that crashed is worth a line for the user: silent deaths are hard to find.
    pub(super) fn report_fatal(&mut self, task: &Task, number: u32, info: &SigInfo) {
        if (bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL)) & bit(number) == 0 || info.code <= 0 {
            return;
        }
        let comm = String::from_utf8_lossy(&task.comm.borrow()).into_owned();
        let line = format!(
            "{comm}[{}]: {} at pc {:#x}, address {:#x}",
            task.tid,
            super::signal::name(number),
            task.regs.borrow().pc,
            info.fields[0]
        );
        self.ring.log(LogLevel::Warning, &line);
    }
}
