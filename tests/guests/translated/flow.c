/* Control flow that a translator of calls must survive: deep recursion, jumps out of nested calls, signals in them,
 * other stacks, code that changes under a waiting caller, rounding modes that a callee changes. Prints what it computes.
 */
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline))

static char *closed;

/* Recursion, direct and through pointers. */

static NOINLINE long deep(long n) { return n == 0 ? 0 : deep(n - 1) * 3 + (n & 3); }

static long odd(long n, long (*other)(long, void *));
static NOINLINE long even(long n, void *other) {
  return n == 0 ? 1 : ((long (*)(long, void *))other)(n - 1, (void *)even) ^ (n << 1);
}
static NOINLINE long odd(long n, long (*other)(long, void *)) {
  return n == 0 ? 0 : other(n - 1, (void *)odd) + 1;
}

static NOINLINE long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

/* Jumps out. */

static jmp_buf out;

static NOINLINE long nest(long n, long sum) {
  if (n == 0) longjmp(out, (int)(sum & 0xffff) | 1);
  return nest(n - 1, sum * 31 + n) + 1;
}

static long jumps(void) {
  volatile long sum = 0;
  for (volatile int i = 1; i < 300; i++) {
    int got = setjmp(out);
    if (got == 0)
      sum += nest(i, i);
    else
      sum += got;
  }
  return sum;
}

/* Faults. */

static sigjmp_buf safe;
static volatile long faults;

static void leave(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  faults += (char *)info->si_addr - closed;
  siglongjmp(safe, 1);
}

static void open_page(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  faults++;
  mprotect(closed, 4096, PROT_READ | PROT_WRITE);
}

/* The faulting instruction is a load to a0: skip it. */
static void skip(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
  unsigned short *pc = (unsigned short *)machine->__gregs[0];
  machine->__gregs[0] += (*pc & 3) == 3 ? 4 : 2;
  machine->__gregs[10] = machine->__gregs[11] * 5;
}

static void handle(void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
}

static NOINLINE long touch(long n, char *at) { return n == 0 ? *(volatile long *)at : touch(n - 1, at + 8) + n; }

static NOINLINE long load_skipped(char *at, long other) {
  register char *a0 asm("a0") = at;
  register long a1 asm("a1") = other;
  asm volatile("ld a0, 0(a0)" : "+r"(a0) : "r"(a1) : "memory");
  return (long)a0 + a1;
}

static long signals(void) {
  long sum = 0;
  handle(leave);
  for (volatile long i = 0; i < 200; i++)
    if (sigsetjmp(safe, 1) == 0) sum += touch(i, closed);
  sum += faults;
  faults = 0;
  handle(open_page);
  for (long i = 0; i < 50; i++) {
    mprotect(closed, 4096, PROT_NONE);
    sum += touch(i, closed) * 3;
  }
  sum += faults * 1000;
  mprotect(closed, 4096, PROT_NONE);
  handle(skip);
  for (long i = 0; i < 100; i++) sum += load_skipped(closed, i);
  return sum;
}

static NOINLINE long endless(long n) { return endless(n + 1) + n; }

/* A stack that overflows ends in a signal on the other stack. */
static void *overflow(void *unused) {
  static char other[1 << 16];
  stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
  sigaltstack(&stack, NULL);
  faults = 0;
  handle(leave);
  return (void *)(sigsetjmp(safe, 1) == 0 ? endless((long)unused) : 77);
}

/* Interruptions at any place. */

static volatile long ticks;
static void tick(int number) {
  (void)number;
  ticks += fib(5) == 5;
}

static long interrupted(void) {
  signal(SIGALRM, tick);
  struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  long sum = 0;
  while (ticks < 20) sum = fib(15);
  setitimer(ITIMER_REAL, &never, NULL);
  return sum;
}

/* Coroutines: each switches stacks below some calls. */

static ucontext_t main_context, coroutine;
static long handed;

static NOINLINE void hand(long n, long value) {
  if (n > 0) return hand(n - 1, value + 1), (void)(handed += n);
  handed = value;
  swapcontext(&coroutine, &main_context);
}

static void produce(void) {
  for (long i = 0;; i++) hand(i % 7, i * i);
}

static long coroutines(void) {
  static char stack[1 << 16];
  getcontext(&coroutine);
  coroutine.uc_stack.ss_sp = stack;
  coroutine.uc_stack.ss_size = sizeof stack;
  makecontext(&coroutine, produce, 0);
  long sum = 0;
  for (int i = 0; i < 1000; i++) {
    swapcontext(&main_context, &coroutine);
    sum = sum * 7 + handed;
  }
  return sum;
}

