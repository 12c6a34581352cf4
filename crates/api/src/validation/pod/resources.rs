//! Requests, limits and claims of containers.

use std::collections::HashSet;

use crate::quantity::Quantity;
use crate::validation::cursor::Cursor;
use crate::validation::names;

/// Resources of a container that have a name without a domain, besides huge pages.
const CONTAINER_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Names without a domain that are resources somewhere else (in quotas), besides `requests.*` and `limits.*`.
const OTHER_RESOURCES: &[&str] = &[
    "pods",
    "storage",
    "services",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
];

/// `resources` of a container; `claims` are the names of the Pod's resource claims.
pub(super) fn requirements(resources: &Cursor<'_>, claims: &[&str]) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for list in [&limits, &requests] {
        for (name, amount) in list.entries() {
            resource_name(&amount, name);
            resource_amount(&amount, name);
        }
    }
    for (name, request) in requests.entries() {
        within_limit(&requests, name, &request, &limits);
    }
    let has =
        |wanted: &dyn Fn(&str) -> bool| [&limits, &requests].iter().any(|list| list.entries().any(|(n, _)| wanted(n)));
    if has(&is_huge_pages) && !has(&|name| matches!(name, "cpu" | "memory")) {
        resources.forbidden("HugePages require cpu or memory");
    }
    claim_names(&resources.get("claims"), claims);
}

/// `overhead` of a Pod.
pub(super) fn overhead(overhead: &Cursor<'_>) {
    for (name, amount) in overhead.entries() {
        resource_name(&amount, name);
        resource_amount(&amount, name);
    }
}

/// `resizePolicy` of a container.
pub(super) fn resize_policy(policies: &Cursor<'_>, restart_policy: &str) {
    let mut taken = HashSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if !taken.insert(resource.text()) {
            policy.duplicate_as(resource.text());
        }
        resource.must_be_one_of(&["cpu", "memory"]);
        restart.must_be_one_of(&["NotRequired", "RestartContainer"]);
        if restart_policy == "Never" && restart.text() != "NotRequired" {
            restart.invalid("must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}

/// The quantity at this place, if there is a well-formed one.
pub(crate) fn quantity(amount: &Cursor<'_>) -> Option<Quantity> {
    amount.value().as_str().and_then(|text| Quantity::parse(text).ok())
}

fn resource_name(amount: &Cursor<'_>, name: &str) {
    let faults = names::qualified(name);
    for fault in &faults {
        amount.invalid_as(name, fault.clone());
    }
    let for_containers = CONTAINER_RESOURCES.contains(&name) || is_huge_pages(name);
    if !name.contains('/') && !for_containers {
        let elsewhere = OTHER_RESOURCES.contains(&name) || name.starts_with("requests.") || name.starts_with("limits.");
        if faults.is_empty() && !elsewhere {
            amount.invalid_as(name, "must be a standard resource type or fully qualified");
        }
        amount.invalid_as(name, "must be a standard resource for containers");
    } else if !is_native(name) && name.starts_with("requests.") {
        amount.invalid_as(name, "doesn't follow extended resource name standard");
    }
}

fn resource_amount(amount: &Cursor<'_>, name: &str) {
    match quantity(amount) {
        None => amount.invalid("must be a valid resource quantity"),
        Some(quantity) if quantity.is_negative() => {
            amount.invalid_as(quantity.to_string(), "must be greater than or equal to 0");
        }
        Some(quantity) if !is_native(name) && quantity.milli_value() % 1000 != 0 => {
            amount.invalid_as(quantity.to_string(), "must be an integer");
        }
        Some(quantity) if is_huge_pages(name) && !is_multiple_of_page(name, quantity) => {
            amount.invalid_as(quantity.to_string(), format!("{quantity} is not positive integer multiple of {name}"));
        }
        Some(_) => {}
    }
}

/// What may not be overcommitted (huge pages, devices) is limited to just what is requested.
fn within_limit(requests: &Cursor<'_>, name: &str, request: &Cursor<'_>, limits: &Cursor<'_>) {
    let overcommit = is_native(name) && !is_huge_pages(name);
    let Some(request) = quantity(request) else { return };
    match quantity(&limits.get(name)) {
        Some(limit) if !overcommit && request != limit => {
            requests.invalid_as(request.to_string(), format!("must be equal to {name} limit of {limit}"));
        }
        Some(limit) if request > limit => {
            requests.invalid_as(request.to_string(), format!("must be less than or equal to {name} limit of {limit}"));
        }
        None if !overcommit => limits.required("Limit must be set for non overcommitable resources"),
        _ => {}
    }
}

fn claim_names(claims: &Cursor<'_>, of_pod: &[&str]) {
    let mut taken = HashSet::new();
    for claim in claims.items() {
        let name = claim.get("name").text();
        if name.is_empty() {
            claim.required("");
            continue;
        }
        if !taken.insert(name) {
            claim.duplicate_as(name);
        }
        if !of_pod.contains(&name) {
            claim.get("name").not_found();
        }
    }
}

/// Whether Kubernetes itself defines the resource, as opposed to a device plugin.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_multiple_of_page(name: &str, amount: Quantity) -> bool {
    let page = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    page.is_some_and(|page| page.value() > 0 && amount.value() % page.value() == 0)
}
