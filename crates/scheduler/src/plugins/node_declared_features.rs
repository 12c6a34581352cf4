//! NodeDeclaredFeatures: a Pod that needs what not every kubelet can do runs only where the node declares it.

use k8s_openapi::api::core::v1::PodSpec;
use sampan_api::node_features::{RESTART_ALL_CONTAINERS, USER_NAMESPACES_HOST_NETWORK};

use crate::cluster::Cluster;
use crate::framework::{Event, Filter, NodeFilter, Refusal};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// A feature, and whether a Pod needs it.
type Need = (&'static str, fn(&PodSpec) -> bool);

/// The features that matter before a Pod runs. Others matter when it changes, which admission sees to.
const NEEDS: [Need; 2] = [
    (RESTART_ALL_CONTAINERS, restarts_all_containers),
    (USER_NAMESPACES_HOST_NETWORK, maps_users_on_the_hosts_network),
];

pub(crate) struct NodeDeclaredFeatures;

impl Filter for NodeDeclaredFeatures {
    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<NodeFilter<'a>> {
        let needed = needed(pod);
        if needed.is_empty() {
            return None;
        }
        Some(Box::new(move |node| match declares(node, &needed) {
            true => Ok(()),
            false => Err(Refusal::unresolvable("node(s) didn't match Pod's required features")),
        }))
    }

    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, _cluster: &Cluster) -> bool {
        let needed = needed(pod);
        match event {
            Event::NodeAdded(node) => declares(node, &needed),
            Event::NodeChanged { old, new } => !declares(old, &needed) && declares(new, &needed),
            _ => false,
        }
    }
}

fn needed(pod: &PodInfo) -> Vec<&'static str> {
    NEEDS.iter().filter(|(_, is_needed)| is_needed(pod.spec())).map(|(feature, _)| *feature).collect()
}

fn declares(node: &NodeInfo, features: &[&str]) -> bool {
    features.iter().all(|feature| node.declared_features().iter().any(|declared| declared == feature))
}

fn restarts_all_containers(spec: &PodSpec) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut rules = containers.flat_map(|container| container.restart_policy_rules.iter().flatten());
    rules.any(|rule| rule.action == "RestartAllContainers")
}

fn maps_users_on_the_hosts_network(spec: &PodSpec) -> bool {
    spec.host_network == Some(true) && spec.host_users == Some(false)
}
