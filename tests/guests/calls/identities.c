// Set-ID programs, what takes the set-ID bits away, and how many processes a user may have.
#include "show.h"
#include <grp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

// Users that nobody else is.
#define OWNER 54321
#define CALLER 54322
#define BUSY 54323

static void ids(const char *who) {
  uid_t r, e, s;
  gid_t rg, eg, sg;
  getresuid(&r, &e, &s);
  getresgid(&rg, &eg, &sg);
  printf("%s: %d %d %d, %d %d %d\n", who, r, e, s, rg, eg, sg);
  fflush(stdout);
}

static void bits(const char *when) {
  struct stat stat;
  lstat("copy", &stat);
  printf("%s: %o %d %d\n", when, stat.st_mode & 07777, stat.st_uid, stat.st_gid);
}

static void copy_self(void) {
  static char bytes[1 << 16];
  int from = open("/proc/self/exe", O_RDONLY), to = open("copy", O_WRONLY | O_CREAT | O_TRUNC, 0755);
  ssize_t n;
  while ((n = read(from, bytes, sizeof bytes)) > 0)
    write(to, bytes, n);
  close(from), close(to);
}

static void drop(uid_t id) {
  setgroups(0, NULL);
  setgid(id);
  setuid(id);
}

// Run ./copy as CALLER, with no new privileges or with the old ones.
static void run(const char *path, const char *name, int bare) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    drop(CALLER);
    if (bare)
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    execl(path, name, "ids", NULL);
    printf("%s: %s\n", name, strerrorname_np(errno));
    fflush(stdout);
    _exit(1);
  }
  int status;
  waitpid(pid, &status, 0);
  printf("ended %x\n", status);
}

static void mode(mode_t mode, uid_t uid, gid_t gid) {
  chown("copy", uid, gid);
  chmod("copy", mode);
}

static void set_id(void) {
  copy_self();
  mode(0755, OWNER, OWNER), run("copy", "plain", 0);
  mode(04755, OWNER, OWNER), run("copy", "set-user-ID", 0);
  mode(02755, OWNER, OWNER), run("copy", "set-group-ID", 0);
  mode(06755, OWNER, OWNER), run("copy", "both", 0), run("copy", "no new privileges", 1);
  mode(02744, OWNER, OWNER), run("copy", "not for others", 0);
  mode(02745, OWNER, OWNER), run("copy", "group may not execute", 0);
  mode(04711, OWNER, OWNER), run("copy", "execute only", 0);
  // A script's bits mean nothing.
  int script = open("script", O_WRONLY | O_CREAT, 0755);
  write(script, "#!copy\n", 7);
  close(script);
  mode(0755, 0, 0), chown("script", OWNER, OWNER), chmod("script", 06755), run("script", "script", 0);

  mount("none", "/proc", "proc", 0, NULL);
  mkdir("mounted", 0777);
  mode(06755, OWNER, OWNER);
  mount(".", "mounted", NULL, MS_BIND, NULL);
  SHOW(mount(NULL, "mounted", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL));
  run("mounted/copy", "nosuid", 0);
  umount("mounted");
}

static void taken_away(void) {
  mode(06755, OWNER, OWNER), bits("set");
  chown("copy", OWNER, OWNER), bits("after chown by root");
  mode(06755, OWNER, OWNER), chown("copy", -1, -1), bits("chown to nobody");
  mode(06755, CALLER, CALLER);
  fflush(stdout);
  if (fork() == 0) {
    drop(CALLER);
    int fd = open("copy", O_WRONLY);
    bits("opened"), write(fd, "\177", 0), bits("nothing written"), write(fd, "\177", 1), bits("written");
    chmod("copy", 06755), bits("own"), ftruncate(fd, 1 << 20), bits("truncated");
    chmod("copy", 06755), fallocate(fd, 0, 0, 2 << 20), bits("allocated");
    chmod("copy", 06755), close(open("copy", O_WRONLY | O_TRUNC)), bits("opened with O_TRUNC");
    chmod("copy", 06755), truncate("copy", 9), bits("truncated by name");
    chmod("copy", 06755), chown("copy", -1, CALLER), bits("chown by its owner");
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  mode(02755, CALLER, OWNER);
  if (fork() == 0) {
    drop(CALLER);
    SHOW(chmod("copy", 02755)), bits("of a group that is not the caller's");
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
}

static void processes(void) {
  fflush(stdout);
  if (fork() == 0) {
    struct rlimit limit = {4, 4};
    SHOW(setrlimit(RLIMIT_NPROC, &limit));
    drop(BUSY);
    int n = 0;
    pid_t pid;
    while ((pid = fork()) > 0)
      n++;
    if (pid == 0) {
      pause();
      _exit(0);
    }
    printf("%d children, then %s\n", n, strerrorname_np(errno));
    fflush(stdout);
    kill(-1, SIGKILL);
    while (wait(NULL) > 0)
      ;
    VALUE((pid = fork()) > 0 || (pid == 0 && (_exit(0), 0)));
    wait(NULL);
    _exit(0);
  }
  wait(NULL);
  // Root may have more, and becoming a user who has too many is told at the next execve.
  if (fork() == 0) {
    struct rlimit limit = {1, 1};
    setrlimit(RLIMIT_NPROC, &limit);
    pid_t other = fork();
    if (other == 0) {
      setuid(BUSY);
      pause();
      _exit(0);
    }
    pause_ms(50);
    SHOW(setuid(BUSY));
    execl("copy", "copy", "ids", NULL);
    printf("execve: %s\n", strerrorname_np(errno));
    fflush(stdout);
    kill(other, SIGKILL);
    _exit(0);
  }
  wait(NULL);
}

int main(int argc, char **argv) {
  if (argc > 1) {
    ids(argv[0]);
    return 0;
  }
  umask(0);
  chmod(".", 0777);
  set_id();
  taken_away();
  copy_self();
  mode(0755, 0, 0);
  processes();
  return 0;
}