/* Code that changes while its caller, or it itself, waits for a call. */

static unsigned *code;

static NOINLINE long patch(long value) {
  /* Of the function below: addi a0, a0, 1 behind the call becomes addi a0, a0, value. */
  code[5] = 0x00050513u | (unsigned)value << 20;
  __builtin___clear_cache((char *)code, (char *)(code + 16));
  return value * 2;
}

static NOINLINE long through(long (*function)(long), long value) { return function(value) + value; }

static long rewriting(void) {
  unsigned long target = (unsigned long)patch;
  /* addi sp, -16; sd ra, 0(sp); ld t0, 28(pc..); jalr t0; addi a0, a0, 1; ld ra, 0(sp); addi sp, 16; ret; patch */
  unsigned body[] = {0xff010113, 0x00113023, 0x00000297, 0x0202b283, 0x000280e7, 0x00150513, 0x00013083, 0x01010113,
                     0x00008067, 0x00000013, (unsigned)target, (unsigned)(target >> 32)};
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(code, body, sizeof body);
  __builtin___clear_cache((char *)code, (char *)(code + 16));
  long sum = 0;
  for (long i = 0; i < 300; i++) sum = sum * 3 + through((long (*)(long))code, i / 3);
  return sum;
}

/* A callee changes how its caller rounds. */

static NOINLINE double third(double x) { return x / 3; }
static NOINLINE void round_to(int mode) { fesetround(mode); }

static void rounding(void) {
  static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  for (int i = 0; i < 4; i++) {
    volatile double x = 1;
    double before = third(x);
    round_to(modes[i]);
    double during = x / 3 + third(x);
    feclearexcept(FE_ALL_EXCEPT);
    double exact = x / 4;
    int flags = fetestexcept(FE_INEXACT);
    double last = -x / 3;
    printf("%a %a %a %a %d %d\n", before, during, exact, last, flags != 0, fetestexcept(FE_INEXACT) != 0);
    round_to(FE_TONEAREST);
  }
}

/* Unwinding by the tables of .eh_frame, as exceptions do it. */

static long cleaned;
static void clean(long *value) { cleaned = cleaned * 3 + *value; }

static NOINLINE long frames(long n) {
  long here __attribute__((cleanup(clean))) = n;
  if (n == 0) pthread_exit((void *)5);
  return frames(n - 1) + here;
}

static void *unwind(void *unused) { return (void *)frames((long)unused + 40); }

/* A switch and computed gotos. */

static NOINLINE long interpret(const unsigned char *program, long rounds) {
  static void *const labels[] = {&&add, &&shift, &&mix, &&call, &&again};
  long a = 1, b = 2;
  const unsigned char *at = program;
#define NEXT goto *labels[*at++ % 5]
  NEXT;
add:
  a += b;
  NEXT;
shift:
  b = (b << 3) ^ (b >> 5);
  NEXT;
mix:
  switch (a & 7) {
    case 0: b += 5; break;
    case 1: b ^= a; break;
    case 2: a -= 9; break;
    case 3: b = -b; break;
    case 4: a *= 3; break;
    case 5: b |= 1; break;
    default: a ^= b >> 1;
  }
  NEXT;
call:
  b += fib(a & 7);
  NEXT;
again:
  if (--rounds > 0) {
    at = program;
    NEXT;
  }
  return a ^ b;
}

int main(void) {
  closed = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("recursion %ld %ld %ld\n", deep(20000), even(9000, (void *)odd), fib(20));
  printf("longjmp %ld\n", jumps());
  printf("faults %ld\n", signals());
  pthread_t thread;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 1 << 17);
  void *result;
  pthread_create(&thread, &small, overflow, NULL);
  pthread_join(thread, &result);
  printf("overflow %ld\n", (long)result);
  printf("interrupted %ld\n", interrupted());
  printf("coroutines %ld\n", coroutines());
  printf("rewriting %ld\n", rewriting());
  rounding();
  pthread_create(&thread, NULL, unwind, NULL);
  pthread_join(thread, &result);
  printf("unwound %ld %ld\n", (long)result, cleaned);
  static const unsigned char program[] = {0, 1, 2, 3, 0, 2, 1, 3, 2, 0, 4};
  printf("interpreter %ld\n", interpret(program, 3000));
}
