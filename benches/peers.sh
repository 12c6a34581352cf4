# Sourced by scripts/bench.sh: the programs that do a part of the same work, from Debian's packages.

install_peers() {
  declare -A package_of=(
    [crun]=crun [runc]=runc [containerd]=containerd [/usr/lib/cni/bridge]=containernetworking-plugins [etcd]=etcd-server
  )
  local program missing=()
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# oci_runtime PROGRAM COUNT: JSON with p50 and p99 in milliseconds, or the reason why there are none.
oci_runtime() {
  local times
  if times=$(inside benches/oci.sh "$1" "$2" "$scratch/oci" "$instance-oci" 2>"$scratch/errors"); then
    printf '{"p50":%s,"p99":%s}' "$(percentile 50 <<<"$times")" "$(percentile 99 <<<"$times")"
  else
    why "$1"
  fi
}

# containerd_with RUNTIME: the times of its steps as JSON, or the reason why there are none.
containerd_with() {
  inside benches/containerd.sh "$1" "$scratch/containerd" "$cri_bench" 2>"$scratch/errors" || why "containerd with $1"
}

# etcd LOAD...: what the load command prints about an etcd of its own, or the reason why there is none.
etcd() {
  inside benches/etcd.sh "$scratch/etcd" "$@" 2>"$scratch/errors" || why etcd
}

why() {
  printf '%s is not possible here: %s' "$1" "$(tail -n 1 "$scratch/errors")"
}
