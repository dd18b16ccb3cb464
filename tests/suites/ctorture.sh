#!/bin/bash
# gcc.c-torture/execute from Debian's gcc-14-source, static musl, -O2 and every fourth at -O0.
. "$(dirname "$0")/lib.sh"
bash "$here/build.sh" musl
cd "$WORK/build/suites"
ls gcc-14-source_*.deb >/dev/null 2>&1 || riscv64_apt apt-get -q download gcc-14-source
if [ ! -e gcc/done ]; then
  rm -rf gcc
  mkdir gcc
  dpkg-deb --fsys-tarfile gcc-14-source_*.deb | tar x -C gcc --wildcards '*.tar.xz'
  tar xJf "$(find gcc -name 'gcc-*.tar.xz')" -C gcc --wildcards '*/gcc/testsuite/gcc.c-torture/*'
  touch gcc/done
fi
base tiny ctorture
mkdir -p "$root/suite"
cd "$(find "$WORK/build/suites/gcc" -type d -path '*gcc.c-torture/execute')"
export root musl_gcc
compile() {
  local name
  name=$(echo "${1%.c}" | tr / _)$2
  local extra
  extra=$(grep -oE 'dg-(additional-)?options "[^"]*"' "$1" | sed 's/.*"\(.*\)"/\1/' | tr '\n' ' ')
  # shellcheck disable=SC2086
  timeout 60 "$musl_gcc" -w $2 -static -s -I. $extra "$1" -o "$root/suite/$name" -lm 2>/dev/null \
    && printf '%s\t/suite/%s\n' "$name" "$name"
  true
}
export -f compile
{ ls ./*.c ieee/*.c | sed 's#^\./##; s/$/ -O2/'; ls ./*.c | sed 's#^\./##' | awk 'NR%4==0 {print $0" -O0"}'; } \
  | xargs -P 2 -L 1 bash -c 'compile $0 $1' | sort > "$WORK/suites/ctorture.cases"
finish ctorture
