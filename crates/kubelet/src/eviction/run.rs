//! The loop: observe, decide, reclaim.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::decide::{Observation, Observations};
use super::rank::{Candidate, rank};
use super::stalls::Stalls;
use super::threshold::{Pressure, Signal, Threshold};
use super::{State, decide, limits, message, observe};
use crate::config::paths::PodPaths;
use crate::machine::Cut;
use crate::node::Node;
use crate::pods::PodTable;
use crate::server::Pods;
use crate::spec;
use crate::usage::{Ephemeral, Reading};

/// How long until the next look: as a rule, and when something is scarce or nearly so.
const USUAL: Duration = Duration::from_secs(10);
const NEAR: Duration = Duration::from_secs(1);
/// At most one look in this time, however often the kernel tells of stalls.
const AT_MOST: Duration = Duration::from_millis(200);
/// A Pod that was ended is waited for so long before the next one is.
const CLEANUP: Duration = Duration::from_secs(30);
/// Images are looked through no more often than this.
const IMAGES_EVERY: Duration = Duration::from_secs(300);
/// The grace of a Pod that must go at once.
const AT_ONCE_S: i64 = 1;

/// Keeps the node alive for as long as it is let.
pub(crate) async fn run(node: Arc<Node>, pods: Arc<PodTable>) {
    let stalls = Stalls::watch();
    let mut evictor = Evictor { node, pods, state: State::default(), images_at: None };
    loop {
        let near = evictor.look().await;
        tokio::time::sleep(AT_MOST).await;
        tokio::select! {
            () = tokio::time::sleep(if near { NEAR } else { USUAL }) => {}
            () = stalls.next() => {}
        }
    }
}

struct Evictor {
    node: Arc<Node>,
    pods: Arc<PodTable>,
    state: State,
    /// When images were last looked through.
    images_at: Option<Instant>,
}

impl Evictor {
    /// One round; whether the next one is due soon.
    async fn look(&mut self) -> bool {
        let images = self.node.meter.image_directory().await;
        let seen = observe(&self.node.options.root_dir, images.as_deref());
        let thresholds = &self.node.options.eviction;
        let (state, decision) = decide(thresholds, &self.state, &seen, sampan_clock::now());
        self.state = state;
        self.publish(&decision.pressures);
        self.thin_out_images(&seen).await;
        if self.enforce_limits().await {
            return true;
        }
        if let Some(index) = decision.reclaim
            && let Some(threshold) = self.node.options.eviction.all.get(index).cloned()
            && let Some(observation) = seen.get(&threshold.signal).copied()
        {
            self.reclaim(&threshold, observation, &seen).await;
        }
        decision.near
    }

    fn publish(&self, pressures: &BTreeSet<Pressure>) {
        self.node.pressures.send_if_modified(|published| {
            let differs = published != pressures;
            published.clone_from(pressures);
            differs
        });
    }

