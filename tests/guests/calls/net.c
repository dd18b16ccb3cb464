// /proc/net as programs that look for their own sockets read it.
#include "show.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

// The state and ports of the socket `fd` in /proc/net/FILE; its own port is called "own".
static void find(const char *file, int fd, int own) {
  char path[64], line[512];
  struct stat s;
  fstat(fd, &s);
  sprintf(path, "/proc/net/%s", file);
  FILE *f = fopen(path, "r");
  while (fgets(line, sizeof line, f)) {
    char local[40], remote[40];
    unsigned port, other, state, uid;
    unsigned long inode;
    if (sscanf(line, " %*d: %39[0-9A-F]:%x %39[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %u %*d %lu", local, &port, remote, &other,
               &state, &uid, &inode) == 7 &&
        inode == s.st_ino)
      printf("%s: %s %s %s %s state %02X uid %u\n", file, local, (int)port == own ? "own" : "?", remote,
             other ? "port" : "none", state, uid);
  }
  fclose(f);
}

static void find_unix(int fd) {
  char line[512], path[200] = "";
  struct stat s;
  fstat(fd, &s);
  FILE *f = fopen("/proc/net/unix", "r");
  while (fgets(line, sizeof line, f)) {
    unsigned flags, type, state;
    unsigned long inode;
    path[0] = 0;  // of this row only: the order of the rows is the kernel's own, and an unnamed socket has no path
    if (sscanf(line, "%*x: %*x %*x %x %x %x %lu %199s", &flags, &type, &state, &inode, path) >= 4 && inode == s.st_ino)
      printf("unix: flags %x type %x state %x %s\n", flags, type, state, path);
  }
  fclose(f);
}

int main(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  find("tcp", l, 0);
  bind(l, (void *)&a, sizeof a);
  listen(l, 5);
  getsockname(l, (void *)&a, &len);
  int port = ntohs(a.sin_port);
  find("tcp", l, port);
  int c = socket(AF_INET, SOCK_STREAM, 0);
  SHOW(connect(c, (void *)&a, sizeof a));
  int s = accept(l, NULL, NULL);
  find("tcp", s, port);
  int u = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  bind(u, (void *)&any, sizeof any);
  getsockname(u, (void *)&any, &len);
  find("udp", u, ntohs(any.sin_port));
  struct sockaddr_un p = {AF_UNIX, "listens-here"};
  int x = socket(AF_UNIX, SOCK_STREAM, 0);
  bind(x, (void *)&p, sizeof p);
  listen(x, 1);
  find_unix(x);
  int pair[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  find_unix(pair[0]);
  return 0;
}
