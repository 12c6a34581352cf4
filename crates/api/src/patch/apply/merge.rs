//! What is there and what is applied, merged: the applied value wins, item by item where the schema says so.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::place::{Grain, Place, entries, is_empty, items};

/// `live` with `config` merged into it.
pub(super) fn merge(live: &Value, config: &Value, place: Place<'_>) -> Value {
    visit(Some(live), Some(config), place).unwrap_or_default()
}

fn visit(live: Option<&Value>, config: Option<&Value>, place: Place<'_>) -> Option<Value> {
    let grain = place.grain([live, config]);
    if matches!(grain, Grain::Whole) || (is_empty(live) && is_empty(config)) {
        return config.or(live).cloned();
    }
    match grain {
        Grain::KeyedList | Grain::Set => merge_items(items(live), items(config), place, grain),
        _ => merge_fields(live, config, place),
    }
}

fn merge_fields(live: Option<&Value>, config: Option<&Value>, place: Place<'_>) -> Option<Value> {
    let mut merged = Map::new();
    for (name, value) in entries(live) {
        let config = config.and_then(|config| config.get(name));
        merged.extend(visit(Some(value), config, place.field(name)).map(|value| (name.clone(), value)));
    }
    for (name, value) in entries(config).filter(|(name, _)| live.and_then(|live| live.get(name)).is_none()) {
        merged.extend(visit(None, Some(value), place.field(name)).map(|value| (name.clone(), value)));
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Shared items and those of the configuration come in its order; items that only the live list has stay where they are
/// relative to the shared ones around them.
fn merge_items(live: &[Value], config: &[Value], place: Place<'_>, grain: Grain) -> Option<Value> {
    let (live, config) = (with_elements(live, place, grain), with_elements(config, place, grain));
    let applied: HashSet<&String> = config.iter().map(|(element, _)| element).collect();
    // Of duplicates in the live list none is merged with.
    let mut there: HashMap<&String, Option<&Value>> = HashMap::new();
    for (element, item) in &live {
        there.entry(element).and_modify(|seen| *seen = None).or_insert(Some(item));
    }
    let merge_item =
        |(element, item): &(String, &Value)| visit(there.get(element).copied().flatten(), Some(*item), place.item());
    let mut shared = config.iter().map(|(element, _)| element).filter(|element| there.contains_key(element)).peekable();
    let mut queue = config.iter();
    let mut merged = Vec::new();
    for (element, item) in &live {
        if !applied.contains(element) {
            merged.push((*item).clone());
        } else if shared.next_if_eq(&element).is_some() {
            // Everything of the configuration up to this shared item goes here. Other shared items come later.
            for next in queue.by_ref() {
                merged.extend(merge_item(next));
                if next.0 == *element {
                    break;
                }
            }
        }
    }
    merged.extend(queue.filter_map(merge_item));
    (!merged.is_empty()).then_some(Value::Array(merged))
}

fn with_elements<'v>(list: &'v [Value], place: Place<'_>, grain: Grain) -> Vec<(String, &'v Value)> {
    let element = |index, item| place.element(grain, item).unwrap_or_else(|_| format!("i:{index}"));
    list.iter().enumerate().map(|(index, item)| (element(index, item), item)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::place::Place;
    use crate::schema::definition;

    /// Merges containers given by their names: `abc` and `ca`.
    fn check(live: &str, config: &str, want: &str) {
        let pod = Place::root(definition("io.k8s.api.core.v1.PodSpec").unwrap().into());
        let list = |names: &str| -> Value {
            let containers: Value = names.chars().map(|name| json!({"name": name.to_string()})).collect();
            json!({"containers": containers})
        };
        let got = super::merge(&list(live), &list(config), pod);
        let names = got["containers"].as_array().unwrap().iter().map(|container| container["name"].as_str().unwrap());
        assert_eq!(names.collect::<String>(), want, "{live} + {config}");
    }

    #[test]
    fn order_of_items() {
        check("ab", "b", "ab");
        check("abc", "ca", "bca");
        check("ab", "ba", "ba");
        check("a", "na", "na");
        check("xa", "na", "xna");
        check("a", "an", "an");
        check("abcd", "cad", "bcad");
        check("xay", "nam", "xnaym");
    }
}
