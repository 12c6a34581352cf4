#!/usr/bin/env bash
# Prints the path of Debian's kubectl 1.20, the oldest that has to work; unpacks it under target/ if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/target/tools/kubernetes-client
program=$dir/usr/bin/kubectl
if [ ! -x "$program" ]; then
  mkdir -p "$dir"
  (
    cd "$dir"
    apt-get download -qq kubernetes-client >&2 || { apt-get update -qq >&2 && apt-get download -qq kubernetes-client >&2; }
    dpkg -x kubernetes-client_*.deb .
  )
fi
echo "$program"