    /// Removes unused images when their disk fills up.
    async fn thin_out_images(&mut self, seen: &Observations) {
        let disk = seen.get(&Signal::ImagefsAvailable).or_else(|| seen.get(&Signal::NodefsAvailable));
        let wanted_bytes = disk.map_or(0, |disk| surplus(*disk, self.node.options.image_gc_percent));
        if wanted_bytes == 0 || self.images_at.is_some_and(|at| at.elapsed() < IMAGES_EVERY) {
            return;
        }
        self.images_at = Some(Instant::now());
        let freed_bytes = self.node.images.remove_unused(wanted_bytes).await;
        if freed_bytes < wanted_bytes {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {wanted_bytes} bytes, but only \
                 found {freed_bytes} bytes eligible to free."
            );
            self.node.recorder.warning(&self.node.reference(), "FreeDiskSpaceFailed", message);
        }
    }

    /// Pods that run and may be ended.
    fn active(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.list();
        pods.retain(|pod| {
            let over = matches!(spec::status(pod).phase.as_deref(), Some("Succeeded" | "Failed"));
            !over && pod.metadata.deletion_timestamp.is_none()
        });
        pods
    }

    /// Ends the Pods that keep more than they may; whether there were any.
    async fn enforce_limits(&self) -> bool {
        let limited: Vec<Arc<Pod>> = self.active().into_iter().filter(|pod| limits::has_limits(pod)).collect();
        if limited.is_empty() {
            return false;
        }
        let mut ended = Vec::new();
        for candidate in self.candidates(limited).await {
            if let Some(why) = limits::excess(&candidate)
                && self.end(&candidate.pod, AT_ONCE_S, &why, false)
            {
                ended.push(candidate.pod);
            }
        }
        self.gone(&ended).await;
        !ended.is_empty()
    }

    /// Makes room for the threshold's sake: by images that nobody uses, else by the Pod that ranks first.
    async fn reclaim(&self, threshold: &Threshold, seen: Observation, all: &Observations) {
        let resource = threshold.signal.resource();
        let message = format!("Attempting to reclaim {resource}");
        self.node.recorder.warning(&self.node.reference(), "EvictionThresholdMet", message);
        if threshold.signal.pressure() == Pressure::Disk && self.node.images.remove_unused(i64::MAX).await > 0 {
            return;
        }
        tracing::warn!(signal = threshold.signal.name(), ?all, "the node is short of something; a Pod must go");
        let mut candidates = self.candidates(self.active()).await;
        rank(&mut candidates, threshold.signal);
        let grace_s = if threshold.grace.is_zero() { AT_ONCE_S } else { self.node.options.eviction.max_pod_grace_s };
        for candidate in candidates {
            let why = message::message(threshold, seen, &candidate);
            if self.end(&candidate.pod, grace_s, &why, true) {
                return self.gone(&[candidate.pod]).await;
            }
        }
    }

    /// Ends a Pod, unless the node cannot do without it.
    fn end(&self, pod: &Pod, grace_s: i64, why: &str, disrupted: bool) -> bool {
        if spec::is_critical(pod) {
            return false;
        }
        self.node.recorder.warning(&spec::reference(pod), "Evicted", why);
        let cut = Cut { reason: "Evicted".to_owned(), message: why.to_owned(), grace_s, disrupted };
        self.pods.cut(spec::uid(pod), cut)
    }

    /// Waits, not for ever, until nothing of these runs any more.
    async fn gone(&self, pods: &[Arc<Pod>]) {
        let mut changes = self.pods.changes();
        let waiting = async {
            while self.active().iter().any(|left| pods.iter().any(|pod| spec::uid(pod) == spec::uid(left))) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(CLEANUP, waiting).await.is_err() {
            tracing::warn!("an evicted Pod is still there");
        }
    }

    async fn candidates(&self, pods: Vec<Arc<Pod>>) -> Vec<Candidate> {
        let reading = self.node.meter.read().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what Pods use could not be read");
            Arc::new(Reading::default())
        });
        let (root, logs) = (self.node.options.root_dir.clone(), self.node.options.log_dir.clone());
        let walk = move || {
            let of_pod = |pod: Arc<Pod>| Candidate {
                usage: reading.pods.iter().find(|usage| usage.uid == spec::uid(&pod)).cloned(),
                disk: Some(Ephemeral::measure(&PodPaths::of(&pod, &root, &logs))),
                pod,
            };
            pods.into_iter().map(of_pod).collect()
        };
        tokio::task::spawn_blocking(walk).await.unwrap_or_default()
    }
}

/// How many bytes of images should go from a disk that may be `high` percent full, and should be `low` percent full then.
fn surplus(disk: Observation, (high, low): (u8, u8)) -> i64 {
    let used = disk.capacity - disk.available;
    let percent = |percent: u8| disk.capacity / 100 * i64::from(percent);
    if high >= 100 || used < percent(high) { 0 } else { used - percent(low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_thinned_out_to_the_lower_mark() {
        for (available, marks, want) in [(151, (85, 80), 0), (150, (85, 80), 50), (0, (85, 80), 200), (0, (100, 80), 0)]
        {
            assert_eq!(surplus(Observation { available, capacity: 1000 }, marks), want, "{available}");
        }
    }
}
