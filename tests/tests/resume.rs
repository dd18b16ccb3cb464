//! The resume contract, point by point, on the native machine: a Python program
//! freezes itself in the middle of something and wakes up forty days later.
//! docs/RESUME.md is the list; what needs two openings of one file is in
//! `services.rs` and in snapshotter/tests/freeze.rs.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use friscy_formats::boot::{Boot, Until};
use friscy_tests::native::{Disk, NativeHost};
use friscy_tests::oracle::tar;

const LIMIT: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(40 * 86_400);

/// What every program begins with; `freeze()` returns in the other world.
const PRELUDE: &str = "
import ctypes, errno, mmap, os, select, signal, struct, sys, threading, time
def freeze(): os.write(os.open('/proc/friscy/freeze', os.O_WRONLY), b'1')
DAY = 86400
libc = ctypes.CDLL(None, use_errno=True)
";

fn disk() -> Disk {
    static DISK: OnceLock<Disk> = OnceLock::new();
    *DISK.get_or_init(|| Disk::of_image(&tar("debian-python3")).expect("the image is read"))
}

fn boot(program: &str, until: Until) -> NativeHost {
    let program = format!("{PRELUDE}{program}");
    let words = ["/usr/bin/python3", "-c", &program];
    let boot = Boot {
        argv: words.map(|word| word.as_bytes().to_vec()).to_vec(),
        env: vec![b"PATH=/usr/bin:/bin".to_vec(), b"TZ=UTC".to_vec()],
        until,
        ..Boot::default()
    };
    NativeHost::boot(&disk(), &boot, Some(b"")).expect("it boots")
}

/// Run `program`, which freezes itself, to its end in another world: exit code and output.
fn opened(program: &str) -> (u32, String) {
    let mut host = boot(program, Until::Guest);
    let ended = host.run_until_frozen(LIMIT).expect("it freezes");
    let errors = String::from_utf8_lossy(&host.stderr).into_owned();
    assert_eq!(ended, None, "it ended before: {errors}");
    host.freeze_and_thaw(LATER);
    let code = host.run(LIMIT).expect("it ends");
    let output = String::from_utf8_lossy(&host.stdout).into_owned();
    (code, output + &String::from_utf8_lossy(&host.stderr))
}

/// The same, compared with what it should print.
fn prints(program: &str, expected: &str) {
    assert_eq!(opened(program), (0, expected.to_string()));
}

/// On Debian: `tests/run quick` leaves them out.
mod debian {
    use super::*;

