//! PodTopologySpread: Pods that belong together are spread evenly over zones, nodes or any other label's values.
//!
//! A Pod without constraints of its own is spread, if possible, away from the other Pods of its controller.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use sampan_api::selector::Selector;

use super::{node_affinity, taint_toleration};
use crate::cluster::Cluster;
use crate::framework::{BEST, Event, Filter, NodeFilter, Refusal, Score, Verdict};
use crate::node::NodeInfo;
use crate::pod::{PodInfo, selector_with_own};

/// The label that every node has for itself: counted node by node, not over the whole cluster.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// How Pods are spread that do not say: by these labels, with this skew, if possible.
const DEFAULTS: [(&str, i64); 2] = [("topology.kubernetes.io/zone", 3), (HOSTNAME, 5)];

pub(crate) struct PodTopologySpread;

/// A constraint, read.
struct Constraint<'a> {
    key: &'a str,
    max_skew: i64,
    min_domains: usize,
    counted: Counted<'a>,
    honors_affinity: bool,
    honors_taints: bool,
}

/// Which Pods are to be spread.
enum Counted<'a> {
    Selected(Selector),
    /// Those with the same controller, by its uid.
    Siblings(&'a str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Required,
    Preferred,
}

impl<'a> Constraint<'a> {
    fn all(pod: &'a PodInfo, strength: Strength) -> Vec<Self> {
        let meant = |constraint: &&TopologySpreadConstraint| {
            (constraint.when_unsatisfiable == "DoNotSchedule") == (strength == Strength::Required)
        };
        let constraints = pod.spec().topology_spread_constraints.iter().flatten().filter(meant);
        constraints.map(|constraint| Self::new(pod, constraint)).collect()
    }

    fn new(pod: &PodInfo, constraint: &'a TopologySpreadConstraint) -> Self {
        let own = constraint.match_label_keys.iter().flatten().map(|key| (key, "In"));
        Self {
            key: &constraint.topology_key,
            max_skew: constraint.max_skew.into(),
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            counted: Counted::Selected(selector_with_own(constraint.label_selector.as_ref(), &pod.pod, own)),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    fn defaults(pod: &'a PodInfo) -> Vec<Self> {
        if pod.spec().topology_spread_constraints.as_ref().is_some_and(|own| !own.is_empty()) {
            return Vec::new();
        }
        let Some(uid) = controller(pod) else { return Vec::new() };
        let default = |(key, max_skew)| Self {
            key,
            max_skew,
            min_domains: 1,
            counted: Counted::Siblings(uid),
            honors_affinity: true,
            honors_taints: false,
        };
        DEFAULTS.map(default).into()
    }

    /// Whether `node` takes part in the spreading.
    fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honors_affinity || node_affinity::admits(pod, node))
            && (!self.honors_taints || !taint_toleration::keeps_away(node, pod))
    }

    fn counts(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        pod.key.namespace == other.key.namespace
            && !other.is_terminating()
            && match &self.counted {
                Counted::Selected(selector) => selector.matches(other.labels()),
                Counted::Siblings(uid) => controller(other) == Some(uid),
            }
    }

    fn count_on(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        node.pods.iter().filter(|other| self.counts(pod, other)).count() as i64
    }
}

fn controller(pod: &PodInfo) -> Option<&str> {
    let mut owners = pod.pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

impl Filter for PodTopologySpread {
    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        let constraints = Constraint::all(pod, Strength::Required);
        if constraints.is_empty() {
            return None;
        }
        let spreads: Vec<Spread<'_>> =
            constraints.iter().map(|constraint| Spread::find(constraint, &constraints, pod, cluster)).collect();
        let keys: Vec<&str> = constraints.iter().map(|constraint| constraint.key).collect();
        Some(Box::new(move |node| {
            if keys.iter().any(|key| !node.labels().contains_key(*key)) {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Refusal::unresolvable(reason));
            }
            spreads.iter().try_for_each(|spread| spread.check(node))
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        let constraints = Constraint::all(pod, Strength::Required);
        let counts = |other: &PodInfo| constraints.iter().any(|constraint| constraint.counts(pod, other));
        match event {
            Event::NodeAdded(node) | Event::NodeRemoved(node) => {
                constraints.iter().all(|constraint| node.labels().contains_key(constraint.key))
            }
            Event::NodeChanged { old, new } => old.labels() != new.labels() || old.taints() != new.taints(),
            Event::PodPlaced(other) | Event::PodGone(other) => counts(other),
            Event::PodChanged { old, new } => counts(old) != counts(new),
            Event::NamespaceChanged => false,
        }
    }
}

/// How many of the Pods there are for each value of a constraint's label.
struct Spread<'a> {
    key: &'a str,
    max_skew: i64,
    counts: HashMap<&'a str, i64>,
    lowest: i64,
    /// Whether the Pod counts itself.
    own: i64,
}

impl<'a> Spread<'a> {
    fn find(constraint: &Constraint<'a>, all: &[Constraint<'_>], pod: &PodInfo, cluster: &'a Cluster) -> Self {
        let mut counts: HashMap<&str, i64> = HashMap::new();
        for node in cluster.nodes() {
            let labels = node.labels();
            let labelled = all.iter().all(|constraint| labels.contains_key(constraint.key));
            if let Some(value) = labels.get(constraint.key).filter(|_| labelled && constraint.includes(pod, node)) {
                *counts.entry(value).or_default() += constraint.count_on(pod, node);
            }
        }
        let enough = counts.len() >= constraint.min_domains;
        let lowest = counts.values().copied().min().filter(|_| enough).unwrap_or_default();
        let own = i64::from(match &constraint.counted {
            Counted::Selected(selector) => selector.matches(pod.labels()),
            Counted::Siblings(_) => true,
        });
        Self { key: constraint.key, max_skew: constraint.max_skew, counts, lowest, own }
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        let value = node.labels().get(self.key).map_or("", String::as_str);
        let skew = self.counts.get(value).unwrap_or(&0) + self.own - self.lowest;
        match skew > self.max_skew {
            true => Err(Refusal::resolvable("node(s) didn't match pod topology spread constraints")),
            false => Ok(()),
        }
    }
}

