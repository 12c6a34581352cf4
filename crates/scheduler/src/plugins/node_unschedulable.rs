//! NodeUnschedulable: nothing new on a cordoned node, except what tolerates its taint.

use k8s_openapi::api::core::v1::Taint;
use sampan_api::placement::tolerates;

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal};
use crate::pod::PodInfo;

pub(crate) struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        if tolerates_cordon(pod) {
            return None;
        }
        Some(Box::new(|node| match node.is_unschedulable() {
            true => Err(Refusal::unresolvable("node(s) were unschedulable")),
            false => Ok(()),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        match event {
            Event::NodeChanged { old, new } => old.is_unschedulable() && !new.is_unschedulable(),
            Event::NodeAdded(node) => !node.is_unschedulable() || tolerates_cordon(pod),
            _ => false,
        }
    }
}

fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    tolerates(pod.spec(), &taint)
}
