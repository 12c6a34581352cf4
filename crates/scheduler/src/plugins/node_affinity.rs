//! NodeAffinity: a Pod's node selector and node affinity, required and preferred.

use k8s_openapi::api::core::v1::NodeAffinity as Affinity;
use sampan_api::placement::{Place, meets, required_terms, wants};

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal, Score, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(crate) struct NodeAffinity;

impl Filter for NodeAffinity {
    /// Nodes named by every alternative, as a DaemonSet's Pods name theirs.
    fn only(&self, pod: &PodInfo) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for term in required_terms(pod.spec())? {
            let fields = term.match_fields.as_deref().unwrap_or_default();
            let named = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
            names.extend(named.values.iter().flatten().cloned());
        }
        Some(names)
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        if pod.spec().node_selector.is_none() && required_terms(pod.spec()).is_none() {
            return None;
        }
        Some(Box::new(|node| match admits(pod, node) {
            true => Ok(()),
            false => Err(Refusal::unresolvable("node(s) didn't match Pod's node affinity/selector")),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        match event {
            Event::NodeAdded(node) => admits(pod, node),
            Event::NodeChanged { old, new } => !admits(pod, old) && admits(pod, new),
            _ => false,
        }
    }
}

impl Score for NodeAffinity {
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let terms = affinity(pod)?.preferred_during_scheduling_ignored_during_execution.as_ref()?;
        let weight = |node: &&NodeInfo| {
            let met = terms.iter().filter(|term| meets(place(node), &term.preference));
            met.map(|term| i64::from(term.weight)).sum()
        };
        let mut scores: Vec<i64> = nodes.iter().map(weight).collect();
        normalize(&mut scores);
        Some(scores)
    }
}

fn affinity(pod: &PodInfo) -> Option<&Affinity> {
    pod.spec().affinity.as_ref()?.node_affinity.as_ref()
}

/// Whether the Pod's node selector and required affinity let it on `node`.
pub(super) fn admits(pod: &PodInfo, node: &NodeInfo) -> bool {
    wants(pod.spec(), place(node))
}

fn place(node: &NodeInfo) -> Place<'_> {
    Place { name: &node.name, labels: node.labels() }
}