    #[test]
    fn the_monotonic_clock_goes_on_and_the_wall_clock_is_right() {
        let (code, output) = opened(
            "before, cpu = time.monotonic(), time.process_time()
freeze()
print(0 <= time.monotonic() - before < 5, 0 <= time.process_time() - cpu < 5, time.time())",
        );
        let words: Vec<&str> = output.split_whitespace().collect();
        assert_eq!((code, &words[..2]), (0, &["True", "True"][..]), "{output}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + LATER;
        let there: f64 = words[2].parse().expect("a time");
        assert!((now.as_secs_f64() - there).abs() < 60.0, "{there} in the guest");
    }

    #[test]
    fn interval_timers_go_on_without_a_burst() {
        prints(
            "count = 0
def tick(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
freeze()
count, start = 0, time.monotonic()
while count < 5: time.sleep(0.005)
signal.setitimer(signal.ITIMER_REAL, 0)
print(time.monotonic() - start > 0.06)",
            "True\n",
        );
    }

    #[test]
    fn sleeps_and_timeouts_take_the_rest_of_their_time_once() {
        prints(
            "results = []
def run(what):
    start = time.monotonic()
    what()
    results.append(0.2 <= time.monotonic() - start < 5)
lock = threading.Lock(); lock.acquire()
poll = select.poll()
for what in (lambda: time.sleep(0.2), lambda: poll.poll(200), lambda: select.select([], [], [], 0.2),
             lambda: lock.acquire(timeout=0.2)):
    threading.Thread(target=run, args=(what,)).start()
freeze()
for thread in threading.enumerate()[1:]: thread.join()
print(results)",
            "[True, True, True, True]\n",
        );
    }

    #[test]
    fn timer_descriptors_on_the_wall_clock_expire_when_their_date_comes() {
        prints(
            "fd = lambda clock: os.timerfd_create(clock, flags=os.TFD_NONBLOCK)
wall, mono = time.CLOCK_REALTIME, time.CLOCK_MONOTONIC
passed, future, told, often, alone = fd(wall), fd(wall), fd(wall), fd(wall), fd(mono)
now, absolute = time.time(), os.TFD_TIMER_ABSTIME
os.timerfd_settime(passed, flags=absolute, initial=now + 10 * DAY)
os.timerfd_settime(future, flags=absolute, initial=now + 100 * DAY)
os.timerfd_settime(told, flags=absolute | os.TFD_TIMER_CANCEL_ON_SET, initial=now + 100 * DAY)
os.timerfd_settime(often, flags=absolute, initial=now + 30.5 * DAY, interval=DAY)
os.timerfd_settime(alone, initial=3600)
freeze()
def read(fd):
    try: return int.from_bytes(os.read(fd, 8), 'little')
    except OSError as error: return errno.errorcode[error.errno]
print([bool(select.select([fd], [], [], 0)[0]) for fd in (passed, future, told, often, alone)])
print([read(fd) for fd in (passed, future, told, often, alone)], read(passed))
print([round(os.timerfd_gettime(fd)[0] / DAY, 2) for fd in (future, often)])",
            "[True, False, True, True, False]\n[1, 'EAGAIN', 'ECANCELED', 10, 'EAGAIN'] EAGAIN\n[60.0, 0.5]\n",
        );
    }

    #[test]
    fn posix_timers_on_the_wall_clock_fire_once() {
        prints(
            "count = 0
def tick(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, tick)
def arm(days, interval=0):
    timer = ctypes.c_void_p()
    assert libc.timer_create(0, None, ctypes.byref(timer)) == 0
    at = struct.pack('4q', interval, 0, int(time.time() + days * DAY), 0)
    assert libc.timer_settime(timer, 1, at, None) == 0
arm(10); arm(100)
freeze()
time.sleep(0.05)
print(count)
arm(-1, DAY)
time.sleep(0.05)
print(count)",
            "1\n2\n",
        );
    }

    #[test]
    fn calls_that_sleep_until_a_date_return_when_it_has_passed() {
        prints(
            "semaphore = ctypes.create_string_buffer(32)
libc.sem_init(semaphore, 0, 0)
results = {}
def wait():
    at = struct.pack('2q', int(time.time()) + 10 * DAY, 0)
    results['sem_timedwait'] = libc.sem_timedwait(semaphore, at), ctypes.get_errno()
def sleep():
    at = struct.pack('2q', int(time.time()) + 10 * DAY, 0)
    results['clock_nanosleep'] = libc.clock_nanosleep(0, 1, at, None)
threads = [threading.Thread(target=what) for what in (wait, sleep)]
for thread in threads: thread.start()
time.sleep(0.05)
freeze()
for thread in threads: thread.join()
print(results['sem_timedwait'] == (-1, errno.ETIMEDOUT), results['clock_nanosleep'])",
            "True 0\n",
        );
    }

    #[test]
    fn exit_codes_are_right_with_threads_blocked_in_futexes() {
        let blocked = "for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()\nfreeze()\n";
        assert_eq!(opened(&format!("{blocked}os._exit(7)")), (7, String::new()));
        assert_eq!(opened(&format!("{blocked}sys.exit(9)")), (9, String::new()));
        assert_eq!(opened(&format!("{blocked}os.kill(os.getpid(), signal.SIGTERM)")), (143, String::new()));
        // And a thread that is woken after the opening.
        let program = "event = threading.Event()
thread = threading.Thread(target=lambda: event.wait() and os._exit(5)); thread.start()
time.sleep(0.02); freeze(); event.set(); thread.join()";
        assert_eq!(opened(program), (5, String::new()));
    }

    #[test]
    fn a_program_learns_that_it_was_opened() {
        prints(
            "fd = os.open('/proc/friscy/generation', os.O_RDONLY)
def changed(timeout):
    poll = select.poll(); poll.register(fd, select.POLLPRI)
    return [bits == select.POLLPRI | select.POLLERR for _, bits in poll.poll(timeout)]
first = os.read(fd, 100)
watcher = threading.Thread(target=lambda: print(changed(None)))
watcher.start(); time.sleep(0.02)
print(changed(0))
freeze()
watcher.join()
os.lseek(fd, 0, 0)
second = os.read(fd, 100)
print(first == b'0' * 32 + b'\\n', len(second), first != second, changed(0))",
            "[]\n[True]\nTrue 33 True []\n",
        );
    }

    #[test]
    fn what_is_wiped_on_fork_is_wiped_on_opening() {
        prints(
        "wiped, kept = (mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2))
wiped.madvise(18)
wiped[:4] = kept[:4] = b'seed'
freeze()
print(wiped[:4], kept[:4])",
        "b'\\x00\\x00\\x00\\x00' b'seed'\n",
    );
    }

    #[test]
    fn identities_that_nobody_has_seen_are_drawn_on_opening() {
        prints(
        "boot_id = lambda: open('/proc/sys/kernel/random/boot_id').read()
seen, random = boot_id(), os.urandom(16)
freeze()
print(seen == boot_id(), random != os.urandom(16), open('/proc/sys/kernel/osrelease').read().strip() == os.uname().release)",
        "True True True\n",
    );
    }

    #[test]
    fn at_random_is_fresh_at_entry() {
        use friscy_runtime::kernel::exec_stack::{AT_RANDOM, auxv_value};
        let random = |host: &mut NativeHost| {
            let task = host.machine().kernel().expect("booted").tasks[&1].clone();
            let mm = task.mm.borrow().clone();
            let mut bytes = [0; 16];
            mm.peek(auxv_value(&mm.auxv(), AT_RANDOM).expect("there is one"), &mut bytes).expect("readable");
            bytes
        };
        let mut host = boot("print(os.getpid())", Until::Entry);
        assert_eq!(host.run_until_frozen(LIMIT).expect("it freezes"), None);
        let before = random(&mut host);
        host.freeze_and_thaw(LATER);
        assert!(random(&mut host) != before);
        assert_eq!(host.run(LIMIT).expect("it ends"), 0);
    }

    #[test]
    fn main_is_where_the_interpreter_hands_over() {
        let mut host = boot("print('run')", Until::Main);
        assert_eq!(host.run_until_frozen(LIMIT).expect("it freezes"), None);
        let task = host.machine().kernel().expect("booted").tasks[&1].clone();
        let (mm, pc) = (task.mm.borrow().clone(), task.regs.borrow().pc);
        let entry = friscy_runtime::kernel::exec_stack::AT_ENTRY;
        assert_eq!(Some(pc), friscy_runtime::kernel::exec_stack::auxv_value(&mm.auxv(), entry));
        assert!(host.retired() > 100_000, "its libraries are linked");
        host.freeze_and_thaw(LATER);
        assert_eq!(host.run(LIMIT).expect("it ends"), 0);
        assert_eq!(host.stdout, b"run\n");
    }
}
