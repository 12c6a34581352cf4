//! LimitRange: how little and how much Pods, containers and claims of a namespace may ask for, and what they get when
//! they ask for nothing.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{cells, fill};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::quantity::Quantity;
use crate::validation::{Cursor, check, names, quantity, resource_names};

/// `limitranges`
pub static LIMIT_RANGE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.LimitRange",
    storage: "limitranges",
    columns: cells::PLAIN,
    rules: &LimitRangeRules,
};

/// Quantities up to this many units are compared in thousandths, larger ones in units.
const MAX_MILLI: i64 = i64::MAX / 1000;

struct LimitRangeRules;

impl Rules for LimitRangeRules {
    fn default(&self, object: &mut Value) {
        fill::each(object, "/spec/limits", |limit| {
            if limit["type"] == "Container" {
                // A limit that is fixed is also the default; the default limit is also the default request.
                for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
                    default_from(limit, to, from);
                }
            }
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |range| {
            let mut types = HashSet::new();
            for limit in range.get("spec").get("limits").items() {
                let kind = limit.get("type");
                type_name(&kind);
                if !types.insert(kind.text()) {
                    kind.duplicate();
                }
                resources(&limit, kind.text());
                for resource in named_resources(limit.value()) {
                    amounts(&limit, resource);
                }
            }
        })
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        cells::plain_row(object)
    }

    fn updates_create(&self) -> bool {
        true
    }
}

fn default_from(limit: &mut Value, to: &str, from: &str) {
    let amounts = limit[from].as_object().cloned().unwrap_or_default();
    if let Some(map) = fill::map(limit, to) {
        for (resource, amount) in amounts {
            map.entry(resource).or_insert(amount);
        }
    }
    if limit[to].as_object().is_some_and(Map::is_empty)
        && let Some(limit) = limit.as_object_mut()
    {
        limit.remove(to);
    }
}

fn type_name(kind: &Cursor<'_>) {
    let faults = names::qualified(kind.text());
    for fault in &faults {
        kind.invalid_as(kind.text(), fault.clone());
    }
    let standard = matches!(kind.text(), "Pod" | "Container" | "PersistentVolumeClaim");
    if faults.is_empty() && !kind.text().contains('/') && !standard {
        kind.invalid("must be a standard limit type or fully qualified");
    }
}

/// Which resources a limit of this type may speak of, and in which fields.
fn resources(limit: &Cursor<'_>, kind: &str) {
    let rule = if matches!(kind, "Pod" | "Container") { resource_names::of_container } else { resource_names::any };
    let check_names = |field: &str| limit.get(field).entries().for_each(|(name, amount)| rule(&amount, name));
    check_names("max");
    check_names("min");
    for field in ["default", "defaultRequest"] {
        if kind != "Pod" {
            check_names(field);
        } else if !limit.get(field).is_empty() {
            limit.get(field).forbidden("may not be specified when `type` is 'Pod'");
        }
    }
    let bounded = ["min", "max"].iter().any(|field| limit.get(field).key("storage").is_set());
    if kind == "PersistentVolumeClaim" && !bounded {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        limit.get("limits").required(why);
    }
    check_names("maxLimitRequestRatio");
}

fn named_resources(limit: &Value) -> BTreeSet<&str> {
    let fields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    fields.iter().filter_map(|field| limit[*field].as_object()).flatten().map(|(name, _)| name.as_str()).collect()
}

/// Two fields of which the first may not be more than the second, each with the words for it, then the field at fault
/// and the one whose amount is shown.
type Order = [(&'static str, &'static str); 2];
const ORDERS: &[(Order, &str, &str)] = &[
    ([("min", "min"), ("max", "max")], "min", "min"),
    ([("min", "min"), ("defaultRequest", "default request")], "defaultRequest", "defaultRequest"),
    ([("defaultRequest", "default request"), ("max", "max")], "defaultRequest", "defaultRequest"),
    ([("defaultRequest", "default request"), ("default", "default limit")], "defaultRequest", "defaultRequest"),
    ([("min", "min"), ("default", "default")], "default", "min"),
    ([("default", "default"), ("max", "max")], "default", "max"),
];

