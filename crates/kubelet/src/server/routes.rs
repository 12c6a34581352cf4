//! The paths of the API, and the ones among them that need no file of their own.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    routing::{any, get},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{access, logs, metrics, streaming};
use crate::spec;

/// A request body is never more than a few parameters; streams come by upgrade.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Every route, behind authentication and authorization.
pub(super) fn router(state: Arc<super::State>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/healthz/ping", get(async || "ok"))
        .route("/pods", get(list_pods))
        .route("/runningpods", get(running_pods))
        .route("/runningpods/", get(running_pods))
        .route("/configz", get(configz))
        .route("/stats/summary", get(metrics::stats_summary))
        .route("/metrics", get(metrics::of_kubelet))
        .route("/metrics/resource", get(metrics::of_resources))
        .route("/metrics/cadvisor", get(metrics::of_containers))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/exec/{namespace}/{pod}/{container}", any(streaming::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(streaming::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(streaming::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(streaming::attach))
        .route("/portForward/{namespace}/{pod}", any(streaming::port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(streaming::port_forward))
        .route("/run/{namespace}/{pod}/{container}", axum::routing::post(streaming::run))
        .route("/run/{namespace}/{pod}/{uid}/{container}", axum::routing::post(streaming::run))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), access::guard))
        .with_state(state)
}

async fn list_pods(State(state): State<Arc<super::State>>) -> Json<Value> {
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": state.pods.list()}))
}

/// What runs, as the runtime tells it: a Pod has its name and its running containers, and nothing else.
async fn running_pods(State(state): State<Arc<super::State>>) -> Json<Value> {
    let items: Vec<Value> = state.pods.list().iter().filter_map(|pod| running(&state, pod)).collect();
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn running(state: &super::State, pod: &Pod) -> Option<Value> {
    let metadata = &pod.metadata;
    let entry = state.pods.find(metadata.namespace.as_deref()?, metadata.name.as_deref()?)?;
    let runs = |container: &&super::Container| container.current.as_ref().is_some_and(|instance| instance.running);
    let image = |name: &str| spec::container(pod, name).and_then(|(_, container)| container.image.clone());
    let containers = entry.containers.iter().filter(runs);
    let containers: Vec<Value> =
        containers.map(|c| json!({"name": c.name, "image": image(&c.name), "resources": {}})).collect();
    let named = json!({"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid});
    (!containers.is_empty()).then(|| json!({"metadata": named, "spec": {"containers": containers}, "status": {}}))
}

/// `/configz`
async fn configz(State(state): State<Arc<super::State>>) -> Json<Value> {
    Json(json!({"kubeletconfig": state.configuration}))
}
