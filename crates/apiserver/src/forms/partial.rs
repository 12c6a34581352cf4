//! `PartialObjectMetadata`: an object's metadata and nothing else.

use serde_json::{Value, json};

/// One object's.
pub(super) fn object(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}
