//! A Pod's quality of service: who is evicted first when a node runs short.

use serde_json::Value;

use crate::kinds::read;
use crate::quantity::Quantity;

/// The resources that count.
const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed` if every container's requests equal its limits, `BestEffort` if none has either, else `Burstable`.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let containers = ["/spec/containers", "/spec/initContainers"].map(|list| read::list(pod, list)).concat();
    let amount = |container: &Value, list: &str, resource: &str| {
        let text = read::text(container, &format!("/resources/{list}/{resource}"));
        Quantity::parse(text).ok().filter(|amount| !amount.is_zero())
    };
    let has_any = |container: &Value| {
        COMPUTE.iter().any(|resource| {
            amount(container, "requests", resource).is_some() || amount(container, "limits", resource).is_some()
        })
    };
    let is_exact = |container: &Value| {
        COMPUTE.iter().all(|resource| {
            let limit = amount(container, "limits", resource);
            limit.is_some() && amount(container, "requests", resource) == limit
        })
    };
    if !containers.iter().any(has_any) {
        "BestEffort"
    } else if containers.iter().all(is_exact) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
