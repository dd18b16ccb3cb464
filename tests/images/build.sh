#!/bin/bash
# build.sh [NAME...]: the images that the tests run (default: all of them); one that is there is kept.
. "$(dirname "$0")/lib.sh"
for name in "${@:-tiny musl debian-min debian-python3}"; do
  for image in $name; do
    [ -e "$WORK/images/$image.tar" ] && continue
    echo "building $image.tar" >&2
    case $image in
      tiny | musl) bash "$here/$image.sh" > "$WORK/logs/$image.out" 2>&1 || { tail -20 "$WORK/logs/$image.out" >&2; exit 1; } ;;
      debian-min) bash "$here/debian.sh" debian-min gawk,procps ;;
      debian-python3) bash "$here/debian.sh" debian-python3 gawk,procps,python3 ;;
      *) echo "build.sh: no image is called $image (tiny, musl, debian-min, debian-python3)" >&2; exit 2 ;;
    esac
  done
done
