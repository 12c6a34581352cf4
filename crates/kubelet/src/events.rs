//! What the container runtime tells by itself: its event stream wakes the Pods concerned. Lists are compared once a
//! second for a runtime that has no such stream, and now and then for one that may drop events without saying so.

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

/// Tells workers of what happens in the runtime, for as long as it is let. What its events have not told is found within
/// `relist`, if they may be lost.
pub(crate) async fn follow(runtime: Runtime, pods: Arc<PodTable>, relist: Option<Duration>) {
    let looking = async {
        if let Some(every) = relist {
            compare_lists(&runtime, &pods, every).await;
        }
    };
    tokio::join!(listen(&runtime, &pods), looking);
}

async fn listen(runtime: &Runtime, pods: &PodTable) {
    loop {
        match stream(runtime, pods).await {
            Err(Error::Runtime { source, .. }) if source.code() == Code::Unimplemented => {
                tracing::info!("the container runtime has no event stream; its lists are compared instead");
                compare_lists(runtime, pods, RELIST).await;
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

/// Everything the runtime has, by the uid of its Pod.
type Listed = HashMap<String, States>;

async fn compare_lists(runtime: &Runtime, pods: &PodTable, every: Duration) {
    let mut known = Listed::new();
    loop {
        match states(runtime).await {
            Ok(fresh) => {
                differing(&known, &fresh).into_iter().for_each(|uid| pods.runtime_changed(uid));
                known = fresh;
            }
            Err(error) => tracing::debug!(%error, "the container runtime's lists are compared later"),
        }
        tokio::time::sleep(every).await;
    }
}

/// The Pods of which the runtime has something else than before.
fn differing<'a>(before: &'a Listed, after: &'a Listed) -> Vec<&'a str> {
    let gone = before.keys().filter(|uid| !after.contains_key(*uid));
    let changed = after.iter().filter(|(uid, states)| before.get(*uid) != Some(*states)).map(|(uid, _)| uid);
    gone.chain(changed).map(String::as_str).collect()
}

async fn states(runtime: &Runtime) -> Result<Listed, Error> {
    let mut all = Listed::new();
    let sandboxes = runtime.sandboxes().await?.into_iter().map(|sandbox| (sandbox.labels, sandbox.id, sandbox.state));
    let containers = runtime.containers().await?.into_iter().map(|c| (c.labels, c.id, c.state));
    for (labels, id, state) in sandboxes.chain(containers) {
        if let Some(uid) = labels.get(labels::POD_UID) {
            all.entry(uid.clone()).or_default().insert(id, state);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: i32 = 1;
    const EXITED: i32 = 2;

    #[test]
    fn a_pod_differs_with_anything_of_it() {
        let check = |after: &[(&str, &str, i32)], want: &[&str]| {
            let listed = |all: &[(&str, &str, i32)]| {
                let mut listed = Listed::new();
                for (uid, id, state) in all {
                    listed.entry((*uid).to_owned()).or_default().insert((*id).to_owned(), *state);
                }
                listed
            };
            let (before, after) =
                (listed(&[("u", "a", RUNNING), ("u", "b", RUNNING), ("v", "c", RUNNING)]), listed(after));
            let mut got = differing(&before, &after);
            got.sort_unstable();
            assert_eq!(got, want);
        };
        let same = ("v", "c", RUNNING);
        check(&[("u", "a", RUNNING), ("u", "b", RUNNING), same], &[]);
        check(&[("u", "a", EXITED), ("u", "b", RUNNING), same], &["u"]);
        check(&[("u", "a", RUNNING), same], &["u"]); // One of its containers is gone.
        check(&[same, ("w", "d", EXITED)], &["u", "w"]); // One Pod is gone, one is new.
    }
}
