#!/usr/bin/env bash
# `make test`: the fast, pure tests of every crate, those that need the kernel, and whole clusters with kubectl.
# `scripts/test.sh NAME` runs the tests of the file NAME alone.
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
if [ $# -gt 0 ]; then
  # Some tests run examples, which cargo builds by itself for all tests alone.
  cargo build --workspace --locked --examples
  exec cargo test --workspace --locked --test "$1" -- --nocapture
fi
# Always the whole workspace: another choice of packages is another choice of their dependencies' features, and another build.
cargo test --workspace --locked
# What holds for the API server on its own store holds for it on etcd.
SAMPAN_TEST_STORE=etcd cargo test --workspace --locked --test api
# The kubelet speaks to whatever speaks CRI: the same scripts of its own, on Debian's containerd.
MUST_MATCH=1 RUNTIME=containerd cargo test --workspace --locked --test scripts -- init limits resize static_pods
