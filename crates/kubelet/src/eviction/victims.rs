//! The Pods that can be ended, what they use, and their end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::decide::Observation;
use super::message;
use super::rank::{Candidate, rank};
use super::threshold::Threshold;
use crate::Error;
use crate::config::paths::PodPaths;
use crate::machine::Cut;
use crate::node::Node;
use crate::pods::PodTable;
use crate::server::Pods;
use crate::spec;
use crate::usage::{Ephemeral, Reading};

/// A Pod that was ended is waited for so long before the next one is.
const CLEANUP: Duration = Duration::from_secs(30);

/// The grace of a Pod that must go at once.
pub(super) const AT_ONCE_S: i64 = 1;

/// Something must go for the threshold's sake, by what was seen then.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) threshold: Threshold,
    pub(super) seen: Observation,
    pub(super) at: Instant,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Victims {
    pub(super) node: Arc<Node>,
    pub(super) pods: Arc<PodTable>,
}

impl Victims {
    /// Pods that run and may be ended.
    pub(super) fn active(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.list();
        pods.retain(|pod| !spec::is_over(pod) && pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// Tells that an order is carried out now.
    pub(super) fn tell(&self, order: &Order) {
        let (node, signal) = (&self.node, order.threshold.signal);
        tracing::warn!(signal = signal.name(), seen = ?order.seen, "the node is short of something; something must go");
        let message = format!("Attempting to reclaim {}", signal.resource());
        node.recorder.warning(&node.reference(), "EvictionThresholdMet", message);
    }

    /// Ends the Pod that ranks first, and waits until it is gone; whether there is one that may be ended.
    pub(super) async fn end_first(&self, mut candidates: Vec<Candidate>, order: &Order) -> bool {
        rank(&mut candidates, order.threshold.signal);
        for candidate in candidates {
            let why = message::message(&order.threshold, order.seen, &candidate);
            let grace_s = grace_s(&order.threshold, &candidate.pod, self.node.options.eviction.max_pod_grace_s);
            if self.end(&candidate.pod, grace_s, &why, true) {
                self.gone(&[candidate.pod]).await;
                return true;
            }
        }
        false
    }

    /// Ends a Pod, unless the node cannot do without it.
    pub(super) fn end(&self, pod: &Pod, grace_s: i64, why: &str, disrupted: bool) -> bool {
        if spec::is_critical(pod) {
            return false;
        }
        self.node.recorder.warning(&spec::reference(pod), "Evicted", why);
        let cut = Cut { reason: "Evicted".to_owned(), message: why.to_owned(), grace_s, disrupted };
        self.pods.cut(spec::uid(pod), cut)
    }

    /// Waits, not for ever, until nothing of these runs any more.
    pub(super) async fn gone(&self, pods: &[Arc<Pod>]) {
        let left = || self.active().iter().any(|left| pods.iter().any(|pod| spec::uid(pod) == spec::uid(left)));
        if !self.until(|| !left()).await {
            tracing::warn!("an evicted Pod is still there");
        }
    }

    /// Has the containers of Pods that are over removed, with their logs, and waits for that, not for ever; whether there
    /// were any, and are not any more.
    pub(super) async fn remove_dead_containers(&self) -> bool {
        let dead = self.pods.discard_dead();
        let removed = self.until(|| self.pods.hold_no_container(&dead)).await;
        if !removed {
            tracing::warn!("containers of Pods that are over are still there");
        }
        removed && !dead.is_empty()
    }

    /// Waits, not for ever, until Pods are as `is` wants; whether they are.
    async fn until(&self, is: impl Fn() -> bool) -> bool {
        let mut changes = self.pods.changes();
        let waiting = async {
            while !is() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(CLEANUP, waiting).await.is_ok()
    }

    /// `pods` with what they use, but for the disk: of that only as much is known as the runtime knows at once.
    pub(super) async fn used(&self, pods: Vec<Arc<Pod>>) -> Result<Vec<Candidate>, Error> {
        let reading = self.node.meter.read().await?;
        Ok(pods.into_iter().map(|pod| candidate(pod, &reading)).collect())
    }

    /// `pods`, of which nothing is known.
    pub(super) fn unknown(pods: Vec<Arc<Pod>>) -> Vec<Candidate> {
        pods.into_iter().map(|pod| candidate(pod, &Reading::default())).collect()
    }

    /// `pods` with what they use, and what they keep on disk: this takes as long as they have files.
    pub(super) async fn measured(&self, pods: Vec<Arc<Pod>>) -> Vec<Candidate> {
        let reading = self.node.meter.read().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what Pods use could not be read");
            Arc::new(Reading::default())
        });
        let (root, logs) = (self.node.options.root_dir.clone(), self.node.options.log_dir.clone());
        let walk = move || {
            let of_pod = |pod: Arc<Pod>| Candidate {
                disk: Some(Ephemeral::measure(&PodPaths::of(&pod, &root, &logs))),
                ..candidate(pod, &reading)
            };
            pods.into_iter().map(of_pod).collect()
        };
        tokio::task::spawn_blocking(walk).await.unwrap_or_default()
    }
}

/// What `pod` gets: nothing at a hard threshold, and at a soft one what it asks for, no more than `most_s`.
fn grace_s(threshold: &Threshold, pod: &Pod, most_s: i64) -> i64 {
    if threshold.grace.is_zero() { AT_ONCE_S } else { most_s.min(spec::grace_s(pod)) }
}

fn candidate(pod: Arc<Pod>, reading: &Reading) -> Candidate {
    let usage = reading.pods.iter().find(|usage| usage.uid == spec::uid(&pod)).cloned();
    Candidate { pod, usage, disk: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::eviction::Thresholds;

    #[test]
    fn nobody_gets_more_time_than_it_asks_for() {
        let soft = ("memory.available<1Gi", "memory.available=1m");
        let thresholds = Thresholds::parse(Some("memory.available<1Mi"), soft.0, soft.1, "").unwrap();
        let check = |index: usize, asks_s: i64, most_s: i64, want: i64| {
            let pod = json!({"spec": {"containers": [], "terminationGracePeriodSeconds": asks_s}});
            let pod = serde_json::from_value(pod).unwrap();
            assert_eq!(grace_s(&thresholds.all[index], &pod, most_s), want, "{asks_s} {most_s}");
        };
        check(0, 30, 60, 1);
        check(1, 30, 60, 30);
        check(1, 90, 60, 60);
        check(1, 30, 0, 0);
    }
}
