//! An object without some of its fields.

use serde_json::{Map, Value};

use super::place::{Grain, Place};
use super::set::{Set, field};

/// `value` without the fields and items of `gone`; what becomes empty by that goes, too.
pub(super) fn remove(value: Value, gone: &Set, place: Place<'_>) -> Option<Value> {
    let grain = place.grain([Some(&value), None]);
    match (grain, value) {
        (Grain::Struct | Grain::Map, Value::Object(fields)) if !fields.is_empty() => {
            let kept: Map<String, Value> = fields
                .into_iter()
                .filter_map(|(name, value)| {
                    let kept = part(value, gone.below(&field(&name)), place.field(&name))?;
                    Some((name, kept))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Grain::KeyedList | Grain::Set, Value::Array(items)) if !items.is_empty() => {
            let kept: Vec<Value> = items
                .into_iter()
                .filter_map(|item| {
                    let below = place.element(grain, &item).ok().and_then(|element| gone.below(&element));
                    part(item, below, place.item())
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (_, value) => Some(value),
    }
}

fn part(value: Value, gone: Option<&Set>, place: Place<'_>) -> Option<Value> {
    match gone {
        None => Some(value),
        Some(gone) if gone.is_member() => None,
        Some(gone) if gone.is_empty() => Some(value),
        Some(gone) => remove(value, gone, place),
    }
}
