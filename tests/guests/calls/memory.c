// mmap(2) and its family: what programs rely on and few test.
#include "show.h"
#include <sys/mman.h>

int main(void) {
  // remap_file_pages(2) changes which pages a shared mapping shows.
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  ftruncate(fd, 4 * 4096);
  for (int i = 0; i < 4; i++) pwrite(fd, &(char){'a' + i}, 1, i * 4096);
  char *m = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  SHOW(remap_file_pages(m, 4096, 0, 3, 0));
  SHOW(remap_file_pages(m + 4096, 4096, 0, 0, 0));
  printf("%c%c%c%c\n", m[0], m[4096], m[8192], m[12288]);
  m[0] = 'z';
  printf("%c\n", m[12288]);
  SHOW(remap_file_pages(m, 4096, PROT_READ, 3, 0));
  char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOW(remap_file_pages(p, 4096, 0, 0, 0));
  munmap(m, 4 * 4096);

  // A write through a shared mapping is a change of the file.
  struct timespec old[2] = {{1000, 0}, {1000, 0}};
  m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  futimens(fd, old);
  m[100] = 'x';
  msync(m, 4096, MS_SYNC);
  struct stat s;
  fstat(fd, &s);
  printf("mtime changed %d\n", s.st_mtime != 1000);
  return 0;
}
