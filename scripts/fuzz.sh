#!/usr/bin/env bash
# `make fuzz`: libFuzzer on every target, or on those named, each for FUZZ_SECONDS. What breaks a target is kept under
# target/fuzz/<target>/ and named; once it is mended, put it into crates/fuzz/corpus/<target>/.
#
# Stable Rust can count what code is reached, which is what libFuzzer steers by; only the sanitizers need nightly, and
# they look for what safe code does not do.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-15}
corpus=crates/fuzz/corpus
found=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
fuzz=${CARGO_TARGET_DIR:-$PWD/target}/debug/fuzz

scripts/deps.sh c++=g++
# Only this workspace's crates are counted; with --workspace, their dependencies are those of the tests, built already.
RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/fuzz-rustc.sh \
  cargo build --locked --workspace --features sampan-fuzz/driver --bin fuzz

if [ "$#" -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(ls "$corpus"); fi
# Decoders run on the stacks of tokio's threads.
ulimit -s 2048
failed=0
for target in "${targets[@]}"; do
  mkdir -p "$found/$target/corpus"
  log=$found/$target/log
  if TARGET=$target "$fuzz" "$found/$target/corpus" "$corpus/$target" -artifact_prefix="$found/$target/" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '  %-16s ok, %s inputs\n' "$target" "$runs"
  else
    failed=$((failed + 1))
    printf '  %-16s FAILED\n' "$target"
    grep -aE 'panicked|ERROR|Test unit written' -A 3 "$log" | head -20
  fi
done
echo
echo "$((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
