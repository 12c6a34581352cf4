//! NodeResourcesFit: what a Pod asks for must be free on its node; the emptier the node, the better.

use std::borrow::Cow;

use crate::cluster::Cluster;
use crate::framework::{BEST, Event, Filter, NodeFilter, Refusal, Score, Verdict};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::resources::Resources;

pub(crate) struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        Some(Box::new(|node| fits(&pod.requests, node)))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        match event {
            Event::NodeAdded(node) => fits(&pod.requests, node).is_ok(),
            Event::NodeChanged { old, new } => {
                old.allocatable.is_less_somewhere(&new.allocatable) && fits(&pod.requests, new).is_ok()
            }
            Event::PodGone(_) => true,
            Event::PodChanged { old, new } => new.requests.is_less_somewhere(&old.requests),
            _ => false,
        }
    }
}

impl Score for NodeResourcesFit {
    /// The mean of the free shares of CPU and memory, with the Pod there.
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let score = |node: &&NodeInfo| {
            let cpu = free(node.scored.cpu_milli + pod.scored.cpu_milli, node.allocatable.cpu_milli);
            let memory = free(node.scored.memory + pod.scored.memory, node.allocatable.memory);
            match (cpu, memory) {
                (Some(cpu), Some(memory)) => (cpu + memory) / 2,
                (one, other) => one.or(other).unwrap_or_default(),
            }
        };
        Some(nodes.iter().map(score).collect())
    }
}

/// The share of `allocatable` that is left, of [`BEST`]; `None` when the node has nothing of it.
fn free(requested: i64, allocatable: i64) -> Option<i64> {
    let left = (allocatable - requested).max(0);
    (allocatable > 0).then(|| left * BEST / allocatable)
}

fn fits(requests: &Resources, node: &NodeInfo) -> Verdict {
    let mut short = Shortage::default();
    let (allocatable, used) = (&node.allocatable, &node.requested);
    if used.pods + 1 > allocatable.pods {
        short.reasons.push("Too many pods".into());
    }
    short.check("cpu", requests.cpu_milli, used.cpu_milli, allocatable.cpu_milli);
    short.check("memory", requests.memory, used.memory, allocatable.memory);
    let storage = (requests.ephemeral_storage, used.ephemeral_storage, allocatable.ephemeral_storage);
    short.check("ephemeral-storage", storage.0, storage.1, storage.2);
    for (name, amount) in &requests.others {
        let of = |amounts: &Resources| amounts.others.get(name).copied().unwrap_or_default();
        short.check(name, *amount, of(used), of(allocatable));
    }
    match short.reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal { reasons: short.reasons, resolvable: !short.hopeless }),
    }
}

/// What a node lacks.
#[derive(Default)]
struct Shortage {
    reasons: Vec<Cow<'static, str>>,
    /// Whether something would not fit even if the node were empty.
    hopeless: bool,
}

impl Shortage {
    fn check(&mut self, name: &str, requested: i64, used: i64, allocatable: i64) {
        if requested > 0 && requested > allocatable - used {
            self.reasons.push(match name {
                "cpu" => "Insufficient cpu".into(),
                "memory" => "Insufficient memory".into(),
                other => format!("Insufficient {other}").into(),
            });
            self.hopeless |= requested > allocatable;
        }
    }
}
