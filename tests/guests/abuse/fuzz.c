// Random system calls with random and hostile arguments: fuzz SEED CALLS.
//
// Process 1 starts one victim after the other, each with a number of calls to make, kills those that
// get stuck, and says how many calls were made. Nothing that a victim does may harm it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUND = 400, BUFFER = 1 << 17, NUMBERS = 470 };

static uint64_t state;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state * 0x2545f4914f6cdd1dull;
}
static uint64_t below(uint64_t n) { return next() % n; }

static char *buffer, *readonly, *forbidden, *last;
static volatile uint64_t *made;

static const char *paths[] = {
    "/tmp/a", "/tmp/b", "/tmp/d", "/tmp/d/x", "/tmp", ".", "..", "", "/", "/proc/self/maps", "/proc/self/fd/3",
    "/proc/self/mem", "/proc/1/stat", "/proc/self/task", "/dev/null", "/dev/zero", "/dev/full", "/dev/ptmx", "/dev/tty",
    "/dev/shm/s", "/sys/devices", "/dev/mqueue/q", "q", "/proc/self/exe", "/proc/sys/kernel/hostname", "/tmp/link",
    "/tmp/fifo", "tmpfs", "proc", "user.x", "security.capability", "/proc/self/root/tmp/../proc", "/program", "mode=1777"};

// An argument that some call takes for what it is.
static uint64_t argument(void) {
  static const uint64_t sizes[] = {0, 1, 2, 4, 7, 8, 12, 16, 24, 64, 128, 4095, 4096, 4097, 65536, 1 << 20};
  static const uint64_t edges[] = {0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 38, (1ull << 47) - 4096,
                                   1ull << 62, 1ull << 63, (1ull << 63) - 1, -1ull, -2ull, -100ull, -4096ull, -4095ull};
  switch (below(20)) {
    case 0: return below(16);
    case 1: case 2: case 3: return 3 + below(24);
    case 4: return 0;
    case 5: case 6: case 7: return (uint64_t)buffer + (below(BUFFER) & ~7ull);
    case 8: return (uint64_t)buffer + below(BUFFER);
    case 9: case 10: return (uint64_t)paths[below(sizeof paths / sizeof *paths)];
    case 11: case 12: return sizes[below(sizeof sizes / sizeof *sizes)];
    case 13: return edges[below(sizeof edges / sizeof *edges)];
    case 14: return (uint64_t)readonly + below(4096);
    case 15: return (uint64_t)forbidden + below(4096);
    case 16: return (uint64_t)last + 4096 - below(64);
    case 17: return 1ull << below(64);
    case 18: return next() & next() & 0xffffffff;
    default: return next() >> below(64);
  }
}

// Fill part of the buffer with what structures are made of.
static void scramble(void) {
  uint64_t *words = (uint64_t *)buffer;
  for (int i = 0; i < 64; i++) {
    uint64_t at = below(BUFFER / 8 - 16);
    switch (below(5)) {
      case 0: for (int j = 0; j < 8; j++) words[at + j] = argument(); break;
      case 1: words[at] = 0, words[at + 1] = below(2000000); break;
      case 2: for (int j = 0; j < 8; j += 2) words[at + j] = (uint64_t)buffer + below(BUFFER / 2), words[at + j + 1] = below(9000); break;
      case 3: for (int j = 0; j < 16; j++) words[at + j] = below(4); break;
      default: words[at] = below(64) | below(64) << 32;
    }
  }
}

static void open_things(void) {
  int fds[2];
  open("/tmp/a", O_RDWR | O_CREAT, 0644);
  open("/tmp/b", O_RDWR | O_CREAT | O_APPEND, 0644);
  open("/tmp", O_RDONLY | O_DIRECTORY);
  open("/proc/self/status", O_RDONLY);
  open("/tmp", O_PATH);
  if (pipe2(fds, O_NONBLOCK) == 0) write(fds[1], "pipe", 4);
  socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
  socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds);
  socket(AF_INET, SOCK_STREAM, 0);
  socket(AF_INET, SOCK_DGRAM, 0);
  eventfd(3, 0);
  timerfd_create(CLOCK_MONOTONIC, 0);
  epoll_create1(0);
  inotify_init1(IN_NONBLOCK);
  memfd_create("fuzz", MFD_ALLOW_SEALING);
  posix_openpt(O_RDWR | O_NOCTTY);
  syscall(SYS_pidfd_open, getpid(), 0);
}

static void *mapping(int prot) {
  void *at = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static void victim(uint64_t calls) {
  buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) _exit(1);
  readonly = mapping(PROT_READ);
  forbidden = mapping(PROT_NONE);
  last = mapping(PROT_READ | PROT_WRITE);
  // Signals to its group, session or terminal are not for process 1.
  setsid();
  open_things();
  pid_t me = getpid();
  for (uint64_t i = 0; i < calls; i++) {
    if (i % 16 == 0) scramble();
    uint64_t number = below(64) ? below(NUMBERS) : next();
    // These end the victim or make more of it; they come too, but seldom.
    int rare = number == SYS_exit || number == SYS_exit_group || number == SYS_clone || number == SYS_clone3 ||
               number == SYS_execve || number == SYS_execveat || number == SYS_rt_sigreturn || number == SYS_rt_sigsuspend ||
               number == SYS_kill || number == SYS_rt_sigprocmask || number == SYS_munmap || number == SYS_ppoll ||
               number == SYS_pselect6 || number == SYS_rt_sigtimedwait || number == SYS_close_range;
    if (rare && below(12)) continue;
    uint64_t a[6];
    for (int j = 0; j < 6; j++) a[j] = argument();
    // Threads need a stack of their own; process 1 is not to be stopped, killed or limited.
    if (number == SYS_clone && a[0] & 0x100 && a[1] == 0) continue;
    int to_process = number == SYS_kill || number == SYS_tkill || number == SYS_tgkill || number == SYS_prlimit64 ||
                     number == SYS_rt_sigqueueinfo || number == SYS_rt_tgsigqueueinfo;
    if (to_process && ((int)a[0] == 1 || (int)a[1] == 1)) continue;
    ++*made;
    syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (getpid() != me) _exit(0);
  }
  _exit(0);
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  state = strtoull(argv[1], NULL, 0) * 2 + 1;
  uint64_t calls = strtoull(argv[2], NULL, 0);
  made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) return 1;
  unsigned ended = 0, killed = 0, crashed = 0, failed = 0;
  while (*made < calls) {
    uint64_t seed = next() | 1;
    pid_t pid = fork();
    if (pid < 0) {
      // A victim may have used up a limit that outlives it; more of this is a leak.
      if (++failed > 100) return 3;
      kill(-1, SIGKILL);
      while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
      continue;
    }
    if (pid == 0) {
      state = seed;
      victim(ROUND);
    }
    long start = now_ms();
    int status;
    for (;;) {
      pid_t got = waitpid(pid, &status, WNOHANG);
      if (got == pid) {
        if (WIFSIGNALED(status)) crashed++; else ended++;
        break;
      }
      if (got < 0) break;
      if (now_ms() - start > 300) {
        kill(pid, SIGKILL);
        kill(pid, SIGCONT);
        killed++;
        waitpid(pid, &status, 0);
        break;
      }
      struct timespec tick = {0, 1000000};
      nanosleep(&tick, NULL);
    }
    // What it left behind.
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
      ;
  }
  printf("%llu calls: %u victims ended, %u crashed, %u were killed\n", (unsigned long long)*made, ended, crashed, killed);
  return 0;
}
