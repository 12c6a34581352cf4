//! Defaults: what a schema gives to missing fields.

use serde_json::Value;

use super::Schema;

/// Fills missing fields with their defaults. A null where the schema has none counts as missing; without a default it goes.
pub fn default(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !value.is_null() || keeps_null(schema.field(name)));
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default {
                    let there = fields.get(name).is_some_and(|value| !value.is_null() || property.nullable);
                    if !there {
                        fields.insert(name.clone(), default.clone());
                    }
                }
            }
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    replace_null(value, schema);
                    default(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for item in items {
                replace_null(item, schema);
                default(item, schema);
            }
        }
        _ => {}
    }
}

/// A null stays where it is a value, where nothing is known, and where a default is about to replace it.
fn keeps_null(schema: Option<&Schema>) -> bool {
    schema.is_none_or(|schema| schema.nullable || schema.default.is_some())
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}
