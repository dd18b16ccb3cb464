// inotify(7): which operations say what to whom.
#include "show.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

static int in;
static uint32_t cookies[16];
static int known;

static int cookie(uint32_t c) {
  if (c == 0) return 0;
  for (int i = 0; i < known; i++)
    if (cookies[i] == c) return i + 1;
  cookies[known++ % 16] = c;
  return known;
}

static void events(const char *after) {
  static const char *names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM",
                                "MOVED_TO", "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF"};
  char buffer[65536] __attribute__((aligned(8)));
  printf("-- %s\n", after);
  ssize_t n = read(in, buffer, sizeof buffer);
  for (char *p = buffer; n > 0 && p < buffer + n;) {
    struct inotify_event *e = (void *)p;
    printf("%d", e->wd);
    for (int i = 0; i < 12; i++)
      if (e->mask >> i & 1) printf(" %s", names[i]);
    if (e->mask & IN_IGNORED) printf(" IGNORED");
    if (e->mask & IN_ISDIR) printf(" ISDIR");
    if (e->mask & IN_Q_OVERFLOW) printf(" OVERFLOW");
    if (e->mask & IN_UNMOUNT) printf(" UNMOUNT");
    printf(" cookie %d len %u '%s'\n", cookie(e->cookie), e->len, e->len ? e->name : "");
    p += sizeof *e + e->len;
  }
  fflush(stdout);
}

static void put(const char *path, const char *text, int flags) {
  int fd = open(path, O_WRONLY | flags, 0644);
  if (*text) write(fd, text, strlen(text));
  close(fd);
}

int main(void) {
  in = SHOW(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  SHOW(inotify_init1(1));
  mkdir("d", 0755);
  mkdir("e", 0755);
  VALUE(inotify_add_watch(in, "d", IN_ALL_EVENTS));
  VALUE(inotify_add_watch(in, "e", IN_ALL_EVENTS));
  VALUE(inotify_add_watch(in, "d", IN_ALL_EVENTS));
  VALUE(inotify_add_watch(in, "d", IN_ALL_EVENTS | IN_MASK_CREATE));
  VALUE(inotify_add_watch(in, "none", IN_ALL_EVENTS));
  VALUE(inotify_add_watch(in, "d", 0));
  VALUE(inotify_add_watch(0, "d", IN_CREATE));
  VALUE(inotify_add_watch(-1, "d", IN_CREATE));
  VALUE(inotify_add_watch(in, "d", IN_MASK_ADD | IN_MASK_CREATE | IN_CREATE));

  put("d/file", "hello", O_CREAT);
  events("create and write");
  put("d/file", "again", O_APPEND);
  events("append");
  int fd = open("d/file", O_RDONLY);
  char c[8];
  read(fd, c, 8);
  read(fd, c, 8);
  close(fd);
  events("read");
  chmod("d/file", 0600);
  chmod("d", 0700);
  events("chmod");
  truncate("d/file", 2);
  events("truncate");
  struct timespec both[2] = {{1, 0}, {2, 0}}, one[2] = {{1, 0}, {0, UTIME_OMIT}}, other[2] = {{0, UTIME_OMIT}, {5, 0}};
  utimensat(AT_FDCWD, "d/file", both, 0);
  utimensat(AT_FDCWD, "d/file", one, 0);
  utimensat(AT_FDCWD, "d/file", other, 0);
  events("utimensat");
  mkdir("d/sub", 0755);
  symlink("file", "d/link");
  mkfifo("d/fifo", 0644);
  link("d/file", "d/hard");
  events("mkdir, symlink, mkfifo, link");
  fd = open("d", O_RDONLY | O_DIRECTORY);
  syscall(SYS_getdents64, fd, (char[4096]){0}, 4096);
  close(fd);
  events("list");
  rename("d/file", "d/new");
  events("rename within");
  rename("d/new", "e/new");
  events("rename across");
  rename("d/sub", "e/sub");
  events("rename a directory");
  put("d/over", "x", O_CREAT);
  events("another");
  rename("d/over", "e/new");
  events("rename over");
  syscall(SYS_renameat2, AT_FDCWD, "d/link", AT_FDCWD, "e/new", 2);
  events("exchange");
  unlink("d/hard");
  rmdir("e/sub");
  unlink("d/fifo");
  events("unlink, rmdir");

  put("self", "1", O_CREAT);
  VALUE(inotify_add_watch(in, "self", IN_ALL_EVENTS));
  fd = open("self", O_RDWR);
  unlink("self");
  events("unlink of an open watched file");
  write(fd, "x", 1);
  close(fd);
  events("its last close");
  put("self", "1", O_CREAT);
  VALUE(inotify_add_watch(in, "self", IN_MOVE_SELF | IN_DELETE_SELF));
  rename("self", "self2");
  events("move of itself");
  unlink("self2");
  events("delete of itself");

  int wd = VALUE(inotify_add_watch(in, "d", IN_CREATE | IN_ONESHOT));
  put("d/one", "", O_CREAT);
  put("d/two", "", O_CREAT);
  events("one shot");
  SHOW(inotify_rm_watch(in, wd));
  wd = VALUE(inotify_add_watch(in, "d", IN_CREATE));
  VALUE(inotify_add_watch(in, "d", IN_DELETE | IN_MASK_ADD));
  put("d/three", "", O_CREAT);
  unlink("d/three");
  events("mask add");
  SHOW(inotify_rm_watch(in, wd));
  events("rm_watch");
  SHOW(inotify_rm_watch(in, wd));

  wd = VALUE(inotify_add_watch(in, "d", IN_MODIFY | IN_EXCL_UNLINK));
  fd = open("d/one", O_WRONLY);
  write(fd, "x", 1);
  unlink("d/one");
  write(fd, "y", 1);
  close(fd);
  events("excl_unlink");
  VALUE(inotify_add_watch(in, "d/two", IN_MODIFY | IN_ONLYDIR));
  symlink("two", "d/sl");
  VALUE(inotify_add_watch(in, "d/sl", IN_MODIFY | IN_ONLYDIR | IN_DONT_FOLLOW));
  inotify_rm_watch(in, wd);
  events("rest");

  // Equal events in a row are one; a queue has an end.
  VALUE(inotify_add_watch(in, "d", IN_MODIFY | IN_CREATE | IN_DELETE));
  fd = open("d/two", O_WRONLY);
  for (int i = 0; i < 5; i++) write(fd, "z", 1);
  close(fd);
  events("five writes");
  struct pollfd p = {in, POLLIN, 0};
  VALUE(poll(&p, 1, 0));
  put("d/long-name-of-a-file", "", O_CREAT);
  VALUE(poll(&p, 1, 0));
  int bytes;
  ioctl(in, FIONREAD, &bytes);
  value("FIONREAD", bytes);
  VALUE(read(in, c, 8));
  int ep = epoll_create1(0);
  struct epoll_event ev = {EPOLLIN, {0}};
  SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev));
  VALUE(epoll_wait(ep, &ev, 1, 0));
  events("long name");
  VALUE(epoll_wait(ep, &ev, 1, 0));
  VALUE(read(in, c, 8));

  // A reader is woken.
  fcntl(in, F_SETFL, 0);
  if (fork() == 0) {
    pause_ms(50);
    put("d/late", "", O_CREAT);
    _exit(0);
  }
  events("woken");
  wait(NULL);
  return 0;
}
