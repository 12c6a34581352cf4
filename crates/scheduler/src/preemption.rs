//! Preemption: which Pods to push away so that a more important one has a place.
//!
//! [`preempt`] is pure: on a copy of the cluster it takes all less important Pods from a node, sees whether the Pod would
//! fit, and puts back as many as it can, the most important first. Disruption budgets are not considered.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::decide::{Filters, Verdicts};
use crate::explain;
use crate::framework::Refusal;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// At least this many nodes are tried, if there are so many.
const FEWEST_CANDIDATES: usize = 100;
/// At least this percentage of the nodes is tried.
const CANDIDATES_PERCENTAGE: usize = 10;

/// Room that can be made.
#[derive(Debug)]
pub(crate) struct Preemption {
    pub(crate) node: Arc<str>,
    /// The most important first.
    pub(crate) victims: Vec<Arc<PodInfo>>,
}

/// Why no room can or need be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unhelpful {
    /// The Pod may not push, or has pushed already and waits.
    NotEligible(&'static str),
    /// No node would do; the message says so for each.
    NoCandidate(String),
}

/// Chooses the node on which the least harm makes room for `pod`, which got `verdicts`.
pub(crate) fn preempt(pod: &PodInfo, cluster: &Cluster, verdicts: &Verdicts) -> Result<Preemption, Unhelpful> {
    check_eligible(pod, cluster, verdicts)?;
    let mut what_if = None;
    let mut candidates = Vec::new();
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    let mut tried = 0;
    for refused in verdicts.refused.iter().filter(|refused| refused.refusal.resolvable) {
        let Some(node) = cluster.node(&refused.node) else { continue };
        tried += 1;
        if !node.pods.iter().any(|other| other.priority < pod.priority) {
            reasons.push("No preemption victims found for incoming pod".into());
            continue;
        }
        match victims(pod, node, what_if.get_or_insert_with(|| cluster.clone())) {
            Ok(victims) => candidates.push(Preemption { node: Arc::clone(&node.name), victims }),
            Err(refusal) => reasons.extend(refusal.reasons),
        }
        if candidates.len() >= FEWEST_CANDIDATES.max(verdicts.nodes * CANDIDATES_PERCENTAGE / 100) {
            break;
        }
    }
    let rest = (verdicts.nodes - tried, "Preemption is not helpful for scheduling".into());
    let least = candidates.into_iter().min_by_key(|candidate| harm(&candidate.victims));
    least.ok_or_else(|| Unhelpful::NoCandidate(explain::summary(verdicts.nodes, reasons.into_iter(), rest)))
}

fn check_eligible(pod: &PodInfo, cluster: &Cluster, verdicts: &Verdicts) -> Result<(), Unhelpful> {
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Err(Unhelpful::NotEligible("not eligible due to preemptionPolicy=Never."));
    }
    let Some(node) = pod.nominated_node().and_then(|name| cluster.node(name)) else { return Ok(()) };
    let hopeless = verdicts.refused.iter().any(|refused| refused.node == node.name && !refused.refusal.resolvable);
    let leaving = node.pods.iter().any(|other| other.is_terminating() && other.priority < pod.priority);
    match leaving && !hopeless {
        true => Err(Unhelpful::NotEligible("not eligible due to a terminating pod on the nominated node.")),
        false => Ok(()),
    }
}

/// The Pods that have to leave `node`; `what_if` is as it was when this returns.
fn victims(pod: &PodInfo, node: &Arc<NodeInfo>, what_if: &mut Cluster) -> Result<Vec<Arc<PodInfo>>, Refusal> {
    let mut weaker: Vec<&Arc<PodInfo>> = node.pods.iter().filter(|other| other.priority < pod.priority).collect();
    weaker.sort_by_key(|other| (Reverse(other.priority), started(other)));
    for other in &weaker {
        what_if.remove_pod(&node.name, &other.uid);
    }
    let mut victims = Vec::new();
    let possible = fits(pod, &node.name, what_if);
    if possible.is_ok() {
        for other in weaker {
            what_if.add_pod(&node.name, Arc::clone(other));
            if fits(pod, &node.name, what_if).is_err() {
                what_if.remove_pod(&node.name, &other.uid);
                victims.push(Arc::clone(other));
            }
        }
    }
    what_if.restore(node);
    possible.map(|()| victims)
}

fn fits(pod: &PodInfo, node: &str, cluster: &Cluster) -> Result<(), Refusal> {
    let Some(node) = cluster.node(node) else { return Ok(()) };
    Filters::prepare(pod, cluster).check_with_nominated(pod, cluster, node).map_err(|(_, refusal)| refusal)
}

/// What is lost with these Pods, in the order it matters: the highest priority, all priorities together, how many
/// they are, and how long the most important of them have run.
fn harm(victims: &[Arc<PodInfo>]) -> (i32, i64, usize, Reverse<Timestamp>) {
    let highest = victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
    // Shifted, so that many Pods of negative priority are not less than few.
    let shifted = |victim: &Arc<PodInfo>| i64::from(victim.priority) + i64::from(i32::MAX) + 1;
    let most_important = victims.iter().filter(|victim| victim.priority == highest);
    let earliest = most_important.map(|victim| started(victim)).min().unwrap_or(Timestamp::MAX);
    (highest, victims.iter().map(shifted).sum(), victims.len(), Reverse(earliest))
}

/// When a Pod started; one that has not counts as the youngest.
fn started(pod: &PodInfo) -> Timestamp {
    let status = pod.pod.status.as_ref();
    status.and_then(|status| status.start_time.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}
