#!/usr/bin/env bash
# benches/api-on-etcd.sh ALONE LOAD ETCD_BENCH DIR ADDRESS: what the etcd at ADDRESS puts by itself, and what is created
# through an API server (ALONE, asked by LOAD) that keeps its objects there, over as many connections and of the same
# size, in turns.
set -euo pipefail
alone=$1 load=$2 etcd_bench=$3 dir=$4 address=$5
connections=32
rounds=5

for ((n = 0; n < rounds; n++)); do
  "$etcd_bench" "$address" "$connections"
  benches/api.sh "$alone" "$load" "$dir" "etcd://$address/round-$n" creates
done
