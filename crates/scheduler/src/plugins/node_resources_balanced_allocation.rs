//! NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory the Pod would leave evenly used.

use crate::cluster::Cluster;
use crate::framework::{BEST, Score};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(crate) struct NodeResourcesBalancedAllocation;

impl Score for NodeResourcesBalancedAllocation {
    /// How much more even the node is with the Pod than without, around the middle of the scale.
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        if pod.requests.cpu_milli == 0 && pod.requests.memory == 0 {
            return None;
        }
        let score = |node: &&NodeInfo| {
            let (used, asked) = (&node.requested, &pod.requests);
            let with = evenness(node, used.cpu_milli + asked.cpu_milli, used.memory + asked.memory);
            let without = evenness(node, used.cpu_milli, used.memory);
            BEST / 2 + (BEST / 2 + with - without) / 2
        };
        Some(nodes.iter().map(score).collect())
    }
}

/// [`BEST`] less the standard deviation of the used shares; for two shares that is half their distance.
fn evenness(node: &NodeInfo, cpu_milli: i64, memory: i64) -> i64 {
    let share = |used: i64, allocatable: i64| (allocatable > 0).then(|| (used as f64 / allocatable as f64).min(1.0));
    let shares = share(cpu_milli, node.allocatable.cpu_milli).zip(share(memory, node.allocatable.memory));
    let deviation = shares.map_or(0.0, |(cpu, memory)| (cpu - memory).abs() / 2.0);
    ((1.0 - deviation) * BEST as f64) as i64
}
