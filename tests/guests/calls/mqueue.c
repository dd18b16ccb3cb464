// mq_overview(7): POSIX message queues.
#include "show.h"
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>

static volatile sig_atomic_t told;
static int told_value, told_code;

static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  told++;
  told_value = info->si_value.sival_int;
  told_code = info->si_code;
}

static int threads;
static void thread(union sigval v) {
  __atomic_store_n(&threads, v.sival_int, __ATOMIC_SEQ_CST);
}

int main(void) {
  struct mq_attr a = {0, 4, 32, 0}, b;
  mq_unlink("/calls");
  SHOW(mq_open("/calls", O_RDWR));
  mqd_t q = show("create", mq_open("/calls", O_RDWR | O_CREAT | O_EXCL, 0600, &a));
  SHOW(mq_open("/calls", O_RDWR | O_CREAT | O_EXCL, 0600, &a));
  SHOW(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL));
  SHOW(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
  SHOW(syscall(SYS_mq_open, "..", O_RDWR | O_CREAT, 0600, NULL));
  struct mq_attr none = {0, 0, 32, 0}, large = {0, 100000, 32, 0};
  SHOW(mq_open("/none", O_RDWR | O_CREAT, 0600, &none));
  SHOW(mq_open("/large", O_RDWR | O_CREAT, 0600, &large));
  SHOW(mq_getattr(q, &b));
  printf("%ld %ld %ld %ld\n", b.mq_flags, b.mq_maxmsg, b.mq_msgsize, b.mq_curmsgs);
  value("cloexec", fcntl(q, F_GETFD));
  SHOW(mq_send(q, "low", 3, 1));
  SHOW(mq_send(q, "high", 4, 9));
  SHOW(mq_send(q, "low again", 9, 1));
  SHOW(mq_send(q, "", 0, 32767));
  SHOW(mq_send(q, "x", 1, 32768));
  SHOW(mq_send(q, "123456789012345678901234567890123", 33, 0));
  struct timespec past = {1, 0}, bad = {0, -1}, soon;
  SHOW(mq_timedsend(q, "full", 4, 0, &past));
  SHOW(mq_timedsend(q, "full", 4, 0, &bad));
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_nsec += 30000000;
  if (soon.tv_nsec >= 1000000000) soon.tv_nsec -= 1000000000, soon.tv_sec++;
  SHOW(mq_timedsend(q, "full", 4, 0, &soon));
  struct pollfd p = {q, POLLIN | POLLOUT, 0};
  poll(&p, 1, 0);
  printf("revents %x\n", p.revents);
  char buffer[64];
  SHOW(mq_receive(q, buffer, 31, NULL));
  for (int i = 0; i < 4; i++) {
    unsigned priority = 0;
    ssize_t n = mq_receive(q, buffer, sizeof buffer, &priority);
    printf("%zd '%.*s' %u\n", n, (int)n, buffer, priority);
  }
  poll(&p, 1, 0);
  printf("revents %x\n", p.revents);
  SHOW(mq_timedreceive(q, buffer, 64, NULL, &past));
  b.mq_flags = O_NONBLOCK;
  SHOW(mq_setattr(q, &b, &a));
  SHOW(mq_receive(q, buffer, 64, NULL));
  b.mq_flags = 1;
  SHOW(mq_setattr(q, &b, NULL));
  b.mq_flags = 0;
  SHOW(mq_setattr(q, &b, &a));
  printf("flags %lo\n", a.mq_flags);
  mqd_t r = mq_open("/calls", O_RDONLY), w = mq_open("/calls", O_WRONLY);
  SHOW(mq_send(r, "x", 1, 0));
  SHOW(mq_receive(w, buffer, 64, NULL));
  SHOW(mq_receive(0, buffer, 64, NULL));

  // Between processes.
  if (fork() == 0) {
    pause_ms(40);
    mq_send(w, "from a child", 12, 3);
    _exit(0);
  }
  ssize_t n = mq_receive(r, buffer, 64, NULL);
  printf("%.*s\n", (int)n, buffer);
  wait(NULL);

  // Notification by a signal, once.
  struct sigaction s = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &s, NULL);
  struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
  SHOW(mq_notify(q, &e));
  SHOW(mq_notify(q, &e));
  if (fork() == 0) {
    struct sigevent nothing = {.sigev_notify = SIGEV_NONE};
    SHOW(mq_notify(q, &nothing));
    mq_send(q, "1", 1, 0);
    mq_send(q, "2", 1, 0);
    _exit(0);
  }
  while (wait(NULL) < 0)
    ;
  printf("told %d value %d code %d\n", told, told_value, told_code == SI_MESGQ);
  mq_receive(q, buffer, 64, NULL);
  SHOW(mq_notify(q, &e));
  mq_send(q, "3", 1, 0);
  printf("told %d\n", told);
  SHOW(mq_notify(q, NULL));
  while (mq_getattr(q, &b) == 0 && b.mq_curmsgs) mq_receive(q, buffer, 64, NULL);
  struct sigevent t = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = thread, .sigev_value.sival_int = 7};
  SHOW(mq_notify(q, &t));
  mq_send(q, "t", 1, 0);
  for (int i = 0; i < 200 && !__atomic_load_n(&threads, __ATOMIC_SEQ_CST); i++) pause_ms(5);
  printf("thread %d\n", threads);
  SHOW(mq_unlink("/calls"));
  SHOW(mq_unlink("/calls"));
  SHOW(mq_open("/calls", O_RDWR));
  SHOW(mq_send(q, "still there", 11, 0));
  SHOW(mq_close(q));
  SHOW(mq_close(q));
  return 0;
}
