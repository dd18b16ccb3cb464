// /proc/net as programs that look for their own sockets read it.
#include "show.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

// One pass over /proc/net/FILE: whether `row` knew a line as that of the socket with `inode`, and told it.
// A table that other programs change meanwhile may miss a row in one pass or list it twice, so a pass ends
// with the first match, and a row counts as absent only after many passes.
static void find(const char *file, int fd, int (*row)(const char *file, const char *line, unsigned long inode, int own),
                 int own) {
  char path[64], line[512];
  struct stat s;
  fstat(fd, &s);
  sprintf(path, "/proc/net/%s", file);
  for (int pass = 0, found = 0; pass < 20 && !found; pass++) {
    FILE *f = fopen(path, "r");
    while (!found && fgets(line, sizeof line, f))
      found = row(file, line, s.st_ino, own);
    fclose(f);
  }
}

// The state and addresses of an Internet socket; the port `own` is called "own".
static int inet_row(const char *file, const char *line, unsigned long wanted, int own) {
  char local[40], remote[40];
  unsigned port, other, state, uid;
  unsigned long inode;
  if (sscanf(line, " %*d: %39[0-9A-F]:%x %39[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %u %*d %lu", local, &port, remote, &other,
             &state, &uid, &inode) != 7 ||
      inode != wanted)
    return 0;
  printf("%s: %s %s %s %s state %02X uid %u\n", file, local, (int)port == own ? "own" : "?", remote,
         other ? "port" : "none", state, uid);
  return 1;
}

static int unix_row(const char *file, const char *line, unsigned long wanted, int own) {
  char path[200] = "";  // an unnamed socket has no path
  unsigned flags, type, state;
  unsigned long inode;
  (void)own;
  if (sscanf(line, "%*x: %*x %*x %x %x %x %lu %199s", &flags, &type, &state, &inode, path) < 4 || inode != wanted)
    return 0;
  printf("%s: flags %x type %x state %x %s\n", file, flags, type, state, path);
  return 1;
}

int main(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  find("tcp", l, inet_row, 0);
  bind(l, (void *)&a, sizeof a);
  listen(l, 5);
  getsockname(l, (void *)&a, &len);
  int port = ntohs(a.sin_port);
  find("tcp", l, inet_row, port);
  int c = socket(AF_INET, SOCK_STREAM, 0);
  SHOW(connect(c, (void *)&a, sizeof a));
  int s = accept(l, NULL, NULL);
  find("tcp", s, inet_row, port);
  int u = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  bind(u, (void *)&any, sizeof any);
  getsockname(u, (void *)&any, &len);
  find("udp", u, inet_row, ntohs(any.sin_port));
  struct sockaddr_un p = {AF_UNIX, "listens-here"};
  int x = socket(AF_UNIX, SOCK_STREAM, 0);
  bind(x, (void *)&p, sizeof p);
  listen(x, 1);
  find("unix", x, unix_row, 0);
  int pair[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  find("unix", pair[0], unix_row, 0);
  return 0;
}
