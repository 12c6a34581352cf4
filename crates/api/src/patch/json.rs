//! JSON patch (RFC 6902), bounded in operations, in what they copy and move, and in depth.

use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::rejected;
use crate::status::Status;

/// Operations that one patch may have; upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

/// What all `copy` and `move` operations of a patch may carry together; the limit of a request body.
const MAX_CARRIED_BYTES: usize = 3 << 20;

/// How deep a patch may reach or nest values: `move` could otherwise build a tower too high for any later recursion.
const MAX_DEPTH: usize = 100;

/// The object after the patch.
pub fn patch(live: &Value, patch: Value) -> Result<Value, Status> {
    if let Some(operations) = patch.as_array().filter(|list| list.len() > MAX_OPERATIONS) {
        let mut status = Status::too_large(MAX_OPERATIONS);
        status.message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(status);
    }
    let operations: Patch =
        serde_json::from_value(patch).map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut object = live.clone();
    let mut carried_bytes = 0;
    for operation in operations.0 {
        let (target, source) = places(&operation);
        let carried = source.and_then(|source| object.pointer(source.as_str())).map(Size::of).unwrap_or_default();
        carried_bytes += carried.bytes;
        if carried_bytes > MAX_CARRIED_BYTES {
            return Err(Status::too_large(MAX_CARRIED_BYTES));
        }
        if target.count() + carried.depth > MAX_DEPTH {
            return Err(rejected());
        }
        if !tests_absence(&operation, &object) {
            json_patch::patch(&mut object, &[operation]).map_err(|_| rejected())?;
        }
    }
    Ok(object)
}

/// Whether the operation tests a field of an object for null, and the field is not there: that holds, as in the library
/// that upstream uses, and is how clients say "if there are none yet".
fn tests_absence(operation: &PatchOperation, object: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let Some((parent, field)) = test.path.split_back() else { return false };
    let parent = object.pointer(parent.as_str()).and_then(Value::as_object);
    test.value.is_null() && parent.is_some_and(|parent| !parent.contains_key(field.decoded().as_ref()))
}

/// Where an operation writes, and where it takes what it copies or moves.
fn places(operation: &PatchOperation) -> (&PointerBuf, Option<&PointerBuf>) {
    match operation {
        PatchOperation::Add(operation) => (&operation.path, None),
        PatchOperation::Remove(operation) => (&operation.path, None),
        PatchOperation::Replace(operation) => (&operation.path, None),
        PatchOperation::Test(operation) => (&operation.path, None),
        PatchOperation::Move(operation) => (&operation.path, Some(&operation.from)),
        PatchOperation::Copy(operation) => (&operation.path, Some(&operation.from)),
    }
}

/// How large a value is.
#[derive(Default)]
struct Size {
    /// About as many bytes as its JSON has.
    bytes: usize,
    depth: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        const PUNCTUATION_BYTES: usize = 4;
        let parts: Box<dyn Iterator<Item = (usize, &Value)>> = match value {
            Value::Array(items) => Box::new(items.iter().map(|item| (0, item))),
            Value::Object(fields) => Box::new(fields.iter().map(|(name, value)| (name.len(), value))),
            Value::String(text) => return Self { bytes: text.len() + PUNCTUATION_BYTES, depth: 1 },
            _ => return Self { bytes: PUNCTUATION_BYTES, depth: 1 },
        };
        parts.fold(Self { bytes: PUNCTUATION_BYTES, depth: 1 }, |whole, (name_bytes, value)| {
            let part = Self::of(value);
            Self { bytes: whole.bytes + name_bytes + part.bytes, depth: whole.depth.max(part.depth + 1) }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn check(patch: Value, want: Result<Value, u16>) {
        let live = json!({"a": {"b": 1}, "list": [1, 2]});
        let got = super::patch(&live, patch.clone()).map_err(|status| status.code);
        assert_eq!(got, want, "{patch}");
    }

    #[test]
    fn operations() {
        check(json!([{"op": "add", "path": "/a/c", "value": 2}]), Ok(json!({"a": {"b": 1, "c": 2}, "list": [1, 2]})));
        check(json!([{"op": "add", "path": "/list/-", "value": 3}]), Ok(json!({"a": {"b": 1}, "list": [1, 2, 3]})));
        check(json!([{"op": "remove", "path": "/a/b"}]), Ok(json!({"a": {}, "list": [1, 2]})));
        check(json!([{"op": "remove", "path": "/x"}]), Err(422));
        check(json!([{"op": "add", "path": "/x/y", "value": 1}]), Err(422));
        check(json!([{"op": "test", "path": "/a/b", "value": 2}]), Err(422));
        check(json!([{"op": "sing", "path": "/a"}]), Err(400));
        check(json!([{"op": "test", "path": "/a/c", "value": null}]), Ok(json!({"a": {"b": 1}, "list": [1, 2]})));
        check(json!([{"op": "test", "path": "/a/b", "value": null}]), Err(422));
        check(json!([{"op": "test", "path": "/x/c", "value": null}]), Err(422));
        check(json!({"op": "remove"}), Err(400));
    }

    #[test]
    fn bounds() {
        let many = vec![json!({"op": "test", "path": "/a/b", "value": 1}); 10_001];
        check(Value::Array(many), Err(413));
        let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/a"}); 1000];
        check(Value::Array(doubling), Err(422));
        let growing = (0..200).map(|to| json!({"op": "copy", "from": "", "path": format!("/list/{to}")})).collect();
        check(growing, Err(413));
        let tower = (0..5000).map(|step| match step % 2 {
            0 => json!([{"op": "add", "path": "/b", "value": {}}, {"op": "move", "from": "/a", "path": "/b/a"}]),
            _ => json!([{"op": "add", "path": "/a", "value": {}}, {"op": "move", "from": "/b", "path": "/a/b"}]),
        });
        check(tower.flat_map(|pair| pair.as_array().cloned().unwrap()).collect(), Err(422));
        let deep = "/a".repeat(5000);
        check(json!([{"op": "add", "path": deep, "value": 1}]), Err(422));
    }

    #[test]
    fn failed_tests_are_worded_as_upstream_words_them() {
        let status = super::patch(&json!({}), json!([{"op": "test", "path": "/a", "value": 2}])).unwrap_err();
        assert_eq!(status.message, "the server rejected our request due to an error in our request");
        assert_eq!(status.reason, "Invalid");
    }
}
