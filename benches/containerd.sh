#!/usr/bin/env bash
# benches/containerd.sh RUNTIME DIR CLIENT: runs the program CLIENT against a containerd of its own that makes containers
# with the OCI runtime RUNTIME (runc or crun), on the root file system our Pods run on. CLIENT is given the socket, an
# image's name (IMAGE, if it is to be another) and a directory for logs. DIR is made and removed; Pods get addresses on a bridge of this network namespace.
set -euo pipefail
runtime=$1 dir=$2 client=$3
image=${IMAGE:-docker.io/library/bench:latest}

# crun refuses a host with both versions of cgroups unless the second is out of sight; runc gets the same view.
if [ -z "${BENCH_OCI_ALONE:-}" ]; then
  BENCH_OCI_ALONE=1 exec unshare --mount -- "$0" "$@"
fi
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

clean_up() {
  trap '' INT TERM HUP
  if [ -n "${server:-}" ]; then
    end_pods || true
    kill -TERM "$server" && wait "$server" || true
  fi
  # What Pods that a failed run has left had of it: their networks, their shared memory.
  tac /proc/self/mounts | cut -d ' ' -f 2 | grep "^$dir/" | xargs -r -n 1 umount --lazy || true
  # A mount that stays would be emptied instead of removed.
  if ! grep -q " $dir/" /proc/self/mounts; then rm -rf "$dir"; fi
}

# Containers that a failed run has left, with the shims that hold them.
end_pods() {
  local container
  for container in $(ctr_ containers list --quiet); do
    ctr_ tasks delete --force "$container" >/dev/null 2>&1 || true
    ctr_ containers delete "$container" >/dev/null 2>&1 || true
  done
}

ctr_() {
  ctr --address "$dir/containerd.sock" --namespace k8s.io "$@"
}

configure() {
  mkdir -p "$dir"/{cni,logs,layout/blobs/sha256}
  cat >"$dir/config.toml" <<EOT
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$image"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$runtime"
EOT
  cat >"$dir/cni/bench.conflist" <<EOT
{ "cniVersion": "1.0.0", "name": "bench", "plugins": [
  { "type": "bridge", "bridge": "bench0", "isGateway": true,
    "ipam": { "type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{ "subnet": "10.99.0.0/16" }]] } } ] }
EOT
}

# blob FILE TYPE: puts the file among the layout's blobs and prints its descriptor.
blob() {
  local digest
  digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
  cp "$1" "$dir/layout/blobs/sha256/$digest"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "$digest" "$(stat -c %s "$1")"
}

# An OCI archive of one layer. Its entrypoint waits, so that it serves as containerd's sandbox image too.
archive() {
  local config layer oci=application/vnd.oci.image
  images/busybox.sh >"$dir/layer"
  layer=$(blob "$dir/layer" "$oci.layer.v1.tar")
  jq --null-input --arg diff "$(jq -r .digest <<<"$layer")" '{ architecture: "amd64", os: "linux",
    config: { Env: ["PATH=/bin"], Entrypoint: ["sleep", "1000000"] }, rootfs: { type: "layers", diff_ids: [$diff] } }' >"$dir/config"
  config=$(blob "$dir/config" "$oci.config.v1+json")
  printf '{"schemaVersion":2,"config":%s,"layers":[%s]}' "$config" "$layer" >"$dir/manifest"
  blob "$dir/manifest" "$oci.manifest.v1+json" |
    jq --arg name "$image" '{ schemaVersion: 2, manifests: [. + { annotations: { "io.containerd.image.name": $name } }] }' \
      >"$dir/layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$dir/layout/oci-layout"
  tar -C "$dir/layout" -cf - .
}

trap clean_up EXIT
trap 'exit 130' INT TERM HUP
configure
containerd --config "$dir/config.toml" >"$dir/log" 2>&1 &
server=$!
for ((tries = 0; tries < 100; tries++)); do
  if ctr_ version >/dev/null 2>&1; then break; fi
  sleep 0.1
done
archive | ctr_ images import - >/dev/null
"$client" "$dir/containerd.sock" "$image" "$dir/logs"
