#!/bin/bash
# go.tar: busybox and a static Go program without compressed instructions, esbuild from npm.
. "$(dirname "$0")/lib.sh"
bash "$here/build.sh" tiny
root=$WORK/roots/go
rm -rf "$root" "$WORK/build/esbuild"
mkdir -p "$root" "$WORK/build/esbuild"
cd "$WORK/build/esbuild"
npm pack --silent @esbuild/linux-riscv64@0.28.2
tar xf "$WORK/images/tiny.tar" -C "$root"
tar xzf esbuild-linux-riscv64-*.tgz
install -m 755 package/bin/esbuild "$root/bin/esbuild"
pack_root "$root" "$WORK/images/go.tar"
