//! Does an applied configuration fit the schema? Unlike a body it may hold no field that the schema does not know.

use std::collections::HashSet;

use serde_json::Value;

use super::place::{Grain, Place};
use super::set::{field, show};
use crate::schema::{Scalar, Shape, Type};

/// The faults of a configuration, as upstream words them: `.spec.foo: field not declared in schema`.
pub(super) fn faults(config: &Value, place: Place) -> Vec<String> {
    let mut faults = Vec::new();
    check(config, place, &mut Vec::new(), &mut faults);
    faults
}

fn check(value: &Value, place: Place, path: &mut Vec<String>, faults: &mut Vec<String>) {
    let Some(ty) = place.ty() else { return };
    if value.is_null() {
        return;
    }
    match (ty, value) {
        (Type::Scalar(scalar), value) if !fits(scalar, value) => {
            let (expected, got) = (expected(scalar), go_value(value));
            faults.push(format!("{}: expected {expected}, got {got}", show(path)));
        }
        (Type::Scalar(_), _) => {}
        (Type::Ref(definition), value) if definition.shape != Shape::Struct => {
            if definition.shape != Shape::Json && (value.is_array() || value.is_object()) {
                faults.push(format!("{}: expected any scalar, got {}", show(path), go_value(value)));
            }
        }
        (Type::List(_), Value::Array(items)) => check_items(items, place, path, faults),
        (Type::Map(_) | Type::Ref(_), Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(field(name));
                let known = place.field(name);
                match known.ty() {
                    Some(_) => check(value, known, path, faults),
                    None => faults.push(format!("{}: field not declared in schema", show(path))),
                }
                path.pop();
            }
        }
        (Type::List(_), other) => faults.push(format!("{}: expected list, got {}", show(path), go_value(other))),
        (_, other) => faults.push(format!("{}: expected map, got {}", show(path), go_value(other))),
    }
}

fn check_items(items: &[Value], place: Place, path: &mut Vec<String>, faults: &mut Vec<String>) {
    let grain = place.grain([None, None]);
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = match grain {
            Grain::KeyedList(_) | Grain::Set => place.element(grain, item),
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
