//! The part of every object that is the same for all kinds: `metadata`, filled in, carried over and checked.

use jiff::Timestamp;
use sampan_api::kind::{KindRef, Scope};
use sampan_api::status::Status;
use serde_json::{Map, Value, json};

use super::Attempt;

/// The characters of generated name endings: no vowels, so that no words come out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them.
const SUFFIX_CHARS: usize = 5;
/// Longest generated name.
const MAX_GENERATED: usize = 63;

/// The `metadata` of an object, made if it is missing.
pub(crate) fn meta(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata.as_object_mut().expect("invariant: just made an object")
}

/// A text of an object's metadata; empty if there is none.
pub(crate) fn text<'o>(object: &'o Value, field: &str) -> &'o str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// An object's finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether an object's deletion has begun.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// A time as objects carry it: whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `base` with a random ending.
pub(crate) fn generate_name(base: &str) -> String {
    let room = MAX_GENERATED - SUFFIX_CHARS;
    let cut = base.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last().unwrap_or(0);
    format!("{}{}", &base[..cut], random_suffix())
}

/// Five random characters that can end a name.
pub(crate) fn random_suffix() -> String {
    let bytes = *uuid::Uuid::new_v4().as_bytes();
    bytes[..SUFFIX_CHARS].iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect()
}

/// The object must be meant for the namespace and name it was sent to.
pub(crate) fn place(attempt: &Attempt, object: &mut Value) -> Result<(), Status> {
    let namespace = text(object, "namespace").to_owned();
    match attempt.kind.scope {
        Scope::Cluster if !namespace.is_empty() => {
            meta(object).remove("namespace");
        }
        Scope::Cluster => {}
        Scope::Namespaced if namespace.is_empty() => {
            meta(object).insert("namespace".into(), attempt.namespace.as_str().into());
        }
        Scope::Namespaced if namespace != attempt.namespace => {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({namespace} does not match {})",
                attempt.namespace
            )));
        }
        Scope::Namespaced => {}
    }
    let name = text(object, "name").to_owned();
    if name.is_empty() && !attempt.name.is_empty() {
        meta(object).insert("name".into(), attempt.name.as_str().into());
    } else if !attempt.name.is_empty() && name != attempt.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            attempt.name
        )));
    }
    Ok(())
}

/// Fields of metadata that a client cannot set on a new object.
const SERVERS: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Drops from a new object what only the server says.
pub(crate) fn wipe(object: &mut Value) {
    let meta = meta(object);
    SERVERS.iter().for_each(|name| drop(meta.remove(*name)));
    drop_empty(meta);
}

/// Fills in what only the server says about a new object, whatever admission has made of it.
pub(crate) fn fill(attempt: &Attempt, object: &mut Value) {
    wipe(object);
    let meta = meta(object);
    meta.insert("name".into(), attempt.name.as_str().into());
    if attempt.kind.scope == Scope::Namespaced {
        meta.insert("namespace".into(), attempt.namespace.as_str().into());
    }
    meta.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    meta.insert("creationTimestamp".into(), time(attempt.now).into());
    if attempt.kind.rules().has_generation() {
        meta.insert("generation".into(), 1.into());
    }
}

/// Fields of metadata that only the server may change.
const OWN: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
];

/// Takes over from `old` what only the server may change.
pub(crate) fn update(new: &mut Value, old: &Value) {
    let meta = meta(new);
    meta.remove("selfLink");
    for name in OWN {
        match old["metadata"].get(name) {
            Some(value) => meta.insert(name.to_owned(), value.clone()),
            None => meta.remove(name),
        };
    }
    if !meta.contains_key("generateName")
        && let Some(base) = old["metadata"].get("generateName")
    {
        meta.insert("generateName".to_owned(), base.clone());
    }
    drop_empty(meta);
}

/// An empty map or list of metadata is the same as none.
fn drop_empty(meta: &mut Map<String, Value>) {
    meta.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// `generation` grows when what the object asks for has changed.
pub(crate) fn grow_generation(kind: &KindRef, new: &mut Value, old: &Value) {
    if kind.rules().has_generation() && kind.rules().generation_changes(new, old) {
        next_generation(new, old);
    }
}

/// Makes `generation` one more than `old`'s.
pub(crate) fn next_generation(new: &mut Value, old: &Value) {
    let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
    meta(new).insert("generation".into(), (generation + 1).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_within_a_label() {
        assert_eq!(generate_name("web-").len(), 9);
        assert!(generate_name("web-").starts_with("web-"));
        assert_eq!(generate_name(&"x".repeat(200)).len(), MAX_GENERATED);
    }
}
