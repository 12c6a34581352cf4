#!/usr/bin/env bash
# benches/api.sh ALONE LOAD DIR STORE WHAT...: lets the program LOAD measure WHAT of an API server of its own, the program
# ALONE, that keeps its data in STORE, or if that is empty in DIR, which is made and removed.
set -euo pipefail
alone=$1 load=$2 dir=$3 store=$4
shift 4
port=16443

clean_up() {
  trap '' INT TERM HUP
  if [ -n "${server:-}" ]; then
    kill -INT "$server" && wait "$server" || true
  fi
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

mkdir -p -m 700 "$dir"
# shellcheck disable=SC2086 # no store is no argument
"$alone" "$dir" "$port" $store >&2 &
server=$!
curl --silent --show-error --insecure --retry 30 --retry-connrefused --retry-delay 1 \
  "https://127.0.0.1:$port/readyz" >/dev/null
"$load" "$dir/kubeconfig.yaml" "$server" "$@"
