//! Taking signals on the way back to user mode: default actions, handler frames, sigreturn.
//!
//! The frame is what Linux's `arch/riscv/kernel/signal.c` builds: siginfo,
//! ucontext, and a return through the vDSO's `rt_sigreturn`. See sigaction(2).

use std::rc::Rc;

use zerocopy::FromZeros;

use super::signal::{IGNORED, STOPS, SigHand, UNBLOCKABLE, bit};
use super::task::{Process, Task, TaskState};
use super::{Ctx, Kernel};
use crate::abi::Errno;
use crate::abi::resource::RLIMIT_CORE;
use crate::abi::signal::{
    RtSigframe, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SI_TIMER, SIG_DFL, SIG_IGN, SIGABRT,
    SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ,
    SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAction, SigInfo, StackT, Ucontext,
};
use crate::mm::Access;
use crate::syscall::{Block, Flow, Interrupt, SysResult};

/// Signals that a fault of the task itself causes: taken before others.
const SYNCHRONOUS: u64 = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE) | bit(SIGSYS);
/// Signals whose default action ends the process with a core dump.
const CORES: u64 = SYNCHRONOUS | bit(SIGQUIT) | bit(SIGABRT) | bit(SIGXCPU) | bit(SIGXFSZ);
/// wait(2)'s bit for a core dump.
const CORE_BIT: u32 = 0x80;
const SP: usize = 2;

/// The next signal to take, and whether it is the thread's own.
fn next_signal(task: &Task) -> Option<(u32, bool)> {
    // What sigtimedwait(2) waits for is its result, even when nothing blocks it.
    let allowed = (!task.sigmask.get() | UNBLOCKABLE) & !task.park.borrow().awaits;
    let own = task.pending.borrow().set() & allowed;
    let shared = task.process.pending.borrow().set() & allowed;
    let set = if own != 0 { own } else { shared };
    if set == 0 {
        return None;
    }
    let first = if set & SYNCHRONOUS != 0 { set & SYNCHRONOUS } else { set };
    Some((first.trailing_zeros() + 1, own != 0))
}

fn take(task: &Task, number: u32, own: bool) -> Option<SigInfo> {
    let queue = if own { &task.pending } else { &task.process.pending };
    queue.borrow_mut().take(bit(number))
}

impl Kernel {
    /// Take all signals that are due, before `task` runs on. Afterwards it may be stopped, parked or gone.
    // Out of line for the sake of the run loop: kernel/run.rs.
    #[inline(never)]
    pub(crate) fn deliver_signals(&mut self, task: &Rc<Task>) {
        while task.state.get() == TaskState::Runnable {
            if let Some(status) = task.process.exiting.get() {
                self.exit_task(task, status);
                return;
            }
            let Some((number, own)) = next_signal(task) else { break };
            let sighand = Rc::clone(&task.sighand.borrow());
            let action = sighand.get(number);
            let handled =
                action.handler != SIG_DFL && action.handler != SIG_IGN && UNBLOCKABLE & bit(number) == 0;
            if handled {
                if task.in_call.get() {
                    self.interrupt_call(task, action.flags & SA_RESTART != 0);
                } else if !self.enter_handler(task, &sighand, (number, own), action) {
                    return;
                }
                continue;
            }
            let Some(info) = take(task, number, own) else { continue };
            self.strace_signal(task, &info);
            self.default_action(task, number, &info, action.handler == SIG_IGN);
        }
        if !task.in_call.get()
            && let Some(mask) = task.saved_mask.take()
        {
            task.sigmask.set(mask);
        }
    }

    fn default_action(&mut self, task: &Rc<Task>, number: u32, info: &SigInfo, ignored: bool) {
        let process = Rc::clone(&task.process);
        if number != SIGKILL && number != SIGSTOP && (ignored || IGNORED & bit(number) != 0) {
            self.timer_signal_taken(&process, info);
            return;
        }
        if STOPS & bit(number) != 0 {
            // Nobody could continue an orphaned group: setpgid(2), credentials(7).
            if number == SIGSTOP || !self.group_is_orphaned(process.pgid.get()) {
                self.stop_process(&process, number);
            }
            return;
        }
        let dumps =
            CORES & bit(number) != 0 && process.rlimit(RLIMIT_CORE) > 0 && process.dumpable.get() == 1;
        let status = number | if dumps { CORE_BIT } else { 0 };
        self.report_fatal(task, number, info);
        self.exit_process(task, status);
    }

