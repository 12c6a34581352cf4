//! Tables: what `kubectl get` prints, made from the kind's columns and rows.

use sampan_api::kind::{Column, KindRef};
use serde_json::{Value, json};

use super::negotiate::Include;
use super::partial;

/// The columns of kinds that describe none.
const PLAIN: &[Column] = &[
    Column { name: "Name", kind: "string", format: "name", priority: 0 },
    Column { name: "Created At", kind: "date", format: "", priority: 0 },
];

/// A table of objects.
pub(super) fn table(kind: &KindRef, objects: impl Iterator<Item = Value>, meta: Value, include: Include) -> Value {
    let plain = kind.columns.is_empty() && kind.custom().is_none();
    let columns = match kind.custom() {
        Some(custom) => custom.column_definitions(),
        None if plain => PLAIN.iter().map(definition).collect(),
        None => kind.columns.iter().map(definition).collect(),
    };
    let now = sampan_clock::now();
    let rows: Vec<Value> = objects
        .map(|object| {
            let cells = if plain { plain_row(&object) } else { kind.rules().row(&object, now) };
            json!({ "cells": cells, "object": included(object, include) })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format, "priority": column.priority,
        "description": column.name,
    })
}

fn plain_row(object: &Value) -> Vec<Value> {
    vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()]
}

fn included(object: Value, include: Include) -> Value {
    match include {
        Include::None => Value::Null,
        Include::Metadata => partial::object(&object),
        Include::Object => object,
    }
}
