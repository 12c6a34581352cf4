//! Checkpoints: the container runtime writes all that a running container is into a file of this node. Whoever may have
//! one made may read the container's memory from it, so that nobody may unless the node is started for it.

use std::{
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use sampan_cri::v1::CheckpointContainerRequest;
use serde_json::{Value, json};
use tokio::{fs::DirBuilder, time::timeout};

use super::{
    failure::Failure,
    streaming::{Parameters, Segments, pod, running, segment},
};
use crate::spec;

/// The runtime gets no less time than for any other call, whatever is asked for.
const LEAST_TIMEOUT: Duration = Duration::from_secs(120);

/// `POST /checkpoint/{namespace}/{pod}/{container}?timeout=SECONDS`: answers with the file's path.
pub(super) async fn make(
    State(state): State<Arc<super::State>>,
    Path(segments): Path<Segments>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Value>, Failure> {
    let entry = pod(&state, &segments)?;
    let name = segment(&segments, "container");
    if spec::container(&entry.pod, name).is_none() {
        return Err(Failure::not_found(format!("container {name} does not exist")));
    }
    let limit = limit(&parameters)?;
    let failed = |why: String| {
        let of = [segment(&segments, "namespace"), segment(&segments, "pod"), name].join("/");
        Failure::internal(format!("checkpointing of {of} failed ({why})"))
    };
    let container_id = running(&entry, name).ok_or_else(|| failed(format!("container {name} not found")))?;
    let location = directory(&state.root_dir).await.map_err(|error| failed(error.to_string()))?;
    let location = location.join(file_name(&entry.pod, name, sampan_clock::now())).to_string_lossy().into_owned();
    let call = CheckpointContainerRequest { container_id, location: location.clone(), timeout: limit.as_secs() as i64 };
    match timeout(limit, state.runtime.clone().checkpoint_container(call)).await {
        Ok(Ok(_)) => Ok(Json(json!({"items": [location]}))),
        Ok(Err(status)) => Err(failed(format!("rpc error: code = {:?} desc = {}", status.code(), status.message()))),
        Err(_) => Err(failed(format!("the container runtime did not answer within {} s", limit.as_secs()))),
    }
}

/// How long it may take: the last timeout counts.
fn limit(parameters: &Parameters) -> Result<Duration, Failure> {
    let Some((_, asked)) = parameters.iter().rfind(|(name, _)| name == "timeout") else { return Ok(LEAST_TIMEOUT) };
    // Not found is upstream's answer.
    let seconds: i64 = asked.parse().map_err(|_| Failure::not_found("cannot parse value of timeout parameter"))?;
    let seconds = u64::try_from(seconds)
        .map_err(|_| Failure::internal("CheckpointContainer requires the timeout value to be > 0"))?;
    Ok(Duration::from_secs(seconds).max(LEAST_TIMEOUT))
}

/// Where checkpoints lie: for the node's administrator alone.
async fn directory(root: &FilePath) -> std::io::Result<PathBuf> {
    let directory = root.join("checkpoints");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).await?;
    Ok(directory)
}

fn file_name(pod: &k8s_openapi::api::core::v1::Pod, container: &str, now: Timestamp) -> String {
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    format!("checkpoint-{}_{}-{container}-{second}.tar", spec::name(pod), spec::namespace(pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_only_lengthens() {
        let check = |values: &[&str], want: Result<u64, &str>| {
            let parameters: Parameters =
                values.iter().map(|value| ("timeout".to_owned(), (*value).to_owned())).collect();
            let got = limit(&parameters);
            assert_eq!(got.as_ref().map(Duration::as_secs).map_err(Failure::message), want, "{values:?}");
        };
        check(&[], Ok(120));
        check(&["5"], Ok(120));
        check(&["-1"], Err("CheckpointContainer requires the timeout value to be > 0"));
        check(&["5", "300"], Ok(300));
        check(&["300", "soon"], Err("cannot parse value of timeout parameter"));
    }

    #[test]
    fn a_file_is_named_after_what_it_holds() {
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "p"}})).unwrap();
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(file_name(&pod, "c", now), "checkpoint-p_ns-c-2026-01-02T03:04:05Z.tar");
    }
}
