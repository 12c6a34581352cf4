//! What is there and what is applied, merged: the applied value wins, item by item where the schema says so.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::place::{Grain, Place, entries, is_empty, items};

/// `live` with `config` merged into it.
pub(super) fn merge(live: &Value, config: &Value, place: Place) -> Value {
    visit(Some(live), Some(config), place).unwrap_or_default()
}

fn visit(live: Option<&Value>, config: Option<&Value>, place: Place) -> Option<Value> {
    let grain = place.grain([live, config]);
    if matches!(grain, Grain::Whole) || (is_empty(live) && is_empty(config)) {
        return config.or(live).cloned();
    }
    match grain {
        Grain::KeyedList(_) | Grain::Set => merge_items(items(live), items(config), place, grain),
        _ => merge_fields(live, config, place),
    }
}

fn merge_fields(live: Option<&Value>, config: Option<&Value>, place: Place) -> Option<Value> {
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

/// Items that only the live list has keep their places; the others come in the order of the configuration.
fn merge_items(live: &[Value], config: &[Value], place: Place, grain: Grain) -> Option<Value> {
    let elements = |list: &[Value]| -> Vec<String> {
        list.iter()
            .enumerate()
            .map(|(i, item)| place.element(grain, item).unwrap_or_else(|_| format!("i:{i}")))
            .collect()
    };
    let (live_elements, config_elements) = (elements(live), elements(config));
    let applied: HashSet<&String> = config_elements.iter().collect();
    // Of duplicates in the live list none is merged with.
    let mut there: HashMap<&String, Option<&Value>> = HashMap::new();
    for (element, item) in live_elements.iter().zip(live) {
        there.entry(element).and_modify(|seen| *seen = None).or_insert(Some(item));
    }
    let mut merged = Vec::new();
    let mut queue = config_elements.iter().zip(config).peekable();
    for (element, item) in live_elements.iter().zip(live) {
        if !applied.contains(element) {
            merged.push(item.clone());
            continue;
        }
        // A shared item: everything of the configuration up to its next shared item goes here.
        let mut shared_taken = false;
        while let Some((next, config)) = queue.next_if(|(next, _)| !shared_taken || !there.contains_key(next)) {
            shared_taken = there.contains_key(next);
            merged.extend(visit(there.get(next).copied().flatten(), Some(config), place.item()));
            if shared_taken {
                break;
            }
        }
    }
    merged.extend(
        queue.filter_map(|(next, config)| visit(there.get(next).copied().flatten(), Some(config), place.item())),
    );
    (!merged.is_empty()).then_some(Value::Array(merged))
}
