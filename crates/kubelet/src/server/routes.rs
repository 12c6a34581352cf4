//! The paths of the API, and the ones among them that need no file of their own.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    routing::{any, get},
};
use serde_json::{Value, json};

use super::{access, logs, metrics, streaming};

/// A request body is never more than a few parameters; streams come by upgrade.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Every route, behind authentication and authorization.
pub(super) fn router(state: Arc<super::State>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/healthz/ping", get(async || "ok"))
        .route("/pods", get(list_pods))
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

/// `/configz`
async fn configz(State(state): State<Arc<super::State>>) -> Json<Value> {
    Json(json!({"kubeletconfig": state.configuration}))
}
