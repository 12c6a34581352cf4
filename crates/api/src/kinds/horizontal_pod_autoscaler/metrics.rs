//! What an autoscaler looks at, and where it should be.

use super::reference;
use crate::quantity::Quantity;
use crate::validation::{Cursor, names, quantity, resource_names};

const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

/// Sources with the type of metric that has them.
const SOURCES: &[(&str, &str)] = &[
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// One of `metrics`: its type, and the one source that fits.
pub(super) fn metric(metric: &Cursor<'_>) {
    let kind = metric.get("type");
    if kind.is_empty() {
        kind.required("must specify a metric source type");
    }
    let known = TYPES.contains(&kind.text());
    if !known {
        kind.not_supported(TYPES);
    }
    let mut given = SOURCES.iter().filter(|(source, _)| metric.get(source).is_set());
    if let Some((source, _)) = given.clone().next() {
        self::source(source, &metric.get(source));
    }
    match SOURCES.iter().find(|(_, of)| *of == kind.text()) {
        Some((wanted, _)) if !metric.get(wanted).is_set() => {
            metric.get(wanted).required("must populate information for the given metric source");
        }
        Some(_) => {}
        None => kind.not_supported(TYPES),
    }
    let wrong: Vec<_> = given.by_ref().filter(|(_, of)| *of != kind.text()).collect();
    if SOURCES.iter().filter(|(source, _)| metric.get(source).is_set()).count() != 1 {
        for (source, _) in wrong {
            metric.get(source).forbidden("must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &Cursor<'_>) {
    let target = source.get("target");
    match kind {
        "object" => reference(&source.get("describedObject")),
        "resource" | "containerResource" => resource(kind, source),
        _ => {}
    }
    if matches!(kind, "object" | "external" | "pods") {
        let name = source.get("metric").get("name");
        if name.is_empty() {
            name.required("must specify a metric name");
        } else {
            name.follows(names::path_segment);
        }
    }
    self::target(&target);
    let [value, average, utilization] = ["value", "averageValue", "averageUtilization"].map(|field| target.get(field));
    match kind {
        "object" if !value.is_set() && !average.is_set() => {
            average.required("must set either a target value or averageValue");
        }
        "external" if !value.is_set() && !average.is_set() => {
            average.required("must set either a target value for metric or a per-pod target");
        }
        "external" if value.is_set() && average.is_set() => {
            value.forbidden("may not set both a target value for metric and a per-pod target");
        }
        "pods" if !average.is_set() => average.required("must specify a positive target averageValue"),
        "resource" | "containerResource" => match (utilization.is_set(), average.is_set()) {
            (false, false) => utilization.required("must set either a target raw value or a target utilization"),
            (true, true) => average.forbidden("may not set both a target raw value and a target utilization"),
            _ => {}
        },
        _ => {}
    }
}

fn resource(kind: &str, source: &Cursor<'_>) {
    let name = source.get("name");
    if name.is_empty() {
        name.required("must specify a resource name");
    } else if kind == "containerResource" {
        resource_names::of_container(&name, name.text());
    }
    let container = source.get("container");
    if kind == "containerResource" && container.is_empty() {
        container.required("must specify a container");
    } else {
        container.may_follow(names::label);
    }
}

fn target(target: &Cursor<'_>) {
    let kind = target.get("type");
    if kind.is_empty() {
        kind.required("must specify a metric target type");
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        kind.invalid_as(kind.text(), "must be either Utilization, Value, or AverageValue");
    }
    for amount in ["value", "averageValue"].map(|field| target.get(field)) {
        if quantity(&amount).is_some_and(|amount| amount <= Quantity::ZERO) {
            amount.invalid("must be positive");
        }
    }
    let utilization = target.get("averageUtilization");
    if utilization.int().is_some_and(|percent| percent < 1) {
        utilization.invalid("must be greater than 0");
    }
}
