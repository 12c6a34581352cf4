//! The JSON paths of custom kinds' columns.

use sampan_api::custom::JsonPath;
use serde_json::Value;

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "json_path", run };

/// A path and an object.
fn run(data: &[u8]) {
    let Some((path, object)) = input::two(data) else { return };
    let Some(Ok(path)) = input::text(path).map(JsonPath::parse) else { return };
    let mut object: Value = serde_json::from_slice(object).unwrap_or_default();
    path.find(&object);
    if let Some(place) = path.place(&mut object) {
        *place = Value::from("written");
        let found = path.find(&object);
        assert!(found.iter().any(|value| *value == "written"), "what was written there is not found there: {found:?}");
    }
}