/// Least, default request, default limit and most of a resource must come in this order.
fn amounts(limit: &Cursor<'_>, resource: &str) {
    let is_pod = limit.get("type").text() == "Pod";
    let place = |field: &str| limit.get(field).key(resource);
    // A Pod has no defaults, whatever is said.
    let amount = |field: &str| quantity(&place(field)).filter(|_| !is_pod || !field.starts_with("default"));
    for ([(low, low_words), (high, high_words)], at, shown) in ORDERS {
        if let (Some(low), Some(high), Some(shown)) = (amount(low), amount(high), amount(shown))
            && low > high
        {
            let why = format!("{low_words} value {low} is greater than {high_words} value {high}");
            place(at).invalid_as(shown.to_string(), why);
        }
    }
    ratio(&place("maxLimitRequestRatio"), amount("min"), amount("max"));
    if let (Some(default), Some(request)) = (amount("default"), amount("defaultRequest"))
        && default != request
        && !resource_names::may_be_overcommitted(resource)
    {
        let why = format!("default value {default} must equal to defaultRequest value {request} in {resource}");
        place("defaultRequest").invalid_as(request.to_string(), why);
    }
}

/// How many times the request a limit may be.
fn ratio(place: &Cursor<'_>, min: Option<Quantity>, max: Option<Quantity>) {
    let Some(ratio) = quantity(place) else { return };
    if ratio < Quantity::from_units(1) {
        place.invalid_as(ratio.to_string(), format!("ratio {ratio} is less than 1"));
    }
    let (Some(min), Some(max)) = (min, max) else { return };
    let small = [ratio, min, max].iter().all(|quantity| quantity.value() < MAX_MILLI);
    let (wanted, possible) = if small {
        (ratio.milli_value() as f64 / 1000.0, max.milli_value() as f64 / min.milli_value() as f64)
    } else {
        (ratio.value() as f64, max.value() as f64 / min.value() as f64)
    };
    if wanted > possible {
        let why = format!("ratio {ratio} is greater than max/min = {possible:.6}");
        place.invalid_as(ratio.to_string(), why);
    }
}

#[cfg(test)]
mod tests {
    use super::LIMIT_RANGE;
    use crate::kinds::testing::{check, check_defaults, check_row};

    #[track_caller]
    fn limit(limit: &str, want: &[&str]) {
        check(&LIMIT_RANGE, &format!("{{spec: {{limits: [{{{limit}}}]}}}}"), want);
    }

    #[test]
    fn types_and_resources() {
        limit("type: Container, max: {cpu: 1, example.com/gpu: 1}", &[]);
        limit(
            "type: Pod, max: {storage: 1}",
            &["spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers"],
        );
        limit(
            "type: Node",
            &["spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified"],
        );
        limit(
            "type: PersistentVolumeClaim, max: {cpu: 1}",
            &[
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither \
             was provided",
            ],
        );
        limit(
            "type: Pod, default: {cpu: 1}",
            &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        );
        check(
            &LIMIT_RANGE,
            "{spec: {limits: [{type: Pod}, {type: Pod}]}}",
            &["spec.limits[1].type: Duplicate value: \"Pod\""],
        );
    }

    #[test]
    fn amounts_come_in_order() {
        limit(
            "type: Container, min: {cpu: '2'}, max: {cpu: '1'}, default: {cpu: '1'}, defaultRequest: {cpu: '1'}",
            &[
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
                "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
            ],
        );
        limit(
            "type: Container, max: {cpu: '1'}, default: {cpu: '3'}, defaultRequest: {cpu: '1'}",
            &["spec.limits[0].default[cpu]: Invalid value: \"1\": default value 3 is greater than max value 1"],
        );
        limit(
            "type: Pod, min: {cpu: 100m}, max: {cpu: 200m}, maxLimitRequestRatio: {cpu: '3'}",
            &[
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ],
        );
        limit(
            "type: Pod, maxLimitRequestRatio: {cpu: 500m}",
            &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
        );
    }

    #[test]
    fn what_is_fixed_is_the_default() {
        check_defaults(
            &LIMIT_RANGE,
            "{spec: {limits: [{type: Container, max: {cpu: '2', memory: 1Gi}, min: {cpu: '1'}, default: {memory: 1Mi}}, \
             {type: Pod, max: {cpu: '4'}}, {type: Container}]}}",
            "{spec: {limits: [{type: Container, max: {cpu: '2', memory: 1Gi}, min: {cpu: '1'}, \
             default: {memory: 1Mi, cpu: '2'}, defaultRequest: {cpu: '2', memory: 1Mi}}, \
             {type: Pod, max: {cpu: '4'}}, {type: Container}]}}",
        );
    }

    #[test]
    fn rows() {
        check_row(
            &LIMIT_RANGE,
            "{metadata: {name: a, creationTimestamp: '2026-01-01T00:00:00Z'}}",
            "a | 2026-01-01T00:00:00Z",
        );
    }
}
