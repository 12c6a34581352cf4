//! Changes of Pods that are on a node already, which must suit that node.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Request};
use crate::registry::Registry;

/// The name of the node that a Pod is on whose specification changes through one of `resources`, and the Pod as it was;
/// `None` for any other request. To be asked once the Pod's generation has been counted.
pub(super) fn changed_pod<'r>(
    request: &'r Request<'_>,
    new: &'r Value,
    resources: &[&str],
) -> Option<(&'r str, &'r Value)> {
    if request.operation != Operation::Update || !resources.iter().any(|resource| request.is_about("", resource)) {
        return None;
    }
    let (node, old) = (new["spec"]["nodeName"].as_str()?, request.old?);
    let changes = new["metadata"]["generation"] != old["metadata"]["generation"];
    (changes && !node.is_empty()).then_some((node, old))
}

/// The node, without which nothing can be said.
pub(super) fn node(registry: &Registry, request: &Request<'_>, name: &str) -> Result<Value, Status> {
    let missing = || request.attempt.forbidden(&format!("node {name:?} not found"));
    registry.peek("", "Node", "", name).ok_or_else(missing)
}
