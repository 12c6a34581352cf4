//! Writing a Pod's status to the API server: one write at a time, only differences, and only if there are any.
//!
//! A Pod that is about to run changes several times within milliseconds, and everyone who follows Pods reads each of its
//! statuses. So what is only on the way is told after a moment, and mostly by the write that says that the Pod runs.
//! Where many Pods start at once, they are on the way for longer; then they take turns at telling it ([`Turns`]).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Env;
use crate::machine::status_patch;
use crate::{Error, spec};

/// A write that has not been answered by then is given up.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A failed write is tried again after this long, twice as long each time, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// How long what is on the way to running may wait for more: long enough for most Pods to start, and too short for
/// anyone to miss it.
const GATHER: Duration = Duration::from_millis(500);

/// All Pods of a node take turns this far from each other at telling what is only on the way: half as often as upstream's
/// kubelet lets itself write at all.
const TURN: Duration = Duration::from_millis(40);
/// No turn is further away: what would be, shares the last one. Most turns are not needed in the end, because the Pod runs
/// before, and nobody shall wait long for those.
const FURTHEST: Duration = Duration::from_secs(2);

/// Whose turn it is to tell what is only on the way.
#[derive(Default)]
pub(crate) struct Turns(Mutex<Option<Instant>>);

impl Turns {
    /// Takes the first free turn from `earliest` on.
    fn take(&self, earliest: Instant) -> Instant {
        let mut free = self.0.lock();
        let turn = free.map_or(earliest, |free| free.max(earliest)).min(earliest + FURTHEST);
        *free = Some(turn + TURN);
        turn
    }
}

/// The writer of one Pod's status.
#[derive(Default)]
pub(super) struct Publisher {
    under_way: Option<JoinHandle<Result<Pod, Error>>>,
    failures: u32,
    gathering: Gathering,
}

/// Whether something waits that is only on the way.
#[derive(Default)]
enum Gathering {
    #[default]
    Nothing,
    Until(Instant),
    /// It has waited long enough.
    Over,
}

impl Publisher {
    /// Begins to write `status` if it differs from what `pod` has and no write is under way.
    pub(super) fn offer(&mut self, env: &Arc<Env>, pod: &Arc<Pod>, status: &PodStatus, removed: bool) {
        if removed || self.under_way.is_some() {
            return;
        }
        let patch = status_patch(pod, status);
        if patch.is_some() && self.gathers(&env.node.turns, pod, status) {
            return;
        }
        self.gathering = Gathering::Nothing;
        let Some(patch) = patch else { return };
        let api = Api::<Pod>::namespaced(env.node.client.clone(), spec::namespace(pod));
        let name = spec::name(pod).to_owned();
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => (FIRST_RETRY * 2u32.pow((failures - 1).min(10))).min(LONGEST_RETRY),
        };
        self.under_way = Some(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
            let write = api.patch_status(&name, &params, &patch);
            match tokio::time::timeout(TIMEOUT, write).await {
                Ok(answer) => answer.map_err(Error::api("updating the status of the Pod")),
                Err(_) => Err(Error::Missing("the API server does not answer".to_owned())),
            }
        }));
    }

    /// Whether `status` is only on the way to running, and may wait for more.
    fn gathers(&mut self, turns: &Turns, pod: &Pod, status: &PodStatus) -> bool {
        if status.phase.as_deref() != Some("Pending") || pod.metadata.deletion_timestamp.is_some() {
            return false;
        }
        if matches!(self.gathering, Gathering::Nothing) {
            self.gathering = Gathering::Until(turns.take(Instant::now() + GATHER));
        }
        matches!(self.gathering, Gathering::Until(_))
    }

    /// Waits for the write that is under way; the Pod as the API server has it then. Without one it waits until what
    /// gathers is to be offered again, and without that for ever.
    pub(super) async fn ended(&mut self) -> Option<Pod> {
        let Some(under_way) = self.under_way.as_mut() else {
            let Gathering::Until(end) = self.gathering else { return std::future::pending().await };
            tokio::time::sleep_until(end).await;
            self.gathering = Gathering::Over;
            return None;
        };
        let answer = under_way.await;
        self.under_way = None;
        match answer {
            Ok(Ok(pod)) => {
                self.failures = 0;
                Some(pod)
            }
            // The Pod is gone or another one has its name: the watch tells which.
            Ok(Err(error)) => {
                self.failures = self.failures.saturating_add(1);
                tracing::debug!(%error, "Pod status not written");
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(under_way) = &self.under_way {
            under_way.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_follow_each_other_only_where_many_want_one() {
        let (turns, start) = (Turns::default(), Instant::now());
        let take = |earliest_ms: u64| (turns.take(start + Duration::from_millis(earliest_ms)) - start).as_millis();
        assert_eq!([take(500), take(500), take(510)], [500, 540, 580]);
        assert_eq!([take(900), take(900)], [900, 940]);
        let last = (0..1_000).fold(0, |_, _| take(1_000));
        assert_eq!(last, 3_000, "nobody waits for a thousand others");
    }
}
