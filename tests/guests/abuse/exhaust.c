// A program that takes all there is of something: exhaust WHAT. It, or the child that does it, comes to a
// clear end, and afterwards the machine still does its work.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// Run `what` in a child and say how it ended.
static void child(const char *name, void (*what)(void)) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    what();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status))
    printf("%s: signal %d\n", name, WTERMSIG(status));
  else
    printf("%s: exit %d\n", name, WEXITSTATUS(status));
}

static void touch_memory(void) {
  for (;;) {
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) _exit(errno == ENOMEM ? 12 : 1);
    for (int i = 0; i < 1 << 20; i += 4096) p[i] = 1;
  }
}

static void reserve_addresses(void) {
  for (;;)
    if (mmap(NULL, 1ull << 32, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
      _exit(errno == ENOMEM ? 12 : 1);
}

static void shared_memory(void) {
  for (;;) {
    char *p = mmap(NULL, 1 << 22, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) _exit(errno == ENOMEM ? 12 : 1);
    for (int i = 0; i < 1 << 22; i += 4096) p[i] = 1;
  }
}

static volatile int depth;

static int overflow(char *above) {
  char room[4096];
  room[0] = above[0];
  depth++;
  return overflow(room) + room[0];
}

static void recurse(void) {
  char start[1] = {0};
  _exit(overflow(start));
}

static void descriptors(void) {
  struct rlimit most = {1 << 20, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &most);
  long n = 0;
  while (dup(0) >= 0) n++;
  _exit(errno == EMFILE && n > 100 ? 24 : 1);
}

static void pipes(void) {
  int fds[2];
  char page[65536] = {0};
  while (pipe2(fds, O_NONBLOCK) == 0) (void)!write(fds[1], page, sizeof page);
  _exit(errno == EMFILE || errno == ENFILE || errno == ENOMEM ? 24 : 1);
}

static void forks(void) {
  long n = 0;
  for (;;) {
    pid_t pid = fork();
    if (pid == 0)
      for (;;) pause();
    if (pid < 0) _exit((errno == EAGAIN || errno == ENOMEM) && n > 10 ? 11 : 1);
    n++;
  }
}

static void bomb(void) {
  for (int i = 0; i < 100; i++) fork();
  _exit(0);
}

static void *idle(void *unused) {
  for (;;) pause();
  return unused;
}

static void threads(void) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 1 << 16);
  pthread_t thread;
  long n = 0;
  while (pthread_create(&thread, &small, idle, NULL) == 0) n++;
  _exit(n > 10 ? 11 : 1);
}

static void disk(void) {
  static char block[1 << 20];
  memset(block, 7, sizeof block);
  int fd = open("/tmp/full", O_WRONLY | O_CREAT, 0600);
  while (write(fd, block, sizeof block) > 0)
    ;
  int end = errno;
  unlink("/tmp/full");
  _exit(end == ENOSPC ? 28 : 1);
}

static void files(void) {
  mkdir("/tmp/many", 0700);
  char name[64];
  for (long n = 0; n < 100000; n++) {
    sprintf(name, "/tmp/many/%ld", n);
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) _exit(1);
    close(fd);
  }
  DIR *dir = opendir("/tmp/many");
  long seen = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    if (e->d_name[0] == '.') continue;
    seen++;
    sprintf(name, "/tmp/many/%.40s", e->d_name);
    unlink(name);
  }
  _exit(seen == 100000 && rmdir("/tmp/many") == 0 ? 0 : 1);
}

static void deep(void) {
  for (int i = 0; i < 3000; i++)
    if (mkdir("d", 0700) || chdir("d")) _exit(1);
  // Longer than the kernel's answer can be: the C library walks up.
  char path[8192];
  _exit(getcwd(path, sizeof path) && strlen(path) >= 6000 ? 0 : 1);
}

