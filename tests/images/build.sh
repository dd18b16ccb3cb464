#!/bin/bash
# build.sh [NAME...]: the images that the tests run (default: those of every run; `whole`: all); one that is there is kept.
. "$(dirname "$0")/lib.sh"
every="tiny musl debian-min debian-python3 programs go"
whole="$every gcc node java postgres"
programs=gawk,procps,apt,tmux,vim,less,htop,git,perl,sqlite3,redis-server,redis-tools,nginx-light,curl
programs+=,openssh-server,openssh-client,lua5.4,zstd,python3,ripgrep,make
[ "${*:-}" = whole ] && set -- $whole
for image in ${@:-$every}; do
  [ -e "$WORK/images/$image.tar" ] && continue
  echo "building $image.tar" >&2
  case $image in
    debian-min) bash "$here/debian.sh" debian-min gawk,procps ;;
    debian-python3) bash "$here/debian.sh" debian-python3 gawk,procps,python3 ;;
    programs) bash "$here/debian.sh" programs $programs ;;
    gcc) bash "$here/debian.sh" gcc gcc,libc6-dev,make ;;
    postgres) bash "$here/debian.sh" postgres gawk,procps,postgresql-17 ;;
    tiny | musl | go | node | java | bench)
      bash "$here/$image.sh" > "$WORK/logs/$image.out" 2>&1 || { tail -20 "$WORK/logs/$image.out" >&2; exit 1; }
      ;;
    *) echo "build.sh: no image is called $image ($whole bench)" >&2; exit 2 ;;
  esac
done
