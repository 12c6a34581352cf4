//! Labels, annotations, finalizers, and selectors over labels.

use super::cursor::Cursor;
use super::names;

/// All annotations of an object together may have this many bytes.
const ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A map of labels.
pub(crate) fn labels(labels: &Cursor<'_>) {
    for (key, value) in labels.entries() {
        for fault in names::qualified(key) {
            labels.invalid_as(key, fault);
        }
        for fault in names::label_value(value.text()) {
            labels.invalid_as(value.text(), fault);
        }
    }
}

/// A map of annotations.
pub(crate) fn annotations(annotations: &Cursor<'_>) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        bytes += key.len() + value.text().len();
        for fault in names::qualified_any_case(key) {
            annotations.invalid_as(key, fault);
        }
    }
    if bytes > ANNOTATIONS_BYTES {
        annotations.too_long(ANNOTATIONS_BYTES);
    }
}

/// A `LabelSelector`.
pub(crate) fn selector(selector: &Cursor<'_>) {
    labels(&selector.get("matchLabels"));
    for requirement in selector.get("matchExpressions").items() {
        let values = requirement.get("values");
        operator(&requirement);
        requirement.get("key").follows(names::qualified);
        for value in values.items() {
            value.follows(names::label_value);
        }
    }
}

/// The operator of a requirement, and whether it has as many values as it needs.
fn operator(requirement: &Cursor<'_>) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.text() {
        "In" | "NotIn" => {
            if values.is_empty() {
                values.required("must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
        }
        text => operator.invalid_as(text, "not a valid selector operator"),
    }
}

/// A requirement of a node selector: like a label selector's, with `Gt` and `Lt` besides.
pub(crate) fn node_requirement(requirement: &Cursor<'_>) {
    let values = requirement.get("values");
    match requirement.get("operator").text() {
        "Gt" | "Lt" => {
            if values.len() != 1 {
                values.required("must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
        }
        _ => operator(requirement),
    }
    requirement.get("key").follows(names::qualified);
}

/// Whether a `LabelSelector` selects nothing in particular.
pub(crate) fn is_empty_selector(selector: &Cursor<'_>) -> bool {
    selector.get("matchLabels").len() + selector.get("matchExpressions").len() == 0
}
