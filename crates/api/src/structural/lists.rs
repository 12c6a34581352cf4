//! Lists whose items are told apart: no two may be the same.

use std::collections::HashSet;

use serde_json::Value;

use super::{ListType, Schema, key_of};
use crate::field::{Error, Path};

/// The items of a list that are there already.
pub(super) fn duplicates(items: &[Value], schema: &Schema, path: &Path) -> Vec<Error> {
    let identity = |item: &Value| match &schema.list {
        ListType::Atomic => None,
        ListType::Set => Some(item.clone()),
        ListType::Map(keys) => Some(Value::Object(key_of(item, keys, schema.items.as_deref()))),
    };
    let mut seen = HashSet::new();
    let mut faults = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else { break };
        if !seen.insert(identity.to_string()) {
            faults.push(Error::duplicate(&path.index(index), identity));
        }
    }
    faults
}
