//! A Pod's quality of service: who is evicted first when a node runs short.

use serde_json::Value;

use crate::amounts::is_for_whole_pods;
use crate::kinds::read;
use crate::quantity::Quantity;

/// The resources that count.
const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed` if every container's requests equal its limits, `BestEffort` if none has either, else `Burstable`. What is
/// said for the Pod as a whole stands in place of what its containers say.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let whole = ["requests", "limits"].iter().any(|list| {
        let amounts = read::map(pod, &format!("/spec/resources/{list}"));
        amounts.is_some_and(|amounts| amounts.keys().any(|name| is_for_whole_pods(name)))
    });
    let holders: Vec<&Value> = match whole {
        true => vec![&pod["spec"]],
        false => {
            ["/spec/containers", "/spec/initContainers"].into_iter().flat_map(|list| read::list(pod, list)).collect()
        }
    };
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
    if !holders.iter().any(|holder| has_any(holder)) {
        "BestEffort"
    } else if holders.iter().all(|holder| is_exact(holder)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
