#!/usr/bin/env bash
# Prints the path of a Python that has the Kubernetes client, installed under target/ if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/target/tools/python-client
version=37.0.2
if [ ! -e "$dir/$version" ]; then
  python3=/usr/bin/python3
  "$python3" -c 'import ensurepip' 2>/dev/null || {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends python3-venv >&2
  }
  rm -rf "$dir"
  "$python3" -m venv "$dir"
  "$dir/bin/pip" install --quiet --disable-pip-version-check "kubernetes==$version" >&2
  touch "$dir/$version"
fi
echo "$dir/bin/python"
