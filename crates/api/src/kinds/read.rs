//! Reading fields of an object by JSON pointer, with Go's view of what is missing: the zero value.
//!
//! For table cells, selectable fields and defaults. Validation, which also needs to say *where* a field is, reads
//! through [`crate::validation::Cursor`].

use serde_json::{Map, Value};

/// The string at `pointer`, or `""`.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at `pointer`, or 0.
pub(crate) fn int(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The boolean at `pointer`, or `false`.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The items at `pointer`, or none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The map at `pointer`, if there is one.
pub(crate) fn map<'a>(object: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

/// The strings of the list at `pointer`.
pub(crate) fn texts<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(object, pointer).iter().filter_map(Value::as_str).collect()
}

/// The item of the list at `pointer` whose field `key` is `value`: a condition by its type, a container by its name.
pub(crate) fn find<'a>(object: &'a Value, pointer: &str, key: &str, value: &str) -> Option<&'a Value> {
    list(object, pointer).iter().find(|item| item[key] == value)
}

/// Whether the condition `kind` of the object's status is `True`.
pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    find(object, "/status/conditions", "type", kind).is_some_and(|condition| condition["status"] == "True")
}

/// `text`, or `otherwise` when it is empty.
pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
