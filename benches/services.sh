#!/bin/bash
# A service's first reply: servers frozen when they are ready, opened, and asked at once by a shell in the same machine.
#
#   bash tests/images/build.sh && bash tests/images/build.sh node && bash benches/services.sh REPORT [OPTION...]
#
# REPORT is a directory; OPTIONs go to `friscy-snap bench` (--runs 9, --hosts browser ...). The reply's first line is
# the first output, so what bench shows is the time to the reply. Each server is there twice: frozen before anybody has
# asked it, and (-asked) after one reply, when it has read, compiled and allocated what a reply takes.
# Kept in WORK (default: tests/work), in services. FRISCY_SNAP names another friscy-snap than target/release/friscy-snap.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
report=$(realpath -m "$1")
shift
here=$(cd "$(dirname "$0")" && pwd)
: "${WORK:=$here/../tests/work}"
command=$(realpath "${FRISCY_SNAP:-$here/../target/release/friscy-snap}")
out=$WORK/services
mkdir -p "$out"

# service NAME IMAGE PORT REQUEST SERVER: NAME.wasm and NAME-asked.wasm.
service() {
  local name=$1 image=$WORK/images/$2.tar port=$3 request=$4 server=$5
  [ -e "$image" ] || { echo "$image is missing: bash tests/images/build.sh $2" >&2; exit 1; }
  local connect="exec 3<>/dev/tcp/127.0.0.1/$port"
  local ask="$connect; printf '$request' >&3; read -r line <&3"
  pack() {
    echo "packing $1" >&2
    # The server is at rest when the shell writes to the freeze file, and asked when that returns: in each opening.
    "$command" "$image" -q -o "$out/$1.wasm" --until guest -- /bin/bash -c "cd /tmp; ($server) > log 2>&1 &
      until ($2) 2> /dev/null; do sleep 0.2; done; sleep 2; echo 1 > /proc/friscy/freeze
      $ask; echo \"\$line\"; exec sleep 1000"
    apps+=("$1.wasm")
  }
  pack "$name" "$connect"
  pack "$name-asked" "$ask"
}

apps=()
get='GET / HTTP/1.0\r\n\r\n'
service redis programs 6379 'PING\r\n' "exec redis-server --port 6379 --save ''"
service nginx programs 8000 "$get" "echo 'daemon off; master_process off; pid /tmp/pid; error_log stderr; events {}
  http { access_log off; server { listen 8000; root /usr/share/nginx/html; } }' > conf; exec nginx -c /tmp/conf"
service python3 debian-python3 8000 "$get" 'exec python3 -m http.server 8000'
service node node 8000 "$get" \
  "exec node -e 'require(\"http\").createServer((request, reply) => reply.end(request.url)).listen(8000)'"
cd "$out"
exec "$command" bench "${apps[@]}" -o "$report" "$@"
