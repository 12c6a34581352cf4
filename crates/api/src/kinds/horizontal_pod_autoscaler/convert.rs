//! Between the two versions: what `v1` has no fields for is in its annotations.
//!
//! ```text
//! v2                                       v1
//! spec.metrics: CPU utilization            spec.targetCPUUtilizationPercentage
//! spec.metrics: the others                 annotation metrics           (in v1's own words)
//! spec.behavior                            annotation behavior          (fields begin with capitals)
//! status.currentMetrics                    annotation current-metrics, and currentCPUUtilizationPercentage
//! status.conditions                        annotation conditions
//! ```

use serde_json::{Map, Value, json};

use super::{CPU_PERCENT, cpu_metric};
use crate::kinds::fill;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Fields of a metric's source: in `v1`'s words, and where `v2` has them. `@` is `target` in a spec and `current` in
/// a status, and in `v1` part of a name.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    (
        "object",
        &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("@Value", "/@/value"),
            ("averageValue", "/@/averageValue"),
        ],
    ),
    ("pods", &[("metricName", "/metric/name"), ("selector", "/metric/selector"), ("@AverageValue", "/@/averageValue")]),
    (
        "resource",
        &[("name", "/name"), ("@AverageUtilization", "/@/averageUtilization"), ("@AverageValue", "/@/averageValue")],
    ),
    (
        "containerResource",
        &[
            ("name", "/name"),
            ("container", "/container"),
            ("@AverageUtilization", "/@/averageUtilization"),
            ("@AverageValue", "/@/averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("@Value", "/@/value"),
            ("@AverageValue", "/@/averageValue"),
        ],
    ),
];

