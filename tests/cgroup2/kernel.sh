#!/usr/bin/env bash
# Prints where Debian's kernel for virtual machines is; unpacks it under target/ if it is not there. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$PWD/target/tools/linux
if ! [ -e "$dir/ready" ]; then
  rm -rf "$dir"
  mkdir -p "$dir"
  newest() { apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }'; }
  [ -n "$(newest)" ] || apt-get update -qq >&2
  (cd "$dir" && apt-get download -qq "$(newest)" >&2 && dpkg -x linux-image-*.deb . && rm linux-image-*.deb)
  depmod --basedir "$dir" "$(basename "$dir"/lib/modules/*)"
  touch "$dir/ready"
fi
echo "$dir"
