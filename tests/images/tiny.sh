#!/bin/bash
# tiny.tar, 2 MB: Debian's busybox-static (glibc) and its applets as links.
. "$(dirname "$0")/lib.sh"
cd "$WORK/build"
riscv64_apt apt-get -q download busybox-static:riscv64
rm -rf busybox-static
dpkg-deb -x "$(ls -t busybox-static_*_riscv64.deb | head -1)" busybox-static
root=$WORK/roots/tiny
skeleton "$root"
cp busybox-static/usr/bin/busybox "$root/bin/busybox"
for applet in $(qemu-riscv64-static "$root/bin/busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
printf 'NAME="friscy tiny"\nID=tiny\n' > "$root/etc/os-release"
pack_root "$root" "$WORK/images/tiny.tar"
