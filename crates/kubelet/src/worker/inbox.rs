//! What reaches a Pod's worker from outside, and what it shows to the outside. Many messages become one wake-up.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::machine::Cut;
use crate::seen::Seen;
use crate::{mirrors, spec, static_pods};

/// What has come in since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// The runtime may have something new.
    pub(crate) runtime: bool,
    /// A ConfigMap or Secret has changed.
    pub(crate) objects: bool,
    /// The Pod or a probe's verdict has changed.
    other: bool,
}

/// The inbox of one worker.
pub(crate) struct Inbox {
    uid: String,
    state: Mutex<State>,
    bell: Notify,
    /// Ticks when what [`Inbox::shown`] gives has changed, for whoever follows containers.
    changes: Arc<watch::Sender<u64>>,
}

/// What a Pod is to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has its place here.
    Taken,
    /// The node does not take it: others may have what it asks for.
    Refused,
    /// The API server has it no more; that is the end of it.
    Removed,
}

struct State {
    pod: Arc<Pod>,
    standing: Standing,
    cut: Option<Cut>,
    /// Dead containers are to go.
    discard: bool,
    news: News,
    shown: Shown,
}

/// What others may know of a Pod: its newest status and containers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) pod: Arc<Pod>,
    pub(crate) seen: Seen,
}

impl Inbox {
    /// The inbox for `pod`.
    pub(crate) fn new(pod: Arc<Pod>, standing: Standing, changes: &Arc<watch::Sender<u64>>) -> Self {
        let shown = Shown { pod: Arc::clone(&pod), seen: Seen::default() };
        Self {
            uid: spec::uid(&pod).to_owned(),
            state: Mutex::new(State { pod, standing, cut: None, discard: false, news: News::default(), shown }),
            bell: Notify::new(),
            changes: Arc::clone(changes),
        }
    }

    /// The Pod's uid.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Ticks whenever what is shown of this Pod or another one changes.
    pub(crate) fn follow_others(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The newest Pod that the API server has told of.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.state.lock().pod)
    }

    /// Whether the API server has the Pod no more.
    pub(crate) fn removed(&self) -> bool {
        self.state.lock().standing == Standing::Removed
    }

    /// Whether the Pod has its place here.
    pub(crate) fn is_taken(&self) -> bool {
        self.state.lock().standing == Standing::Taken
    }

    /// The node takes the Pod after all.
    pub(crate) fn take(&self) {
        self.stand(Standing::Taken);
    }

    /// The node does not take the Pod.
    pub(crate) fn refuse(&self) {
        self.stand(Standing::Refused);
    }

    fn stand(&self, standing: Standing) {
        let mut state = self.state.lock();
        if state.standing != Standing::Removed {
            state.standing = standing;
        }
    }

    /// The Pod has changed, or of a static Pod its mirror.
    pub(crate) fn put(&self, pod: Arc<Pod>) {
        let mut state = self.state.lock();
        // The watch tells of what the answer to a write of ours has told already.
        if !is_newer(&pod, &state.pod) {
            return;
        }
        state.pod =
            if static_pods::is_static(&state.pod) { Arc::new(mirrors::mirrored(&state.pod, &pod)) } else { pod };
        self.ring(state, |news| news.other = true);
    }

    /// The API server's answer to a status update; it may be newer than what the watch has told.
    pub(crate) fn published(&self, answer: Option<Pod>) {
        if let Some(pod) = answer {
            self.put(Arc::new(pod));
        }
    }

    /// The Pod is gone from the API server.
    pub(crate) fn remove(&self) {
        let mut state = self.state.lock();
        state.standing = Standing::Removed;
        self.ring(state, |news| news.other = true);
    }

    /// The node ends the Pod.
    pub(crate) fn cut(&self, cut: Cut) {
        let mut state = self.state.lock();
        state.cut = Some(cut);
        self.ring(state, |news| news.other = true);
    }

    /// Why the node ends the Pod, if it does.
    pub(crate) fn why_cut(&self) -> Option<Cut> {
        self.state.lock().cut.clone()
    }

    /// The node needs the room that the Pod's dead containers take.
    pub(crate) fn discard(&self) {
        let mut state = self.state.lock();
        state.discard = true;
        self.ring(state, |news| news.other = true);
    }

    /// Whether it does.
    pub(crate) fn discards(&self) -> bool {
        self.state.lock().discard
    }

    /// The runtime has told of a container.
    pub(crate) fn runtime_changed(&self) {
        self.ring(self.state.lock(), |news| news.runtime = true);
    }

    /// A ConfigMap or Secret of the Pod has changed.
    pub(crate) fn object_changed(&self) {
        self.ring(self.state.lock(), |news| news.objects = true);
    }

    /// A probe has come to another verdict.
    pub(crate) fn verdict_changed(&self) {
        self.ring(self.state.lock(), |news| news.other = true);
    }

    fn ring(&self, mut state: parking_lot::MutexGuard<'_, State>, note: impl FnOnce(&mut News)) {
        note(&mut state.news);
        drop(state);
        self.bell.notify_one();
    }

    /// Waits for news and takes them.
    pub(crate) async fn news(&self) -> News {
        loop {
            let news = std::mem::take(&mut self.state.lock().news);
            if news != News::default() {
                return news;
            }
            self.bell.notified().await;
        }
    }

    /// Shows the Pod with its newest status.
    pub(crate) fn show(&self, pod: &Arc<Pod>, status: &PodStatus, seen: &Seen) {
        let mut state = self.state.lock();
        let same = state.shown.seen == *seen
            && state.shown.pod.status.as_ref() == Some(status)
            && state.shown.pod.metadata.resource_version == pod.metadata.resource_version;
        if same {
            return;
        }
        let shown = Pod { status: Some(status.clone()), ..Pod::clone(pod) };
        state.shown = Shown { pod: Arc::new(shown), seen: seen.clone() };
        drop(state);
        self.changes.send_modify(|tick| *tick = tick.wrapping_add(1));
    }

    /// What was shown last.
    pub(crate) fn shown(&self) -> Shown {
        self.state.lock().shown.clone()
    }
}

/// Resource versions of one object grow; whatever has none that can be read counts as new. A static Pod has none before
/// its mirror is there.
fn is_newer(pod: &Pod, than: &Pod) -> bool {
    let version = |pod: &Pod| pod.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    match (version(pod), version(than)) {
        (Some(new), Some(old)) => new > old,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_what_is_newer_is_news() {
        let pod = |version: &str, config: &str| -> Arc<Pod> {
            let metadata = json!({"name": "p", "uid": "u", "resourceVersion": version,
                "annotations": {"kubernetes.io/config.source": config}});
            Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
        };
        for (source, first) in [("api", "5"), ("file", "")] {
            let inbox = Inbox::new(pod(first, source), Standing::Taken, &Arc::default());
            let put = |version: &str| {
                inbox.put(pod(version, source));
                let news = std::mem::take(&mut inbox.state.lock().news);
                (news.other, inbox.pod().metadata.resource_version.clone().unwrap_or_default())
            };
            assert_eq!(put("7"), (true, "7".to_owned()), "{source}");
            assert_eq!(put("7"), (false, "7".to_owned()), "{source}");
            assert_eq!(put("6"), (false, "7".to_owned()), "{source}");
            assert_eq!(put("8"), (true, "8".to_owned()), "{source}");
        }
    }
}
