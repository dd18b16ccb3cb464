/* What system calls cost: one operation N times. Built for the guest and for this machine by bin `calls`.
 *
 *     calls OPERATION N
 *
 * What an operation needs is made before the count matters: a run with N = 0 costs the rest. Exit 1 on any failure.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 4096, LARGE = 1 << 20, FOLDERS = 50, FILES = 1000, TOUCHED = 64 };

static const char *self;
static char buffer[LARGE];

static void must(int holds, const char *what) {
  if (!holds) {
    perror(what);
    exit(1);
  }
}

static void in_child(void (*work)(long), long n) {
  pid_t pid = fork();
  must(pid >= 0, "fork");
  if (pid == 0) {
    work(n);
    _exit(0);
  }
}

static void reap(void) {
  int status;
  must(wait(&status) > 0 && status == 0, "wait");
}

static int scratch(size_t bytes) {
  char name[] = "/tmp/calls.XXXXXX";
  int fd = mkstemp(name);
  must(fd >= 0 && unlink(name) == 0, name);
  for (size_t at = 0; at < bytes; at += SMALL) must(write(fd, buffer, SMALL) == SMALL, "fill");
  return fd;
}

static void op_getpid(long n) {
  while (n--) syscall(SYS_getpid);
}

static void op_read_1(long n) {
  int fd = open("/dev/zero", O_RDONLY);
  while (n--) must(read(fd, buffer, 1) == 1, "read");
}

static void op_write_1(long n) {
  int fd = open("/dev/null", O_WRONLY);
  while (n--) must(write(fd, buffer, 1) == 1, "write");
}

static void op_open_close(long n) {
  while (n--) {
    int fd = open(self, O_RDONLY);
    must(fd >= 0 && close(fd) == 0, "open and close");
  }
}

static void op_stat(long n) {
  struct stat st;
  while (n--) must(stat(self, &st) == 0, "stat");
}

static int there[2], back[2];

static void echo(long n) {
  char byte;
  while (n--) must(read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1, "echo");
}

static void op_pipe_round_trip(long n) {
  char byte = 0;
  must(pipe(there) == 0 && pipe(back) == 0, "pipe");
  in_child(echo, n);
  while (n--) must(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "ping");
  reap();
}

static void nothing(long n) { (void)n; }

static void op_fork_exit_wait(long n) {
  while (n--) {
    in_child(nothing, 0);
    reap();
  }
}

static void run_true(long n) {
  (void)n;
  execl(self, self, "true", "0", NULL);
  _exit(127);
}

static void op_fork_exec_wait(long n) {
  while (n--) {
    in_child(run_true, 0);
    reap();
  }
}

static void op_true(long n) { (void)n; }

static void *thread(void *arg) { return arg; }

static void op_thread_create_join(long n) {
  while (n--) {
    pthread_t id;
    must(pthread_create(&id, NULL, thread, NULL) == 0 && pthread_join(id, NULL) == 0, "thread");
  }
}

static int turn;

/* Wait until it is `mine`, then make it the other's turn. */
static void take_turns(int mine, long n) {
  while (n--) {
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine)
      syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL);
    __atomic_store_n(&turn, !mine, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
  }
}

static void *second(void *n) {
  take_turns(1, (long)n);
  return NULL;
}

static void op_futex_round_trip(long n) {
  pthread_t id;
  must(pthread_create(&id, NULL, second, (void *)n) == 0, "thread");
  take_turns(0, n);
  pthread_join(id, NULL);
}

static void read_file(long n, size_t bytes) {
  int fd = scratch(bytes);
  while (n--) must(pread(fd, buffer, bytes, 0) == (ssize_t)bytes, "pread");
}

static void write_file(long n, size_t bytes) {
  int fd = scratch(bytes);
  while (n--) must(pwrite(fd, buffer, bytes, 0) == (ssize_t)bytes, "pwrite");
}

static void op_read_4k(long n) { read_file(n, SMALL); }
static void op_read_1m(long n) { read_file(n, LARGE); }
static void op_write_4k(long n) { write_file(n, SMALL); }
static void op_write_1m(long n) { write_file(n, LARGE); }

/* A stat of every file of a tree. */
static void op_walk_50000(long n) {
  char name[64], root[] = "/tmp/walk.XXXXXX";
  must(mkdtemp(root) != NULL && chdir(root) == 0, root);
  for (int d = 0; d < FOLDERS; d++) {
    snprintf(name, sizeof name, "%d", d);
    must(mkdir(name, 0755) == 0, name);
    for (int f = 0; f < FILES; f++) {
      snprintf(name, sizeof name, "%d/%d", d, f);
      must(mknod(name, S_IFREG | 0644, 0) == 0, name);
    }
  }
  while (n--) {
    long seen = 0;
    for (int d = 0; d < FOLDERS; d++) {
      snprintf(name, sizeof name, "%d", d);
      DIR *dir = opendir(name);
      must(dir != NULL, name);
      struct dirent *entry;
      struct stat st;
      while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.') seen += fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
      closedir(dir);
    }
    must(seen == FOLDERS * FILES, "walk");
  }
  for (int d = 0; d < FOLDERS; d++) {
    for (int f = 0; f < FILES; f++) {
      snprintf(name, sizeof name, "%d/%d", d, f);
      unlink(name);
    }
    snprintf(name, sizeof name, "%d", d);
    rmdir(name);
  }
  must(chdir("/") == 0 && rmdir(root) == 0, root);
}

static void op_mmap_touch(long n) {
  while (n--) {
    char *at = mmap(NULL, TOUCHED * SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED, "mmap");
    for (int page = 0; page < TOUCHED; page++) at[page * SMALL] = 1;
    must(munmap(at, TOUCHED * SMALL) == 0, "munmap");
  }
}

static const struct {
  const char *name;
  void (*work)(long);
} operations[] = {
    {"getpid", op_getpid},
    {"read-1", op_read_1},
    {"write-1", op_write_1},
    {"open-close", op_open_close},
    {"stat", op_stat},
    {"pipe-round-trip", op_pipe_round_trip},
    {"fork-exit-wait", op_fork_exit_wait},
    {"fork-exec-wait", op_fork_exec_wait},
    {"thread-create-join", op_thread_create_join},
    {"futex-round-trip", op_futex_round_trip},
    {"read-4k", op_read_4k},
    {"read-1m", op_read_1m},
    {"write-4k", op_write_4k},
    {"write-1m", op_write_1m},
    {"walk-50000", op_walk_50000},
    {"mmap-touch-64", op_mmap_touch},
    {"true", op_true},
};

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  self = argv[0];
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
    if (strcmp(operations[i].name, argv[1]) == 0) {
      operations[i].work(atol(argv[2]));
      return 0;
    }
  return 2;
}
