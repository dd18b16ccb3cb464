#!/bin/bash
# CPython's own test package (Debian libpython3.13-testsuite) on the debian-python3 image; a case is a module.
. "$(dirname "$0")/lib.sh"
cd "$WORK/build/suites"
ls libpython3.13-testsuite_*.deb >/dev/null 2>&1 || riscv64_apt apt-get -q download libpython3.13-testsuite
base debian-python3 python
dpkg-deb -x libpython3.13-testsuite_*.deb "$root"
rm -rf "$root/usr/share/doc/libpython3.13-testsuite"
for module in os posix subprocess signal threading socket select selectors asyncio mmap fcntl pty tempfile shutil io json math \
  float sqlite3 multiprocessing_fork multiprocessing_forkserver multiprocessing_spawn int long struct array bytes re hashlib zlib gzip bz2 lzma pickle datetime time thread queue \
  poll epoll fork1 wait3 wait4 pipes popen posixpath pathlib stat tarfile zipfile resource pwd grp tty \
  contextlib functools itertools collections decimal fractions random statistics cmath complex compile ast \
  exceptions generators coroutines gc weakref unicode codecs locale csv configparser argparse logging uuid; do
  test=$root/usr/lib/python3.13/test/test_$module
  [ -e "$test.py" ] || [ -d "$test" ] || continue
  printf 'test_%s\t/usr/bin/python3 -m test -v test_%s\n' $module $module
done > "$WORK/suites/python.cases"
finish python
