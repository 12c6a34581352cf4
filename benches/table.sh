# Sourced by scripts/bench.sh: the table, and the arithmetic of its figures. A figure that could not be had is a text
# that says why, and passes through unchanged.

heading() {
  printf '\n%-50s %10s  %-20s %10s %8s  %s\n' what ours peer "peer's" ratio aim
}

# row WHAT OURS PEER PEERS_FIGURE AIM: the ratio is ours by the peer's.
row() {
  local ratio=""
  if is_number "$2" && is_number "$4"; then ratio=$(calc "$2 / $4" 2); fi
  printf '%-50s %10s  %-20s %10s %8s  %s\n' "$1" "$2" "${3:--}" "${4:--}" "${ratio:--}" "${5:--}"
}

is_number() {
  [[ $1 =~ ^[0-9]+(\.[0-9]+)?$ ]]
}

# calc EXPRESSION DECIMALS
calc() {
  awk "BEGIN { printf \"%.$2f\", $1 }"
}

# figure KEY JSON: the value under the key; what is no JSON is the reason why there is none.
figure() {
  jq -r ".$1" <<<"$2" 2>/dev/null || printf '%s' "$2"
}

# median KEY LINES: that of the value under the key in several lines of JSON.
median() {
  local values
  if values=$(jq ".$1" <<<"$2" 2>/dev/null); then percentile 50 <<<"$values"; else head -n 1 <<<"$2"; fi
}

# The given percentile of the numbers on standard input, by nearest rank.
percentile() {
  sort -n | awk -v percent="$1" '{ all[NR] = $1 } END { rank = int((NR * percent + 99) / 100); print all[rank] }'
}

# milliseconds COMMAND...: how long the command took.
milliseconds() {
  local start=${EPOCHREALTIME/[.,]/}
  "$@" >&2
  printf '%s' "$(((${EPOCHREALTIME/[.,]/} - start) / 1000))"
}

fail() {
  echo "$*" >&2
  exit 1
}
