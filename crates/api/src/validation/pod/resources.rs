//! Requests, limits and claims of containers.

use std::collections::HashSet;

use crate::quantity::Quantity;
use crate::validation::cursor::Cursor;
use crate::validation::resource_names::{self, is_huge_pages, may_be_overcommitted};

/// `resources` of a container; `claims` are the names of the Pod's resource claims.
pub(super) fn requirements(resources: &Cursor<'_>, claims: &[&str]) {
    amounts(resources, resource_names::of_container);
    claim_names(&resources.get("claims"), claims);
}

/// `requests` and `limits` of resources whose names follow `name_rule`.
pub(super) fn amounts(resources: &Cursor<'_>, name_rule: fn(&Cursor<'_>, &str)) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for list in [&limits, &requests] {
        for (name, amount) in list.entries() {
            name_rule(&amount, name);
            self::amount(&amount, name);
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
}

/// `overhead` of a Pod.
pub(crate) fn overhead(overhead: &Cursor<'_>) {
    for (name, amount) in overhead.entries() {
        resource_names::of_container(&amount, name);
        self::amount(&amount, name);
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

fn amount(amount: &Cursor<'_>, name: &str) {
    resource_names::amount(amount, name);
    let pages = quantity(amount).filter(|pages| is_huge_pages(name) && !is_multiple_of_page(name, *pages));
    if let Some(pages) = pages {
        amount.invalid_as(pages.to_string(), format!("{pages} is not positive integer multiple of {name}"));
    }
}

/// What may not be overcommitted (huge pages, devices) is limited to just what is requested.
fn within_limit(requests: &Cursor<'_>, name: &str, request: &Cursor<'_>, limits: &Cursor<'_>) {
    let overcommit = may_be_overcommitted(name);
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

fn is_multiple_of_page(name: &str, amount: Quantity) -> bool {
    let page = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    page.is_some_and(|page| page.value() > 0 && amount.value() % page.value() == 0)
}
