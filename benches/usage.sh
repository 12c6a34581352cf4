# Sourced by scripts/bench.sh: what a cluster's processes take of the machine, by the kernel's own accounts.

# processes INSTANCE: the ids of its server and of its Pods' shims.
processes() {
  local files
  # The brackets keep grep from finding its own command line.
  files=$(grep -lzsx -e "[${1:0:1}]${1:1}" -e "[/]run/$1/.*" /proc/[0-9]*/cmdline) || true
  grep -o '[0-9]\+' <<<"$files"
}

# memory_mb INSTANCE: proportional set sizes, in which a page shared by several counts once.
memory_mb() {
  local pids kib
  pids=$(processes "$1")
  # shellcheck disable=SC2046 # one word for each process
  kib=$(awk '/^Pss:/ { sum += $2 } END { print sum }' $(printf '/proc/%s/smaps_rollup ' $pids))
  calc "$kib * 1024 / 1000000" 1
}

# cpu_ms INSTANCE: time on a processor so far, in user space and in the kernel.
cpu_ms() {
  local pids ticks
  pids=$(processes "$1")
  # shellcheck disable=SC2046 # one word for each process
  ticks=$(sed 's/.*) //' $(printf '/proc/%s/stat ' $pids) | awk '{ sum += $12 + $13 } END { print sum }')
  calc "$ticks * 1000 / $(getconf CLK_TCK)" 0
}

# server_kib INSTANCE: the proportional set size of its server.
server_kib() {
  local pid
  pid=$(server_process "$1")
  awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup"
}

server_process() {
  local file
  file=$(grep -lzsx -e "[${1:0:1}]${1:1}" /proc/[0-9]*/cmdline | head -n 1)
  grep -o '[0-9]\+' <<<"$file"
}

# shim_kib INSTANCE: the median of what its shims share with nobody.
shim_kib() {
  local pid
  for pid in $(grep -lzsx -e "[/]run/$1/.*" /proc/[0-9]*/cmdline | grep -o '[0-9]\+'); do
    awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$pid/smaps_rollup"
  done | percentile 50
}
