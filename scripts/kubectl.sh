#!/usr/bin/env bash
# Prints the path of the kubectl to test with: the one on the path, unless there is none or it is as old as Debian's,
# which cannot do what the scripts ask for.
set -euo pipefail
cd "$(dirname "$0")/.."
oldest_minor=31
minor=$(kubectl version --client -o json 2>/dev/null | jq -r .clientVersion.minor | tr -dc 0-9 || true)
if [ "${minor:-0}" -ge "$oldest_minor" ]; then command -v kubectl; else scripts/new-kubectl.sh; fi
