//! Clocks, sleeping, interval timers, POSIX timers.

use std::rc::Rc;

use super::{Args, Flow, Interrupt, SysResult};
use crate::abi::Errno;
use crate::abi::signal::{NSIG, SIGALRM, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD_ID, SigEvent};
use crate::abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE, CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID, ITIMER_REAL, Itimerspec, Itimerval, TIMER_ABSTIME, Timespec, Timeval,
};
use crate::kernel::Ctx;
use crate::kernel::timers::{PosixTimer, is_cpu_clock};
use crate::mm::Access;

/// Most timers of one process: Linux counts them against RLIMIT_SIGPENDING.
const TIMERS_MAX: usize = 4096;

pub(super) fn clock_gettime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let task = Rc::clone(&cx.task);
    let now = cx.kernel.clock_ns(&task, args.u32(0))?;
    cx.write_user(args.u64(1), &Timespec::from_ns(now))?;
    Ok(0)
}

pub(super) fn clock_getres(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    /// A jiffy at CONFIG_HZ=250, which Debian's kernels have.
    const COARSE_NS: u64 = 4_000_000;
    let task = Rc::clone(&cx.task);
    cx.kernel.clock_ns(&task, args.u32(0))?;
    let resolution = match args.u32(0) {
        CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => COARSE_NS,
        _ => 1,
    };
    if let Some(addr) = args.ptr(1) {
        cx.write_user(addr, &Timespec::from_ns(resolution))?;
    }
    Ok(0)
}

pub(super) fn gettimeofday(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    if let Some(addr) = args.ptr(0) {
        cx.write_user(addr, &Timeval::from_ns(cx.kernel.realtime_ns()))?;
    }
    if let Some(addr) = args.ptr(1) {
        // struct timezone: UTC.
        cx.write_user(addr, &[0u32; 2])?;
    }
    Ok(0)
}

/// adjtimex(2), clock_adjtime(2): the clock can be read, not changed.
pub(super) fn adjtimex(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    adjust(cx, args.u64(0))
}

