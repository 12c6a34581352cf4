//! NodeName: a Pod that names its node runs nowhere else.

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal};
use crate::pod::PodInfo;

pub(crate) struct NodeName;

impl Filter for NodeName {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        if pod.node.is_empty() {
            return None;
        }
        Some(Box::new(|node| match *pod.node == *node.name {
            true => Ok(()),
            false => Err(Refusal::unresolvable("node(s) didn't match the requested node name")),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        matches!(event, Event::NodeAdded(node) if *pod.node == *node.name)
    }
}
