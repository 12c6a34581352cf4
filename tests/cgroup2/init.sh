#!/bin/busybox sh
# The emulated machine's first process: brings the shared root file system up, with memory above it, and hands over.
/bin/busybox --install -s /bin
mkdir -p /proc /dev /shared /memory /root
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
mount -t virtiofs -o ro root /shared
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/shared,upperdir=/memory/upper,workdir=/memory/work root /root
tr -d '\000' </dev/vdb >/root/task
. /root/task
umount /dev /proc
exec switch_root /root "$TREE/tests/cgroup2/guest.sh"
