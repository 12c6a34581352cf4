#!/usr/bin/env bash
# Installs what building, running and testing need from Debian's packages, if it is missing. More can be named, as
# `program=package`.
set -euo pipefail

declare -A package_of=(
  [cc]=gcc [make]=make [nft]=nftables [ip]=iproute2 [busybox]=busybox-static [curl]=curl [jq]=jq
  [etcd]=etcd-server [openssl]=openssl [/usr/bin/python3]=python3 [dbus-daemon]=dbus-daemon
)
for pair in "$@"; do package_of[${pair%%=*}]=${pair#*=}; done
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
command -v kubectl >/dev/null || missing+=(kubernetes-client)
# Images are made of busybox alone: one that needs libraries beside it will not do.
if command -v busybox >/dev/null && ldd "$(command -v busybox)" >/dev/null 2>&1; then missing+=(busybox-static); fi
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "these packages are missing and only root can install them: ${missing[*]}" >&2
  echo "run this again as root, or: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
