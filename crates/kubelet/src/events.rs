//! What the container runtime tells by itself: its event stream wakes the Pods concerned. Only for a runtime that has
//! no such stream are its lists compared once a second.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sampan_cri::v1::ContainerEventType;
use tonic::Code;

use crate::Error;
use crate::config::labels;
use crate::cri::Runtime;
use crate::pods::PodTable;

/// A broken stream is opened again after this long.
const RECONNECT: Duration = Duration::from_millis(500);
/// Without a stream, lists are compared this often.
const RELIST: Duration = Duration::from_secs(1);

/// Tells workers of what happens in the runtime, for as long as it is let.
pub(crate) async fn follow(runtime: Runtime, pods: Arc<PodTable>) {
    loop {
        match stream(&runtime, &pods).await {
            Err(Error::Runtime { source, .. }) if source.code() == Code::Unimplemented => {
                tracing::info!("the container runtime has no event stream; its lists are compared instead");
                compare_lists(&runtime, &pods).await;
            }
            Err(error) => tracing::warn!(%error, "container events interrupted"),
            Ok(()) => tracing::debug!("container event stream ended"),
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn stream(runtime: &Runtime, pods: &PodTable) -> Result<(), Error> {
    let mut events = runtime.events().await?;
    // Whatever happened before the stream began was not told.
    pods.all_changed();
    let wrong = |status| Error::Runtime { call: "GetContainerEvents", source: Box::new(status) };
    while let Some(event) = events.message().await.map_err(wrong)? {
        // Whoever makes something is a job here, which goes on to start it.
        if event.container_event_type() == ContainerEventType::ContainerCreatedEvent {
            continue;
        }
        let of_sandbox = event.pod_sandbox_status.and_then(|status| status.metadata).map(|metadata| metadata.uid);
        let of_container =
            || event.containers_statuses.first().and_then(|status| status.labels.get(labels::POD_UID)).cloned();
        match of_sandbox.or_else(of_container).filter(|uid| !uid.is_empty()) {
            Some(uid) => pods.runtime_changed(&uid),
            None => pods.all_changed(),
        }
    }
    Ok(())
}

/// States of everything of one Pod, by id.
type States = BTreeMap<String, i32>;

async fn compare_lists(runtime: &Runtime, pods: &PodTable) {
    let mut known: HashMap<String, States> = HashMap::new();
    loop {
        if let Ok(fresh) = states(runtime).await {
            let gone = known.keys().filter(|uid| !fresh.contains_key(*uid));
            let changed = fresh.iter().filter(|(uid, states)| known.get(*uid) != Some(*states)).map(|(uid, _)| uid);
            gone.chain(changed).for_each(|uid| pods.runtime_changed(uid));
            known = fresh;
        }
        tokio::time::sleep(RELIST).await;
    }
}

async fn states(runtime: &Runtime) -> Result<HashMap<String, States>, Error> {
    let mut all: HashMap<String, States> = HashMap::new();
    let sandboxes = runtime.sandboxes().await?.into_iter().map(|sandbox| (sandbox.labels, sandbox.id, sandbox.state));
    let containers = runtime.containers().await?.into_iter().map(|c| (c.labels, c.id, c.state));
    for (labels, id, state) in sandboxes.chain(containers) {
        if let Some(uid) = labels.get(labels::POD_UID) {
            all.entry(uid.clone()).or_default().insert(id, state);
        }
    }
    Ok(all)
}
