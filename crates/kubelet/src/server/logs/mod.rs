//! Containers' logs: `/containerLogs/{namespace}/{pod}/{container}`.
//!
//! `line` and `query` are pure; `files` finds and opens what the runtime wrote, rotated files included; `reader` reads
//! them as one stream; `directories` tells followers that there is more. Nothing polls, and a client that leaves takes
//! everything with it: the response's body is the reader.

mod directories;
mod files;
mod line;
mod query;
mod reader;
mod tail;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::header;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

pub(super) use directories::Directories;
use files::LogFiles;
use query::LogQuery;
use reader::{Follow, Reader};

use super::{Instance, PodEntry, Pods, failure::Failure};

/// Answers with the log of a container as a stream of text.
pub(super) async fn serve(
    State(state): State<Arc<super::State>>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let query = LogQuery::parse(&parameters, sampan_clock::now()).map_err(unprocessable)?;
    let entry = state.pods.find(&namespace, &name);
    let entry = entry.ok_or_else(|| Failure::not_found(format!("pod {name:?} does not exist")))?;
    let instance = instance(&entry, &container, query.previous)?;
    let files = LogFiles::new(entry.log_directory, instance.log.clone()).map_err(Failure::internal)?;
    let follow = if query.follow {
        let events = state.directories.watch(files.directory()).map_err(Failure::internal)?;
        let running = still_running(state.pods.clone(), [namespace, name, container], instance.id);
        Some(Follow::new(events, state.pods.changes(), running))
    } else {
        None
    };
    let reader = Reader::open(files, &query, follow).await.map_err(Failure::internal)?;
    let chunks = futures::stream::try_unfold(reader, async |mut reader| {
        Ok::<_, std::io::Error>(reader.next().await?.map(|chunk| (chunk, reader)))
    });
    Ok(([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(chunks)).into_response())
}

fn unprocessable(message: String) -> Failure {
    Failure::new(http::StatusCode::UNPROCESSABLE_ENTITY, message)
}

/// Whether the instance `id` of the container runs, asked again and again.
fn still_running(
    pods: Arc<dyn Pods>,
    [namespace, name, container]: [String; 3],
    id: String,
) -> impl Fn() -> bool + Send + Sync + 'static {
    move || {
        let entry = pods.find(&namespace, &name);
        let current = entry.as_ref().and_then(|entry| entry.container(&container)).and_then(|one| one.current.as_ref());
        current.is_some_and(|instance| instance.id == id && instance.running)
    }
}

/// The instance whose log is wanted, or why there is none, in upstream's words.
fn instance(entry: &PodEntry, name: &str, previous: bool) -> Result<Instance, Failure> {
    let pod = entry.pod.metadata.name.as_deref().unwrap_or_default();
    let status = status(&entry.pod, name);
    let container = entry.container(name);
    if container.is_none() && status.is_none() && !is_specified(&entry.pod, name) {
        return Err(Failure::not_found(format!("container {name:?} not found in pod {pod:?}")));
    }
    if previous {
        let found = container.and_then(|container| container.previous.clone());
        let missing =
            || Failure::bad_request(format!("previous terminated container {name:?} in pod {pod:?} not found"));
        return found.ok_or_else(missing);
    }
    container
        .and_then(|container| container.current.clone())
        .ok_or_else(|| Failure::bad_request(format!("container {name:?} in pod {pod:?} {}", why_no_log(status))))
}

fn why_no_log(status: Option<&ContainerStatus>) -> String {
    let reason = match status.and_then(|status| status.state.as_ref()) {
        Some(ContainerState { waiting: Some(waiting), .. }) => waiting.reason.as_deref().unwrap_or_default(),
        Some(ContainerState { terminated: Some(_), .. }) => return "is terminated".to_owned(),
        _ => return "is waiting to start - no logs yet".to_owned(),
    };
    match reason {
        "ErrImagePull" => "is waiting to start: image can't be pulled".to_owned(),
        "ImagePullBackOff" => "is waiting to start: trying and failing to pull image".to_owned(),
        reason => format!("is waiting to start: {reason}"),
    }
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}

fn is_specified(pod: &Pod, name: &str) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return false };
    let plain = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|container| &container.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
    plain.chain(ephemeral).any(|candidate| candidate == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::Container;

    fn entry(containers: Vec<Container>) -> PodEntry {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
            "status": {"containerStatuses": [
                {"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"waiting": {"reason": "ImagePullBackOff"}}},
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"waiting": {"reason": "ContainerCreating"}}},
            ]},
        });
        let pod = Arc::new(serde_json::from_value(pod).expect("pod"));
        PodEntry { pod, sandbox: None, log_directory: "/l".into(), containers }
    }

    #[test]
    fn why_there_is_no_log() {
        let running = Instance { id: "1".into(), log: "/l/a/0.log".into(), running: true };
        let a = Container { name: "a".into(), current: Some(running.clone()), previous: None };
        let entry = entry(vec![a]);
        assert_eq!(instance(&entry, "a", false), Ok(running));
        let check = |name: &str, previous, want: &str| {
            assert_eq!(instance(&entry, name, previous).expect_err(want).message(), want);
        };
        check("a", true, r#"previous terminated container "a" in pod "p" not found"#);
        check("b", false, r#"container "b" in pod "p" is waiting to start: trying and failing to pull image"#);
        check("c", false, r#"container "c" in pod "p" is waiting to start: ContainerCreating"#);
        check("x", false, r#"container "x" not found in pod "p""#);
    }
}
