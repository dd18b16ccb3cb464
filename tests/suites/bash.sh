#!/bin/bash
# bash's own tests (Debian source) on the debian-min image.
. "$(dirname "$0")/lib.sh"
cd "$WORK/build/suites"
if [ ! -d bash-5.2.37 ]; then
  riscv64_apt apt-get -q source --download-only bash
  tar xJf bash_5.2.37.orig.tar.xz
fi
source=$PWD/bash-5.2.37
base debian-min bash
mkdir -p "$root/bt"
cp -a "$source/tests" "$source/version.h" "$source/support/bashversion.c" "$root/bt/" 2>/dev/null || cp -a "$source/tests" "$root/bt/"
for helper in recho zecho printenv xcase; do
  riscv64-linux-gnu-gcc -w -O2 -static -DHAVE_STDLIB_H -DHAVE_STRING_H -DHAVE_UNISTD_H \
    -I"$source" -I"$source/include" -I"$source/lib" "$source/support/$helper.c" -o "$root/bt/tests/$helper"
done
cat > "$root/bt/one.sh" <<'EOF'
d=/tmp/bt.$1.$$; mkdir -p $d; cd /bt/tests
export PATH=/bt/tests:/usr/bin:/bin THIS_SH=/bin/bash BUILD_DIR=/bt TMPDIR=$d BASH_TSTOUT=$d/out HOME=/root; unset BASH_ENV
sh ./$1 > $d/diff 2>/dev/null; cat $d/diff; n=$(wc -l < $d/diff); cd /; rm -rf $d; [ "$n" = 0 ]
EOF
cd "$source/tests"
ls run-* | grep -vE '^run-(all|minimal|gprof|jobs|read|test|execscript)$' | while read -r name; do
  printf '%s\t/bin/sh /bt/one.sh %s\n' "$name" "$name"
done > "$WORK/suites/bash.cases"
finish bash
