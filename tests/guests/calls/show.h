// What the programs of this folder share: a line for each call, with the name of its error.
// Every program prints the same under Linux and here; nothing printed may depend on the
// machine (no addresses, pids, inode numbers or times).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Print `what` and whether it went well.
static inline long show(const char *what, long result) {
  if (result < 0)
    printf("%s: %s\n", what, strerrorname_np(errno));
  else
    printf("%s: ok\n", what);
  fflush(stdout);
  return result;
}

// Print `what` and its value.
static inline long value(const char *what, long result) {
  if (result < 0)
    printf("%s: %s\n", what, strerrorname_np(errno));
  else
    printf("%s: %ld\n", what, result);
  fflush(stdout);
  return result;
}

#define SHOW(call) show(#call, (long)(call))
#define VALUE(call) value(#call, (long)(call))

static inline void pause_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&t, &t) < 0)
    ;
}
