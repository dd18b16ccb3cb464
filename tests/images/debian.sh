#!/bin/bash
# debian.sh NAME [PACKAGE,...] [ARCHITECTURE]: NAME.tar, a Debian root with bash, coreutils and the packages (riscv64).
. "$(dirname "$0")/lib.sh"
binfmt
name=$1
options=(--architectures=${3:-riscv64} --variant=essential --mode=root --keyring=$KEYRING
  --aptopt='Apt::Install-Recommends "false"'
  --aptopt='APT::Sandbox::User "root"'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*'
  --customize-hook='[ -e "$1"/etc/hosts ] || echo "127.0.0.1 localhost" > "$1"/etc/hosts'
  --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log "$1"/var/log/apt')
[ -z "${2:-}" ] || options+=(--include="$2")
env -u APT_CONFIG mmdebstrap "${options[@]}" $SUITE "$WORK/images/$name.tmp.tar" "$MIRROR" > "$WORK/logs/$name.log" 2>&1 \
  || { tail -20 "$WORK/logs/$name.log" >&2; exit 1; }
mv "$WORK/images/$name.tmp.tar" "$WORK/images/$name.tar"