impl Score for PodTopologySpread {
    /// The fewer of the Pods there are in a node's domains, the better. Domains of a constraint with many of them
    /// weigh more, since each holds fewer Pods.
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let mut constraints = Constraint::all(pod, Strength::Preferred);
        let needs_all_labels = !constraints.is_empty();
        if constraints.is_empty() {
            constraints = Constraint::defaults(pod);
        }
        if constraints.is_empty() {
            return None;
        }
        let labelled =
            |node: &NodeInfo| constraints.iter().all(|constraint| node.labels().contains_key(constraint.key));
        let takes_part = |node: &NodeInfo| !needs_all_labels || labelled(node);
        let mut crowds: Vec<Option<f64>> = nodes.iter().map(|node| takes_part(node).then_some(0.0)).collect();
        for constraint in &constraints {
            let domains = Domains::find(constraint, pod, nodes.iter().copied().filter(|node| takes_part(node)));
            let domains = domains.count(constraint, pod, cluster, &takes_part);
            for (crowd, node) in crowds.iter_mut().zip(nodes) {
                if let (Some(crowd), Some(count)) = (crowd, domains.at(node)) {
                    *crowd += count as f64 * domains.weight + (constraint.max_skew - 1) as f64;
                }
            }
        }
        Some(ranked(&crowds))
    }
}

/// The domains of a preferred constraint among the nodes that are left, and the Pods in each.
struct Domains<'a> {
    key: &'a str,
    counts: HashMap<&'a str, i64>,
    weight: f64,
}

impl<'a> Domains<'a> {
    fn find(constraint: &Constraint<'a>, pod: &PodInfo, nodes: impl Iterator<Item = &'a NodeInfo>) -> Self {
        let mut counts = HashMap::new();
        for node in nodes {
            if let Some(value) = node.labels().get(constraint.key) {
                let there = if constraint.key == HOSTNAME { constraint.count_on(pod, node) } else { 0 };
                *counts.entry(value.as_str()).or_default() += there;
            }
        }
        let weight = ((counts.len() + 2) as f64).ln();
        Self { key: constraint.key, counts, weight }
    }

    /// Counts the Pods of all nodes; those of single nodes have been counted already.
    fn count(
        mut self,
        constraint: &Constraint<'_>,
        pod: &PodInfo,
        cluster: &Cluster,
        takes_part: &impl Fn(&NodeInfo) -> bool,
    ) -> Self {
        if self.key == HOSTNAME || self.counts.is_empty() {
            return self;
        }
        for node in cluster.nodes().iter().filter(|node| takes_part(node) && constraint.includes(pod, node)) {
            let value = node.labels().get(self.key).map_or("", String::as_str);
            if let Some(count) = self.counts.get_mut(value) {
                *count += constraint.count_on(pod, node);
            }
        }
        self
    }

    fn at(&self, node: &NodeInfo) -> Option<i64> {
        self.counts.get(node.labels().get(self.key)?.as_str()).copied()
    }
}

/// Turns crowds into scores; nodes that take no part have the worst.
fn ranked(crowds: &[Option<f64>]) -> Vec<i64> {
    let rounded: Vec<Option<i64>> = crowds.iter().map(|crowd| crowd.map(|crowd| crowd.round() as i64)).collect();
    let lowest = rounded.iter().flatten().copied().min().unwrap_or_default();
    let highest = rounded.iter().flatten().copied().max().unwrap_or_default();
    let score = |crowd: &Option<i64>| match crowd {
        None => 0,
        Some(_) if highest == 0 => BEST,
        Some(crowd) => BEST * (highest + lowest - crowd) / highest,
    };
    rounded.iter().map(score).collect()
}
