#!/bin/bash
# reference.sh NAME: NAME.tar unpacked to reference/NAME, ready for chroot under qemu-riscv64.
# Nothing is mounted in it: whoever runs a program there mounts /proc and /dev/pts in namespaces of its own.
. "$(dirname "$0")/lib.sh"
binfmt
root=$WORK/reference/$1
[ -e "$root.ready" ] && [ "$root.ready" -nt "$WORK/images/$1.tar" ] && exit 0
rm -rf "$root"
mkdir -p "$root"
tar xf "$WORK/images/$1.tar" -C "$root"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  [ -c "$root/dev/${device%:*}" ] || mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mkdir -p "$root/dev/shm" "$root/dev/pts" "$root/proc"
[ -e "$root/dev/ptmx" ] || ln -s pts/ptmx "$root/dev/ptmx"
chmod 1777 "$root/dev/shm"
ln -sfn /proc/self/fd "$root/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -sfn "/proc/self/fd/${n%:*}" "$root/dev/${n#*:}"; done
touch "$root.ready"
