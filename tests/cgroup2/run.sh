#!/usr/bin/env bash
# The node's tests on a kernel with control groups of version 2 alone, and with AppArmor: Debian's own, in an emulated
# machine.
#
# The machine is qemu's, in software, so that it runs wherever the tests run. It sees this machine's root file system, read
# only, with memory above it: every program of here is there, and nothing that is done there is left here. Its disk is a
# file for /var/lib. What it runs is `guest.sh`; what that prints is printed here, and its verdict is this one's.
#
# `tests/cgroup2/run.sh limits resize` runs the scripts whose names contain one of the words, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
tree=$PWD
here=$tree/tests/cgroup2

memory=3G
disk=4G
# Far more than it takes, on a machine that does much else.
limit=40m

[ "$(id -u)" -eq 0 ] || { echo "this shares the root file system with an emulated machine: run it as root" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] || { echo "this knows no emulated machine for $(uname -m)" >&2; exit 1; }
for word in "$@"; do
  find tests/scripts tests/cgroup2 -name "*$word*.txt" | grep -q . || { echo "no script is called $word" >&2; exit 1; }
done
scripts/deps.sh qemu-system-x86_64=qemu-system-x86 modprobe=kmod cpio=cpio mke2fs=e2fsprogs mkswap=util-linux \
  apparmor_parser=apparmor
target=${CARGO_TARGET_DIR:-$tree/target}
[ -n "${SAMPAN:-}" ] || cargo build --workspace --locked
export SAMPAN=${SAMPAN:-$target/debug/sampan} KUBECTL=${KUBECTL:-$(scripts/kubectl.sh)}

kernel=$("$here/kernel.sh")
version=$(basename "$kernel"/lib/modules/*)
scratch=$(mktemp -d)
clean_up() {
  trap '' INT TERM HUP
  [ ! -s "$scratch/machine.pid" ] || kill "$(cat "$scratch/machine.pid")" 2>/dev/null || true
  [ -z "${share:-}" ] || kill "$share" 2>/dev/null || true
  wait
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# Where cargo has built the programs that hold tests, by their sources: runtime_tests_pods=...
test_programs() {
  cargo test --workspace --locked --no-run --lib --test pods --test scripts --message-format=json 2>"$scratch/cargo" |
    jq -r --arg crates "$tree/crates/" 'select(.profile.test and .executable != null)
      | (.target.src_path | ltrimstr($crates) | rtrimstr(".rs") | gsub("[/-]"; "_")) + "=" + (.executable | @sh)' ||
    { cat "$scratch/cargo" >&2; return 1; }
}

# What the kernel needs before it has a root file system, in the order in which modules need each other.
initramfs() {
  local root=$scratch/initramfs module number=10
  mkdir -p "$root"/{bin,modules}
  install -m 755 "$(command -v busybox)" "$root/bin/busybox"
  install -m 755 "$here/init.sh" "$root/init"
  for module in $(modprobe --dirname "$kernel" --set-version "$version" --show-depends --all \
    virtio_pci virtio_blk virtiofs overlay | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
    cp "$module" "$root/modules/$((number++))-$(basename "$module")"
  done
  (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$scratch/initramfs.gz"
}

# What the machine is told: what to run there, in which tree.
task() {
  printf '%s=%q\n' TREE "$tree" MODULES "$kernel/lib/modules" SAMPAN "$SAMPAN" KUBECTL "$KUBECTL" WORDS "$*"
  test_programs
}

# The root file system, read only whatever the other side tries. It ends with the machine.
share_root() {
  local daemon=/usr/lib/qemu/virtiofsd
  mkdir "$scratch/root"
  unshare --mount --propagation private sh -ec '
    mount --bind / "$1"
    mount --bind "$2" "$1$2"
    mount --bind "$3" "$1$3"
    mount -o remount,bind,ro "$1"
    exec "$4" --socket-path="$5" -o source="$1" -o sandbox=chroot -o cache=always
  ' sh "$scratch/root" "$tree" "$target" "$daemon" "$scratch/share.sock" >"$scratch/share.log" 2>&1 &
  share=$!
  until [ -S "$scratch/share.sock" ]; do
    kill -0 "$share" 2>/dev/null || { cat "$scratch/share.log" >&2; return 1; }
  done
}

machine() {
  timeout --foreground --kill-after=10 "$limit" qemu-system-x86_64 -pidfile "$scratch/machine.pid" \
    -machine q35,accel=tcg -cpu max -smp 2 -m "$memory" \
    -object memory-backend-memfd,id=memory,size="$memory",share=on -numa node,memdev=memory \
    -chardev socket,id=root,path="$scratch/share.sock" -device vhost-user-fs-pci,chardev=root,tag=root \
    -drive file="$scratch/disk",format=raw,if=virtio,cache=unsafe \
    -drive file="$scratch/task",format=raw,if=virtio,readonly=on \
    -nic none -display none -serial stdio -monitor none -no-reboot \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$scratch/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=1" </dev/null
}

initramfs
task "$@" >"$scratch/task"
# A drive is made of sectors.
truncate -s %512 "$scratch/task"
truncate -s "$disk" "$scratch/disk"
mke2fs -q -t ext4 "$scratch/disk"
share_root
# Not in the foreground: a signal is not heeded before what is there has ended.
machine | stdbuf -oL tr -d "\r" | tee "$scratch/console" &
wait $!
grep -qx 'cgroup2: passed' "$scratch/console"