pub(super) fn clock_adjtime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    match args.u32(0) {
        CLOCK_REALTIME => adjust(cx, args.u64(1)),
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

fn adjust(cx: &mut Ctx<'_>, addr: u64) -> SysResult {
    /// sizeof(struct timex), and where its fields are, in 8-byte words.
    const WORDS: usize = 26;
    const TICK: usize = 11;
    const TIME: usize = 9;
    /// TIME_ERROR: not synchronised.
    const UNSYNCHRONISED: u64 = 5;
    let mut timex = cx.read_user::<[u64; WORDS]>(addr)?;
    if timex[0] as u32 != 0 {
        return Err(Errno::EPERM.into());
    }
    timex = [0; WORDS];
    let now = Timeval::from_ns(cx.kernel.realtime_ns());
    // status = STA_UNSYNC.
    timex[5] = 0x40;
    timex[TIME] = now.sec as u64;
    timex[TIME + 1] = now.usec as u64;
    timex[TICK] = 10_000;
    cx.write_user(addr, &timex)?;
    Ok(UNSYNCHRONISED)
}

// ---- Sleeping ----

/// Sleep until `deadline` (monotonic); an interrupted relative sleep says what remains at `remaining`.
fn sleep(cx: &mut Ctx<'_>, deadline: u64, remaining: Option<u64>, interrupt: Interrupt) -> SysResult {
    let now = cx.kernel.monotonic_ns();
    if now >= deadline {
        return Ok(0);
    }
    if let (true, Some(addr)) = (cx.interrupted(), remaining) {
        cx.write_user(addr, &Timespec::from_ns(deadline - now))?;
    }
    Err(cx.sleep_until(deadline, interrupt))
}

pub(super) fn nanosleep(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let duration = cx.read_user::<Timespec>(args.u64(0))?.to_ns()?;
    let deadline = cx.deadline(duration);
    sleep(cx, deadline, args.ptr(1), Interrupt::Fail)
}

pub(super) fn clock_nanosleep(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (clock, flags) = (args.u32(0), args.u32(1));
    let time = cx.read_user::<Timespec>(args.u64(2))?.to_ns()?;
    let wall = match clock {
        CLOCK_REALTIME | CLOCK_TAI | CLOCK_REALTIME_ALARM => true,
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => false,
        CLOCK_PROCESS_CPUTIME_ID => return cpu_sleep(cx, clock, time, flags & TIMER_ABSTIME != 0),
        other if is_cpu_clock(other) => return cpu_sleep(cx, clock, time, flags & TIMER_ABSTIME != 0),
        _ => return Err(Errno::EINVAL.into()),
    };
    if flags & TIMER_ABSTIME == 0 {
        let deadline = cx.deadline(time);
        return sleep(cx, deadline, args.ptr(3), Interrupt::Fail);
    }
    // Linux restarts absolute sleeps (ERESTARTNOHAND).
    let deadline = if wall { cx.wall_deadline(time) } else { time };
    sleep(cx, deadline, None, Interrupt::NoHandler)
}

/// Sleep until a process or another thread has used `time` of the hart.
fn cpu_sleep(cx: &mut Ctx<'_>, clock: u32, time: u64, absolute: bool) -> SysResult {
    const LOOK_NS: u64 = 10_000_000;
    let task = Rc::clone(&cx.task);
    let used = cx.kernel.clock_ns(&task, clock)?;
    // The caller's own clock stands while it sleeps.
    if cx.kernel.cpu_clock_of(&task, CLOCK_THREAD_CPUTIME_ID)? == cx.kernel.cpu_clock_of(&task, clock)? {
        return Err(Errno::EINVAL.into());
    }
    let target = {
        let mut progress = task.progress.borrow_mut();
        let wanted = if absolute { time } else { used.saturating_add(time) };
        *progress.deadline_ns.get_or_insert(wanted)
    };
    if used >= target {
        return Ok(0);
    }
    let look = cx.kernel.monotonic_ns() + LOOK_NS;
    Err(cx.sleep_until(look, Interrupt::NoHandler))
}

// ---- setitimer ----

fn read_itimer(cx: &mut Ctx<'_>, which: u32) -> Result<Itimerval, Errno> {
    let task = Rc::clone(&cx.task);
    let now = itimer_clock(cx, which)?;
    let timer = task.process.itimers.borrow().timers[which as usize];
    // A timer that is armed never shows zero: POSIX.
    let left = timer.next_ns.map_or(0, |next| next.saturating_sub(now).max(1000));
    Ok(Itimerval { interval: Timeval::from_ns(timer.interval_ns), value: Timeval::from_ns(left) })
}

fn itimer_clock(cx: &mut Ctx<'_>, which: u32) -> Result<u64, Errno> {
    let task = Rc::clone(&cx.task);
    match which {
        ITIMER_REAL => Ok(cx.kernel.monotonic_ns()),
        1 | 2 => {
            cx.kernel.charge_time(&task);
            let cpu = cx.kernel.process_usage(&task.process).cpu;
            Ok(if which == 1 { cpu.user_ns } else { cpu.total_ns() })
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn getitimer(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let value = read_itimer(cx, args.u32(0))?;
    cx.write_user(args.u64(1), &value)?;
    Ok(0)
}

pub(super) fn setitimer(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let which = args.u32(0);
    let new = match args.ptr(1) {
        Some(addr) => cx.read_user::<Itimerval>(addr)?,
        None => Itimerval::default(),
    };
    let (value, interval) = (new.value.to_ns()?, new.interval.to_ns()?);
    if let Some(addr) = args.ptr(2) {
        cx.mm().fault_in(addr, size_of::<Itimerval>() as u64, Access::Write)?;
    }
    let old = read_itimer(cx, which)?;
    let now = itimer_clock(cx, which)?;
    let next = Some(now.saturating_add(value)).filter(|_| value != 0);
    let process = Rc::clone(&cx.task.process);
    if which == ITIMER_REAL {
        cx.kernel.set_real_timer(&process, next, interval);
    } else {
        let timer = &mut process.itimers.borrow_mut().timers[which as usize];
        timer.next_ns = next;
        timer.interval_ns = interval;
    }
    if let Some(addr) = args.ptr(2) {
        cx.write_user(addr, &old)?;
    }
    Ok(0)
}

// ---- POSIX timers ----

pub(super) fn timer_create(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let mut clock = args.u32(0);
    if ![
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
        CLOCK_REALTIME_ALARM,
        CLOCK_BOOTTIME_ALARM,
    ]
    .contains(&clock)
    {
        let task = Rc::clone(&cx.task);
        // A clock that can be read counts for no timer.
        clock = cx.kernel.cpu_clock_of(&task, clock).map_err(|_| match clock {
            CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_REALTIME_COARSE => Errno::EOPNOTSUPP,
            _ => Errno::EINVAL,
        })?;
    }
    let process = Rc::clone(&cx.task.process);
    let id = {
        let timers = process.posix_timers.borrow();
        if timers.len() >= TIMERS_MAX {
            return Err(Errno::EAGAIN.into());
        }
        timers.keys().next_back().map_or(0, |last| last + 1)
    };
    let event = match args.ptr(1) {
        Some(addr) => {
            let event = cx.read_user::<SigEvent>(addr)?;
            (event.notify, event.signo, event.value, event.tid)
        }
        None => (SIGEV_SIGNAL, SIGALRM, u64::from(id as u32), 0),
    };
    let (notify, signo, value, tid) = event;
    let thread_ok = || {
        let task = cx.kernel.tasks.get(&tid);
        task.is_some_and(|task| Rc::ptr_eq(&task.process, &process))
    };
    match notify {
        SIGEV_NONE => {}
        SIGEV_SIGNAL if (1..=NSIG).contains(&signo) => {}
        SIGEV_THREAD_ID if (1..=NSIG).contains(&signo) && thread_ok() => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    cx.write_user(args.u64(2), &id)?;
    let timer = PosixTimer {
        clock,
        notify,
        signo,
        value,
        tid,
        next_ns: None,
        wall_ns: None,
        interval_ns: 0,
        id: None,
        overrun: 0,
        missed: 0,
    };
    process.posix_timers.borrow_mut().insert(id, timer);
    Ok(0)
}

/// What the timer's own clock shows; 0 when it belongs to a process that has ended, whose timers never fire.
fn timer_now(cx: &mut Ctx<'_>, timer: &PosixTimer) -> u64 {
    if !is_cpu_clock(timer.clock) {
        return cx.kernel.monotonic_ns();
    }
    let task = Rc::clone(&cx.task);
    cx.kernel.clock_ns(&task, timer.clock).unwrap_or(0)
}

fn remaining(cx: &mut Ctx<'_>, timer: &PosixTimer) -> Itimerspec {
    let now = timer_now(cx, timer);
    let left = timer.next_ns.map_or(0, |next| next.saturating_sub(now).max(1));
    // A timer that notifies nobody has nobody to say that it expired.
    let over =
        timer.notify == SIGEV_NONE && timer.interval_ns == 0 && timer.next_ns.is_some_and(|n| n <= now);
    Itimerspec {
        interval: Timespec::from_ns(timer.interval_ns),
        value: Timespec::from_ns(if over { 0 } else { left }),
    }
}

fn timer(cx: &Ctx<'_>, id: i32) -> Result<PosixTimer, Errno> {
    cx.task.process.posix_timers.borrow().get(&id).cloned().ok_or(Errno::EINVAL)
}

pub(super) fn timer_gettime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let timer = timer(cx, args.i32(0))?;
    let left = remaining(cx, &timer);
    cx.write_user(args.u64(1), &left)?;
    Ok(0)
}

pub(super) fn timer_getoverrun(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    Ok(timer(cx, args.i32(0))?.overrun.min(i32::MAX as u64))
}

pub(super) fn timer_settime(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let (id, flags) = (args.i32(0), args.u32(1));
    let new = cx.read_user::<Itimerspec>(args.u64(2))?;
    let (value, interval) = (new.value.to_ns()?, new.interval.to_ns()?);
    let old = timer(cx, id)?;
    if let Some(addr) = args.ptr(3) {
        let left = remaining(cx, &old);
        cx.write_user(addr, &left)?;
    }
    let wall = [CLOCK_REALTIME, CLOCK_TAI, CLOCK_REALTIME_ALARM].contains(&old.clock);
    let absolute = flags & TIMER_ABSTIME != 0;
    let next = match (value, absolute, wall) {
        (0, ..) => None,
        (_, false, _) => Some(timer_now(cx, &old).saturating_add(value)),
        (_, true, true) => Some(cx.kernel.wall_to_monotonic(value)),
        (_, true, false) => Some(value),
    };
    let process = Rc::clone(&cx.task.process);
    if let Some(timer) = process.posix_timers.borrow_mut().get_mut(&id) {
        timer.next_ns = next;
        timer.wall_ns = Some(value).filter(|_| absolute && wall && value != 0);
        timer.interval_ns = interval;
        timer.overrun = 0;
        timer.missed = 0;
    }
    cx.kernel.arm_posix_timer(&process, id);
    Ok(0)
}

pub(super) fn timer_delete(cx: &mut Ctx<'_>, args: Args) -> SysResult {
    let removed = cx.task.process.posix_timers.borrow_mut().remove(&args.i32(0));
    let timer = removed.ok_or(Errno::EINVAL)?;
    if let Some(id) = timer.id {
        cx.kernel.timers.cancel(id);
    }
    Ok::<u64, Flow>(0)
}
