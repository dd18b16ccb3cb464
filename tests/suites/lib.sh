# Sourced by the suite scripts. A suite is NAME.tar, a root file system with the
# cases in it, and NAME.cases: a line `case <tab> command` each, exit 0 = pass.
. "$(dirname "${BASH_SOURCE[0]}")/../images/lib.sh"
mkdir -p "$WORK/suites" "$WORK/build/suites"
musl_gcc=$WORK/build/musl/bin/riscv64-musl-gcc

# base IMAGE NAME: a fresh copy of an image's tree to put the cases in; sets $root.
base() {
  bash "$here/build.sh" "$1"
  root=$WORK/suites/$2.root
  rm -rf "$root"
  mkdir -p "$root"
  tar xf "$WORK/images/$1.tar" -C "$root"
}

# finish NAME: the tree becomes the suite's image, the reference's tree is made anew. Fails when there is no case.
finish() {
  [ -s "$WORK/suites/$1.cases" ] || { rm -f "$WORK/suites/$1.cases"; echo "$1: not one case compiles" >&2; exit 1; }
  pack_root "$root" "$WORK/images/suite-$1.tar"
  rm -rf "$root"
  wc -l "$WORK/suites/$1.cases"
}
