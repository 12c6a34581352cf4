//! Usage and counters in the forms that others read: `/stats/summary`, and the texts of `/metrics/...` for Prometheus.

mod cadvisor;
mod own;
mod resource;
mod summary;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::failure::Failure;

/// The text form that Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/stats/summary`
pub(super) async fn stats_summary(
    State(state): State<Arc<super::State>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Failure> {
    let reading = state.meter.read_rates().await.map_err(Failure::internal)?;
    let only_cpu_and_memory = query.get("only_cpu_and_memory").is_some_and(|value| value == "true");
    let disks = match only_cpu_and_memory {
        true => None,
        false => Some(summary::Disks::measure(&state, &reading).await?),
    };
    let inputs = summary::Inputs { node_name: &state.node_name, reading: &reading, pods: &state.pods.list() };
    Ok(Json(summary::summary(&inputs, disks.as_ref())))
}

/// `/metrics/resource`
pub(super) async fn of_resources(State(state): State<Arc<super::State>>) -> Result<Response, Failure> {
    let reading = state.meter.read().await.map_err(Failure::internal)?;
    Ok(prometheus(resource::text(&reading, &state.pods.list())))
}

/// `/metrics/cadvisor`
pub(super) async fn of_containers(State(state): State<Arc<super::State>>) -> Result<Response, Failure> {
    let reading = state.meter.read().await.map_err(Failure::internal)?;
    Ok(prometheus(cadvisor::text(&reading, &state.pods.list())))
}

/// `/metrics`
pub(super) async fn of_kubelet(State(state): State<Arc<super::State>>) -> Response {
    prometheus(own::text(&state.node_name, &state.version, &state.pods.list()))
}

fn prometheus(text: String) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response()
}

/// When containers were started: by the Pod's uid and the container's name.
struct Starts<'a>(HashMap<(&'a str, &'a str), Timestamp>);

impl<'a> Starts<'a> {
    fn of(pods: &'a [Arc<Pod>]) -> Self {
        let statuses = |pod: &'a Pod| {
            let status = pod.status.as_ref();
            let lists = status.map(|s| {
                [&s.container_statuses, &s.init_container_statuses, &s.ephemeral_container_statuses].map(Option::as_ref)
            });
            lists.into_iter().flatten().flatten().flatten()
        };
        let started = |pod: &'a Pod| {
            statuses(pod).filter_map(|status| {
                let running = status.state.as_ref()?.running.as_ref()?;
                Some(((crate::spec::uid(pod), status.name.as_str()), running.started_at.as_ref()?.0))
            })
        };
        Self(pods.iter().flat_map(|pod| started(pod)).collect())
    }

    fn get(&self, uid: &str, container: &str) -> Option<Timestamp> {
        self.0.get(&(uid, container)).copied()
    }
}
