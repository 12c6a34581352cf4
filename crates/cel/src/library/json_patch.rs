//! JSON patches: `jsonpatch.escapeKey('a/b')`.

use super::{Library, Ran};
use crate::value::Value;

/// The function for paths of patches.
pub(crate) static LIBRARY: Library =
    Library { declarations: "jsonpatch.escapeKey string_jsonpatch_escapeKey_string (string) -> string", run };

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match (function, args) {
        ("jsonpatch.escapeKey", [Value::String(key)]) => {
            Some(Ok(Value::text(key.replace('~', "~0").replace('/', "~1"))))
        }
        _ => None,
    }
}
