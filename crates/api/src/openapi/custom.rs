//! Schemas of custom kinds, as their definitions say them, in the words of either version.

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Dialect, gvk};
use crate::custom::{Custom, OBJECT_META};

const API_VERSION: &str = "Group and version of this representation of an object.";
const KIND: &str = "The kind of object this is.";

/// Keywords that version 2 does not know.
const ONLY_V3: [&str; 5] = ["allOf", "anyOf", "oneOf", "not", "nullable"];

/// The schema of a kind's objects.
pub(super) fn object(custom: &Custom, schemas: &Schemas, dialect: Dialect) -> Value {
    let names = custom.names();
    let mut schema = match &custom.open_api_schema {
        schema if !schema.is_object() => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        schema if dialect == Dialect::V2 => part(schema),
        schema => schema.clone(),
    };
    let keeps_all = dialect == Dialect::V2 && schema["x-kubernetes-preserve-unknown-fields"] == true;
    if let Some(schema) = schema.as_object_mut() {
        if !keeps_all {
            let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
            put_own_fields(properties, schemas, dialect);
        }
        let own = gvk((names.group, names.version, names.kind));
        schema.insert("x-kubernetes-group-version-kind".to_owned(), json!([own]));
    }
    schema
}

/// What every object has, whether the definition says so or not.
fn put_own_fields(properties: &mut Value, schemas: &Schemas, dialect: Dialect) {
    properties["apiVersion"] = json!({ "type": "string", "description": API_VERSION });
    properties["kind"] = json!({ "type": "string", "description": KIND });
    let reference = schemas.reference(OBJECT_META);
    properties["metadata"] = match dialect {
        Dialect::V2 => reference,
        Dialect::V3 => json!({ "allOf": [reference], "default": {} }),
    };
}

/// A part of a schema in version 2. kubectl takes what is said there at its word, so it is better to say less: of what
/// can be null, or hold anything, nothing is told but that.
fn part(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let is_nullable = schema["nullable"] == true;
    let keeps_all = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            name if ONLY_V3.contains(&name) => continue,
            "type" | "additionalProperties" if is_nullable => continue,
            "items" | "properties" if is_nullable || keeps_all => continue,
            "properties" => {
                let entries = value.as_object().into_iter().flatten();
                Value::Object(entries.map(|(name, value)| (name.clone(), part(value))).collect())
            }
            "items" | "additionalProperties" => part(value),
            _ => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    Value::Object(kept)
}
