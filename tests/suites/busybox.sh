#!/bin/bash
# busybox's own test suite (Debian source) on the musl image.
. "$(dirname "$0")/lib.sh"
base musl busybox
source=$WORK/build/busybox-source
mkdir -p "$root/bb"
cp -a "$source/testsuite" "$source/.config" "$source/busybox" "$root/bb/"
printf 'cd /bb/testsuite && PATH=/bin bindir=/bb tsdir=/bb/testsuite exec ./runtest -v "$1"\n' > "$root/bb/one.sh"
skip='^(all_sourcecode|mount|mdev|mkfs.minix|makedevs|start-stop-daemon|runtest-tempdir-links|mount.testroot|wget|hostid|uptime|pidof|parse)$'
cd "$source/testsuite"
{
  for tests in *.tests; do echo "${tests%.tests}"; done
  for applet in */; do [ -z "$(ls "$applet")" ] || echo "${applet%/}"; done
} | grep -vE "$skip" | sort -u | while read -r applet; do
  printf '%s\t/bin/sh /bb/one.sh %s\n' "$applet" "$applet"
done > "$WORK/suites/busybox.cases"
finish busybox
