#!/usr/bin/env bash
# benches/etcd.sh DIR LOAD...: runs the command LOAD, with an address behind it, against an etcd of its own that keeps its
# data in DIR, which is made and removed.
set -euo pipefail
dir=$1
shift
client=127.0.0.1:2379 peer=127.0.0.1:2380

clean_up() {
  trap '' INT TERM HUP
  if [ -n "${server:-}" ]; then
    kill "$server" && wait "$server" || true
  fi
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

mkdir -p -m 700 "$dir"
etcd --data-dir "$dir" --log-level error \
  --listen-client-urls "http://$client" --advertise-client-urls "http://$client" \
  --listen-peer-urls "http://$peer" --initial-advertise-peer-urls "http://$peer" \
  --initial-cluster "default=http://$peer" >&2 &
server=$!
curl --silent --show-error --retry 30 --retry-connrefused --retry-delay 1 "http://$client/health" >/dev/null
"$@" "$client"
