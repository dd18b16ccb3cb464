#!/bin/bash
# The Open POSIX Test Suite 1.5.2 (Debian source package posixtestsuite), static musl.
# Cases that set the clock are left out: as real root they would set this machine's.
. "$(dirname "$0")/lib.sh"
bash "$here/build.sh" musl
cd "$WORK/build/suites"
if [ ! -d posixtestsuite ]; then
  riscv64_apt apt-get -q source --download-only posixtestsuite
  tar xzf posixtestsuite_*.orig.tar.gz
fi
base tiny posix
mkdir -p "$root/suite" "$root/dev/shm"
# Cases signal themselves and their group, and process 1 and its group are a poor place for that.
printf '#!/bin/sh\nsetsid "$@"\nexit $?\n' > "$root/suite/run"
chmod 755 "$root/suite/run"
cd posixtestsuite
export root musl_gcc
compile() {
  grep -qE '\bmain *\(' "$1" || exit 0
  local name
  name=$(echo "${1%.c}" | sed 's#^conformance/##; s#^interfaces/##' | tr / _)
  timeout 90 "$musl_gcc" -w -O1 -std=gnu99 -D_POSIX_C_SOURCE=200112L -D_XOPEN_SOURCE=600 -D_GNU_SOURCE -static -s \
    -Iinclude -I"$(dirname "$1")" "$1" -o "$root/suite/$name" -lpthread -lrt -lm 2>/dev/null \
    && printf '%s\t/suite/run /suite/%s\n' "$name" "$name"
  true
}
export -f compile
{ find conformance/interfaces -name '[0-9]*-*.c'; find functional -name '*.c'; } | xargs grep -LE 'clock_settime|settimeofday' \
  | sort | xargs -P 2 -n 1 bash -c 'compile $0' | sort > "$WORK/suites/posix.cases"
finish posix
