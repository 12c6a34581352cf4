#!/usr/bin/env bash
# `make test`: the fast, pure tests of every crate, then those that need the kernel, then whole clusters with kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "the tests make namespaces, mounts and links: run them as root" >&2
  exit 1
fi
# The clusters run the program as it is built for tests: one build for everything. `make bench` measures the released one.
cargo build --workspace --locked
export KUBECTL="${KUBECTL:-$(scripts/kubectl.sh)}"
export SAMPAN="${SAMPAN:-${CARGO_TARGET_DIR:-$PWD/target}/debug/sampan}"
cargo test --workspace --locked --exclude sampan-testkit
# What holds for the API server on its own store holds for it on etcd.
SAMPAN_TEST_STORE=etcd cargo test --locked -p sampan-apiserver --test api
cargo test --locked -p sampan-testkit
