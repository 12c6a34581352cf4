# Sourced by scripts/bench.sh: a cluster in a network namespace of its own, and the end of everything that belongs to it.

prefix=sampan-b
# At most 14 characters, so that the names of its links fit into the kernel's 15 bytes.
instance=$prefix$(($$ % 1000000))
# What clients and peers keep while this runs, on the disk that a cluster's data is on.
scratch=/var/lib/$instance-bench

# A network namespace with a loopback, and an interface with the node's address and a default route that leads nowhere.
prepare() {
  mkdir -p "$scratch"
  echo $$ >"$scratch/owner"
  [ ! -e "/run/netns/$instance" ] || return 0
  ip netns add "$instance"
  ip -n "$instance" link set lo up
  ip -n "$instance" link add node0 type veth peer name node1
  ip -n "$instance" addr add 192.0.2.10/24 dev node0
  ip -n "$instance" link set node0 up
  ip -n "$instance" link set node1 up
  ip -n "$instance" route add default dev node0
}

# inside COMMAND...: runs it in the cluster's network namespace as the cluster's administrator.
inside() {
  HOME=$scratch KUBECONFIG=/etc/$instance/kubeconfig.yaml nsenter --net="/run/netns/$instance" -- "$@"
}

# No cluster, and nothing left of one: what comes next starts from nothing.
cluster_fresh() {
  cluster_remove
  prepare
}

# A disk that is nearly full is nothing that is measured.
cluster_up() {
  inside "$sampan" up --instance "$instance" --eviction-hard 'memory.available<100Mi' --image-gc-high-threshold 100 >/dev/null
}

# Whether the node is Ready and a name resolves, asked from outside the program.
cluster_answers() {
  local ready
  ready=$(inside kubectl get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}')
  [ "$ready" = True ] && inside busybox nslookup kubernetes.default.svc.cluster.local 10.43.0.10 >/dev/null
}

cluster_remove() {
  if [ -e "/run/netns/$instance" ]; then
    inside "$sampan" down --purge --instance "$instance" >/dev/null
    ip netns delete "$instance"
  fi
  rm -rf "$scratch"
}

# Removes what a run that was killed has left.
sweep() {
  local owner
  for owner in /var/lib/"$prefix"*-bench/owner; do
    [ -e "$owner" ] && [ ! -d "/proc/$(<"$owner")" ] || continue
    (
      scratch=${owner%/owner}
      instance=$(basename "${scratch%-bench}")
      clean_up
    )
  done
}

clean_up() {
  # A second Ctrl-C would leave half of it.
  trap '' INT TERM HUP
  cluster_remove
  rm -rf target/bench-build
}
