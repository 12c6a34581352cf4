# Sourced by scripts/bench.sh: what a node does with Pods, beside containerd with the usual OCI runtimes.

cluster_with_image() {
  cluster_fresh
  cluster_up
  images/busybox.sh | inside "$sampan" image --instance "$instance" import - --rootfs --name "$image" --cmd sh >/dev/null
}

measure_pods() {
  local ours name peer percent aim
  cluster_with_image
  ours=$(inside "$api_bench" pods "$image")
  cluster_fresh
  for name in crun runc; do
    peer=$(oci_runtime "$name" "$pods")
    for percent in p50 p99; do
      aim=""
      [ "$percent" = p99 ] || aim="< 50"
      row "Pod create to Running, $percent of $pods, ms" "$(figure "running_${percent}_ms" "$ours")" \
        "$name create+start" "$(figure "$percent" "$peer")" "$aim"
    done
  done
}

# The same client asks both runtimes over CRI, step by step.
measure_runtime() {
  local ours name peer step percent aim
  cluster_with_image
  mkdir -p "$scratch/logs"
  ours=$(inside "$cri_bench" "/run/$instance/cri.sock" "$image" "$scratch/logs")
  cluster_fresh
  for name in crun runc; do
    peer=$(containerd_with "$name")
    for step in sandbox create start running exec gone; do
      for percent in p50 p99; do
        aim=""
        [ "$step $percent" != "gone p50" ] || aim="< 100"
        row "CRI: $step, $percent, ms" "$(figure "${step}_${percent}_ms" "$ours")" \
          "containerd, $name" "$(figure "${step}_${percent}_ms" "$peer")" "$aim"
      done
    done
  done
}

# Many Pods at once, what they cost while they run, and their end.
measure_crowd() {
  local before with running figures
  cluster_with_image
  before=$(server_kib "$instance")
  coproc CLIENT { inside "$api_bench" crowd "$image"; }
  local from=${CLIENT[0]} to=${CLIENT[1]}
  read -r running <&"$from"
  with=$(server_kib "$instance")
  row "private memory of a Pod's shim, KiB" "$(shim_kib "$instance")" "" "" "< 1024"
  row "memory of the server for one Pod, KiB" "$(calc "($with - $before) / $(figure running "$running")" 0)" "" "" ""
  echo >&"$to"
  read -r figures <&"$from"
  wait "$CLIENT_PID"
  row "Pods per s, 100 at once" "$(figure pods_per_s "$figures")" "" "" "> 50"
  row "delete of a Pod to gone, p50, ms" "$(figure gone_p50_ms "$figures")" "" "" "< 100"
  row "delete of a Pod to gone, p99, ms" "$(figure gone_p99_ms "$figures")" "" "" ""
}

measure_logs() {
  cluster_with_image
  row "output of a container to its log, MB per s" "$(figure log_mb_per_s "$(inside "$api_bench" logs "$image")")" "" "" ""
}
