//! PodResizeValidator: a resize that its node could never give is refused at once, instead of being `Infeasible` later.

use sampan_api::amounts;
use sampan_api::quantity::Quantity;
use sampan_api::status::{Cause, Status};
use serde_json::Value;

use super::{Plugin, Request, bound};
use crate::registry::Registry;

/// A resource, and how much of it there is in the unit that texts give.
type Counted = (&'static str, fn(Quantity) -> i64);

/// What a resize may change.
const COUNTED: [Counted; 2] = [("cpu", Quantity::milli_value), ("memory", Quantity::value)];

pub(super) struct PodResize;

impl Plugin for PodResize {
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let Some((name, _)) = bound::changed_pod(request, new, &["pods/resize"]) else { return Ok(()) };
        let node = bound::node(registry, request, name)?;
        let Some((reason, why)) = fault(&new["spec"], &node) else { return Ok(()) };
        let cause = Cause { reason: reason.to_owned(), ..Cause::default() };
        Err(request.attempt.forbidden(&why).with_causes(vec![cause]))
    }
}

/// Why a Pod can never be as `spec` has it on `node`, in one word and in a sentence.
fn fault(spec: &Value, node: &Value) -> Option<(&'static str, String)> {
    let system = node["metadata"]["labels"]["kubernetes.io/os"].as_str();
    if let Some(system) = system.filter(|system| *system != "linux") {
        let name = &node["metadata"]["name"];
        let why = format!("pod resize is only supported on linux nodes, node {name} is {system:?}");
        return Some(("UnsupportedPlatform", why));
    }
    let requests = amounts::of_pod_with_overhead(spec, "requests");
    let allocatable = amounts::read(&node["status"]["allocatable"]);
    let shortages = COUNTED.into_iter().filter_map(|(resource, count)| {
        let of = |amounts: &amounts::Amounts| amounts.get(resource).copied().unwrap_or(Quantity::ZERO);
        let (requested, allocatable) = (of(&requests), of(&allocatable));
        let text = || format!("{resource}, requested: {}, allocatable: {}", count(requested), count(allocatable));
        (requested > allocatable).then(text)
    });
    let shortages: Vec<String> = shortages.collect();
    if shortages.is_empty() {
        return None;
    }
    Some(("NodeCapacity", format!("node didn't have enough allocatable resources: {}", shortages.join("; "))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_node_can_never_give() {
        let check = |system: Value, spec: Value, want: Option<(&str, &str)>| {
            let node = json!({
                "metadata": {"name": "n", "labels": {"kubernetes.io/os": system}},
                "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
            });
            let got = fault(&spec, &node);
            assert_eq!(got.as_ref().map(|(reason, why)| (*reason, why.as_str())), want, "{spec}");
        };
        let asks = |cpu: &str, memory: &str| {
            let container =
                |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
            json!({"containers": [container(cpu, memory), container("500m", "0")]})
        };
        check(json!("linux"), asks("1500m", "1Gi"), None);
        check(Value::Null, asks("1500m", "1Gi"), None);
        let cpu = "node didn't have enough allocatable resources: cpu, requested: 2001, allocatable: 2000";
        check(json!("linux"), asks("1501m", "1Gi"), Some(("NodeCapacity", cpu)));
        let both = "node didn't have enough allocatable resources: cpu, requested: 3500, allocatable: 2000; \
                    memory, requested: 2147483648, allocatable: 1073741824";
        check(json!("linux"), asks("3", "2Gi"), Some(("NodeCapacity", both)));
        let windows = "pod resize is only supported on linux nodes, node \"n\" is \"windows\"";
        check(json!("windows"), asks("1", "1"), Some(("UnsupportedPlatform", windows)));
        let whole = json!({"resources": {"requests": {"cpu": "2", "memory": "0"}}, "overhead": {"cpu": "1m"}});
        check(json!("linux"), whole, Some(("NodeCapacity", cpu)));
    }
}
