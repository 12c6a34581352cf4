#!/usr/bin/env bash
# Makes the guestbook's two images from busybox and the scripts beside this file, and imports them.
#   build.sh SAMPAN [FLAGS...]    FLAGS choose the cluster, for example --instance
set -euo pipefail
sampan=$(realpath "$1")
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for part in web server; do
  root=$work/$part
  "$here/../../../images/busybox.sh" "$root"
  cp -a "$here/$part/." "$root/"
  tar -C "$root" --owner=0 --group=0 --sort=name -cf "$work/$part.tar" .
  "$sampan" image import "$work/$part.tar" --rootfs --name "docker.io/sampan/guestbook-$part:1" \
    --entrypoint /bin/start "$@"
done
