#!/usr/bin/env bash
# `make up`: from a fresh clone to a cluster with the guestbook on it.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/step.sh

sampan=target/release/sampan
export KUBECONFIG=/etc/sampan/kubeconfig.yaml

scripts/deps.sh
echo "Building (the first build takes some minutes):"
cargo build --release --locked -p sampan
echo
echo "Starting the cluster:"
$sampan up
echo
echo "Starting the guestbook:"
step "image busybox" make -s image-kit
step "images guestbook-web, guestbook-server" examples/guestbook/images/build.sh $sampan
step "kubectl apply -f examples/guestbook" kubectl apply -f examples/guestbook
step "guestbook ready" kubectl -n guestbook rollout status deployment/web deployment/server --timeout=120s
node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
cat <<EOT

The guestbook answers at http://$node:30080/  (on this machine also http://127.0.0.1:30080/)
The kubeconfig is $KUBECONFIG; your ~/.kube/config has the context "sampan".

Worth trying next:
  kubectl --context sampan -n guestbook get pods -o wide
  kubectl --context sampan -n guestbook logs deployment/server -f
  kubectl --context sampan -n guestbook scale deployment/web --replicas 3
EOT
