//! PodTopologyLabels: a Pod that comes to a node gets the labels that say in which zone and region that is.
//!
//! What is in its containers can read them, by the downward API, without a right to read nodes.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

const COPIED: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(super) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        let Some(name) = destination(request, new) else { return Ok(()) };
        // One that nobody knows has no labels; whoever chose it is told elsewhere, or never was.
        let Some(node) = registry.find("", "Node", "", name) else { return Ok(()) };
        for key in COPIED {
            if let Some(value) = node.labels.get(key) {
                new["metadata"]["labels"][key] = value.as_str().into();
            }
        }
        Ok(())
    }
}

/// The node that a new Pod names, or that one is bound to; a Binding's labels become the Pod's.
fn destination<'n>(request: &Request<'_>, new: &'n Value) -> Option<&'n str> {
    if request.operation != Operation::Create {
        return None;
    }
    if request.is_about("", "pods") {
        return new["spec"]["nodeName"].as_str();
    }
    let binds = request.is_about("", "pods/binding") && new["target"]["kind"] == "Node";
    new["target"]["name"].as_str().filter(|_| binds)
}