// Write junk to every file below `path`.
static long scribble(const char *path, int depth) {
  DIR *dir = opendir(path);
  if (!dir || depth > 5) {
    if (dir) closedir(dir);
    return 0;
  }
  long files = 0;
  char name[4096];
  for (struct dirent *e; (e = readdir(dir));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name) continue;
    struct stat s;
    if (lstat(name, &s)) continue;
    if (S_ISDIR(s.st_mode)) {
      files += scribble(name, depth + 1);
    } else if (S_ISREG(s.st_mode)) {
      static const char *junk[] = {"", "0", "-1", "99999999999999999999", "\n\n\n", "\xff\xfe\0x", "1 2 3 4 5 6"};
      for (int i = 0; i < 7; i++) {
        int fd = open(name, O_WRONLY | O_NONBLOCK);
        if (fd < 0) break;
        (void)!write(fd, junk[i], strlen(junk[i]));
        static char many[70000];
        if (i == 0) (void)!pwrite(fd, many, sizeof many, 1 << 20);
        close(fd);
      }
      int fd = open(name, O_RDONLY | O_NONBLOCK);
      if (fd >= 0) {
        char bytes[512];
        for (int i = 0; i < 1000 && read(fd, bytes, sizeof bytes) > 0; i++)
          ;
        (void)!pread(fd, bytes, 10, 1ll << 40);
        close(fd);
      }
      files++;
    }
  }
  closedir(dir);
  return files;
}

static void proc(void) { _exit(scribble("/proc", 0) > 100 ? 0 : 1); }
static void sys(void) { _exit(scribble("/sys", 0) > 10 ? 0 : 1); }

// Jump to random addresses, each in a child of its own.
static void jumps(void) {
  uint64_t state = 88172645463325252ull;
  for (int i = 0; i < 300; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    uint64_t to = state >> (i % 64);
    pid_t pid = fork();
    if (pid == 0) {
      alarm(1);
      ((void (*)(void))to)();
      _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
  }
  _exit(0);
}

// Execute random bytes.
static void nonsense(void) {
  uint64_t state = 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < 200; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      alarm(1);
      uint64_t *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      for (int j = 0; j < 8192; j++) {
        state += i + 1, state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        p[j] = state;
      }
      __builtin___clear_cache((char *)p, (char *)p + 65536);
      ((void (*)(void))p)();
      _exit(0);
    }
    for (int j = 0; j < i + 1; j++) state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    int status;
    waitpid(pid, &status, 0);
  }
  _exit(0);
}

static void cleanly(void) {
  // Everything is given back: a child, a thread, a file, memory.
  char *p = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) _exit(1);
  memset(p, 3, 16 << 20);
  pthread_t thread;
  if (pthread_create(&thread, NULL, idle, NULL)) _exit(2);
  int fd = open("/tmp/after", O_RDWR | O_CREAT, 0600);
  if (fd < 0 || write(fd, p, 1 << 20) != 1 << 20) _exit(3);
  pid_t pid = fork();
  if (pid == 0) _exit(42);
  int status;
  waitpid(pid, &status, 0);
  _exit(unlink("/tmp/after") == 0 && WEXITSTATUS(status) == 42 ? 0 : 4);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*what)(void);
  } all[] = {{"touch_memory", touch_memory}, {"reserve_addresses", reserve_addresses}, {"shared_memory", shared_memory},
             {"recurse", recurse}, {"descriptors", descriptors}, {"pipes", pipes}, {"forks", forks}, {"bomb", bomb},
             {"threads", threads}, {"disk", disk}, {"files", files}, {"deep", deep}, {"proc", proc}, {"sys", sys},
             {"jumps", jumps}, {"nonsense", nonsense}};
  for (int i = 1; i < argc; i++)
    for (size_t j = 0; j < sizeof all / sizeof *all; j++)
      if (!strcmp(argv[i], all[j].name)) {
        child(all[j].name, all[j].what);
        kill(-1, SIGKILL);
        while (waitpid(-1, NULL, 0) > 0)
          ;
        child("afterwards", cleanly);
        kill(-1, SIGKILL);
        while (waitpid(-1, NULL, 0) > 0)
          ;
      }
  return 0;
}
