#!/bin/bash
# bench.tar: what benches/src/bin/programs.rs runs, and bench-native.tar, the same for this machine.
. "$(dirname "$0")/lib.sh"
rm -rf "$WORK/build/bench"
mkdir -p "$WORK/build/bench/bench"
cd "$WORK/build/bench"
cp "$here"/../../benches/guest/programs/* bench
# Text that compresses as logs do.
seq 1000000 | awk '{print $0, "a line of a log, much like the others: 0123456789", $0 * 2654435761 % 4294967296}' > lines
for size in 1 16 64; do head -c "${size}M" lines > "bench/${size}m"; done
for image in bench:riscv64 "bench-native:$(dpkg --print-architecture)"; do
  name=${image%:*}
  bash "$here/debian.sh" "$name" python3,lua5.4,sqlite3,zstd "${image#*:}"
  tar --owner=0 --group=0 -C "$WORK/build/bench" -rf "$WORK/images/$name.tar" ./bench
done
