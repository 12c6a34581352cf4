# Sourced by the scripts here: `step NAME COMMAND...` runs the command and tells on one line how long it took.
# What the command prints is shown only if it fails.
step() {
  local name=$1 start end log
  shift
  log=$(mktemp)
  start=$(date +%s%N)
  if [ -t 1 ]; then printf '  %-44s ...' "$name"; fi
  if ! "$@" >"$log" 2>&1; then
    printf '\r  %-44s failed\n' "$name" >&2
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  end=$(date +%s%N)
  rm -f "$log"
  [ -t 1 ] && printf '\r'
  printf '  %-44s %8s ms\n' "$name" "$(((end - start) / 1000000))"
}
