// What descriptors tell and forbid: signals of input (O_ASYNC), and programs that somebody writes to (ETXTBSY).
#include "show.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int tell;
static void told(int number, siginfo_t *info, void *context) {
  (void)context;
  static const char *codes[] = {"0", "IN", "OUT", "MSG", "ERR", "PRI", "HUP"};
  char line[99];
  if (number == SIGIO)
    snprintf(line, sizeof line, "SIGIO from the kernel: %d\n", info->si_code == SI_KERNEL);
  else
    snprintf(line, sizeof line, "SIGRTMIN+%d %s of %d, band %lx\n", number - SIGRTMIN,
             info->si_code >= 0 && info->si_code < 7 ? codes[info->si_code] : "?", info->si_fd - tell, (long)info->si_band);
  if (write(1, line, strlen(line)) < 0)
    _exit(1);
}

static void input(const char *what, int to, int from) {
  char byte;
  printf("-- %s\n", what);
  fflush(stdout);
  tell = from;
  SHOW(fcntl(from, F_SETFL, O_ASYNC | O_NONBLOCK));
  VALUE(write(to, "a", 1));
  SHOW(fcntl(from, F_SETOWN, getpid()));
  VALUE(write(to, "b", 1));
  VALUE(fcntl(from, F_GETSIG));
  SHOW(fcntl(from, F_SETSIG, SIGRTMIN + 1));
  VALUE(fcntl(from, F_GETSIG) == SIGRTMIN + 1);
  VALUE(write(to, "c", 1));
  while (read(from, &byte, 1) == 1)
    ;
  struct f_owner_ex thread = {F_OWNER_TID, getpid()}, got = {0};
  SHOW(fcntl(from, F_SETOWN_EX, &thread));
  SHOW(fcntl(from, F_GETOWN_EX, &got));
  printf("type %d\n", got.type);
  VALUE(write(to, "d", 1));
  SHOW(fcntl(from, F_SETOWN, -getpgrp()));
  VALUE(fcntl(from, F_GETOWN) == -getpgrp());
  VALUE(write(to, "e", 1));
  SHOW(fcntl(from, F_SETFL, O_NONBLOCK));
  VALUE(write(to, "silent", 6));
  while (read(from, &byte, 1) == 1)
    ;
  int on = 1;
  SHOW(ioctl(from, FIOASYNC, &on));
  VALUE((fcntl(from, F_GETFL) & O_ASYNC) != 0);
  SHOW(fcntl(from, F_SETOWN, getpid()));
  SHOW(close(to));
  SHOW(close(from));
}

int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1)
    return 5;
  setpgid(0, 0);
  struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGIO, &action, NULL);
  sigaction(SIGRTMIN + 1, &action, NULL);
  int ends[2];
  pipe(ends);
  input("a pipe", ends[1], ends[0]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  input("a socket", ends[1], ends[0]);
  socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
  input("datagrams", ends[1], ends[0]);

  printf("-- inotify\n");
  int watch = tell = inotify_init1(IN_NONBLOCK);
  SHOW(inotify_add_watch(watch, ".", IN_CREATE));
  SHOW(fcntl(watch, F_SETOWN, getpid()));
  SHOW(fcntl(watch, F_SETSIG, SIGRTMIN + 1));
  SHOW(fcntl(watch, F_SETFL, O_ASYNC));
  SHOW(mkdir("made", 0700));
  SHOW(close(watch));

  printf("-- owners\n");
  pipe(ends);
  int none = 0, got = 9, on = 1, files[2];
  VALUE(fcntl(ends[0], F_GETOWN));
  SHOW(fcntl(ends[0], F_SETOWN, 999999));
  SHOW(fcntl(ends[0], F_SETOWN, -999999));
  SHOW(fcntl(ends[0], F_SETSIG, 65));
  struct f_owner_ex odd = {7, 1};
  SHOW(fcntl(ends[0], F_SETOWN_EX, &odd));
  socketpair(AF_UNIX, SOCK_STREAM, 0, files);
  int self = getpid();
  SHOW(ioctl(files[0], FIOSETOWN, &self));
  SHOW(ioctl(files[0], SIOCGPGRP, &got));
  printf("own %d\n", got == self);
  SHOW(ioctl(files[0], SIOCSPGRP, &none));
  VALUE(fcntl(files[0], F_GETOWN));
  SHOW(ioctl(ends[0], FIOSETOWN, &self));
  int file = open("file", O_RDWR | O_CREAT, 0755);
  SHOW(ioctl(file, FIOASYNC, &on));

  printf("-- a program that somebody writes to\n");
  char buffer[65536];
  ssize_t count;
  for (int self = open("/proc/self/exe", O_RDONLY); (count = read(self, buffer, sizeof buffer)) > 0;)
    if (write(file, buffer, count) != count)
      return 1;
  char *arguments[] = {"file", NULL}, *nothing[] = {NULL};
  SHOW(execve("file", arguments, nothing));
  int reader = open("file", O_RDONLY);
  close(file);
  int status = 0;
  if (!fork()) {
    execve("file", (char *[]){"file", "end", NULL}, nothing);
    _exit(1);
  }
  SHOW(wait(&status));
  printf("status %x\n", status);
  file = open("script", O_WRONLY | O_CREAT, 0755);
  VALUE(write(file, "#!/nothing\n", 11));
  SHOW(execve("script", arguments, nothing));
  close(file);
  SHOW(execve("script", arguments, nothing));
  close(reader);
  return 0;
}
