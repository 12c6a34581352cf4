//! NodePorts: a port of the node is one container's at a time.

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal};
use crate::pod::PodInfo;

pub(crate) struct NodePorts;

impl Filter for NodePorts {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        if pod.ports.is_empty() {
            return None;
        }
        Some(Box::new(|node| {
            let taken = pod.ports.iter().any(|port| node.ports.iter().any(|other| port.conflicts(other)));
            match taken {
                true => Err(Refusal::resolvable("node(s) didn't have free ports for the requested pod ports")),
                false => Ok(()),
            }
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        match event {
            Event::NodeAdded(_) => true,
            Event::PodGone(gone) => pod.ports.iter().any(|port| gone.ports.iter().any(|other| port.conflicts(other))),
            _ => false,
        }
    }
}
