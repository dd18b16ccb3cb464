// sysvipc(7): semaphores, message queues, shared memory.
#include "show.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
  int val;
  struct semid_ds *buf;
  unsigned short *array;
};

// The line of key `key` in /proc/sysvipc/FILE: permissions and the number that follows.
static void listed(const char *file, int key) {
  char path[64], line[512];
  sprintf(path, "/proc/sysvipc/%s", file);
  FILE *f = fopen(path, "r");
  while (fgets(line, sizeof line, f)) {
    int k;
    unsigned long mode, next;
    if (sscanf(line, "%d %*d %lo %lu", &k, &mode, &next) == 3 && k == key) printf("%s %lo %lu\n", file, mode, next);
  }
  fclose(f);
}

static void semaphores(void) {
  int s = show("semget", semget(IPC_PRIVATE, 3, 0600));
  SHOW(semget(1234, 2, 0600));
  int k = show("semget create", semget(1234, 2, IPC_CREAT | 0600));
  value("same", semget(1234, 0, 0) == k);
  SHOW(semget(1234, 2, IPC_CREAT | IPC_EXCL | 0600));
  SHOW(semget(1234, 3, 0));
  listed("sem", 1234);
  SHOW(semget(IPC_PRIVATE, 0, 0600));
  SHOW(semget(IPC_PRIVATE, -1, 0600));
  unsigned short all[3] = {1, 2, 3};
  SHOW(semctl(s, 0, SETALL, (union semun){.array = all}));
  VALUE(semctl(s, 2, GETVAL));
  SHOW(semctl(s, 3, GETVAL));
  SHOW(semctl(s, 0, SETVAL, (union semun){.val = 40000}));
  SHOW(semctl(s, 0, SETVAL, (union semun){.val = 5}));
  struct sembuf ops[3] = {{0, -2, 0}, {1, 1, 0}, {2, -3, 0}};
  SHOW(semop(s, ops, 3));
  SHOW(semctl(s, 0, GETALL, (union semun){.array = all}));
  printf("%d %d %d\n", all[0], all[1], all[2]);
  value("mine", semctl(s, 1, GETPID) == getpid());
  struct sembuf no = {2, -1, IPC_NOWAIT}, zero = {0, 0, IPC_NOWAIT}, far = {9, 1, 0}, much = {0, 32767, 0};
  SHOW(semop(s, &no, 1));
  SHOW(semop(s, &zero, 1));
  SHOW(semop(s, &far, 1));
  SHOW(semop(s, &much, 1));
  SHOW(semop(s, ops, 0));
  SHOW(semop(s, ops, 501));
  SHOW(semop(-1, ops, 1));
  SHOW(semop(99999, ops, 1));
  SHOW(semop(s, NULL, 1));
  struct timespec soon = {0, 20000000}, bad = {0, 2000000000};
  struct sembuf down = {2, -1, 0};
  SHOW(semtimedop(s, &down, 1, &soon));
  SHOW(semtimedop(s, &down, 1, &bad));
  if (fork() == 0) {
    pause_ms(60);
    value("waiting", semctl(s, 2, GETNCNT));
    struct sembuf up = {2, 1, 0};
    semop(s, &up, 1);
    _exit(0);
  }
  SHOW(semop(s, &down, 1));
  wait(NULL);
  // Undo: what a process that ends gives back.
  if (fork() == 0) {
    struct sembuf u[2] = {{0, -3, SEM_UNDO}, {1, 7, SEM_UNDO}};
    SHOW(semop(s, u, 2));
    VALUE(semctl(s, 0, GETVAL));
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  VALUE(semctl(s, 0, GETVAL));
  VALUE(semctl(s, 1, GETVAL));
  struct semid_ds d;
  SHOW(semctl(s, 0, IPC_STAT, (union semun){.buf = &d}));
  printf("mode %o nsems %lu otime %d\n", d.sem_perm.mode, d.sem_nsems, d.sem_otime != 0);
  d.sem_perm.mode = 0640;
  SHOW(semctl(s, 0, IPC_SET, (union semun){.buf = &d}));
  semctl(s, 0, IPC_STAT, (union semun){.buf = &d});
  printf("mode %o\n", d.sem_perm.mode);
  if (fork() == 0) {
    pause_ms(50);
    semctl(s, 0, IPC_RMID);
    _exit(0);
  }
  SHOW(semop(s, &down, 1));
  wait(NULL);
  SHOW(semctl(s, 0, GETVAL));
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    SHOW(semget(1234, 0, 0));
    SHOW(semget(1234, 0, 0400));
    SHOW(semctl(k, 0, GETVAL));
    SHOW(semctl(k, 0, IPC_RMID));
    _exit(0);
  }
  wait(NULL);
  SHOW(semctl(k, 0, IPC_RMID));
}

