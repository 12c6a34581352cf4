//! NodeAffinity: a Pod's node selector and node affinity, required and preferred.

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm};

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal, Score, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(crate) struct NodeAffinity;

impl Filter for NodeAffinity {
    /// Nodes named by every alternative, as a DaemonSet's Pods name theirs.
    fn only(&self, pod: &PodInfo) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for term in required(pod)? {
            let fields = term.match_fields.as_deref().unwrap_or_default();
            let named = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
            names.extend(named.values.iter().flatten().cloned());
        }
        Some(names)
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        if pod.spec().node_selector.is_none() && required(pod).is_none() {
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
            let met = terms.iter().filter(|term| matches(&term.preference, node));
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

fn required(pod: &PodInfo) -> Option<&[NodeSelectorTerm]> {
    let selector = affinity(pod)?.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(&selector.node_selector_terms)
}

/// Whether the Pod's node selector and required affinity let it on `node`.
pub(super) fn admits(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.labels();
    let selected = pod.spec().node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    selected && required(pod).is_none_or(|terms| terms.iter().any(|term| matches(term, node)))
}

/// A term without any requirement matches no node.
fn matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = |key: &str| (key == "metadata.name").then_some(&*node.name);
    let label = |key: &str| node.labels().get(key).map(String::as_str);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| holds(requirement, name(&requirement.key)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let named = || value.is_some_and(|value| values.iter().any(|other| other == value));
    let integers = || {
        let value: i64 = value?.parse().ok()?;
        let [bound] = values else { return None };
        Some((value, bound.parse::<i64>().ok()?))
    };
    match requirement.operator.as_str() {
        "In" => named(),
        "NotIn" => !named(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => integers().is_some_and(|(value, bound)| value > bound),
        "Lt" => integers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}
