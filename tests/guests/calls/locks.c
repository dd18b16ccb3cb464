// Futexes with an owner: by hand, between processes, and by pthread_mutex_t with PTHREAD_PRIO_INHERIT.
#include "show.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>

static uint32_t *word;

static long futex(int op, uint32_t value, const struct timespec *timeout) {
  return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

// Who owns the word, by role, and its flags.
static void look(const char *when, pid_t parent) {
  uint32_t now = __atomic_load_n(word, __ATOMIC_SEQ_CST), tid = now & FUTEX_TID_MASK;
  printf("%s: %s%s%s\n", when, tid == 0 ? "free" : tid == (uint32_t)parent ? "parent" : "child",
         now & FUTEX_WAITERS ? " waiters" : "", now & FUTEX_OWNER_DIED ? " died" : "");
  fflush(stdout);
}

static volatile int handled;
static void handler(int number) { handled = number; }

static void by_hand(void) {
  pid_t me = getpid();
  SHOW(futex(FUTEX_TRYLOCK_PI, 0, NULL));
  look("locked", me);
  SHOW(futex(FUTEX_LOCK_PI, 0, NULL));
  SHOW(futex(FUTEX_UNLOCK_PI, 0, NULL));
  look("unlocked", me);
  SHOW(futex(FUTEX_UNLOCK_PI, 0, NULL));
  *word = 0x3ffffff0;
  SHOW(futex(FUTEX_LOCK_PI, 0, NULL));
  SHOW(futex(FUTEX_TRYLOCK_PI, 0, NULL));
  *word = 0;
  SHOW(futex(FUTEX_LOCK_PI, 0, NULL));
  pid_t child = fork();
  if (child == 0) {
    SHOW(futex(FUTEX_TRYLOCK_PI, 0, NULL));
    SHOW(futex(FUTEX_UNLOCK_PI, 0, NULL));
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 50000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    SHOW(futex(FUTEX_LOCK_PI, 0, &soon));
    clock_gettime(CLOCK_MONOTONIC, &soon);
    SHOW(futex(FUTEX_LOCK_PI2, 0, &soon));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    SHOW(futex(FUTEX_LOCK_PI, 0, NULL));
    look("in the child", me);
    printf("its handler ran: %d\n", handled);
    fflush(stdout);
    _exit(0);
  }
  pause_ms(1500);
  look("wanted", me);
  // Told after the child's own lines: from here on both run.
  long unlocked = futex(FUTEX_UNLOCK_PI, 0, NULL);
  waitpid(child, NULL, 0);
  VALUE(unlocked);
  // The child ended as its owner, and nobody waited.
  printf("left: %s\n", *word & FUTEX_TID_MASK ? "a tid" : "free");
  *word = 0;
}

// The owner ends while somebody waits.
static void owner_ends(void) {
  int ready[2];
  char c;
  pipe(ready);
  pid_t child = fork();
  if (child == 0) {
    futex(FUTEX_LOCK_PI, 0, NULL);
    write(ready[1], "x", 1);
    pause_ms(200);
    _exit(0);
  }
  read(ready[0], &c, 1);
  SHOW(futex(FUTEX_LOCK_PI, 0, NULL));
  printf("mine: %d, died: %d\n", (*word & FUTEX_TID_MASK) == (uint32_t)getpid(), !!(*word & FUTEX_OWNER_DIED));
  waitpid(child, NULL, 0);
  *word = 0;
}

static pthread_mutex_t mutex;
static long counter;

static void *count(void *unused) {
  for (int i = 0; i < 2000; i++) {
    pthread_mutex_lock(&mutex);
    long seen = counter;
    if (i % 50 == 0)
      sched_yield();
    counter = seen + 1;
    pthread_mutex_unlock(&mutex);
  }
  return unused;
}

static void by_threads(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  VALUE(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  VALUE(pthread_mutex_init(&mutex, &attributes));
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    pthread_create(&threads[i], NULL, count, NULL);
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  printf("counted %ld\n", counter);
}

int main(void) {
  word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  by_hand();
  owner_ends();
  by_threads();
  return 0;
}
