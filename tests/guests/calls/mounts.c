// Mounts that move and bind with what is in them; programs that run and may not be written to.
#include "show.h"
#include <sys/mount.h>

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  write(fd, text, strlen(text));
  close(fd);
}

static void get(const char *path) {
  char text[32] = "";
  int fd = open(path, O_RDONLY);
  if (fd >= 0)
    read(fd, text, 31);
  printf("%s: %s\n", path, fd < 0 ? strerrorname_np(errno) : text);
  close(fd);
}

static void mounts(void) {
  char old[256];
  getcwd(old, sizeof old);
  // Nothing of this is anybody else's.
  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
  mkdir("a", 0755), mkdir("b", 0755), mkdir("c", 0755);
  SHOW(mount("one", "a", "tmpfs", 0, NULL));
  mkdir("a/in", 0755), mkdir("a/in/deep", 0755), mkdir("a/dir", 0755);
  put("a/file", "outer");
  SHOW(mount("two", "a/in", "tmpfs", 0, NULL));
  mkdir("a/in/deep", 0755);
  put("a/in/file", "inner");
  SHOW(mount("three", "a/in/deep", "tmpfs", 0, NULL));
  put("a/in/deep/file", "innermost");
  SHOW(mount("a", "b", NULL, MS_BIND, NULL));
  get("b/file"), get("b/in/file");
  SHOW(umount("b"));
  SHOW(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
  get("b/file"), get("b/in/file"), get("b/in/deep/file");
  SHOW(umount("b"));
  SHOW(umount2("b", MNT_DETACH));
  SHOW(mount("a/in", "b", NULL, MS_BIND | MS_REC, NULL));
  get("b/file"), get("b/deep/file");
  SHOW(umount("b/deep"));
  SHOW(umount("b"));
  SHOW(mount("a/in", "c", NULL, MS_MOVE, NULL));
  get("a/in/file"), get("c/file"), get("c/deep/file");
  SHOW(mount("a/dir", "b", NULL, MS_MOVE, NULL));
  SHOW(mount("a", "a/dir", NULL, MS_MOVE, NULL));
  SHOW(mount("c", "a/file", NULL, MS_MOVE, NULL));
  SHOW(mount("c", "c/deep", NULL, MS_MOVE, NULL));
  SHOW(mount("nowhere", "b", NULL, MS_MOVE, NULL));
  SHOW(mount("c", "a/in", NULL, MS_MOVE, NULL));
  get("a/in/deep/file");
  SHOW(umount("a"));
  SHOW(umount("a/in/deep"));
  SHOW(umount("a/in"));
  SHOW(umount("a"));
}

static void running(void) {
  char own[256];
  own[readlink("/proc/self/exe", own, 255)] = 0;
  SHOW(open(own, O_WRONLY));
  SHOW(open(own, O_RDWR | O_APPEND));
  SHOW(truncate(own, 0));
  SHOW(open(own, O_RDONLY | O_TRUNC));
  SHOW(open(own, O_RDONLY));
  // In its place there may be another one.
  int from = open(own, O_RDONLY), to = open("copy", O_WRONLY | O_CREAT, 0755);
  char bytes[65536];
  for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
    write(to, bytes, n);
  close(to);
  pid_t child = fork();
  if (child == 0) {
    execl("copy", "copy", "wait", NULL);
    _exit(9);
  }
  pause_ms(300);
  SHOW(open("copy", O_WRONLY));
  SHOW(rename("copy", "moved"));
  SHOW(open("moved", O_WRONLY));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SHOW(open("moved", O_WRONLY));
}

int main(int argc, char **argv) {
  if (argc > 1)
    return pause();
  mounts();
  running();
  return 0;
}