    /// A call is interrupted by a handler: it runs one last time to say what it
    /// has; if it would still block, it ends with EINTR or begins anew after the handler.
    fn interrupt_call(&mut self, task: &Rc<Task>, restart: bool) {
        task.progress.borrow_mut().interrupted = true;
        let Some(block) = self.call_again(task) else { return };
        match block.interrupt {
            Interrupt::Never => {
                task.progress.borrow_mut().interrupted = false;
                self.park(task, &block);
            }
            Interrupt::Again => self.abandon_call(task, None),
            Interrupt::Restart if restart => self.abandon_call(task, None),
            _ => self.abandon_call(task, Some(Errno::EINTR)),
        }
    }

    /// Build the frame and go to the handler. False: the task is parked because its stack is not here yet.
    fn enter_handler(
        &mut self,
        task: &Rc<Task>,
        sighand: &Rc<SigHand>,
        (number, own): (u32, bool),
        action: SigAction,
    ) -> bool {
        let mm = Rc::clone(&task.mm.borrow());
        let altstack = task.altstack.get();
        let sp = task.regs.borrow().x[SP];
        let frame_bytes = size_of::<RtSigframe>() as u64;
        let on_alt = on_stack(altstack, sp);
        let top = if action.flags & SA_ONSTACK != 0 && altstack.flags & SS_DISABLE == 0 && !on_alt {
            altstack.sp.wrapping_add(altstack.size)
        } else {
            sp
        };
        let frame = top.wrapping_sub(frame_bytes) & !15;
        // An overflow of the alternate stack must not run into what lies below it.
        let overflows = on_alt && !on_stack(altstack, frame);
        let ready =
            if overflows { Err(Errno::EFAULT) } else { mm.fault_in(frame, frame_bytes, Access::Write) };
        if ready == Err(Errno::PENDING) {
            self.park_for_chunks(task);
            return false;
        }
        let Some(mut info) = take(task, number, own) else { return true };
        if ready.is_err() {
            // As force_sigsegv(): a SIGSEGV handler that cannot run is no handler.
            if number == SIGSEGV {
                sighand.set(SIGSEGV, SigAction::default());
            }
            self.force_signal(task, SigInfo::kernel(SIGSEGV));
            return true;
        }
        if info.code == SI_TIMER {
            let overrun = self.timer_signal_taken(&task.process, &info);
            info.fields[0] = info.fields[0] & 0xffff_ffff | u64::from(overrun) << 32;
        }
        self.strace_signal(task, &info);
        let mask = task.saved_mask.take().unwrap_or(task.sigmask.get());
        let uc = self.user_context(task, mask, on_stack(altstack, sp));
        if mm.copy_out(frame, zerocopy::IntoBytes::as_bytes(&RtSigframe { info, uc })).is_err() {
            self.force_signal(task, SigInfo::kernel(SIGSEGV));
            return true;
        }
        if altstack.flags & SS_AUTODISARM != 0 {
            task.altstack.set(StackT { flags: SS_DISABLE, ..StackT::default() });
        }
        {
            let mut regs = task.regs.borrow_mut();
            regs.pc = action.handler;
            regs.x[1] = mm.vdso_sigreturn();
            regs.x[SP] = frame;
            regs.x[10] = u64::from(number);
            regs.x[11] = frame;
            regs.x[12] = frame.wrapping_add(size_of::<SigInfo>() as u64);
        }
        let own_bit = if action.flags & SA_NODEFER != 0 { 0 } else { bit(number) };
        task.sigmask.set((task.sigmask.get() | action.mask | own_bit) & !UNBLOCKABLE);
        if action.flags & SA_RESETHAND != 0 {
            sighand.set(number, SigAction { handler: SIG_DFL, ..action });
        }
        true
    }

    fn user_context(&self, task: &Task, mask: u64, on_alt: bool) -> Ucontext {
        let regs = task.regs.borrow();
        let mut uc = Ucontext::new_zeroed();
        uc.stack = reported_stack(task.altstack.get(), on_alt);
        uc.sigmask = mask;
        uc.gregs = regs.x;
        uc.gregs[0] = regs.pc;
        uc.fpregs = regs.f;
        uc.fcsr = regs.fcsr;
        uc
    }

