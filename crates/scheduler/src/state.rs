//! Everything the scheduler knows, and what it does about each thing it hears: no I/O, no waiting.
//!
//! [`State::hear_pod`], [`State::hear_node`] and [`State::hear_namespace`] take in what informers tell;
//! [`State::step`] takes the next decision, for [`crate::component`] to carry out.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use sampan_client::Change;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::decide::{Turn, Verdicts, schedule};
use crate::explain;
use crate::framework::Event;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::preemption::{Preemption, Unhelpful, preempt};
use crate::queue::Queue;

/// The cluster, the Pods that wait, and whose turn it is.
pub(crate) struct State {
    scheduler_name: String,
    cache: Cache,
    queue: Queue,
    turn: Turn,
}

/// What is to be done for a Pod.
#[derive(Debug)]
pub(crate) enum Step {
    /// It has a node.
    Bind { pod: Arc<PodInfo>, node: Arc<str> },
    /// It has none, and the message says why; other Pods may have to go for it.
    Refuse { pod: Arc<PodInfo>, message: String, nomination: Nomination },
    /// It may not be tried yet.
    Gate { pod: Arc<PodInfo> },
}

/// What becomes of the claim of a Pod without a node to the room on one.
#[derive(Debug)]
pub(crate) enum Nomination {
    /// Nothing new.
    Keep,
    /// There is no use in it, if it has one.
    Clear,
    /// Room is to be made.
    Make(Preemption),
}

/// Where a Pod is in its life, as far as the scheduler cares.
enum Stage {
    /// It waits for this scheduler.
    Pending,
    /// It takes room on its node.
    Placed,
    /// It is none of our business, or not any more.
    Other,
}

impl State {
    pub(crate) fn new(scheduler_name: &str) -> Self {
        Self {
            scheduler_name: scheduler_name.to_owned(),
            cache: Cache::default(),
            queue: Queue::default(),
            turn: Turn::default(),
        }
    }

