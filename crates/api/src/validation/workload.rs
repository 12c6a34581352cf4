//! What kinds that keep Pods of a template alive have in common.

use super::cursor::Cursor;
use super::{labels, pod};
use crate::selector::Selector;

/// The selector, which must select something and match the template's labels, and the template. `kind` is named in
/// faults.
pub(crate) fn selector_and_template(spec: &Cursor<'_>, kind: &str) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_set() {
        labels::selector(&selector);
        if labels::is_empty_selector(&selector) {
            // Upstream says "deployment" for ReplicaSets too.
            selector.invalid("empty selector is invalid for deployment");
        }
    } else {
        selector.required("");
    }
    if !template.is_set() {
        template.required("");
        return;
    }
    matches_template(&selector, &template);
    pod::template(&template);
    let pod_spec = template.get("spec");
    if matches!(pod_spec.get("restartPolicy").text(), "OnFailure" | "Never") {
        pod_spec.get("restartPolicy").not_supported(&["Always"]);
    }
    if pod_spec.get("activeDeadlineSeconds").is_set() {
        pod_spec.get("activeDeadlineSeconds").forbidden(format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

fn matches_template(selector: &Cursor<'_>, template: &Cursor<'_>) {
    if labels::is_empty_selector(selector) {
        return;
    }
    let labels = template.get("metadata").get("labels");
    match Selector::from_object(selector.value()) {
        Err(_) => selector.invalid("invalid label selector"),
        Ok(parsed) if !parsed.matches(labels.value()) => {
            labels.invalid("`selector` does not match template `labels`");
        }
        Ok(_) => {}
    }
}

/// How many replicas there should be, and how long one must be ready to count.
pub(crate) fn replicas(spec: &Cursor<'_>) {
    spec.get("replicas").non_negative();
    spec.get("minReadySeconds").non_negative();
}

/// Counts in a status: none is negative, and parts are not more than the whole.
pub(crate) fn status(status: &Cursor<'_>, counts: &[&str]) {
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
        status.get("availableReplicas").invalid("cannot be greater than readyReplicas");
    }
}
