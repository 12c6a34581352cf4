#!/usr/bin/env bash
# Inside the emulated machine: mounts what a machine has, control groups of version 2 alone among it, runs the tests and
# turns the machine off. The last line says how it went.
set -uo pipefail
source /task
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SAMPAN KUBECTL
failed=0

mount_all() {
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t devtmpfs dev /dev
  mkdir -p /dev/pts /dev/shm /lib/modules
  mount -t devpts -o ptmxmode=666 pts /dev/pts
  mount -t tmpfs shm /dev/shm
  mount -t tmpfs run /run
  mount -t tmpfs tmp /tmp
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t securityfs securityfs /sys/kernel/security
  mount /dev/vda /mnt
  mkdir /mnt/lib /mnt/tmp
  mount --bind /mnt/lib /var/lib
  mount --bind /mnt/tmp /var/tmp
  mount --bind "$MODULES" /lib/modules
  mount --make-rshared /
  ip link set lo up
  hostname cgroup2
}

# Space to swap to, in memory: on a disk as slow as this one, a group is out of memory before what it swaps is written.
swap_on() {
  modprobe zram
  echo 1G >/sys/block/zram0/disksize
  mkswap --quiet /dev/zram0
  swapon /dev/zram0
}

# check NAME COMMAND...: runs it, and notes if it fails.
check() {
  local name=$1 begin=$SECONDS
  shift
  printf '== %s\n' "$name"
  if "$@"; then
    printf '== %s: ok (%s s)\n' "$name" $((SECONDS - begin))
  else
    printf '== %s: FAILED (%s s)\n' "$name" $((SECONDS - begin))
    failed=1
  fi
}

# library PROGRAM WORD: runs the tests with the word in their names. To libtest, none at all is a success.
library() {
  "$1" --list "$2" | grep -c ': test$' >/dev/null && "$1" -q "$2"
}

# The clusters are gone, and with them what they have given the kernel.
no_profile_stays() {
  ! grep -e '-default (' /sys/kernel/security/apparmor/profiles
}

mount_all
swap_on
cd "$TREE" || exit
printf 'Linux %s with: %s\n' "$(uname -r)" "$(cat /sys/fs/cgroup/cgroup.controllers)"
if [ -n "$WORDS" ]; then
  # shellcheck disable=SC2086
  SCRIPTS=$TREE/tests/cgroup2 check "scripts of version 2: $WORDS" "$testkit_tests_scripts" $WORDS
  # shellcheck disable=SC2086
  check "scripts: $WORDS" "$testkit_tests_scripts" $WORDS
else
  export MUST_MATCH=1
  check "runtime: control groups" library "$runtime_src_lib" cgroups
  # Without users of a Pod's own, for which this kernel is too old (Linux 6.3), and without what looks at the clock.
  check "runtime: containers" "$runtime_tests_pods" containers restart::a restart::c restart::n restart::k
  SCRIPTS=$TREE/tests/cgroup2 check "scripts of version 2" "$testkit_tests_scripts"
  check "scripts of the node" "$testkit_tests_scripts" limits resize
fi
check "no profile stays" no_profile_stays
if [ "$failed" = 0 ]; then echo 'cgroup2: passed'; else echo 'cgroup2: FAILED'; fi
sync
echo o >/proc/sysrq-trigger
sleep 60