    /// Decides about the next Pod.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Step> {
        if let Some(pod) = self.queue.pop_gated() {
            return Some(Step::Gate { pod });
        }
        let pod = self.queue.pop(now)?;
        match schedule(&pod, &self.cache.cluster, self.turn) {
            Ok(placement) => {
                self.turn = placement.next;
                self.cache.cluster.withdraw(&pod.uid);
                self.cache.assume(Arc::clone(&pod), &placement.node);
                Some(Step::Bind { pod, node: placement.node })
            }
            Err(verdicts) => Some(self.refuse(pod, &verdicts)),
        }
    }

    fn refuse(&mut self, pod: Arc<PodInfo>, verdicts: &Verdicts) -> Step {
        let mut message = explain::message(verdicts);
        let mut nomination = Nomination::Keep;
        if verdicts.nodes > 0 {
            match preempt(&pod, &self.cache.cluster, verdicts) {
                Ok(preemption) => {
                    self.cache.cluster.nominate(&pod, &preemption.node);
                    nomination = Nomination::Make(preemption);
                }
                Err(Unhelpful::NotEligible(why)) => message += &format!(" preemption: {why}"),
                Err(Unhelpful::NoCandidate(why)) => {
                    message += &format!(" preemption: {why}");
                    self.cache.cluster.withdraw(&pod.uid);
                    nomination = Nomination::Clear;
                }
            }
        }
        self.queue.refused(&pod.uid, verdicts.plugins());
        Step::Refuse { pod, message, nomination }
    }

    /// A Pod could not be put where it was decided.
    pub(crate) fn bind_failed(&mut self, pod: &PodInfo, now: Instant) {
        if let Some(gone) = self.cache.forget(&pod.uid) {
            self.queue.failed(&pod.uid, now);
            self.queue.tell(&Event::PodGone(&gone), &self.cache.cluster, now);
        }
    }

    /// When to decide again though nothing is heard.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.queue.next_wake()
    }

    /// A Pod is new, changed or gone.
    pub(crate) fn hear_pod(&mut self, change: &Change<Pod>, now: Instant) {
        match change {
            Change::Applied { old: Some(old), new } if is_same(old, new) => {}
            Change::Applied { old, new } => {
                if let Some(old) = old.as_ref().filter(|old| old.metadata.uid != new.metadata.uid) {
                    self.drop_pod(old.metadata.uid.as_deref().unwrap_or_default(), now);
                }
                let pod = Arc::new(PodInfo::new(Arc::clone(new)));
                match self.stage(&pod) {
                    Stage::Pending => self.wait(pod, now),
                    Stage::Placed => self.place(pod, now),
                    Stage::Other => self.drop_pod(&pod.uid, now),
                }
            }
            Change::Deleted(last) => self.drop_pod(last.metadata.uid.as_deref().unwrap_or_default(), now),
        }
    }

    fn stage(&self, pod: &PodInfo) -> Stage {
        let ours = pod.spec().scheduler_name.as_deref().unwrap_or("default-scheduler") == self.scheduler_name;
        if has_ended(&pod.pod) {
            Stage::Other
        } else if !pod.node.is_empty() {
            Stage::Placed
        } else if ours && !pod.is_terminating() {
            Stage::Pending
        } else {
            Stage::Other
        }
    }

    fn wait(&mut self, pod: Arc<PodInfo>, now: Instant) {
        if self.cache.is_assumed(&pod.uid) {
            return;
        }
        match pod.nominated_node() {
            Some(node) => self.cache.cluster.nominate(&pod, node),
            None => self.cache.cluster.withdraw(&pod.uid),
        }
        self.queue.put(pod, now);
    }

    fn place(&mut self, pod: Arc<PodInfo>, now: Instant) {
        self.queue.remove(&pod.uid);
        self.cache.cluster.withdraw(&pod.uid);
        let known = self.cache.put(Arc::clone(&pod));
        let event = match &known {
            Some(old) => Event::PodChanged { old, new: &pod },
            None => Event::PodPlaced(&pod),
        };
        self.queue.tell(&event, &self.cache.cluster, now);
    }

    fn drop_pod(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.cache.cluster.withdraw(uid);
        if let Some(gone) = self.cache.remove(uid) {
            self.queue.tell(&Event::PodGone(&gone), &self.cache.cluster, now);
        }
    }

    /// A node is new, changed or gone.
    pub(crate) fn hear_node(&mut self, change: &Change<Node>, now: Instant) {
        let name = change.object().metadata.name.as_deref().unwrap_or_default();
        match change {
            Change::Applied { new, .. } => {
                let old = self.cache.set_node(Arc::clone(new));
                let Some(new) = self.cache.cluster.node(name) else { return };
                match &old {
                    None => self.queue.tell(&Event::NodeAdded(new), &self.cache.cluster, now),
                    Some(old) if offers_the_same(old, new) => {}
                    Some(old) => self.queue.tell(&Event::NodeChanged { old, new }, &self.cache.cluster, now),
                }
            }
            Change::Deleted(_) => {
                if let Some(old) = self.cache.cluster.remove_node(name) {
                    self.queue.tell(&Event::NodeRemoved(&old), &self.cache.cluster, now);
                }
            }
        }
    }

    /// A namespace is new, changed or gone.
    pub(crate) fn hear_namespace(&mut self, change: &Change<Namespace>, now: Instant) {
        match change {
            Change::Applied { old, new } => {
                let labels = |namespace: &Arc<Namespace>| namespace.metadata.labels.clone();
                self.cache.cluster.set_namespace(Arc::clone(new));
                if old.as_ref().map(labels) != Some(labels(new)) {
                    self.queue.tell(&Event::NamespaceChanged, &self.cache.cluster, now);
                }
            }
            Change::Deleted(last) => {
                self.cache.cluster.remove_namespace(last.metadata.name.as_deref().unwrap_or_default());
            }
        }
    }
}

/// Whether nothing changed that decisions depend on: most changes of a Pod on a node are its containers' states.
fn is_same(old: &Pod, new: &Pod) -> bool {
    let placed = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    placed(new)
        && old.metadata.uid == new.metadata.uid
        && old.metadata.labels == new.metadata.labels
        && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
        && has_ended(old) == has_ended(new)
        && old.spec == new.spec
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether nothing changed that Pods could wait for: most changes of a node are heartbeats.
fn offers_the_same(old: &NodeInfo, new: &NodeInfo) -> bool {
    old.labels() == new.labels()
        && old.taints() == new.taints()
        && old.is_unschedulable() == new.is_unschedulable()
        && old.allocatable == new.allocatable
        && old.declared_features() == new.declared_features()
}

#[cfg(test)]
mod tests;
