//! NodeDeclaredFeatures: a Pod that needs what not every kubelet can do runs only where the node declares it.

use sampan_api::node_features::needed_to_run;

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(crate) struct NodeDeclaredFeatures;

impl Filter for NodeDeclaredFeatures {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        let needed = needed_to_run(pod.spec());
        if needed.is_empty() {
            return None;
        }
        Some(Box::new(move |node| match declares(node, &needed) {
            true => Ok(()),
            false => Err(Refusal::unresolvable("node(s) didn't match Pod's required features")),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        let needed = needed_to_run(pod.spec());
        match event {
            Event::NodeAdded(node) => declares(node, &needed),
            Event::NodeChanged { old, new } => !declares(old, &needed) && declares(new, &needed),
            _ => false,
        }
    }
}

fn declares(node: &NodeInfo, features: &[&str]) -> bool {
    features.iter().all(|feature| node.declared_features().iter().any(|declared| declared == feature))
}
