#!/usr/bin/env bash
# `make test`: the fast, pure tests of every crate, then those that need the kernel, then whole clusters with kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "the tests make namespaces, mounts and links: run them as root" >&2
  exit 1
fi
cargo test --workspace --locked --exclude sampan-testkit
cargo test --locked -p sampan-testkit
