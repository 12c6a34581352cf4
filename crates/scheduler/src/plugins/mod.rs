//! The plugins, one file each, and the ordered list of them.
//!
//! The first filter that refuses a node names the reason, so the order is upstream's; so are names and weights.

mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_declared_features;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod scheduling_gates;
mod taint_toleration;

use crate::framework::Plugin;
use image_locality::ImageLocality;
use inter_pod_affinity::InterPodAffinity;
use node_affinity::NodeAffinity;
use node_declared_features::NodeDeclaredFeatures;
use node_name::NodeName;
use node_ports::NodePorts;
use node_resources_balanced_allocation::NodeResourcesBalancedAllocation;
use node_resources_fit::NodeResourcesFit;
use node_unschedulable::NodeUnschedulable;
use pod_topology_spread::PodTopologySpread;
use scheduling_gates::SchedulingGates;
use taint_toleration::TaintToleration;

/// A plugin that takes part nowhere; the list says where each does.
const fn named(name: &'static str) -> Plugin {
    Plugin { name, gate: None, filter: None, score: None }
}

/// Every plugin, in the order they are asked.
#[rustfmt::skip]
pub(crate) static ALL: [Plugin; 12] = [
    Plugin { gate: Some(&SchedulingGates), ..named("SchedulingGates") },
    Plugin { filter: Some(&NodeName), ..named("NodeName") },
    Plugin { filter: Some(&NodeUnschedulable), ..named("NodeUnschedulable") },
    Plugin { filter: Some(&TaintToleration), score: Some((3, &TaintToleration)), ..named("TaintToleration") },
    Plugin { filter: Some(&NodeAffinity), score: Some((2, &NodeAffinity)), ..named("NodeAffinity") },
    Plugin { filter: Some(&NodePorts), ..named("NodePorts") },
    Plugin { filter: Some(&NodeResourcesFit), score: Some((1, &NodeResourcesFit)), ..named("NodeResourcesFit") },
    Plugin { filter: Some(&PodTopologySpread), score: Some((2, &PodTopologySpread)), ..named("PodTopologySpread") },
    Plugin { filter: Some(&InterPodAffinity), score: Some((2, &InterPodAffinity)), ..named("InterPodAffinity") },
    Plugin { score: Some((1, &NodeResourcesBalancedAllocation)), ..named("NodeResourcesBalancedAllocation") },
    Plugin { score: Some((1, &ImageLocality)), ..named("ImageLocality") },
    Plugin { filter: Some(&NodeDeclaredFeatures), ..named("NodeDeclaredFeatures") },
];
