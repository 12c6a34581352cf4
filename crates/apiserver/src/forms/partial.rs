//! `PartialObjectMetadata`: an object's metadata and nothing else.

use serde_json::{Value, json};

/// One object's.
pub(super) fn object(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// A list of them.
pub(super) fn list(objects: impl Iterator<Item = Value>, meta: Value) -> Value {
    let items: Vec<Value> = objects.map(|value| object(&value)).collect();
    json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items })
}
