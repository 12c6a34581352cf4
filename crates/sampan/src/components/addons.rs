//! Objects that belong to the cluster itself: today the Service of the cluster's DNS.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::identity::Clients;
use crate::config::Config;

/// Our name as the owner of the fields we set.
const MANAGER: &str = "sampan";

/// Brings the objects into being, or up to date.
pub(super) async fn apply(config: &Config, clients: &Clients) -> Result<()> {
    // It has no endpoints: every node answers on the Service's own address by itself.
    let dns = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {
            "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}},
        "spec": {"clusterIP": config.cluster_dns, "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53}]}
    });
    let api = Api::<Service>::namespaced(clients.setup(), "kube-system");
    let params = PatchParams::apply(MANAGER).force();
    api.patch("kube-dns", &params, &Patch::Apply(&dns)).await.context("making the Service kube-dns")?;
    Ok(())
}
