//! InterPodAffinity: Pods that want to be near some Pods and away from others, or would like to.
//!
//! "Near" is: on nodes with the same value of a label, the topology key. A wish to be away binds both sides: a Pod
//! already there keeps out those it does not want.

use std::collections::{HashMap, HashSet};

use crate::cluster::Cluster;
use crate::framework::{BEST, Event, Filter, NodeFilter, Refusal, Score, Verdict};
use crate::node::NodeInfo;
use crate::pod::{PodInfo, Term};

/// How much a Pod that is required near others attracts them in turn.
const REQUIRED_WEIGHT: i64 = 1;

/// A label of nodes and one of its values.
type Place<'a> = (&'a str, &'a str);

pub(crate) struct InterPodAffinity;

impl Filter for InterPodAffinity {
    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        let (near, away) = (&pod.affinity.required, &pod.anti_affinity.required);
        if near.is_empty() && away.is_empty() && !cluster.has_terms() {
            return None;
        }
        let places = Places::find(pod, cluster);
        Some(Box::new(move |node| places.check(pod, node)))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, cluster: &Cluster) -> bool {
        let (near, away) = (&pod.affinity.required, &pod.anti_affinity.required);
        let meets = |terms: &[Term], other: &PodInfo| {
            let labels = cluster.namespace_labels(&other.key.namespace);
            terms.iter().any(|term| term.selects(other, labels))
        };
        let own = cluster.namespace_labels(&pod.key.namespace);
        match event {
            Event::NodeAdded(_) | Event::NamespaceChanged => true,
            Event::NodeChanged { old, new } => old.labels() != new.labels(),
            Event::NodeRemoved(_) => false,
            Event::PodPlaced(placed) => meets(near, placed),
            Event::PodChanged { old, new } => {
                (!meets(near, old) && meets(near, new)) || (meets(away, old) && !meets(away, new))
            }
            Event::PodGone(gone) => {
                meets(away, gone) || gone.anti_affinity.required.iter().any(|term| term.selects(pod, own))
            }
        }
    }
}

/// Where the Pods are that matter to one Pod's required terms.
#[derive(Default)]
struct Places<'a> {
    /// Where Pods are that it wants near: those that all its terms select.
    wanted: HashSet<Place<'a>>,
    /// Where Pods are that it wants away.
    unwanted: HashSet<Place<'a>>,
    /// Where Pods are that want it away.
    unwelcome: HashSet<Place<'a>>,
    /// Whether it is itself one of the Pods it wants near: then the first of them may go anywhere.
    wants_itself: bool,
}

impl<'a> Places<'a> {
    fn find(pod: &'a PodInfo, cluster: &'a Cluster) -> Self {
        let mut places = Self::default();
        let own = cluster.namespace_labels(&pod.key.namespace);
        let (near, away) = (&pod.affinity.required, &pod.anti_affinity.required);
        places.wants_itself = near.iter().all(|term| term.selects(pod, own));
        let asks = !near.is_empty() || !away.is_empty();
        for node in cluster.nodes().iter().filter(|node| asks || node.pods_with_terms > 0) {
            for other in &node.pods {
                let unwelcome = other.anti_affinity.required.iter().filter(|term| term.selects(pod, own));
                places.unwelcome.extend(unwelcome.filter_map(|term| place(term, node)));
                if asks {
                    let labels = cluster.namespace_labels(&other.key.namespace);
                    if near.iter().all(|term| term.selects(other, labels)) {
                        places.wanted.extend(near.iter().filter_map(|term| place(term, node)));
                    }
                    let unwanted = away.iter().filter(|term| term.selects(other, labels));
                    places.unwanted.extend(unwanted.filter_map(|term| place(term, node)));
                }
            }
        }
        places
    }

    fn check(&self, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let is_in = |places: &HashSet<Place<'a>>, term: &Term| place(term, node).is_some_and(|p| places.contains(&p));
        let near = &pod.affinity.required;
        let labelled = near.iter().all(|term| node.labels().contains_key(&term.topology_key));
        let first = self.wanted.is_empty() && self.wants_itself;
        if !labelled || !(first || near.iter().all(|term| is_in(&self.wanted, term))) {
            return Err(Refusal::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if pod.anti_affinity.required.iter().any(|term| is_in(&self.unwanted, term)) {
            return Err(Refusal::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        let labels = node.labels();
        if self.unwelcome.iter().any(|(key, value)| labels.get(*key).is_some_and(|label| label == value)) {
            return Err(Refusal::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

/// The place that `term` speaks of when a Pod is on `node`.
fn place<'p>(term: &'p Term, node: &'p NodeInfo) -> Option<Place<'p>> {
    Some((&term.topology_key, node.labels().get(&term.topology_key)?))
}

impl Score for InterPodAffinity {
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let asks = !pod.affinity.preferred.is_empty() || !pod.anti_affinity.preferred.is_empty();
        if !asks && !cluster.has_terms() {
            return None;
        }
        let worth = worth_of_places(pod, cluster, asks);
        if worth.is_empty() {
            return None;
        }
        let sum = |node: &&NodeInfo| {
            let labels = node.labels();
            let here = worth.iter().filter(|((key, value), _)| labels.get(*key).is_some_and(|label| label == value));
            here.map(|(_, worth)| worth).sum::<i64>()
        };
        let sums: Vec<i64> = nodes.iter().map(sum).collect();
        let (lowest, highest) = (sums.iter().min()?, sums.iter().max()?);
        let span = highest - lowest;
        Some(sums.iter().map(|sum| if span > 0 { BEST * (sum - lowest) / span } else { 0 }).collect())
    }
}

/// How much each place attracts `pod`, or repels it below zero.
fn worth_of_places<'a>(pod: &'a PodInfo, cluster: &'a Cluster, asks: bool) -> HashMap<Place<'a>, i64> {
    let mut worth = HashMap::new();
    let own = cluster.namespace_labels(&pod.key.namespace);
    for node in cluster.nodes().iter().filter(|node| asks || node.pods_with_terms > 0) {
        let mut count = |term: &'a Term, weight: i64, met: bool| {
            if let Some(place) = place(term, node).filter(|_| met) {
                *worth.entry(place).or_default() += weight;
            }
        };
        for other in &node.pods {
            if asks {
                let labels = cluster.namespace_labels(&other.key.namespace);
                for (weight, term) in &pod.affinity.preferred {
                    count(term, *weight, term.selects(other, labels));
                }
                for (weight, term) in &pod.anti_affinity.preferred {
                    count(term, -weight, term.selects(other, labels));
                }
            }
            for term in &other.affinity.required {
                count(term, REQUIRED_WEIGHT, term.selects(pod, own));
            }
            for (weight, term) in &other.affinity.preferred {
                count(term, *weight, term.selects(pod, own));
            }
            for (weight, term) in &other.anti_affinity.preferred {
                count(term, -weight, term.selects(pod, own));
            }
        }
    }
    worth
}