    /// The signal of a POSIX timer leaves the queue: what it missed until now is its overrun.
    fn timer_signal_taken(&mut self, process: &Rc<Process>, info: &SigInfo) -> u32 {
        if info.code != SI_TIMER {
            return 0;
        }
        let mut timers = process.posix_timers.borrow_mut();
        let Some(timer) = timers.get_mut(&(info.fields[0] as u32 as i32)) else { return 0 };
        timer.overrun = std::mem::take(&mut timer.missed);
        u32::try_from(timer.overrun).unwrap_or(i32::MAX as u32).min(i32::MAX as u32)
    }

    /// The overrun for a siginfo that leaves the queue some other way: sigtimedwait(2), signalfd(2).
    pub fn complete_siginfo(&mut self, process: &Rc<Process>, mut info: SigInfo) -> SigInfo {
        if info.code == SI_TIMER {
            let overrun = self.timer_signal_taken(process, &info);
            info.fields[0] = info.fields[0] & 0xffff_ffff | u64::from(overrun) << 32;
        }
        info
    }

    /// Park until a chunk arrives; nothing but SIGKILL interrupts.
    pub(crate) fn park_for_chunks(&mut self, task: &Rc<Task>) {
        let block = Block {
            queues: vec![self.vfs.chunk_queue.clone()],
            deadline_ns: None,
            interrupt: Interrupt::Never,
        };
        self.park(task, &block);
    }
}

/// The stack pointer is on this alternate stack. See sigaltstack(2).
fn on_stack(stack: StackT, sp: u64) -> bool {
    // Linux: an autodisarmed stack is never "on", so that it can be changed inside the handler.
    stack.flags & (SS_DISABLE | SS_AUTODISARM) == 0 && sp > stack.sp && sp - stack.sp <= stack.size
}

/// What sigaltstack(2) reports.
fn reported_stack(stack: StackT, on_it: bool) -> StackT {
    let state = match (stack.flags & SS_DISABLE, on_it) {
        (0, true) => SS_ONSTACK,
        (disabled, _) => disabled,
    };
    StackT { flags: state | stack.flags & SS_AUTODISARM, pad: 0, ..stack }
}

/// sigaltstack(2): the stack as it is for a caller at `sp`, and a new one.
pub fn swap_altstack(task: &Task, new: Option<StackT>) -> Result<StackT, Errno> {
    let sp = task.regs.borrow().x[SP];
    let old = task.altstack.get();
    let on_it = on_stack(old, sp);
    if let Some(new) = new {
        if on_it {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !SS_AUTODISARM;
        if mode & !(SS_DISABLE | SS_ONSTACK) != 0 || mode == SS_DISABLE | SS_ONSTACK {
            return Err(Errno::EINVAL);
        }
        let stack = if mode == SS_DISABLE {
            StackT { flags: SS_DISABLE, ..StackT::default() }
        } else {
            if new.size < crate::abi::signal::MINSIGSTKSZ {
                return Err(Errno::ENOMEM);
            }
            StackT { flags: new.flags & SS_AUTODISARM, pad: 0, ..new }
        };
        task.altstack.set(stack);
    }
    Ok(reported_stack(old, on_it))
}

/// rt_sigreturn(2): back to what the frame at sp says.
pub fn sigreturn(cx: &mut Ctx<'_>) -> SysResult {
    let task = Rc::clone(&cx.task);
    let frame = task.regs.borrow().x[SP];
    let mut saved = RtSigframe::new_zeroed();
    match cx.mm().copy_in(frame, zerocopy::IntoBytes::as_mut_bytes(&mut saved)) {
        Ok(()) => {}
        Err(Errno::PENDING) => return Err(Errno::PENDING.into()),
        Err(_) => {
            cx.kernel.force_signal(&task, SigInfo::kernel(SIGSEGV));
            return Err(Flow::Done);
        }
    }
    let uc = &saved.uc;
    {
        let mut regs = task.regs.borrow_mut();
        regs.x = uc.gregs;
        regs.x[0] = 0;
        // The hart knows only even addresses.
        regs.pc = uc.gregs[0] & !1;
        regs.f = uc.fpregs;
        regs.fcsr = uc.fcsr & 0xff;
    }
    task.sigmask.set(uc.sigmask & !UNBLOCKABLE);
    // A stack that is no longer valid is not the handler's fault: Linux ignores the error too.
    let _ = swap_altstack(&task, Some(uc.stack));
    Err(Flow::Done)
}
