#!/usr/bin/env bash
# `make bench`: one table of what speed and size are, each figure beside a peer in the same run where there is one. It
# reports and does not judge. BENCH_BUILD=1 adds the time of a clean release build.
#
# Everything runs in a network namespace of its own and is gone when this ends, by Ctrl-C too.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/step.sh
source benches/table.sh
source benches/cluster.sh
source benches/usage.sh
source benches/peers.sh
source benches/node.sh

sampan=$PWD/target/release/sampan
api_bench=$PWD/target/release/examples/api-bench
store_bench=$PWD/target/release/examples/store-bench
etcd_bench=$PWD/target/release/examples/etcd-bench
cri_bench=$PWD/target/release/examples/cri-bench
alone=$PWD/target/release/examples/alone
load=$PWD/target/release/examples/load
image=docker.io/library/busybox:latest

starts=5
pods=50
# Many short ones: what others do to a shared disk then hits both alike.
rounds=9
settle_s=30
idle_s=60

build_clients() {
  # With the program among the packages, its dependencies keep the features they were built with.
  cargo build --release --locked -p sampan -p sampan-store -p sampan-client -p sampan-apiserver \
    -p sampan-cri --example store-bench --example etcd-bench --example api-bench --example alone --example load \
    --example cri-bench
}

measure_start() {
  local times=()
  for ((n = 0; n < starts; n++)); do
    cluster_fresh
    times+=("$(milliseconds cluster_up)")
    cluster_answers || fail "the cluster said it is ready, but its node is not Ready or names do not resolve"
  done
  row "sampan up to Node Ready and DNS answering, ms" "$(printf '%s\n' "${times[@]}" | percentile 50)" "" "" "< 2000"
}

# On the cluster of the last start, in which nobody has done anything yet.
measure_idle() {
  local before after
  sleep "$settle_s"
  row "idle memory of all processes, MB" "$(memory_mb "$instance")" "" "" "< 80"
  before=$(cpu_ms "$instance")
  sleep "$idle_s"
  after=$(cpu_ms "$instance")
  row "idle CPU over $idle_s s, % of a core" "$(calc "($after - $before) / ($idle_s * 10)" 2)" "" "" "< 0.5"
}

# A disk that others use too has good and bad moments: we and the peer take turns.
measure_store() {
  local ours="" peer="" clients key
  prepare
  for ((n = 0; n < rounds; n++)); do
    ours+=$("$store_bench" "$scratch")$'\n'
    peer+=$(etcd "$etcd_bench")$'\n'
  done
  for clients in 1 64; do
    key=clients_${clients}_writes_per_s
    row "durable writes of 1 KB per s, clients: $clients" "$(median "$key" "$ours")" \
      "etcd puts" "$(median "$key" "$peer")" "> etcd"
  done
}

# The API server alone, per second of its own processor time: what else runs on the machine does not change that.
measure_api() {
  local lines what aim
  prepare
  lines=$(inside benches/api.sh "$alone" "$load" "$scratch/api" "" watches requests lists)
  lines+=$'\n'$(inside benches/api.sh "$alone" "$load" "$scratch/api" "" pods)
  for what in get create update patch apply; do
    aim=""
    case $what in
      get) aim="> 20000" ;;
      create | update | patch) aim="> 5000" ;;
    esac
    for protocol in http/1.1 h2; do
      row "$what, $protocol, per s of a core" "$(loaded per_core_s "$what $protocol")" "" "" "$aim"
      row "$what, $protocol, p99, ms" "$(calc "$(loaded p99_us "$what $protocol") / 1000" 1)" "" "" ""
    done
  done
  row "events to 1,000 watchers, per s of a core" "$(loaded events_per_core_s watches)" "" "" ""
  row "a change beside 1,000 watchers of another object, us" "$(loaded unseen_beside_us watches)" \
    "without them" "$(loaded unseen_alone_us watches)" ""
  row "memory of a watch, bytes" "$(loaded bytes_per_watch watches)" "" "" "< 4096"
  for what in "list of 500 of 1000 bytes" "list of 10000 of 1000 bytes" "list of 500 of 14000 bytes" \
    "list of 10000 of 14000 bytes"; do
    row "$what, first byte, ms" "$(loaded first_byte_ms "$what")" "" "" ""
    row "$what, MB per s of a core" "$(loaded mb_per_core_s "$what")" "" "" ""
  done
  row "memory of 1,000 stored Pods, KiB" "$(loaded kib_per_1000 pods)" "" "" ""
}

# loaded KEY WHAT: the figure under the key in the line about what, of measure_api's lines.
loaded() {
  jq -r --arg what "$2" "select(.what == \$what).$1" <<<"$lines"
}

# With etcd as the store: creates through the API beside etcd's own puts.
measure_api_on_etcd() {
  local lines puts creates
  prepare
  lines=$(etcd benches/api-on-etcd.sh "$alone" "$load" "$etcd_bench" "$scratch/api")
  puts=$(median clients_32_writes_per_s "$(grep clients_32 <<<"$lines" || head -n 1 <<<"$lines")")
  creates=$(median per_s "$(grep '"creates"' <<<"$lines" || head -n 1 <<<"$lines")")
  row "creates with etcd as the store per s, 32 connections" "$creates" "etcd puts" "$puts" "> etcd"
}

measure_objects() {
  local figures
  cluster_fresh
  cluster_up
  figures=$(inside "$api_bench" objects)
  row "ConfigMap creates per s, 64 connections" "$(figure creates_per_s "$figures")" "" "" ""
  row "list of 10,000 ConfigMaps ($(calc "$(figure list_bytes "$figures") / 1000000" 0) MB), ms" \
    "$(figure list_ms "$figures")" "" "" ""
}

measure_size() {
  row "size of the binary, MB" "$(calc "$(stat -c %s "$sampan") / 1000000" 1)" "" "" ""
}

measure_build() {
  local dir=target/bench-build ms
  rm -rf "$dir"
  ms=$(milliseconds cargo build --quiet --release --locked -p sampan --target-dir "$dir")
  rm -rf "$dir"
  row "clean release build on $(nproc) cores, min" "$(calc "$ms / 60000" 1)" "" "" "< 15"
}

[ "$(id -u)" -eq 0 ] || fail "the benchmarks make namespaces, mounts and links: run them as root"
install_peers
sweep
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
step "programs that measure" build_clients
heading
measure_size
measure_start
measure_idle
measure_pods
measure_runtime
measure_crowd
measure_logs
measure_store
measure_api
measure_api_on_etcd
measure_objects
if [ "${BENCH_BUILD:-}" = 1 ]; then measure_build; fi
