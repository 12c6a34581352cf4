//! The decision: on which node a Pod goes, or why on none.
//!
//! [`schedule`] is pure. In a large cluster it does not look at every node: it stops when it has found enough that the
//! Pod can run on, and starts where the last decision stopped ([`Turn`]), so that all nodes have their turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::framework::{NodeFilter, PluginSet, Refusal, Refused, Verdict};
use crate::node::NodeInfo;
use crate::plugins;
use crate::pod::PodInfo;

/// With fewer acceptable nodes than this, the search goes on.
const FEWEST_NODES: usize = 100;
/// The search covers at least this percentage of the nodes.
const LOWEST_PERCENTAGE: usize = 5;

/// Whose turn it is, from decision to decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// The node to look at first.
    start: usize,
    /// Counts decisions: picks one of several nodes that are equally good.
    number: usize,
}

/// A place for a Pod.
#[derive(Debug)]
pub struct Placement {
    /// The node.
    pub node: Arc<str>,
    /// The turn of the next decision.
    pub next: Turn,
}

/// Why a Pod has no place now.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// What was said about each node that was looked at.
    pub(crate) refused: Vec<Refused>,
    /// The plugins that said that only some nodes are worth a look; the others count as refused by them.
    pub(crate) narrowed_by: PluginSet,
}

impl Verdicts {
    /// The plugins that kept the Pod from some node.
    pub(crate) fn plugins(&self) -> PluginSet {
        let mut plugins = self.narrowed_by;
        self.refused.iter().for_each(|refused| plugins.insert(refused.plugin));
        plugins
    }
}

/// Finds the best node for `pod`.
pub fn schedule(pod: &PodInfo, cluster: &Cluster, turn: Turn) -> Result<Placement, Verdicts> {
    let filters = Filters::prepare(pod, cluster);
    if let Some(node) = made_room(pod, cluster, &filters) {
        return Ok(Placement { node: Arc::clone(&node.name), next: turn });
    }
    let (candidates, narrowed_by) = candidates(pod, cluster, turn);
    let mut verdicts = Verdicts { nodes: cluster.nodes().len(), refused: Vec::new(), narrowed_by };
    let enough = nodes_to_find(candidates.len());
    let mut found: Vec<&NodeInfo> = Vec::with_capacity(enough);
    let mut looked_at = 0;
    for index in candidates {
        let node = &*cluster.nodes()[index];
        looked_at += 1;
        match filters.check_with_nominated(pod, cluster, node) {
            Ok(()) => found.push(node),
            Err((plugin, refusal)) => {
                verdicts.refused.push(Refused { node: Arc::clone(&node.name), plugin, refusal });
            }
        }
        if found.len() == enough {
            break;
        }
    }
    let next = Turn { start: (turn.start + looked_at) % cluster.nodes().len().max(1), number: turn.number + 1 };
    match best(pod, cluster, &found, turn) {
        Some(node) => Ok(Placement { node: Arc::clone(&node.name), next }),
        None => Err(verdicts),
    }
}

/// The node that `pod` has pushed other Pods from, when they have left it.
fn made_room<'a>(pod: &PodInfo, cluster: &'a Cluster, filters: &Filters<'_>) -> Option<&'a NodeInfo> {
    let node = cluster.node(pod.nominated_node()?)?;
    filters.check_with_nominated(pod, cluster, node).is_ok().then_some(node)
}

/// The nodes to look at, by index: all from the turn's start on, or only those that the Pod names; then also the
/// plugins that read these names.
fn candidates(pod: &PodInfo, cluster: &Cluster, turn: Turn) -> (Vec<usize>, PluginSet) {
    let mut narrowed_by = PluginSet::default();
    let mut only: Option<BTreeSet<usize>> = None;
    for (index, plugin) in plugins::ALL.iter().enumerate() {
        let Some(names) = plugin.filter.and_then(|filter| filter.only(pod)) else { continue };
        narrowed_by.insert(index);
        let named = names.iter().filter_map(|name| cluster.index_of(name));
        only = Some(named.filter(|node| only.as_ref().is_none_or(|only| only.contains(node))).collect());
    }
    let nodes = cluster.nodes().len();
    let start = turn.start.min(nodes);
    match only {
        Some(only) => (only.into_iter().collect(), narrowed_by),
        None => ((start..nodes).chain(0..start).collect(), narrowed_by),
    }
}

/// How many acceptable nodes are enough among `nodes`.
fn nodes_to_find(nodes: usize) -> usize {
    if nodes < FEWEST_NODES {
        return nodes;
    }
    let percentage = 50_usize.saturating_sub(nodes / 125).max(LOWEST_PERCENTAGE);
    (nodes * percentage / 100).max(FEWEST_NODES)
}

/// All filters that `pod` concerns, ready to check nodes.
pub(crate) struct Filters<'a>(Vec<(usize, NodeFilter<'a>)>);

impl<'a> Filters<'a> {
    /// Makes the filters ready for `pod` in `cluster` as it is.
    pub(crate) fn prepare(pod: &'a PodInfo, cluster: &'a Cluster) -> Self {
        let all = plugins::ALL.iter().enumerate();
        Self(all.filter_map(|(index, plugin)| Some((index, plugin.filter?.prepare(pod, cluster)?))).collect())
    }

    /// What the first filter that refuses `node` says, and which it is.
    pub(crate) fn check(&self, node: &NodeInfo) -> Result<(), (usize, Refusal)> {
        let refusal = |(index, filter): &(usize, NodeFilter<'a>)| -> Option<(usize, Refusal)> {
            let verdict: Verdict = filter(node);
            Some((*index, verdict.err()?))
        };
        self.0.iter().find_map(refusal).map_or(Ok(()), Err)
    }

    /// The same, also with those Pods there that wait for their room on the node.
    pub(crate) fn check_with_nominated(
        &self,
        pod: &PodInfo,
        cluster: &Cluster,
        node: &NodeInfo,
    ) -> Result<(), (usize, Refusal)> {
        let mut waiting = cluster.nominated_before(pod, &node.name).peekable();
        if waiting.peek().is_some() {
            let mut crowded = node.clone();
            waiting.for_each(|other| crowded.add(Arc::clone(other)));
            self.check(&crowded)?;
        }
        self.check(node)
    }
}

/// The node with the highest weighted score.
fn best<'a>(pod: &PodInfo, cluster: &Cluster, nodes: &[&'a NodeInfo], turn: Turn) -> Option<&'a NodeInfo> {
    if let [] | [_] = nodes {
        return nodes.first().copied();
    }
    let mut totals = vec![0_i64; nodes.len()];
    for (weight, plugin) in plugins::ALL.iter().filter_map(|plugin| plugin.score) {
        for (total, score) in totals.iter_mut().zip(plugin.score(pod, cluster, nodes).unwrap_or_default()) {
            *total += weight * score;
        }
    }
    let highest = *totals.iter().max()?;
    let mut equals = nodes.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(node, _)| *node);
    let count = equals.clone().count();
    equals.nth(turn.number % count)
}

#[cfg(test)]
mod tests;
