#!/bin/bash
# musl.tar, 2 MB: busybox built from Debian's source against musl built from Debian's source, dynamic.
. "$(dirname "$0")/lib.sh"
prefix=$WORK/build/musl
cd "$WORK/build"
if [ ! -e "$prefix/done" ]; then
  rm -rf musl-source "$prefix"
  riscv64_apt apt-get -q source --download-only musl
  dpkg-source -q -x musl_*.dsc musl-source
  (
    cd musl-source
    ./configure --target=riscv64-linux-musl --host=riscv64 CC=riscv64-linux-gnu-gcc \
      CROSS_COMPILE=riscv64-linux-gnu- --prefix="$prefix" --syslibdir="$prefix/lib" --enable-wrapper=gcc
    make -s -j2 && make -s install
  ) > "$WORK/logs/musl.log" 2>&1 || { tail -20 "$WORK/logs/musl.log" >&2; exit 1; }
  for headers in linux asm asm-generic mtd; do ln -sfn /usr/riscv64-linux-gnu/include/$headers "$prefix/include/$headers"; done
  for tool in ar as ld nm objcopy objdump ranlib strip readelf; do
    printf '#!/bin/sh\nexec riscv64-linux-gnu-%s "$@"\n' $tool > "$prefix/bin/riscv64-musl-$tool"
  done
  printf '#!/bin/sh\nexec riscv64-linux-gnu-gcc "$@" -specs %s/lib/musl-gcc.specs\n' "$prefix" > "$prefix/bin/riscv64-musl-gcc"
  chmod +x "$prefix"/bin/riscv64-musl-*
  sed -i 's#-dynamic-linker [^ ]*#-dynamic-linker /lib/ld-musl-riscv64.so.1#' "$prefix/lib/musl-gcc.specs"
  touch "$prefix/done"
fi
export PATH=$prefix/bin:$PATH
if [ ! -e busybox-source/busybox ]; then
  rm -rf busybox-source
  riscv64_apt apt-get -q source --download-only busybox
  dpkg-source -q -x busybox_*.dsc busybox-source
  (
    cd busybox-source
    make -s defconfig ARCH=riscv
    # tc and NFS mounts want kernel headers that Debian's cross package no longer has.
    sed -i -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' -e 's/^CONFIG_FEATURE_MOUNT_NFS=y/# CONFIG_FEATURE_MOUNT_NFS is not set/' .config
    (yes '' || true) | make -s oldconfig ARCH=riscv
    make -s -j2 CROSS_COMPILE=riscv64-musl- CC=riscv64-musl-gcc ARCH=riscv busybox
  ) > "$WORK/logs/busybox.log" 2>&1 || { tail -20 "$WORK/logs/busybox.log" >&2; exit 1; }
fi
root=$WORK/roots/musl
skeleton "$root"
cp busybox-source/busybox "$root/bin/"
cp "$prefix/lib/libc.so" "$root/lib/ld-musl-riscv64.so.1"
riscv64-linux-gnu-strip --strip-unneeded "$root/lib/ld-musl-riscv64.so.1"
ln -s ld-musl-riscv64.so.1 "$root/lib/libc.musl-riscv64.so.1"
for applet in $(qemu-riscv64-static -L "$root" "$root/bin/busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
printf 'NAME="musl busybox"\nID=musl\n' > "$root/etc/os-release"
pack_root "$root" "$WORK/images/musl.tar"
