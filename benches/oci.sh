#!/usr/bin/env bash
# benches/oci.sh PROGRAM COUNT DIR PREFIX: the milliseconds that `create` and `start` of a container take with an OCI
# runtime, one line for each of COUNT containers that stay side by side, on the root file system our Pods run on. DIR is
# made and removed; the containers' names begin with PREFIX.
set -euo pipefail
program=$1 count=$2 dir=$3 prefix=$4

# crun refuses a host with both versions of cgroups unless the second is out of sight; runc gets the same view.
if [ -z "${BENCH_OCI_ALONE:-}" ]; then
  BENCH_OCI_ALONE=1 exec unshare --mount -- "$0" "$@"
fi
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

clean_up() {
  trap '' INT TERM HUP
  for ((n = 0; n < count; n++)); do
    "$program" --root "$dir/state" delete --force "$prefix-$n" >/dev/null 2>&1 || true
  done
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

mkdir -p "$dir/bundle/rootfs"
images/busybox.sh "$dir/bundle/rootfs"
(cd "$dir/bundle" && "$program" spec)
jq '.process.terminal = false | .process.args = ["sleep", "3600"]' "$dir/bundle/config.json" >"$dir/config.json"
mv "$dir/config.json" "$dir/bundle/config.json"
for ((n = 0; n < count; n++)); do
  start=${EPOCHREALTIME/[.,]/}
  "$program" --root "$dir/state" create --bundle "$dir/bundle" "$prefix-$n" </dev/null >/dev/null
  "$program" --root "$dir/state" start "$prefix-$n"
  end=${EPOCHREALTIME/[.,]/}
  awk "BEGIN { printf \"%.1f\n\", ($end - $start) / 1000 }"
done
