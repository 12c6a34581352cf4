#!/usr/bin/env bash
# Prints the path of Helm 3, built from its Go module under target/ if it is not there. Debian has no package of it.
#
# A Go that is there and new enough builds a current Helm. Elsewhere Debian's own Go, which is unpacked under target/,
# builds the last Helm that it can.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
helm=$tools/helm/helm
debian_go=go-1.19

current() {
  [[ $(go env GOVERSION 2>/dev/null) =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 24 ]
}

unpack_debian_go() {
  mkdir -p "$tools/$debian_go"
  (
    cd "$tools/$debian_go"
    packages=("golang-${debian_go#go-}-go" "golang-${debian_go#go-}-src")
    apt-get download -qq "${packages[@]}" >&2 || { apt-get update -qq >&2 && apt-get download -qq "${packages[@]}" >&2; }
    for package in ./*.deb; do dpkg -x "$package" .; done
    rm ./*.deb
  )
}

if [ ! -x "$helm" ]; then
  if current; then
    version=v3.19.0
  else
    version=v3.12.3
    export GOROOT=$tools/$debian_go/usr/lib/$debian_go
    export PATH=$GOROOT/bin:$PATH
    [ -x "$GOROOT/bin/go" ] || unpack_debian_go
  fi
  GOBIN=$tools/helm GOTOOLCHAIN=local go install -ldflags="-s -w" "helm.sh/helm/v3/cmd/helm@$version" >&2
fi
echo "$helm"
