#!/usr/bin/env bash
# Writes the root file system of a busybox image to standard output, as a tar: busybox-static and what programs expect
# around it. `images/busybox.sh DIR` makes it in DIR instead, for images that build on it.
set -euo pipefail

busybox=$(command -v busybox)
root=${1:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,etc,proc,sys,dev,root,usr/sbin,usr/bin,home,var/spool}
mkdir -p -m 1777 "$root"/tmp
install -m 755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
  [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
done
cat >"$root/etc/passwd" <<'EOT'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
EOT
cat >"$root/etc/group" <<'EOT'
root:x:0:
daemon:x:1:
www-data:x:33:
nobody:x:65534:
EOT
[ $# -gt 0 ] || tar -C "$root" --owner=0 --group=0 --sort=name -cf - .
