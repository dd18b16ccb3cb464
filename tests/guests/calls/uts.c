// UTS namespaces: made by unshare and clone, entered by setns, told apart by /proc/PID/ns/uts.
#include "show.h"
#include <sched.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static void names(const char *who) {
  struct utsname name;
  uname(&name);
  printf("%s: %s %s\n", who, name.nodename, name.domainname);
}

static ino_t here(void) {
  struct stat stat = {0};
  SHOW(fstatat(AT_FDCWD, "/proc/self/ns/uts", &stat, 0));
  return stat.st_ino;
}

static int child(void *unused) {
  names("child");
  sethostname("child", 5);
  names("child");
  return 0;
}

int main(void) {
  sethostname("first", 5), setdomainname("domain", 6);
  ino_t first = here();
  int old = open("/proc/self/ns/uts", O_RDONLY);
  char link[64] = "", text[64];
  readlink("/proc/self/ns/uts", link, 63);
  snprintf(text, 64, "uts:[%lu]", (unsigned long)first);
  printf("link %s\n", strcmp(link, text) ? link : "names it");
  SHOW(read(old, text, 1));
  SHOW(write(old, text, 1));

  SHOW(unshare(CLONE_NEWUTS));
  names("unshared");
  sethostname("second", 6);
  names("unshared");
  ino_t second = here();
  printf("another: %d\n", first != second);
  int proc = open("/proc/sys/kernel/hostname", O_RDONLY);
  text[read(proc, text, 63)] = 0;
  printf("hostname file: %s", text);
  close(proc);

  static char stack[65536];
  pid_t pid = clone(child, stack + sizeof stack, CLONE_NEWUTS | SIGCHLD, NULL);
  waitpid(pid, NULL, 0);
  names("after the child");

  SHOW(setns(old, CLONE_NEWNET));
  SHOW(setns(old, CLONE_NEWUTS));
  names("back");
  printf("the same: %d\n", here() == first);
  SHOW(unshare(CLONE_NEWUTS));
  sethostname("third", 5);
  SHOW(setns(old, 0));
  names("back again");
  SHOW(setns(0, CLONE_NEWUTS));
  SHOW(setns(-1, CLONE_NEWUTS));

  // By a process: the child stays in a namespace of its own until it is told to end.
  int stop[2], ready[2];
  pipe(stop), pipe(ready);
  pid = fork();
  if (pid == 0) {
    unshare(CLONE_NEWUTS);
    sethostname("apart", 5);
    write(ready[1], "x", 1);
    read(stop[0], text, 1);
    _exit(0);
  }
  read(ready[0], text, 1);
  int process = syscall(SYS_pidfd_open, pid, 0);
  SHOW(setns(process, 0));
  SHOW(setns(process, CLONE_NEWUTS));
  names("with the child");
  write(stop[1], "x", 1);
  waitpid(pid, NULL, 0);

  setuid(65534);
  SHOW(unshare(CLONE_NEWUTS));
  SHOW(setns(old, CLONE_NEWUTS));
  SHOW(sethostname("x", 1));
  return 0;
}
