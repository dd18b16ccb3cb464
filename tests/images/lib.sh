# Sourced by the image scripts: settings, and apt for riscv64 with a state of its own.
#
# WORK       where everything goes (default: tests/work)
# MIRROR     a Debian mirror that carries riscv64 (default: the one this machine's apt uses)
# Needs root (chroot, mknod, binfmt_misc) and the packages that tests/run installs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${WORK:=$here/../work}"
mkdir -p "$WORK"/{images,roots,build,logs}
WORK=$(cd "$WORK" && pwd)
SUITE=trixie
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
: "${MIRROR:=$(grep -ohE '^(URIs:|deb) +(\[[^]]*\] +)?[a-z]+://[^ ]+' /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null \
  | grep -oE '[a-z]+://[^ ]+/debian/?$' | head -1)}"
: "${MIRROR:?no Debian mirror in the apt sources of this machine: set MIRROR}"
export SOURCE_DATE_EPOCH=1750000000

# riscv64_apt CMD...: apt-get, apt-cache for riscv64 trixie, apart from the machine's own.
riscv64_apt() {
  local apt=$WORK/apt
  # The configuration has the folder's own path in it: it is written anew when the folder was moved.
  if [ "$(cat "$apt/ready" 2>/dev/null)" != "$apt" ]; then
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    : > "$apt/state/status"
    cat > "$apt/sources.list" <<EOF
deb [arch=riscv64 signed-by=$KEYRING] $MIRROR $SUITE main
deb-src [signed-by=$KEYRING] $MIRROR $SUITE main
EOF
    cat > "$apt/apt.conf" <<EOF
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "riscv64";
APT::Architectures { "riscv64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
    APT_CONFIG=$apt/apt.conf apt-get -q update >&2
    echo "$apt" > "$apt/ready"
  fi
  APT_CONFIG=$apt/apt.conf "$@"
}

# pack_root DIR TAR: the tree as a reproducible rootfs tar.
pack_root() {
  tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2.tmp" .
  mv "$2.tmp" "$2"
}

# skeleton DIR: the directories and files every busybox root has.
skeleton() {
  rm -rf "$1"
  mkdir -p "$1"/{bin,lib,dev,etc,proc,sys,root,tmp,home,var/log,run,usr}
  chmod 1777 "$1/tmp"
  ln -s bin "$1/sbin"
  ln -s ../bin "$1/usr/bin"
  ln -s ../bin "$1/usr/sbin"
  echo 'root:x:0:0:root:/root:/bin/sh' > "$1/etc/passwd"
  echo 'root:x:0:' > "$1/etc/group"
  echo '127.0.0.1 localhost' > "$1/etc/hosts"
}

# binfmt: riscv64 programs run on this machine through qemu-user (maintainer scripts, the reference runs).
binfmt() {
  [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  [ -e /proc/sys/fs/binfmt_misc/qemu-riscv64 ] \
    || cat /usr/lib/binfmt.d/qemu-riscv64.conf > /proc/sys/fs/binfmt_misc/register
}