struct message {
  long type;
  char text[8200];
};

static void got(int q, size_t room, long type, int flags) {
  static struct message m;
  memset(&m, 0, sizeof m);
  long n = msgrcv(q, &m, room, type, flags);
  if (n < 0)
    printf("msgrcv %ld %o: %s\n", type, flags, strerrorname_np(errno));
  else
    printf("msgrcv %ld %o: %ld type %ld '%.*s'\n", type, flags, n, m.type, (int)n, m.text);
  fflush(stdout);
}

static void messages(void) {
  static struct message m = {3, "three"};
  int q = show("msgget", msgget(77, IPC_CREAT | 0600));
  value("same", msgget(77, 0) == q);
  SHOW(msgget(78, 0));
  SHOW(msgget(77, IPC_CREAT | IPC_EXCL));
  SHOW(msgsnd(q, &m, 5, 0));
  m.type = 1, strcpy(m.text, "one");
  SHOW(msgsnd(q, &m, 3, 0));
  m.type = 2, strcpy(m.text, "two");
  SHOW(msgsnd(q, &m, 3, 0));
  m.type = 0;
  SHOW(msgsnd(q, &m, 3, 0));
  m.type = 1;
  SHOW(msgsnd(q, &m, 8193, 0));
  SHOW(msgsnd(q, NULL, 3, 0));
  SHOW(msgsnd(-1, &m, 3, 0));
  listed("msg", 77);
  struct msqid_ds d;
  SHOW(msgctl(q, IPC_STAT, &d));
  printf("qnum %lu cbytes %lu qbytes %lu mode %o mine %d\n", d.msg_qnum, d.__msg_cbytes, d.msg_qbytes, d.msg_perm.mode,
         d.msg_lspid == getpid());
  got(q, 2, 2, 0);
  got(q, 2, 2, MSG_NOERROR);
  got(q, 100, 9, IPC_NOWAIT);
  got(q, 100, 3, MSG_EXCEPT);
  m.type = 5;
  msgsnd(q, &m, 1, 0);
  got(q, 100, -4, 0);
  got(q, 100, 0, 0);
  got(q, 100, 0, IPC_NOWAIT);
  got(q, 0, 0, IPC_NOWAIT);
  // A full queue.
  m.type = 1;
  int sent = 0;
  while (msgsnd(q, &m, 8000, IPC_NOWAIT) == 0) sent++;
  value("sent", sent);
  value("full", errno == EAGAIN);
  if (fork() == 0) {
    pause_ms(50);
    msgrcv(q, &m, 0, 0, MSG_NOERROR);
    _exit(0);
  }
  SHOW(msgsnd(q, &m, 8000, 0));
  wait(NULL);
  d.msg_qbytes = 100;
  SHOW(msgctl(q, IPC_SET, &d));
  SHOW(msgsnd(q, &m, 10, IPC_NOWAIT));
  while (msgrcv(q, &m, 0, 0, MSG_NOERROR | IPC_NOWAIT) >= 0)
    ;
  if (fork() == 0) {
    pause_ms(50);
    msgctl(q, IPC_RMID, NULL);
    _exit(0);
  }
  got(q, 10, 0, 0);
  wait(NULL);
  got(q, 10, 0, 0);
}

static void memory(void) {
  int m = show("shmget", shmget(55, 10000, IPC_CREAT | 0600));
  value("same", shmget(55, 5000, 0) == m);
  SHOW(shmget(55, 20000, 0));
  SHOW(shmget(56, 100, 0));
  SHOW(shmget(IPC_PRIVATE, 0, 0600));
  listed("shm", 55);
  char *a = shmat(m, NULL, 0);
  if (fork() == 0) {
    char *b = shmat(m, NULL, SHM_RDONLY);
    strcpy(a, "shared");
    printf("%s\n", b);
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  printf("%s\n", a);
  struct shmid_ds d;
  SHOW(shmctl(m, IPC_STAT, &d));
  printf("size %zu attached %lu mode %o\n", d.shm_segsz, d.shm_nattch, d.shm_perm.mode);
  SHOW(shmctl(m, IPC_RMID, NULL));
  SHOW(shmctl(m, IPC_STAT, &d));
  printf("mode %o\n", d.shm_perm.mode);
  SHOW(shmget(55, 1, 0));
  SHOW(shmdt(a));
  SHOW(shmdt(a));
  SHOW(shmctl(m, IPC_STAT, &d));
}

int main(void) {
  semaphores();
  messages();
  memory();
  return 0;
}
