#!/bin/bash
# CPython's own test package (Debian libpython3.13-testsuite) on the debian-python3 image; a case is a module, of those
# that ask something of the system. multiprocessing_spawn, half an hour of starting Pythons, is left out.
. "$(dirname "$0")/lib.sh"
cd "$WORK/build/suites"
ls libpython3.13-testsuite_*.deb >/dev/null 2>&1 || riscv64_apt apt-get -q download libpython3.13-testsuite
base debian-python3 python
dpkg-deb -x libpython3.13-testsuite_*.deb "$root"
rm -rf "$root/usr/share/doc/libpython3.13-testsuite"
for module in os posix subprocess signal threading socket select selectors asyncio mmap fcntl pty tempfile shutil io json math \
  float sqlite3 multiprocessing_fork multiprocessing_forkserver time thread queue poll epoll \
  fork1 wait3 wait4 popen posixpath pathlib stat resource pwd grp tty uuid logging; do
  test=$root/usr/lib/python3.13/test/test_$module
  [ -e "$test.py" ] || [ -d "$test" ] || continue
  options=
  # It would set the clock of the machine that qemu runs on.
  [ $module != time ] || options=' -i test_monotonic_settime'
  printf 'test_%s\t/usr/bin/python3 -m test -v%s test_%s\n' $module "$options" $module
done > "$WORK/suites/python.cases"
finish python
