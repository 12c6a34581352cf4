#!/bin/sh
# rustc for `make fuzz`: this workspace's own crates come out fast, checked for overflow, and counting where they go.
case " $* " in
  *" --crate-name sampan_"*)
    exec "$@" -Copt-level=2 -Cdebug-assertions=on -Coverflow-checks=on -Cpasses=sancov-module \
      -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
  *) exec "$@" ;;
esac
