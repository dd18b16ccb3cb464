// How internet datagrams came: control messages of IPv4 and IPv6, whole and cut; UDP-Lite beside UDP.
#include "show.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sched.h>
#include <net/if.h>
#include <sys/ioctl.h>

static int yes = 1;

// Receive into `room` bytes of control data, and say what came.
static void receive(int s, size_t room) {
  char data[16], control[256] __attribute__((aligned(8)));
  memset(control, 0xee, sizeof control);
  struct iovec iov = {data, sizeof data};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
  ssize_t n = recvmsg(s, &m, 0);
  printf("room %zu: %zd bytes, control %zu%s\n", room, n, (size_t)m.msg_controllen, m.msg_flags & MSG_CTRUNC ? ", cut" : "");
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    printf("  level %d type %d len %zu:", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
    for (size_t i = 0; i + CMSG_LEN(0) < c->cmsg_len; i++)
      printf(" %02x", CMSG_DATA(c)[i]);
    printf("\n");
  }
  fflush(stdout);
}

static void send_with(int s, struct sockaddr *to, socklen_t len, int level, int type, const void *data, size_t size) {
  char control[64] __attribute__((aligned(8))) = {0};
  struct iovec iov = {"hello", 5};
  struct msghdr m = {to, len, &iov, 1, control, CMSG_SPACE(size), 0};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = level, c->cmsg_type = type, c->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(c), data, size);
  VALUE(sendmsg(s, &m, 0));
}

static void ipv6(int protocol) {
  printf("-- IPv6, protocol %d\n", protocol);
  int a = show("socket", socket(AF_INET6, SOCK_DGRAM, protocol)), b = socket(AF_INET6, SOCK_DGRAM, protocol);
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(7001)};
  struct sockaddr *to = (struct sockaddr *)&at;
  SHOW(bind(a, to, sizeof at));
  sendto(b, "x", 1, 0, to, sizeof at);
  receive(a, 256);
  setsockopt(a, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, 4);
  setsockopt(a, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &yes, 4);
  setsockopt(a, IPPROTO_IPV6, IPV6_RECVTCLASS, &yes, 4);
  size_t rooms[] = {256, 0, 15, 16, 20, 36, 40, 41, 56, 59, 60, 64, 80, 84, 88};
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
    sendto(b, "x", 1, 0, to, sizeof at);
    receive(a, rooms[i]);
  }
  int class = 0x28, hops = 7;
  SHOW(setsockopt(b, IPPROTO_IPV6, IPV6_TCLASS, &class, 4));
  SHOW(setsockopt(b, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, 4));
  sendto(b, "x", 1, 0, to, sizeof at);
  receive(a, 256);
  int other = 99, bad = 300;
  send_with(b, to, sizeof at, IPPROTO_IPV6, IPV6_HOPLIMIT, &other, 4);
  receive(a, 256);
  send_with(b, to, sizeof at, IPPROTO_IPV6, IPV6_TCLASS, &other, 4);
  receive(a, 256);
  send_with(b, to, sizeof at, IPPROTO_IPV6, IPV6_HOPLIMIT, &bad, 4);
  send_with(b, to, sizeof at, IPPROTO_IPV6, IPV6_HOPLIMIT, &bad, 2);
  send_with(b, to, sizeof at, IPPROTO_IPV6, 9999, &bad, 4);
  send_with(b, to, sizeof at, 9999, 1, &bad, 4);
  receive(a, 256);
  close(a), close(b);
}

static void ipv4(int protocol) {
  printf("-- IPv4, protocol %d\n", protocol);
  int a = show("socket", socket(AF_INET, SOCK_DGRAM, protocol)), b = socket(AF_INET, SOCK_DGRAM, protocol);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(7002)};
  struct sockaddr *to = (struct sockaddr *)&at;
  SHOW(bind(a, to, sizeof at));
  setsockopt(a, IPPROTO_IP, IP_PKTINFO, &yes, 4);
  setsockopt(a, IPPROTO_IP, IP_RECVTTL, &yes, 4);
  setsockopt(a, IPPROTO_IP, IP_RECVTOS, &yes, 4);
  sendto(b, "x", 1, 0, to, sizeof at);
  receive(a, 256);
  sendto(b, "x", 1, 0, to, sizeof at);
  receive(a, 50);
  int ttl = 9, tos = 0x10, none = 0;
  setsockopt(b, IPPROTO_IP, IP_TTL, &ttl, 4);
  setsockopt(b, IPPROTO_IP, IP_TOS, &tos, 4);
  sendto(b, "x", 1, 0, to, sizeof at);
  receive(a, 256);
  send_with(b, to, sizeof at, IPPROTO_IP, IP_TTL, &yes, 4);
  receive(a, 256);
  send_with(b, to, sizeof at, IPPROTO_IP, IP_TOS, &ttl, 4);
  receive(a, 256);
  send_with(b, to, sizeof at, IPPROTO_IP, IP_TTL, &none, 4);
  send_with(b, to, sizeof at, IPPROTO_IP, 77, &yes, 4);
  close(a), close(b);
}

static void udplite(void) {
  printf("-- UDP-Lite\n");
  int udp = socket(AF_INET, SOCK_DGRAM, 0), lite = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(7003)};
  SHOW(bind(udp, (struct sockaddr *)&at, sizeof at));
  SHOW(bind(lite, (struct sockaddr *)&at, sizeof at));
  sendto(udp, "to udp", 6, 0, (struct sockaddr *)&at, sizeof at);
  sendto(lite, "to lite", 7, 0, (struct sockaddr *)&at, sizeof at);
  char text[16] = "";
  VALUE(recv(udp, text, 15, MSG_DONTWAIT));
  printf("%s\n", text);
  VALUE(recv(lite, text, 15, MSG_DONTWAIT));
  printf("%s\n", text);
  int number = 3;
  socklen_t len = 4;
  SHOW(setsockopt(lite, IPPROTO_UDPLITE, 10, &number, 4));
  SHOW(getsockopt(lite, IPPROTO_UDPLITE, 10, &number, &len));
  printf("covers %d\n", number);
  SHOW(setsockopt(udp, IPPROTO_UDPLITE, 10, &number, 4));
  SHOW(getsockopt(lite, SOL_SOCKET, SO_PROTOCOL, &number, &len));
  printf("protocol %d\n", number);
  SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDPLITE));
}

int main(void) {
  // A network of its own, whose loopback has to be brought up.
  unshare(CLONE_NEWNET);
  struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &up);
  ipv6(0);
  ipv6(IPPROTO_UDPLITE);
  ipv4(0);
  udplite();
  return 0;
}
