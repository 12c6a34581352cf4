//! What exists before the first client comes: the system namespaces and priority classes, the bootstrap policy, the
//! priority levels and flow schemas, the range of Services, and the server's own Service with its endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use sampan_api::kinds::SYSTEM_PRIORITY_CLASSES;
use sampan_api::status::Status;
use sampan_auth::rbac::uncovered;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::flowcontrol;
use crate::health::{Health, Hook};
use crate::registry::{Attempt, Registry, built_in};
use crate::resources::Ranges;

/// How long to wait before the own Service is made again after that failed.
const RETRY: Duration = Duration::from_millis(100);
/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Roles of the bootstrap policy that an administrator wants to keep as they are say so with this annotation.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The Service `default/kubernetes`.
pub(crate) struct OwnService {
    /// Its address is the first of these.
    pub(crate) ranges: Ranges,
    /// Its endpoint: where clients in the cluster reach this server.
    pub(crate) advertised: SocketAddr,
}

/// Makes what is missing.
pub(crate) async fn run(registry: &Registry, own: &OwnService, health: &Health) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(registry, "", "", &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
            .await?;
    }
    health.passed(Hook::SystemNamespaces);
    priority_classes(registry).await?;
    health.passed(Hook::PriorityClasses);
    policy(registry).await?;
    health.passed(Hook::Roles);
    flowcontrol::ensure(registry).await?;
    health.passed(Hook::FlowControlProducer);
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": [own.ranges.addresses.to_string()] },
    });
    ensure(registry, "networking.k8s.io", "", &range).await?;
    own_service(registry, own).await?;
    health.passed(Hook::OwnService);
    Ok(())
}

/// Makes the server's own Service again whenever someone deletes it, until `stop`.
pub(crate) async fn keep_own_service(registry: Arc<Registry>, own: OwnService, stop: CancellationToken) {
    let Ok(room) = built_in("", "Service").and_then(|kind| registry.cache.room(kind)) else { return };
    let mut changes = room.subscribe();
    while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
        while room.get("default/kubernetes").is_none() && !stop.is_cancelled() {
            // The deletion is seen here before the address it frees is free.
            match own_service(&registry, &own).await {
                Ok(()) => break,
                Err(error) => tracing::debug!(%error, "the Service default/kubernetes could not be made again yet"),
            }
            stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
        }
    }
}

/// The classes of what the cluster itself needs to run.
async fn priority_classes(registry: &Registry) -> Result<(), Status> {
    for (name, value, description) in SYSTEM_PRIORITY_CLASSES {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": { "name": name }, "value": value, "description": description,
        });
        ensure(registry, "scheduling.k8s.io", "", &class).await?;
    }
    Ok(())
}

async fn policy(registry: &Registry) -> Result<(), Status> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let policy = sampan_auth::bootstrap::bootstrap();
    for role in &policy.roles {
        reconcile(registry, GROUP, &value(role)?).await?;
    }
    for role in &policy.local_roles {
        reconcile(registry, GROUP, &value(role)?).await?;
    }
    for binding in &policy.bindings {
        reconcile(registry, GROUP, &value(binding)?).await?;
    }
    for binding in &policy.local_bindings {
        reconcile(registry, GROUP, &value(binding)?).await?;
    }
    Ok(())
}

fn value(object: &impl Serialize) -> Result<Value, Status> {
    serde_json::to_value(object).map_err(|_| Status::internal("the bootstrap policy cannot be encoded"))
}

/// The attempt about an object of the server's own.
fn attempt(group: &str, namespace: &str, object: &Value) -> Result<Attempt, Status> {
    let kind = built_in(group, object["kind"].as_str().unwrap_or_default())?;
    Ok(Attempt::internal(kind, namespace, object["metadata"]["name"].as_str().unwrap_or_default()))
}

/// Creates an object unless there is one.
async fn ensure(registry: &Registry, group: &str, namespace: &str, object: &Value) -> Result<(), Status> {
    match registry.create(&attempt(group, namespace, object)?, object.clone()).await {
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}

/// The same, and gives an existing one what it lacks, unless its owner has said to keep it as it is. What an
/// administrator has added stays.
async fn reconcile(registry: &Registry, group: &str, object: &Value) -> Result<(), Status> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let attempt = attempt(group, namespace, object)?;
    let kind = attempt.kind.kind;
    let Some(existing) = registry.peek(group, kind, namespace, &attempt.name) else {
        return ensure(registry, group, namespace, object).await;
    };
    if existing["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return Ok(());
    }
    let updated = completed(&existing, object);
    if updated == existing {
        return Ok(());
    }
    registry.update(&attempt, updated).await.map(drop)
}

/// `existing` with what it lacks of `wanted`: rules that grant what none of its own does, subjects, labels, annotations.
fn completed(existing: &Value, wanted: &Value) -> Value {
    let mut updated = existing.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            updated["metadata"][field][key] = value.clone();
        }
    }
    if !wanted["aggregationRule"].is_null() {
        updated["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    let rules =
        |object: &Value| -> Vec<PolicyRule> { serde_json::from_value(object["rules"].clone()).unwrap_or_default() };
    let missing = uncovered(&rules(existing), &rules(wanted));
    if !missing.is_empty() {
        let lacks = |rule: &PolicyRule| !uncovered(&rules(existing), std::slice::from_ref(rule)).is_empty();
        let whole = rules(wanted).into_iter().filter(lacks);
        append(&mut updated, "rules", whole.map(|rule| json!(rule)));
    }
    let has = |subject: &&Value| existing["subjects"].as_array().is_some_and(|all| all.contains(subject));
    let subjects = wanted["subjects"].as_array().into_iter().flatten();
    append(&mut updated, "subjects", subjects.filter(|subject| !has(subject)).cloned());
    updated
}

fn append(object: &mut Value, field: &str, more: impl Iterator<Item = Value>) {
    let mut more = more.peekable();
    if more.peek().is_none() {
        return;
    }
    let list = &mut object[field];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}

/// `default/kubernetes`: how Pods reach this server.
async fn own_service(registry: &Registry, own: &OwnService) -> Result<(), Status> {
    let OwnService { ranges, advertised } = own;
    let meta = json!({ "name": "kubernetes", "namespace": "default", "labels": {
        "component": "apiserver", "provider": "kubernetes",
    } });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": meta,
        "spec": {
            "type": "ClusterIP", "clusterIP": ranges.kubernetes().to_string(), "sessionAffinity": "None",
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": advertised.port() }],
        },
    });
    ensure(registry, "", "default", &service).await?;
    if advertised.ip().is_loopback() {
        return Ok(()); // Nothing in a Pod could reach it, and endpoints must not be loopback addresses.
    }
    let (ip, port) = (advertised.ip().to_string(), advertised.port());
    let labels = json!({ "endpointslice.kubernetes.io/skip-mirror": "true" });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": "kubernetes", "namespace": "default", "labels": labels },
        "subsets": [{ "addresses": [{ "ip": ip }], "ports": [{ "name": "https", "port": port, "protocol": "TCP" }] }],
    });
    put(registry, "", &endpoints).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "namespace": "default", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": if advertised.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{ "addresses": [ip], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
    });
    put(registry, "discovery.k8s.io", &slice).await
}

/// Creates or replaces an object in `default`.
async fn put(registry: &Registry, group: &str, object: &Value) -> Result<(), Status> {
    let attempt = attempt(group, "default", object)?;
    match registry.create(&attempt, object.clone()).await {
        Err(status) if status.reason == "AlreadyExists" => registry.update(&attempt, object.clone()).await.map(drop),
        other => other.map(drop),
    }
}
