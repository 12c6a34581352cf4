//! The paths of the API, and the ones among them that need no file of their own.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::header;
use serde_json::{Value, json};

use super::{access, failure::Failure, logs, stats, streaming};

/// A request body is never more than a few parameters; streams come by upgrade.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The text form that Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every route, behind authentication and authorization.
pub(super) fn router(state: Arc<super::State>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/healthz/ping", get(async || "ok"))
        .route("/pods", get(list_pods))
        .route("/stats/summary", get(summary))
        .route("/metrics", get(metrics))
        .route("/metrics/resource", get(resource_metrics))
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

async fn summary(State(state): State<Arc<super::State>>) -> Result<Json<Value>, Failure> {
    let containers = stats::of_containers(&state.runtime).await?;
    Ok(Json(stats::summary(&state.node_name, &stats::of_node()?, &containers)))
}

async fn resource_metrics(State(state): State<Arc<super::State>>) -> Result<Response, Failure> {
    let containers = stats::of_containers(&state.runtime).await?;
    let text = stats::resource_metrics(&stats::of_node()?, &containers);
    Ok(([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response())
}

async fn metrics(State(state): State<Arc<super::State>>) -> Response {
    let text = stats::kubelet_metrics(&state.node_name, &state.pods.list());
    ([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response()
}
