//! NodeDeclaredFeatureValidator: a Pod on a node changes only in ways that the node's kubelet declares to know.
//!
//! What a Pod needs from its first day on is the scheduler's to see.

use sampan_api::amounts;
use sampan_api::node_features::{RESIZE_INIT_CONTAINERS, RESIZE_PODS};
use sampan_api::status::Status;
use serde_json::Value;

use super::{Plugin, Request, bound};
use crate::registry::Registry;

pub(super) struct NodeDeclaredFeatures;

impl Plugin for NodeDeclaredFeatures {
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let Some((name, old)) = bound::changed_pod(request, new, &["pods", "pods/resize"]) else { return Ok(()) };
        let mut lacking = needed(&new["spec"], &old["spec"]);
        if lacking.is_empty() {
            return Ok(());
        }
        let node = bound::node(registry, request, name)?;
        let declared = node["status"]["declaredFeatures"].as_array().map(Vec::as_slice).unwrap_or_default();
        lacking.retain(|feature| declared.iter().all(|declared| declared != feature));
        if lacking.is_empty() {
            return Ok(());
        }
        let features = lacking.join(", ");
        let why = format!("pod update requires features {features} which are not available on node {name:?}");
        Err(request.attempt.forbidden(&why))
    }
}

/// The features that a node must declare for a Pod on it to change from `old` to `new`, sorted.
fn needed(new: &Value, old: &Value) -> Vec<&'static str> {
    let mut needed = Vec::new();
    if !same_resources(&new["resources"], &old["resources"]) {
        needed.push(RESIZE_PODS);
    }
    if resizes_init_containers(&new["initContainers"], &old["initContainers"]) {
        needed.push(RESIZE_INIT_CONTAINERS);
    }
    needed
}

/// Whether one changes that is no sidecar. They come in the same order: nothing else may change about them.
fn resizes_init_containers(new: &Value, old: &Value) -> bool {
    let old = old.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut pairs = new.as_array().into_iter().flatten().zip(old);
    pairs.any(|(new, old)| old["restartPolicy"] != "Always" && !same_resources(&new["resources"], &old["resources"]))
}

fn same_resources(new: &Value, old: &Value) -> bool {
    ["requests", "limits"].into_iter().all(|list| amounts::read(&new[list]) == amounts::read(&old[list]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_change_needs() {
        let spec = |pod: &str, init: &str, sidecar: &str, app: &str| {
            let resources = |cpu: &str| json!({"requests": {"cpu": cpu}});
            json!({
                "resources": resources(pod),
                "initContainers": [
                    {"name": "init", "resources": resources(init)},
                    {"name": "sidecar", "resources": resources(sidecar), "restartPolicy": "Always"},
                ],
                "containers": [{"name": "app", "resources": resources(app)}],
            })
        };
        let old = spec("1", "1", "1", "1");
        let check = |new: Value, want: &[&str]| assert_eq!(needed(&new, &old), want, "{new}");
        check(spec("1000m", "1000m", "1", "1"), &[]);
        check(spec("1", "1", "2", "2"), &[]);
        check(spec("2", "1", "1", "1"), &["InPlacePodLevelResourcesVerticalScaling"]);
        check(spec("1", "2", "1", "1"), &["InPlacePodVerticalScalingInitContainers"]);
        let both = ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"];
        check(spec("2", "2", "1", "1"), &both);
        check(json!({"containers": []}), &["InPlacePodLevelResourcesVerticalScaling"]);
        assert_eq!(needed(&json!({}), &json!({})), [""; 0]);
    }
}
