//! A node changes its own Node and the Pods bound to it, nothing else, and not the labels that isolate nodes.

use sampan_api::status::{Resource, Status};
use serde_json::Value;

use super::{Operation, Plugin, Request, is_mirror};
use crate::registry::{Attempt, Registry, metadata};

/// Labels with this prefix belong to administrators.
const PROTECTED_LABELS: &str = "node-restriction.kubernetes.io/";

pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        let attempt = request.attempt;
        let Some(node) = node_of(attempt) else { return Ok(()) };
        match (request.operation, request.old) {
            (Operation::Create, _) if request.is_about("", "pods/eviction") => evict(registry, attempt, node),
            (Operation::Create | Operation::Update, old) => write(attempt, node, new, old),
            (Operation::Delete, Some(old)) => delete(attempt, node, old),
            _ => Ok(()),
        }
    }
}

fn write(attempt: &Attempt, node: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    match (attempt.kind.group, attempt.kind.plural, attempt.subresource) {
        ("", "pods", "" | "status") => pod(attempt, node, new, old),
        ("", "pods", subresource) => Err(attempt.forbidden(&format!(
            "unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"
        ))),
        ("", "nodes", _) => own_node(attempt, node, new, old),
        (_, "leases", _) if attempt.namespace == "kube-node-lease" && attempt.name != node => {
            Err(attempt.forbidden("can only access node lease with the same name as the requesting node"))
        }
        _ => Ok(()),
    }
}

/// A node deletes only Pods that are bound to it.
fn delete(attempt: &Attempt, node: &str, old: &Value) -> Result<(), Status> {
    let is_pod = attempt.kind.group.is_empty() && attempt.kind.plural == "pods";
    if is_pod && old["spec"]["nodeName"] != node {
        return Err(
            attempt.forbidden(&format!("node \"{node}\" can only delete pods with spec.nodeName set to itself"))
        );
    }
    if attempt.kind.group.is_empty() && attempt.kind.plural == "nodes" && attempt.name != node {
        return Err(attempt.forbidden(&format!("node \"{node}\" cannot delete node \"{}\"", attempt.name)));
    }
    Ok(())
}

/// A node evicts only Pods that are bound to it.
fn evict(registry: &Registry, attempt: &Attempt, node: &str) -> Result<(), Status> {
    let pod = registry.peek("", "Pod", &attempt.namespace, &attempt.name);
    let pod = pod.ok_or_else(|| Status::not_found(Resource { group: "", name: "pods" }, &attempt.name))?;
    if pod["spec"]["nodeName"] == node {
        return Ok(());
    }
    Err(attempt.forbidden(&format!("node {node} can only evict pods with spec.nodeName set to itself")))
}

/// The node that attempts this, if it is one.
fn node_of(attempt: &Attempt) -> Option<&str> {
    let is_node = attempt.identity.groups.iter().any(|group| group == "system:nodes");
    attempt.identity.name.strip_prefix("system:node:").filter(|_| is_node)
}

fn pod(attempt: &Attempt, node: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let spec = &old.unwrap_or(new)["spec"];
    match old {
        None if !is_mirror(new) => Err(attempt.forbidden(&format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{node}\" can only create mirror pods"
        ))),
        None if spec["nodeName"] != node => {
            Err(attempt.forbidden(&format!("node \"{node}\" can only create pods with spec.nodeName set to itself")))
        }
        Some(_) if attempt.subresource != "status" => Err(attempt.forbidden(&format!(
            "unexpected operation \"UPDATE\", node \"{node}\" can only create and delete mirror pods"
        ))),
        Some(_) if spec["nodeName"] != node => Err(attempt.forbidden(&format!(
            "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
        ))),
        _ => Ok(()),
    }
}

fn own_node(attempt: &Attempt, node: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if attempt.name != node {
        return Err(attempt.forbidden(&format!("node \"{node}\" is not allowed to modify node \"{}\"", attempt.name)));
    }
    let before = old.map(crate::cache::labels).unwrap_or_default();
    let after = crate::cache::labels(new);
    let changed = before
        .keys()
        .chain(after.keys())
        .find(|label| label.starts_with(PROTECTED_LABELS) && before.get(*label) != after.get(*label));
    if let Some(label) = changed {
        return Err(attempt.forbidden(&format!("is not allowed to modify labels: {label}")));
    }
    let Some(old) = old else { return Ok(()) };
    let taints = |object: &Value| object["spec"]["taints"].clone();
    if taints(new) != taints(old) {
        return Err(attempt.forbidden(&format!("node \"{node}\" is not allowed to modify taints")));
    }
    if metadata::text(new, "uid") != metadata::text(old, "uid") {
        return Err(attempt.forbidden("the node's uid may not change"));
    }
    Ok(())
}
