#!/usr/bin/env bash
# Prints the path of JavaScript's Kubernetes client, installed under target/ if it is not there. Version 1 is the last for
# Node.js 18 and 20; Debian's is taken where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/target/tools/javascript-client
version=1.4.0
scripts/deps.sh node=nodejs npm=npm >&2
if [ ! -e "$dir/$version" ]; then
  rm -rf "$dir"
  mkdir -p "$dir"
  npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$dir" "@kubernetes/client-node@$version" >&2
  touch "$dir/$version"
fi
echo "$dir/node_modules/@kubernetes/client-node"
