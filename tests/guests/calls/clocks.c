// Clocks of processes and threads, and timers that count on them.
#include "show.h"
#include <pthread.h>

static volatile sig_atomic_t fired;
static void handler(int number, siginfo_t *info, void *context) {
  (void)context;
  if (number == SIGUSR1 && info->si_code == SI_TIMER)
    fired++;
}

static uint64_t now(clockid_t clock) {
  struct timespec t = {0};
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void burn(clockid_t clock, uint64_t ns) {
  uint64_t until = now(clock) + ns;
  while (now(clock) < until)
    for (volatile int i = 0; i < 1000; i++)
      ;
}

// Work until a timer has fired so often: Linux looks at these clocks at ticks, which may be rare on a busy machine.
static void burn_until(int times) {
  uint64_t until = now(CLOCK_THREAD_CPUTIME_ID) + 5000000000ull;
  while (fired < times && now(CLOCK_THREAD_CPUTIME_ID) < until)
    burn(CLOCK_THREAD_CPUTIME_ID, 1000000);
}

static void a_timer(const char *name, clockid_t clock) {
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  printf("-- %s\n", name);
  if (SHOW(timer_create(clock, &event, &timer)) < 0)
    return;
  struct itimerspec once = {.it_value = {0, 30000000}}, left;
  fired = 0;
  SHOW(timer_settime(timer, 0, &once, NULL));
  pause_ms(100);
  printf("while asleep: %d\n", fired);
  timer_gettime(timer, &left);
  printf("some left: %d\n", left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 30000000);
  burn_until(1);
  printf("after work: %d\n", fired);
  timer_gettime(timer, &left);
  printf("left: %ld\n", left.it_value.tv_nsec);
  uint64_t at = now(clock) + 20000000;
  struct itimerspec date = {.it_value = {at / 1000000000, at % 1000000000}, .it_interval = {0, 10000000}};
  fired = 0;
  SHOW(timer_settime(timer, TIMER_ABSTIME, &date, &left));
  burn_until(2);
  printf("again and again: %d\n", fired >= 2);
  SHOW(timer_delete(timer));
  fired = 0;
  burn(CLOCK_THREAD_CPUTIME_ID, 50000000);
  printf("deleted: %d\n", fired);
}

static void *work(void *unused) {
  burn(CLOCK_THREAD_CPUTIME_ID, 100000000);
  return unused;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  a_timer("process", CLOCK_PROCESS_CPUTIME_ID);
  a_timer("thread", CLOCK_THREAD_CPUTIME_ID);
  clockid_t own, other;
  VALUE(clock_getcpuclockid(0, &own));
  a_timer("process by number", own);

  // Another process's clock: it moves while that process works, and a timer on it fires here.
  pid_t child = fork();
  if (child == 0) {
    pause_ms(200);
    burn(CLOCK_PROCESS_CPUTIME_ID, 300000000);
    pause();
  }
  VALUE(clock_getcpuclockid(child, &other));
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  SHOW(timer_create(other, &event, &timer));
  struct itimerspec once = {.it_value = {0, 100000000}};
  fired = 0;
  SHOW(timer_settime(timer, 0, &once, NULL));
  for (int i = 0; i < 200 && !fired; i++)
    pause_ms(20);
  printf("the child worked: %d, its clock: %d\n", fired, now(other) >= 100000000);
  struct timespec target = {0, 150000000};
  VALUE(clock_nanosleep(other, TIMER_ABSTIME, &target, NULL));
  printf("slept until: %d\n", now(other) >= 150000000);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  struct timespec none;
  SHOW(clock_gettime(other, &none));
  SHOW(timer_create(other, &event, &timer));
  SHOW(timer_create(CLOCK_MONOTONIC_RAW, &event, &timer));
  VALUE(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &target, NULL));

  pthread_t thread;
  pthread_create(&thread, NULL, work, NULL);
  struct timespec more = {0, 50000000};
  VALUE(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &more, NULL));
  pthread_join(thread, NULL);
  return 0;
}
