#!/bin/bash
# Start-up against image size: makes images from 2 MB to 1 GB and compares them.
#
#   bash tests/images/build.sh && bash benches/start-up.sh REPORT [OPTION...]
#
# REPORT is a directory; OPTIONs go to `friscy-snap bench` (--runs 9, --until idle, --hosts browser ...).
# The images are those of the tests (tests/images/build.sh: 2 MB of busybox, 55 MB of Debian, 91 MB with Python),
# given a command, and Debian once more with files that its shell never reads: 100 MB, 720 MB and 945 MB,
# half of them incompressible, half like a log. Kept in WORK (default: tests/work), in start-up.
# FRISCY_SNAP names another friscy-snap than target/release/friscy-snap.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
report=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
: "${WORK:=$here/../tests/work}"
: "${FRISCY_SNAP:=$here/../target/release/friscy-snap}"
out=$WORK/start-up
mkdir -p "$out"

# payload FILE MEGABYTES: a layer of files of 1 MB below /usr/share/payload, the same in every run.
payload() {
  local tree=$out/payload half=$(($2 / 2))
  rm -rf "$tree"
  mkdir -p "$tree/usr/share/payload"
  # Zeros, encrypted: fast, without pattern, and always the same.
  head -c "${half}MB" /dev/zero \
    | openssl enc -aes-128-ctr -K 000102030405060708090a0b0c0d0e0f -iv 00000000000000000000000000000000 \
    | split -a 4 -b 1MB - "$tree/usr/share/payload/noise."
  seq -f 'line %.0f of a log that nobody reads' 100000000 2> /dev/null | head -c "${half}MB" \
    | split -a 4 -b 1MB - "$tree/usr/share/payload/log." || true
  tar --sort=name --mtime=@1750000000 --owner=0 --group=0 --numeric-owner -C "$tree" -cf "$1" .
  rm -rf "$tree"
}

# image NAME COMMAND LAYER...: NAME.tar as `docker save` gives it.
image() {
  local name=$1 command=$2 layer tree=$out/image ids='' names=''
  shift 2
  [ -e "$out/$name.tar" ] && return
  echo "making $name.tar" >&2
  rm -rf "$tree"
  mkdir "$tree"
  for layer; do
    ln "$layer" "$tree/" 2> /dev/null || cp "$layer" "$tree/"
    ids+=",\"sha256:$(sha256sum < "$layer" | cut -d' ' -f1)\""
    names+=",\"$(basename "$layer")\""
  done
  cat > "$tree/config.json" <<EOF
{"architecture":"riscv64","os":"linux","config":{"Cmd":["$command"],"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin","TERM=xterm-256color"]},
"rootfs":{"type":"layers","diff_ids":[${ids#,}]}}
EOF
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$name:latest\"],\"Layers\":[${names#,}]}]" > "$tree/manifest.json"
  tar --sort=name --mtime=@1750000000 --owner=0 --group=0 --numeric-owner -C "$tree" -cf "$out/$name.tmp" \
    manifest.json config.json "${@##*/}"
  mv "$out/$name.tmp" "$out/$name.tar"
  rm -rf "$tree"
}

images=$WORK/images
for name in tiny debian-min debian-python3; do
  [ -e "$images/$name.tar" ] || { echo "$images/$name.tar is missing: bash tests/images/build.sh" >&2; exit 1; }
done
image busybox /bin/sh "$images/tiny.tar"
image bash /bin/bash "$images/debian-min.tar"
image python3 /usr/bin/python3 "$images/debian-python3.tar"
sizes=(100 720 945)
for size in "${sizes[@]}"; do
  [ -e "$out/bash+$size.tar" ] && continue
  payload "$out/payload.tar" "$size"
  image "bash+$size" /bin/bash "$images/debian-min.tar" "$out/payload.tar"
  rm "$out/payload.tar"
done

files=(busybox.tar bash.tar python3.tar)
for size in "${sizes[@]}"; do files+=("bash+$size.tar"); done
report=$(realpath -m "$report")
command=$(realpath "$FRISCY_SNAP")
cd "$out"
exec "$command" bench "${files[@]}" -o "$report" "$@"
