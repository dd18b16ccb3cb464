//! The kernel as a whole, with hand-assembled guest code on a platform whose clock the test turns.

use std::cell::Cell;
use std::rc::Rc;

use super::run::Ran;
use super::signal::SigHand;
use super::task::TaskState;
use super::{Cred, FdTable, FsContext, Kernel, Process, Task};
use crate::abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::abi::signal::{SIGCHLD, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1, SigInfo};
use crate::fs::Vfs;
use crate::hart::Registers;
use crate::mm::{Layout, Linear, Mapping, Mm, Place};
use crate::platform::Platform;
use crate::ring::Ring;

const CODE: u64 = 0x1_0000;
const VDSO: u64 = 0x1_4000;
const STACK: u64 = 0x1_8000;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const A3: u32 = 13;
const A4: u32 = 14;
const A7: u32 = 17;
const RA: u32 = 1;
const SP: u32 = 2;
const S1: u32 = 9;
const ECALL: u32 = 0x73;

#[derive(Default)]
struct Clock(Cell<u64>);

impl Platform for Clock {
    fn realtime_ns(&self) -> u64 {
        1_000_000_000_000_000_000 + self.0.get()
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.get()
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn chunk_segment(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }

    fn warm_segment(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }
}

// ---- An assembler for a dozen instructions ----

fn addi(rd: u32, rs: u32, imm: i32) -> u32 {
    (imm as u32 & 0xfff) << 20 | rs << 15 | rd << 7 | 0x13
}

fn li(rd: u32, imm: i32) -> u32 {
    addi(rd, 0, imm)
}

/// Store and load 32 bits at `imm(rs)`.
fn sw(value: u32, rs: u32, imm: u32) -> u32 {
    (imm >> 5) << 25 | value << 20 | rs << 15 | 2 << 12 | (imm & 31) << 7 | 0x23
}

fn sd(value: u32, rs: u32, imm: u32) -> u32 {
    (imm >> 5) << 25 | value << 20 | rs << 15 | 3 << 12 | (imm & 31) << 7 | 0x23
}

fn lw(rd: u32, rs: u32, imm: u32) -> u32 {
    imm << 20 | rs << 15 | 2 << 12 | rd << 7 | 0x03
}

fn srai(rd: u32, rs: u32, by: u32) -> u32 {
    0x4000_0000 | by << 20 | rs << 15 | 5 << 12 | rd << 7 | 0x13
}

/// Branch forward by `words` instructions when `rs` is not zero.
fn bnez(rs: u32, words: u32) -> u32 {
    let offset = words * 4;
    (offset >> 5 & 63) << 25 | rs << 15 | 1 << 12 | (offset >> 1 & 15) << 8 | 0x63
}

/// Address of instruction `index` of the program.
fn auipc(rd: u32) -> u32 {
    rd << 7 | 0x17
}

fn ret() -> u32 {
    RA << 15 | 0x67
}

fn call(number: i32) -> [u32; 2] {
    [li(A7, number), ECALL]
}

struct World {
    kernel: Kernel,
    clock: Rc<Clock>,
    task: Rc<Task>,
}

/// A machine whose process 1 is about to run `code`.
fn world(code: &[u32]) -> World {
    let clock = Rc::new(Clock::default());
    let platform: Rc<dyn Platform> = clock.clone();
    let vfs = Vfs::new(None, &platform).expect("an empty tree");
    let linear = Rc::new(Linear::new(64 << 20));
    let mut kernel = Kernel::new(platform, vfs, Ring::new(), linear).expect("memory");
    let mm = Mm::new(&kernel.linear).expect("memory");
    let all = PROT_READ | PROT_WRITE | PROT_EXEC;
    mm.map(Place::Fixed(CODE), Mapping::anonymous(STACK - CODE, all)).expect("mapped");
    mm.set_layout(Layout { sigreturn: VDSO, ..Layout::default() });
    let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    mm.copy_out(CODE, &bytes(code)).expect("mapped");
    mm.copy_out(mm.vdso_sigreturn(), &bytes(&call(139))).expect("mapped");
    let root = kernel.vfs.root();
    let fs = FsContext { root: Rc::clone(&root).into(), cwd: root.into(), umask: 0.into() };
    let files = FdTable::default();
    files.limit.set(64);
    let mut regs = Registers { pc: CODE, ..Registers::default() };
    regs.x[SP as usize] = STACK - 1024;
    let process = Rc::new(Process::new(1));
    let shared = (mm, Rc::new(files), Rc::new(fs));
    let sighand = Rc::new(SigHand::default());
    let task = Rc::new(Task::new(1, process, regs, shared, Rc::new(Cred::root()), sighand));
    task.process.threads.borrow_mut().push(Rc::downgrade(&task));
    kernel.tasks.insert(1, Rc::clone(&task));
    kernel.last_pid = 1;
    kernel.enqueue_new(&task);
    World { kernel, clock, task }
}

fn program(parts: &[&[u32]]) -> Vec<u32> {
    parts.concat()
}

fn exit_of(code: &[u32]) -> Option<u32> {
    let mut world = world(code);
    world.kernel.run(1_000_000);
    world.kernel.exited
}

#[test]
fn the_exit_code_is_the_first_process_s() {
    assert_eq!(exit_of(&program(&[&[li(A0, 7)], &call(94)])), Some(7));
    assert_eq!(exit_of(&program(&[&[li(A0, 300)], &call(93)])), Some(300 & 0xff));
}

#[test]
fn faults_are_signals() {
    assert_eq!(exit_of(&[sw(A0, 0, 0)]), Some(128 + SIGSEGV));
    assert_eq!(exit_of(&[0]), Some(128 + 4), "an illegal instruction");
    assert_eq!(exit_of(&[0x0010_0073]), Some(128 + 5), "ebreak");
    assert_eq!(exit_of(&[li(RA, 0), ret()]), Some(128 + SIGSEGV), "a jump to nowhere");
}

#[test]
fn an_unknown_call_is_enosys_and_told_once() {
    let mut world = world(&program(&[&call(1000), &call(1000), &[addi(A0, A0, 100)], &call(94)]));
    world.kernel.run(1_000_000);
    assert_eq!(world.kernel.exited, Some(100 - 38));
    let (_, line) = world.kernel.ring.host_take().expect("a warning");
    assert!(String::from_utf8_lossy(&line).contains("system call 1000"));
    assert!(world.kernel.ring.host_take().is_none());
}

/// clone(SIGCHLD); the child exits with 5; the parent waits for it and exits with the code it saw.
fn fork_and_wait() -> Vec<u32> {
    program(&[
        &[li(A0, SIGCHLD as i32), li(A1, 0), li(A2, 0), li(A3, 0), li(A4, 0)],
        &call(220),
        &[bnez(A0, 4), li(A0, 5)],
        &call(94),
        &[li(A0, -1), addi(A1, SP, 0), li(A2, 0), li(A3, 0)],
        &call(260),
        &[lw(A0, SP, 0), srai(A0, A0, 8)],
        &call(94),
    ])
}

#[test]
fn a_parent_reaps_its_child() {
    let mut world = world(&fork_and_wait());
    assert_eq!(world.kernel.run(1_000_000), Ran::Exited);
    assert_eq!(world.kernel.exited, Some(5));
    assert_eq!(world.kernel.tasks.len(), 1, "nothing of the child is left");
    assert!(world.task.process.children.borrow().is_empty());
}

#[test]
fn the_same_machine_runs_the_same_way() {
    let run = || {
        let mut world = world(&fork_and_wait());
        world.kernel.run(1_000_000);
        (world.kernel.retired, world.kernel.switches)
    };
    assert_eq!(run(), run());
}

/// A handler for SIGUSR1 that stores its number at CODE + 0x800, then `rest`.
fn with_handler(rest: &[u32]) -> Vec<u32> {
    let handler = 0x400 / 4;
    let mut code = program(&[
        // struct sigaction at sp: handler, flags 0, mask 0.
        &[auipc(S1), addi(A2, S1, 0x400), sd(A2, SP, 0), sd(0, SP, 8), sd(0, SP, 16)],
        &[li(A0, SIGUSR1 as i32), addi(A1, SP, 0), li(A2, 0), li(A3, 8)],
        &call(134),
        rest,
    ]);
    assert!(code.len() <= handler);
    code.resize(handler, 0);
    // The handler changes S1, which sigreturn must restore.
    code.extend([auipc(S1), sw(A0, S1, 0x300), li(S1, 0), ret()]);
    code
}

#[test]
fn a_handler_runs_on_a_frame_and_returns() {
    let code = with_handler(&program(&[
        &[li(A0, 1), li(A1, SIGUSR1 as i32)],
        &call(129),
        // S1 still holds CODE: the handler stored at CODE + 0x400 + 0x300.
        &[addi(S1, S1, 0x400), lw(A0, S1, 0x300)],
        &call(94),
    ]));
    assert_eq!(exit_of(&code), Some(SIGUSR1));
}

#[test]
fn sleeping_takes_the_time_that_was_asked_for() {
    // struct timespec at sp: 0 s, 1000 ns.
    let code = program(&[
        &[sd(0, SP, 0), li(A2, 1000), sd(A2, SP, 8), addi(A0, SP, 0), li(A1, 0)],
        &call(101),
        &call(94),
    ]);
    let mut world = world(&code);
    assert_eq!(world.kernel.run(1_000_000), Ran::Idle);
    let deadline = world.kernel.timers.next_deadline().expect("a timer");
    assert_eq!(deadline - world.kernel.monotonic_ns(), 1000);
    world.clock.0.set(999);
    assert_eq!(world.kernel.run(1_000_000), Ran::Idle, "not yet");
    world.clock.0.set(1000);
    assert_eq!(world.kernel.run(1_000_000), Ran::Exited);
    assert_eq!(world.kernel.exited, Some(0));
    assert_eq!(world.kernel.timers.next_deadline(), None);
}

#[test]
fn a_handler_interrupts_a_sleep_which_says_what_remains() {
    let code = with_handler(&program(&[
        &[sd(0, SP, 0), li(A2, 1000), sd(A2, SP, 8), addi(A0, SP, 0), addi(A1, SP, 16)],
        &call(101),
        // neg a0, a1: the remaining 1000 - 900 ns.
        &[lw(A1, SP, 24), 0x40b0_0533],
        &call(94),
    ]));
    let mut world = world(&code);
    assert_eq!(world.kernel.run(1_000_000), Ran::Idle);
    world.clock.0.set(900);
    let process = Rc::clone(&world.task.process);
    world.kernel.signal_process(&process, SigInfo::from_user(SIGUSR1, 0, 1, 0)).expect("sent");
    assert_eq!(world.kernel.run(1_000_000), Ran::Exited);
    assert_eq!(world.kernel.exited, Some(256 - 100));
}

#[test]
fn a_stopped_process_goes_on_with_its_sleep() {
    let code = program(&[
        &[sd(0, SP, 0), li(A2, 1000), sd(A2, SP, 8), addi(A0, SP, 0), li(A1, 0)],
        &call(101),
        &call(94),
    ]);
    let mut world = world(&code);
    world.kernel.run(1_000_000);
    let process = Rc::clone(&world.task.process);
    world.kernel.signal_process(&process, SigInfo::kernel(19)).expect("sent");
    assert_eq!(world.kernel.run(1_000_000), Ran::Idle);
    assert_eq!(world.task.state.get(), TaskState::Stopped);
    world.clock.0.set(5000);
    assert_eq!(world.kernel.run(1_000_000), Ran::Idle, "a stopped process does not wake up");
    world.kernel.signal_process(&process, SigInfo::kernel(18)).expect("sent");
    assert_eq!(world.kernel.run(1_000_000), Ran::Exited);
    assert_eq!(world.kernel.exited, Some(0));
}

#[test]
fn a_pause_ends_with_the_signal_that_kills() {
    for signal in [SIGTERM, SIGKILL] {
        // rt_sigsuspend(&0, 8)
        let mut world = world(&program(&[&[sd(0, SP, 0), addi(A0, SP, 0), li(A1, 8)], &call(133)]));
        assert_eq!(world.kernel.run(1_000_000), Ran::Idle);
        assert_eq!(world.kernel.timers.next_deadline(), None);
        let process = Rc::clone(&world.task.process);
        world.kernel.signal_process(&process, SigInfo::kernel(signal)).expect("sent");
        assert_eq!(world.kernel.run(1_000_000), Ran::Exited);
        assert_eq!(world.kernel.exited, Some(128 + signal));
    }
}

#[test]
fn an_endless_loop_ends_with_the_budget() {
    // j .
    let mut world = world(&[0x6f]);
    assert_eq!(world.kernel.run(100_000), Ran::Budget);
    assert!((90_000..=110_000).contains(&world.kernel.retired), "{}", world.kernel.retired);
}

#[test]
fn a_futex_wait_is_woken_or_times_out() {
    // futex(sp, FUTEX_WAIT, 0, {0, 1000}): nobody wakes it.
    let wait = program(&[
        &[sd(0, SP, 0), sd(0, SP, 16), li(A2, 1000), sd(A2, SP, 24)],
        &[addi(A0, SP, 0), li(A1, 0), li(A2, 0), addi(A3, SP, 16)],
        &call(98),
        // neg a0, a0: the error number.
        &[0x40a0_0533],
        &call(94),
    ]);
    let mut late = world(&wait);
    assert_eq!(late.kernel.run(1_000_000), Ran::Idle);
    assert_eq!(late.kernel.futexes.len(), 1);
    late.clock.0.set(1000);
    late.kernel.run(1_000_000);
    assert_eq!(late.kernel.exited, Some(110), "ETIMEDOUT");
    let mut woken = world(&wait);
    woken.kernel.run(1_000_000);
    let mm = Rc::clone(&woken.task.mm.borrow());
    let sp = woken.task.regs.borrow().x[SP as usize];
    woken.kernel.futex_wake_at(&mm, sp, 1);
    woken.kernel.run(1_000_000);
    assert_eq!(woken.kernel.exited, Some(0));
    assert!(woken.kernel.futexes.is_empty());
}

#[test]
fn strace_prints_as_strace_does() {
    let mut world = world(&program(&[&[li(A0, 7)], &call(94)]));
    world.kernel.strace = true;
    world.kernel.run(1_000_000);
    let lines: Vec<String> = std::iter::from_fn(|| world.kernel.ring.host_take())
        .map(|(_, line)| String::from_utf8_lossy(&line).into_owned())
        .collect();
    assert_eq!(lines, ["exit_group(7)                           = ?", "+++ exited with 7 +++"]);
}
