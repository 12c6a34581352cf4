//! What stored Pods take of the server's memory.

use http::Method;
use serde_json::{Value, json};

use crate::connection::Target;
use crate::server::Server;
use crate::steps::{JSON, call, fill};
use crate::{Error, print};

const PODS: usize = 1_000;
/// Made and removed before: code that runs for the first time takes memory that is not the Pods'.
const FIRST: usize = 50;
const PATH: &str = "/api/v1/namespaces/pods/pods";

pub(crate) async fn measure(target: &Target, server: Server) -> Result<(), Error> {
    fill(target, FIRST, |n| call(Method::POST, PATH.into(), JSON, &pod(&format!("first-{n}")))).await?;
    fill(target, FIRST, |n| call(Method::DELETE, format!("{PATH}/first-{n}"), JSON, &Value::Null)).await?;
    let before = server.settled_memory_bytes().await?;
    fill(target, PODS, |n| call(Method::POST, PATH.into(), JSON, &pod(&format!("web-7d4b9c6f5-{n:05}")))).await?;
    let grown = server.settled_memory_bytes().await?.saturating_sub(before);
    print("pods", json!({ "kib_per_1000": grown * 1_000 / PODS as u64 / 1_024 }));
    Ok(())
}

/// A Pod as a Deployment makes it; there is no node that would take it.
fn pod(name: &str) -> Value {
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": 10 });
    let container = json!({
        "name": "web",
        "image": "registry.example.com/shop/web:1.27.3",
        "args": ["--listen=:8080", "--log-level=info"],
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "DATABASE", "valueFrom": { "secretKeyRef": { "name": "database", "key": "url" } } },
        ],
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
        "readinessProbe": probe("/readyz"),
        "livenessProbe": probe("/healthz"),
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/web", "readOnly": true }],
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app": "web", "pod-template-hash": "7d4b9c6f5" },
            "annotations": { "prometheus.io/scrape": "true" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5", "controller": true,
                "blockOwnerDeletion": true, "uid": "1f0c6dd2-5a55-4f3c-9d3f-6a8f4a1f6d11",
            }],
        },
        "spec": {
            "containers": [container],
            "volumes": [{ "name": "config", "configMap": { "name": "web" } }],
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1_000 },
        },
    })
}
