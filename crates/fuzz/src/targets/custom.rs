//! Custom kinds: what a schema makes of objects.

use sampan_api::structural::{self, Schema};
use serde_json::Value;

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "custom", run };

/// A schema and an object: what has been pruned and defaulted stays as it is.
fn run(data: &[u8]) {
    let Some((schema, object)) = input::two(data) else { return };
    let (Ok(schema), Ok(object)) = (serde_json::from_slice::<Value>(schema), serde_json::from_slice(object)) else {
        return;
    };
    let schema = Schema::read(&schema);
    let mut pruned: Value = object;
    structural::prune(&mut pruned, &schema);
    let mut again = pruned.clone();
    assert_eq!(structural::prune(&mut again, &schema), Vec::<String>::new(), "pruned twice");
    assert_eq!(again, pruned, "pruned twice");
    structural::default(&mut pruned, &schema);
    let mut again = pruned.clone();
    structural::default(&mut again, &schema);
    assert_eq!(again, pruned, "defaults that need defaults");
    structural::validate(&pruned, Some(&again), &schema);
}
