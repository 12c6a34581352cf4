//! JSON patch (RFC 6902), bounded in operations and in what its copies add.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::rejected;
use crate::status::Status;

/// Operations that one patch may have; upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

/// What all `copy` operations of a patch may add together; the limit of a request body.
const MAX_COPIED_BYTES: usize = 3 << 20;

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
    let mut copied_bytes = 0;
    for operation in operations.0 {
        copied_bytes += copy_bytes(&object, &operation);
        if copied_bytes > MAX_COPIED_BYTES {
            return Err(Status::too_large(MAX_COPIED_BYTES));
        }
        json_patch::patch(&mut object, &[operation]).map_err(|_| rejected())?;
    }
    Ok(object)
}

/// How many bytes of JSON the operation copies.
fn copy_bytes(object: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => object.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len()),
        _ => 0,
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
        check(json!({"op": "remove"}), Err(400));
    }

    #[test]
    fn bounds() {
        let many = vec![json!({"op": "test", "path": "/a/b", "value": 1}); 10_001];
        check(Value::Array(many), Err(413));
        let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/a"}); 1000];
        check(Value::Array(doubling), Err(413));
    }

    #[test]
    fn failed_tests_are_worded_as_upstream_words_them() {
        let status = super::patch(&json!({}), json!([{"op": "test", "path": "/a", "value": 2}])).unwrap_err();
        assert_eq!(status.message, "the server rejected our request due to an error in our request");
        assert_eq!(status.reason, "Invalid");
    }
}
