//! The paths of the API, and the ones among them that need no file of their own.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    routing::{any, get, post},
};
use serde_json::{Value, json};

use super::{PodEntry, access, checkpoint, failure::Failure, logs, metrics, streaming};
use crate::spec;

/// A request body is never more than a few parameters; streams come by upgrade.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Every route, behind authentication and authorization.
pub(super) fn router(state: Arc<super::State>, checkpoints: bool) -> Router {
    let router = Router::new()
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
        .route("/run/{namespace}/{pod}/{container}", post(streaming::run))
        .route("/run/{namespace}/{pod}/{uid}/{container}", post(streaming::run));
    let router = match checkpoints {
        true => router.route("/checkpoint/{namespace}/{pod}/{container}", post(checkpoint::make)),
        false => router,
    };
    router
        .fallback(async || Failure::not_found("404 page not found"))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), access::guard))
        .with_state(state)
}

async fn list_pods(State(state): State<Arc<super::State>>) -> Json<Value> {
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": state.pods.list()}))
}

/// What runs, as the runtime tells it: a Pod has its name and its running containers, and nothing else.
async fn running_pods(State(state): State<Arc<super::State>>) -> Json<Value> {
    let items: Vec<Value> = state.pods.entries().iter().filter_map(running).collect();
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn running(entry: &PodEntry) -> Option<Value> {
    let (pod, metadata) = (&entry.pod, &entry.pod.metadata);
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

#[cfg(test)]
mod tests {
    use super::super::{Container, Instance};
    use super::*;

    #[test]
    fn a_pod_that_runs_is_told_with_its_own_containers() {
        let entry = |uid: &str, running: &[(&str, bool)]| {
            let pod = json!({"metadata": {"namespace": "ns", "name": "p", "uid": uid},
                "spec": {"containers": [{"name": "a", "image": "i"}]}});
            let container = |&(name, running): &(&str, bool)| Container {
                name: name.to_owned(),
                current: Some(Instance { id: name.to_owned(), log: "/log".into(), running }),
                previous: None,
            };
            PodEntry {
                pod: Arc::new(serde_json::from_value(pod).unwrap()),
                sandbox: None,
                log_directory: "/logs".into(),
                containers: running.iter().map(container).collect(),
            }
        };
        // One that is taken down, and its namesake that comes after it.
        assert_eq!(running(&entry("old", &[("a", false)])), None);
        let want = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "new"},
            "spec": {"containers": [{"name": "a", "image": "i", "resources": {}}]}, "status": {}});
        assert_eq!(running(&entry("new", &[("a", true), ("b", false)])), Some(want));
    }
}
