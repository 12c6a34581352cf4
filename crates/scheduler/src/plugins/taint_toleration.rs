//! TaintToleration: a node's taints keep away every Pod that does not tolerate them, or make it less welcome.

use k8s_openapi::api::core::v1::Taint;
use sampan_api::placement::tolerates;

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal, Score, normalize_reverse};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(crate) struct TaintToleration;

impl Filter for TaintToleration {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        Some(Box::new(|node| match keeps_away(node, pod) {
            true => Err(Refusal::unresolvable("node(s) had untolerated taint(s)")),
            false => Ok(()),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        match event {
            Event::NodeAdded(node) => !keeps_away(node, pod),
            Event::NodeChanged { old, new } => keeps_away(old, pod) && !keeps_away(new, pod),
            _ => false,
        }
    }
}

impl Score for TaintToleration {
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        if nodes.iter().all(|node| node.taints().is_empty()) {
            return None;
        }
        let unwelcome = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(pod.spec(), taint);
        let mut penalties: Vec<i64> =
            nodes.iter().map(|node| node.taints().iter().filter(unwelcome).count() as i64).collect();
        normalize_reverse(&mut penalties);
        Some(penalties)
    }
}

/// Whether a taint of `node` keeps `pod` away.
pub(super) fn keeps_away(node: &NodeInfo, pod: &PodInfo) -> bool {
    let forbids = |taint: &Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints().iter().any(|taint| forbids(taint) && !tolerates(pod.spec(), taint))
}
