//! Whether two values mean the same, for fields that may not change: a missing field is the same as an empty one,
//! and `1` CPU is the same as `1000m`.

use serde_json::{Map, Value};

use crate::quantity::Quantity;

/// Fields that are plain booleans or integers in upstream's types, so that `false` and 0 mean the same as missing.
/// For all others (`runAsUser: 0`) there is a difference.
const PLAIN: &[&str] = &[
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostPort",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "initialDelaySeconds",
    "nodePort",
    "healthCheckNodePort",
    "publishNotReadyAddresses",
];

/// Maps whose values are quantities.
const QUANTITIES: &[&str] = &["requests", "limits", "overhead"];

/// Whether two values mean the same.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => fields_differing(a, b).next().is_none(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b || (is_nothing(a) && is_nothing(b)),
    }
}

/// The paths, relative to the two values, at which they differ: `hostNetwork`, `containers[0].ports`.
pub(crate) fn differences(a: &Value, b: &Value) -> Vec<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => fields_differing(a, b)
            .flat_map(|name| {
                let below = differences(a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                below.into_iter().map(move |path| join(name, &path))
            })
            .collect(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let items = a.iter().zip(b).enumerate().filter(|(_, (a, b))| !same(a, b));
            items
                .flat_map(|(index, (a, b))| {
                    differences(a, b).into_iter().map(move |path| join(&format!("[{index}]"), &path))
                })
                .collect()
        }
        _ => vec![String::new()],
    }
}

fn join(name: &str, path: &str) -> String {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    format!("{name}{dot}{path}")
}

fn fields_differing<'m>(a: &'m Map<String, Value>, b: &'m Map<String, Value>) -> impl Iterator<Item = &'m str> {
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).map(String::as_str);
    names.filter(|name| !same_field(name, a.get(*name).unwrap_or(&Value::Null), b.get(*name).unwrap_or(&Value::Null)))
}

fn same_field(name: &str, a: &Value, b: &Value) -> bool {
    let nothing = |value: &Value| is_nothing(value) || (PLAIN.contains(&name) && crate::kinds::fill::is_zero(value));
    same(a, b) || (nothing(a) && nothing(b)) || (QUANTITIES.contains(&name) && same_quantities(a, b))
}

fn same_quantities(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    let quantity = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
    a.len() == b.len()
        && a.iter().all(|(name, a)| {
            b.get(name).is_some_and(|b| a == b || (quantity(a).is_some() && quantity(a) == quantity(b)))
        })
}

/// What is left out when it is written: null, `""`, `[]`, `{}`.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_and_empty_are_the_same_but_explicit_zero_is_not() {
        let rows = [
            (json!({}), json!({"a": null, "b": [], "c": {}, "d": ""}), true),
            (json!({}), json!({"hostNetwork": false, "ports": [{"hostPort": 0}]}), false),
            (json!({"ports": [{}]}), json!({"hostNetwork": false, "ports": [{"hostPort": 0}]}), true),
            (json!({}), json!({"runAsUser": 0}), false),
            (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "1000m"}}), true),
            (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "2"}}), false),
            (json!([1, 2]), json!([2, 1]), false),
        ];
        for (a, b, want) in rows {
            assert_eq!(same(&a, &b), want, "{a} and {b}");
            assert_eq!(same(&b, &a), want, "{b} and {a}");
        }
    }

    #[test]
    fn differences_are_named() {
        let a = json!({"x": 1, "list": [{"y": 1}, {"y": 2}], "more": [1]});
        let b = json!({"x": 1, "list": [{"y": 1}, {"y": 3}], "more": [1, 2], "z": true});
        assert_eq!(differences(&a, &b), ["list[1].y", "more", "z"]);
    }
}
