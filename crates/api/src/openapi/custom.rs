//! Schemas of custom kinds, as their definitions say them, in the words of either version.

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Dialect, gvk};
use crate::custom::{Custom, OBJECT_META};

/// What is the same for any kind is known in `kubectl explain` by its first words.
const API_VERSION: &str = "APIVersion defines the group and version of this representation of an object.";
const METADATA: &str = "Standard object's metadata: names, labels, owners and the like.";
const KIND: &str = "Kind is the kind of object this is.";

/// Keywords that version 2 does not know.
const ONLY_V3: [&str; 5] = ["allOf", "anyOf", "oneOf", "not", "nullable"];

/// The schema of a kind's objects. Of those that hold anything version 2 says nothing at all: kubectl would take every
/// field that is named for one of all that there may be.
pub(super) fn object(custom: &Custom, schemas: &Schemas, dialect: Dialect) -> Value {
    let names = custom.names();
    let said = &custom.open_api_schema;
    let is_silent =
        !said.is_object() || (dialect == Dialect::V2 && said["x-kubernetes-preserve-unknown-fields"] == true);
    let mut schema = match dialect {
        _ if is_silent => json!({ "type": "object" }),
        Dialect::V2 => part(said),
        Dialect::V3 => said.clone(),
    };
    if let Some(schema) = schema.as_object_mut() {
        if !is_silent {
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
    properties["metadata"]["description"] = METADATA.into();
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
