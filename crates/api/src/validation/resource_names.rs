//! Names of resources (`cpu`, `requests.storage`, `example.com/gpu`), which of them may stand where, and how much of
//! each there may be.

use super::cursor::Cursor;
use super::{names, pod};
use crate::amounts::is_for_whole_pods;
use crate::quantity::Quantity;

/// What a container can ask for under a name without a domain, besides huge pages.
const OF_CONTAINERS: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What a quota can count under a name without a domain, besides huge pages.
const OF_QUOTAS: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

/// What comes in whole numbers only.
const INTEGERS: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// The name of any resource; faults are said to be at `amount`, the place of its quantity.
pub(crate) fn any(amount: &Cursor<'_>, name: &str) {
    let faults = names::qualified(name);
    for fault in &faults {
        amount.invalid_as(name, fault.clone());
    }
    let standard = name == "storage" || is_of_quotas(name);
    if faults.is_empty() && !name.contains('/') && !standard {
        amount.invalid_as(name, "must be a standard resource type or fully qualified");
    }
}

/// The name of a resource that a container can have.
pub(crate) fn of_container(amount: &Cursor<'_>, name: &str) {
    any(amount, name);
    if !name.contains('/') && !OF_CONTAINERS.contains(&name) && !is_huge_pages(name) {
        amount.invalid_as(name, "must be a standard resource for containers");
    } else if !is_native(name) && !is_extended(name) {
        amount.invalid_as(name, "doesn't follow extended resource name standard");
    }
}

/// The name of a resource that a Pod can have as a whole.
pub(crate) fn of_whole_pod(amount: &Cursor<'_>, name: &str) {
    let faults = names::qualified(name);
    if !faults.is_empty() {
        any(amount, name);
    } else if !is_for_whole_pods(name) {
        amount.not_supported_as(name, &["cpu", "hugepages-", "memory"]);
    }
}

/// The name of something that a quota can count.
pub(crate) fn of_quota(amount: &Cursor<'_>, name: &str) {
    any(amount, name);
    if !name.contains('/') && !is_of_quotas(name) {
        amount.invalid_as(name, "must be a standard resource for quota");
    }
}

/// How much of a resource: never less than nothing, and whole numbers of what cannot be divided.
pub(crate) fn amount(amount: &Cursor<'_>, name: &str) {
    match pod::quantity(amount) {
        None => amount.invalid("must be a valid resource quantity"),
        Some(quantity) if quantity.is_negative() => {
            amount.invalid_as(quantity.to_string(), "must be greater than or equal to 0");
        }
        Some(quantity) if is_integer(name) && quantity.milli_value() % 1000 != 0 => {
            amount.invalid_as(quantity.to_string(), "must be an integer");
        }
        Some(_) => {}
    }
}

/// More of something than nothing; answers whether it is.
pub(crate) fn positive(amount: &Cursor<'_>) -> bool {
    let quantity = pod::quantity(amount).unwrap_or(Quantity::ZERO);
    let positive = quantity > Quantity::ZERO;
    if !positive {
        amount.invalid_as(quantity.to_string(), "must be greater than zero");
    }
    positive
}

/// An amount that is not less than nothing, worded as for volumes.
pub(crate) fn basic(amount: &Cursor<'_>) {
    if let Some(quantity) = pod::quantity(amount).filter(|quantity| quantity.value() < 0) {
        amount.invalid_as(quantity.value(), "must be a valid resource quantity");
    }
}

/// Whether Kubernetes itself defines the resource, as opposed to a device plugin.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is huge pages of some size.
pub(crate) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more of the resource can be promised than there is.
pub(crate) fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Whether a quota counts the resource by this very name.
pub(crate) fn is_of_quotas(name: &str) -> bool {
    OF_QUOTAS.contains(&name) || is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

fn is_integer(name: &str) -> bool {
    INTEGERS.contains(&name) || is_extended(name)
}

/// Whether a device plugin may offer the resource: quotas must be able to name it too.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}
