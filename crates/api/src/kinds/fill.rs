//! Filling defaults into an object, leaving alone what is there.

use serde_json::{Map, Value};

/// Sets `name` unless it is there (a Go pointer field: an explicit zero stays).
pub(crate) fn absent(object: &mut Value, name: &str, default: impl Into<Value>) {
    if let Some(map) = object.as_object_mut()
        && map.get(name).is_none_or(Value::is_null)
    {
        map.insert(name.to_owned(), default.into());
    }
}

/// Sets `name` unless it holds more than its zero value (a Go plain field: `""` and `0` count as missing).
pub(crate) fn zero(object: &mut Value, name: &str, default: impl Into<Value>) {
    if object.get(name).is_some_and(is_zero) {
        object[name] = Value::Null;
    }
    absent(object, name, default);
}

/// Whether a value is what Go leaves out: null, `""`, 0, `false`, `[]`.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

/// The map `name` of this object, made if it is not there; `None` if this is no object at all.
pub(crate) fn map<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    absent(object, name, Value::Object(Map::new()));
    object.get_mut(name).and_then(Value::as_object_mut)
}

/// Runs `fill` on the value at `pointer`, if there is one.
pub(crate) fn at(object: &mut Value, pointer: &str, fill: impl FnOnce(&mut Value)) {
    if let Some(value) = object.pointer_mut(pointer).filter(|value| !value.is_null()) {
        fill(value);
    }
}

/// Runs `fill` on each item of the list at `pointer`.
pub(crate) fn each(object: &mut Value, pointer: &str, fill: impl FnMut(&mut Value)) {
    if let Some(items) = object.pointer_mut(pointer).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(fill);
    }
}

/// Takes the field `name` over from `old`, its absence too.
pub(crate) fn keep(new: &mut Value, old: &Value, name: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(name) {
        Some(value) => map.insert(name.to_owned(), value.clone()),
        None => map.remove(name),
    };
}

/// Removes the field `name`.
pub(crate) fn clear(object: &mut Value, name: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(name);
    }
}
