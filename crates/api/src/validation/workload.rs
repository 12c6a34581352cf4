//! What kinds that run Pods of a template have in common.

use serde_json::Value;

use super::cursor::Cursor;
use super::{labels, names, pod};
use crate::selector::Selector;

/// The selector of a workload, which must be there and select something; `of` is what faults call the workload.
pub(crate) fn selector(selector: &Cursor<'_>, of: &str) {
    if selector.is_set() {
        labels::selector(selector);
        not_empty(selector, of);
    } else {
        selector.required("");
    }
}

/// A selector, if it is there, must select something; `of` is what faults call the workload.
pub(crate) fn not_empty(selector: &Cursor<'_>, of: &str) {
    if selector.is_set() && labels::is_empty_selector(selector) {
        selector.invalid(format!("empty selector is invalid for {of}"));
    }
}

/// The selector, which must match the template's labels, and the template. `kind` is named in faults.
pub(crate) fn selector_and_template(spec: &Cursor<'_>, kind: &str) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    // Upstream says "deployment" for ReplicaSets too.
    self::selector(&selector, "deployment");
    if !template.is_set() {
        template.required("");
        return;
    }
    matches_template(&selector, &template);
    pod::template(&template);
    runs_forever(&template.get("spec"), kind);
}

/// The Pods of a template must not end by themselves.
pub(crate) fn runs_forever(pod_spec: &Cursor<'_>, kind: &str) {
    if matches!(pod_spec.get("restartPolicy").text(), "OnFailure" | "Never") {
        pod_spec.get("restartPolicy").not_supported(&["Always"]);
    }
    if pod_spec.get("activeDeadlineSeconds").is_set() {
        pod_spec.get("activeDeadlineSeconds").forbidden(format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

/// A selector that selects anything must select the template's labels.
pub(crate) fn matches_template(selector: &Cursor<'_>, template: &Cursor<'_>) {
    let labels = template.get("metadata").get("labels");
    selects(selector, labels.value(), |_| labels.invalid("`selector` does not match template `labels`"));
}

/// A selector that selects anything must select these labels; `otherwise` is told of it if it does not.
pub(crate) fn selects(selector: &Cursor<'_>, labels: &Value, otherwise: impl FnOnce(&Cursor<'_>)) {
    if labels::is_empty_selector(selector) {
        return;
    }
    match Selector::from_object(selector.value()) {
        Err(_) => selector.invalid("invalid label selector"),
        Ok(parsed) if !parsed.matches(labels) => otherwise(selector),
        Ok(_) => {}
    }
}

/// How many replicas there should be, and how long one must be ready to count.
pub(crate) fn replicas(spec: &Cursor<'_>) {
    spec.get("replicas").non_negative();
    spec.get("minReadySeconds").non_negative();
}

/// Counts in a status: none is negative, and parts are not more than the whole; `ready` is what faults call the number
/// of ready replicas.
pub(crate) fn status(status: &Cursor<'_>, counts: &[&str], ready: &str) {
    let number = |field: &str| status.get(field).int().unwrap_or_default();
    for field in counts.iter().chain(&["replicas", "readyReplicas", "availableReplicas", "observedGeneration"]) {
        status.get(field).non_negative();
    }
    for field in
        counts.iter().filter(|field| **field != "unavailableReplicas").chain(&["readyReplicas", "availableReplicas"])
    {
        if number(field) > number("replicas") {
            status.get(field).invalid("cannot be greater than status.replicas");
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        status.get("availableReplicas").invalid(format!("cannot be greater than {ready}"));
    }
}

/// How often names of revisions have collided: that only grows.
pub(crate) fn collisions(status: &Cursor<'_>, old: &Value) {
    let collisions = status.get("collisionCount");
    collisions.non_negative();
    if collisions.int() < old["collisionCount"].as_i64() {
        collisions.invalid("cannot be decremented");
    }
}

/// A count or a percentage of Pods, at most all of them.
pub(crate) fn count_or_percent(limit: &Cursor<'_>) {
    limit.non_negative();
    if limit.value().is_string() {
        limit.follows(names::percent);
        if bare_number(limit) > 100 {
            limit.invalid("must not be greater than 100%");
        }
    }
}

/// A count or a percentage, as a bare number.
pub(crate) fn bare_number(limit: &Cursor<'_>) -> i64 {
    let percent = limit.text().strip_suffix('%').and_then(|digits| digits.parse().ok());
    limit.int().or(percent).unwrap_or_default()
}
