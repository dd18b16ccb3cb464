#!/bin/bash
# java.tar: debian-min and openjdk-21's headless JDK, unpacked only: the postinst of the JRE wants man page folders,
# and under qemu-user takes minutes to make a class data archive that the image does not need.
. "$(dirname "$0")/lib.sh"
bash "$here/build.sh" debian-min
mkdir -p "$WORK/build/java"
cd "$WORK/build/java"
installed='ca-certificates|ca-certificates-java|openssl|dpkg|perl-base|debconf|libc6|libc-bin|gcc-14-base|libgcc-s1|zlib1g|tar'
packages=$(riscv64_apt apt-get -q -s install --no-install-recommends openjdk-21-jdk-headless \
  | awk '/^Inst/ {print $2}' | grep -vxE "$installed")
# shellcheck disable=SC2086
riscv64_apt apt-get -q download $packages
root=$WORK/roots/java
rm -rf "$root"
mkdir -p "$root"
tar xf "$WORK/images/debian-min.tar" -C "$root"
for package in *.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar x -C "$root" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --keep-directory-symlink
done
for tool in java javac; do ln -sf ../lib/jvm/java-21-openjdk-riscv64/bin/$tool "$root/usr/bin/$tool"; done
pack_root "$root" "$WORK/images/java.tar"
