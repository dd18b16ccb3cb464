// What one process takes from another: its memory and its files.
#include "show.h"
#include <sys/mman.h>
#include <sys/uio.h>

int main(void) {
  char *text = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int ready[2], go[2];
  pipe(ready);
  pipe(go);
  pid_t pid = fork();
  if (pid == 0) {
    strcpy(text, "what the child has");
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    dup2(fd, 50);
    write(fd, "contents", 8);
    write(ready[1], "x", 1);
    char c;
    read(go[0], &c, 1);
    printf("child: %s\n", text);
    munmap(text, 4096);
    fflush(stdout);
    write(ready[1], "x", 1);
    read(go[0], &c, 1);
    _exit(0);
  }
  char c, first[5] = "", rest[32] = "";
  read(ready[0], &c, 1);
  struct iovec local[2] = {{first, 4}, {rest, 20}}, remote[1] = {{text, 24}};
  VALUE(process_vm_readv(pid, local, 2, remote, 1, 0));
  printf("%s|%s\n", first, rest);
  struct iovec word = {"WHAT", 4}, there = {text, 4}, nowhere = {(void *)16, 4}, two[2] = {{text, 4}, {(void *)16, 4}};
  VALUE(process_vm_writev(pid, &word, 1, &there, 1, 0));
  VALUE(process_vm_readv(pid, local, 2, &nowhere, 1, 0));
  VALUE(process_vm_readv(pid, local, 2, two, 2, 0));
  VALUE(process_vm_readv(pid, local, 2, remote, 1, 1));
  VALUE(process_vm_readv(99999, local, 2, remote, 1, 0));
  VALUE(process_vm_readv(pid, local, 0, remote, 1, 0));
  VALUE(process_vm_readv(pid, local, 2000, remote, 1, 0));
  int pidfd = syscall(SYS_pidfd_open, pid, 0);
  int fd = show("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, 50, 0));
  char bytes[9] = "";
  pread(fd, bytes, 8, 0);
  printf("%s at %ld, cloexec %d\n", bytes, (long)lseek(fd, 0, SEEK_CUR), fcntl(fd, F_GETFD));
  SHOW(syscall(SYS_pidfd_getfd, pidfd, 51, 0));
  SHOW(syscall(SYS_pidfd_getfd, pidfd, 50, 1));
  SHOW(syscall(SYS_pidfd_getfd, 0, 50, 0));
  write(go[1], "x", 1);
  read(ready[0], &c, 1);
  VALUE(process_vm_readv(pid, local, 2, remote, 1, 0));
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    VALUE(process_vm_readv(pid, local, 2, remote, 1, 0));
    SHOW(syscall(SYS_pidfd_getfd, pidfd, 50, 0));
    _exit(0);
  }
  wait(NULL);
  write(go[1], "x", 1);
  waitpid(pid, NULL, 0);
  SHOW(syscall(SYS_pidfd_getfd, pidfd, 50, 0));
  VALUE(process_vm_readv(pid, local, 2, remote, 1, 0));
  return 0;
}
