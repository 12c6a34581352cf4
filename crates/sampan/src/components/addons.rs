//! Objects that belong to the cluster itself: the Service of its DNS, and what a machine needs to know to join it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::identity::Clients;
use crate::config::Config;

/// Our name as the owner of the fields we set.
const MANAGER: &str = "sampan";

/// Brings the objects into being, or up to date.
pub(super) async fn apply(config: &Config, clients: &Clients, ca_pem: &str) -> Result<()> {
    dns(config, clients).await?;
    cluster_info(config, clients, ca_pem).await
}

/// `kube-public/cluster-info`: where the cluster is and by which authority to know it. Anybody may read it; the signatures
/// of bootstrap tokens, which a controller adds, say that it is true.
async fn cluster_info(config: &Config, clients: &Clients, ca_pem: &str) -> Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "", "contexts": null, "users": null,
        "clusters": [{ "name": "", "cluster": {
            "certificate-authority-data": STANDARD.encode(ca_pem),
            "server": format!("https://{}", SocketAddr::new(config.node_ip, config.port)),
        } }],
    });
    let info = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": serde_yaml_ng::to_string(&kubeconfig)? },
    });
    let api = Api::<ConfigMap>::namespaced(clients.setup(), "kube-public");
    let params = PatchParams::apply(MANAGER).force();
    api.patch("cluster-info", &params, &Patch::Apply(&info)).await.context("making the ConfigMap cluster-info")?;
    Ok(())
}

async fn dns(config: &Config, clients: &Clients) -> Result<()> {
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
