//! Does an applied configuration fit the schema? Unlike a body it may hold no field that the schema does not know.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::place::{Grain, Holds, Place};
use super::set::{field, show};
use crate::schema::Scalar;

/// The faults of a configuration, as upstream words them: `.spec.foo: field not declared in schema`.
pub(super) fn faults(config: &Value, place: Place<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    check(config, place, &mut Vec::new(), &mut faults);
    faults
}

fn check(value: &Value, place: Place<'_>, path: &mut Vec<String>, faults: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let expected = match (place.holds(), value) {
        (Holds::Anything, _) => return,
        (Holds::Scalar(scalar), value) if fits(scalar, value) => return,
        (Holds::AnyScalar, value) if !value.is_array() && !value.is_object() => return,
        (Holds::List, Value::Array(items)) => return check_items(items, place, path, faults),
        (Holds::Fields, Value::Object(fields)) => return check_fields(fields, place, path, faults),
        (Holds::Scalar(scalar), _) => expected(scalar),
        (Holds::AnyScalar, _) => "any scalar",
        (Holds::List, _) => "list",
        (Holds::Fields, _) => "map",
    };
    faults.push(format!("{}: expected {expected}, got {}", show(path), go_value(value)));
}

fn check_fields(fields: &Map<String, Value>, place: Place<'_>, path: &mut Vec<String>, faults: &mut Vec<String>) {
    for (name, value) in fields {
        path.push(field(name));
        if place.allows(name) {
            check(value, place.field(name), path, faults);
        } else {
            faults.push(format!("{}: field not declared in schema", show(path)));
        }
        path.pop();
    }
}

fn check_items(items: &[Value], place: Place<'_>, path: &mut Vec<String>, faults: &mut Vec<String>) {
    let grain = place.grain([None, None]);
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = match grain {
            Grain::KeyedList | Grain::Set => place.element(grain, item),
            _ => Ok(format!("i:{index}")),
        };
        match element {
            Ok(element) => {
                if !seen.insert(element.clone()) {
                    faults.push(format!(
                        "{}: duplicate entries for key {}",
                        show(path),
                        show(std::slice::from_ref(&element))
                    ));
                }
                path.push(element);
                check(item, place.item(), path, faults);
                path.pop();
            }
            Err(error) => {
                faults.push(format!("{}: element {index}: {error}", show(path)));
                return;
            }
        }
    }
}

fn fits(scalar: Scalar, value: &Value) -> bool {
    match scalar {
        Scalar::String | Scalar::Bytes => value.is_string(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => value.is_number(),
    }
}

fn expected(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String | Scalar::Bytes => "string",
        Scalar::Boolean => "boolean",
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => "numeric (int or float)",
    }
}

/// What was found, roughly as Go prints it.
fn go_value(value: &Value) -> String {
    match value {
        Value::String(_) => "string".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(_) => "list".to_owned(),
        Value::Object(_) => "map".to_owned(),
        Value::Null => "null".to_owned(),
    }
}