/// The object in `v2`'s form; one that is in it already stays as it is.
pub(super) fn to_v2(object: &Value) -> Value {
    let mut object = object.clone();
    if object["apiVersion"] == "autoscaling/v2" {
        return object;
    }
    object["apiVersion"] = "autoscaling/v2".into();
    let [metrics, current, conditions, behavior] =
        [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(|annotation| take_annotation(&mut object, annotation));
    fill::at(&mut object, "/spec", |spec| {
        let percent = take(spec, "targetCPUUtilizationPercentage").as_i64();
        let mut list: Vec<Value> = percent.map(cpu_metric).into_iter().collect();
        list.extend(items(metrics).iter().map(|metric| metric_to_v2(metric, "target")));
        if list.is_empty() {
            list.push(cpu_metric(CPU_PERCENT));
        }
        spec["metrics"] = list.into();
        if behavior.is_object() {
            spec["behavior"] = with_first_letters(behavior, |letter| letter.to_ascii_lowercase());
        }
    });
    fill::at(&mut object, "/status", |status| {
        let percent = take(status, "currentCPUUtilizationPercentage");
        let seen = items(current);
        if !seen.is_empty() {
            status["currentMetrics"] = seen.iter().map(|metric| metric_to_v2(metric, "current")).collect();
        } else if percent.is_number() {
            let current = json!({ "averageUtilization": percent });
            status["currentMetrics"] =
                json!([{ "type": "Resource", "resource": { "name": "cpu", "current": current } }]);
        } else {
            status["currentMetrics"] = Value::Null;
        }
        if conditions.is_array() {
            status["conditions"] = conditions;
        }
    });
    object
}

/// The object in `v1`'s form.
pub(super) fn to_v1(object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = "autoscaling/v1".into();
    let mut annotations = Vec::new();
    fill::at(&mut object, "/spec", |spec| {
        let (cpu, others): (Vec<Value>, Vec<Value>) = items(take(spec, "metrics")).into_iter().partition(is_cpu);
        if let Some(metric) = cpu.first() {
            spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"].clone();
        }
        if !others.is_empty() {
            annotations.push((METRICS, others.iter().map(|metric| metric_to_v1(metric, "target")).collect()));
        }
        let behavior = take(spec, "behavior");
        if behavior.is_object() {
            annotations.push((BEHAVIOR, with_first_letters(behavior, |letter| letter.to_ascii_uppercase())));
        }
    });
    fill::at(&mut object, "/status", |status| {
        let seen = items(take(status, "currentMetrics"));
        let cpu = seen.iter().find(|metric| metric["type"] == "Resource" && metric["resource"]["name"] == "cpu");
        if let Some(percent) = cpu.and_then(|metric| metric.pointer("/resource/current/averageUtilization")) {
            status["currentCPUUtilizationPercentage"] = percent.clone();
        }
        if !seen.is_empty() {
            annotations.push((CURRENT_METRICS, seen.iter().map(|metric| metric_to_v1(metric, "current")).collect()));
        }
        let conditions = take(status, "conditions");
        if conditions.as_array().is_some_and(|conditions| !conditions.is_empty()) {
            annotations.push((CONDITIONS, conditions));
        }
        fill::absent(status, "currentReplicas", 0);
        fill::absent(status, "desiredReplicas", 0);
    });
    for (name, value) in annotations {
        annotate(&mut object, name, &value);
    }
    object
}

fn is_cpu(metric: &Value) -> bool {
    let target = metric.pointer("/resource/target/averageUtilization");
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu" && target.is_some_and(Value::is_number)
}

fn take(object: &mut Value, field: &str) -> Value {
    object.as_object_mut().and_then(|map| map.remove(field)).unwrap_or_default()
}

fn items(list: Value) -> Vec<Value> {
    if let Value::Array(items) = list { items } else { Vec::new() }
}

/// Takes the value out of an annotation; one that cannot be read says nothing.
fn take_annotation(object: &mut Value, name: &str) -> Value {
    let Some(annotations) = object.pointer_mut("/metadata/annotations") else { return Value::Null };
    let text = take(annotations, name);
    text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    fill::at(object, "/metadata", |metadata| {
        if let Some(annotations) = fill::map(metadata, "annotations") {
            annotations.insert(name.to_owned(), value.to_string().into());
        }
    });
}

/// The fields of a metric's source for `side`, `target` or `current`: `v1`'s names and `v2`'s pointers.
fn fields(side: &str) -> impl Iterator<Item = (&'static str, Vec<(String, String)>)> {
    FIELDS.iter().map(move |(source, fields)| {
        let words = fields.iter().map(|(v1, v2)| (v1.replace('@', side), v2.replace('@', side)));
        (*source, words.collect())
    })
}

fn metric_to_v1(metric: &Value, side: &str) -> Value {
    let mut converted = json!({ "type": metric["type"] });
    for (source, fields) in fields(side).filter(|(source, _)| metric[*source].is_object()) {
        let mut map = Map::new();
        for (name, pointer) in fields {
            if let Some(value) = metric[source].pointer(&pointer).filter(|value| !value.is_null()) {
                map.insert(name, value.clone());
            }
        }
        converted[source] = map.into();
    }
    converted
}

fn metric_to_v2(metric: &Value, side: &str) -> Value {
    let mut converted = json!({ "type": metric["type"] });
    for (source, fields) in fields(side).filter(|(source, _)| metric[*source].is_object()) {
        let mut place = json!({});
        for (name, pointer) in fields {
            if let Some(value) = metric[source].get(&name).filter(|value| !value.is_null()) {
                set(&mut place, &pointer, value.clone());
            }
        }
        if side == "target" {
            let kind = target_type(&place["target"]);
            set(&mut place, "/target/type", kind.into());
        }
        converted[source] = place;
    }
    converted
}

fn target_type(target: &Value) -> &'static str {
    let has = |field: &str| !target[field].is_null();
    match () {
        () if has("averageUtilization") => "Utilization",
        () if has("averageValue") => "AverageValue",
        () => "Value",
    }
}

/// Sets the value at a pointer of one or two steps.
fn set(place: &mut Value, pointer: &str, value: Value) {
    let place = pointer.split('/').skip(1).fold(place, |place, step| &mut place[step]);
    *place = value;
}

/// The names of all fields with another first letter.
fn with_first_letters(value: Value, change: fn(&char) -> char) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| {
                let mut letters = name.chars();
                let first: String = letters.next().iter().map(change).collect();
                (format!("{first}{}", letters.as_str()), with_first_letters(value, change))
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| with_first_letters(item, change)).collect(),
        other => other,
    }
}

/// The names of an object's annotations.
#[cfg(test)]
pub(super) fn annotations(object: &Value) -> Vec<&str> {
    object["metadata"]["annotations"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}
