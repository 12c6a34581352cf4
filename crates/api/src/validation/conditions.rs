//! Conditions as most kinds have them: `metav1.Condition`.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::names;

const MAX_REASON_BYTES: usize = 1024;
const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// A list of conditions, each type once.
pub(crate) fn conditions(conditions: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for condition in conditions.items() {
        let kind = condition.get("type");
        if !taken.insert(kind.text()) {
            kind.duplicate();
        }
        self::condition(&condition);
    }
}

fn condition(condition: &Cursor<'_>) {
    let field = |name: &str| condition.get(name);
    field("type").follows(names::qualified);
    if !["False", "True", "Unknown"].contains(&field("status").text()) {
        field("status").not_supported(&["False", "True", "Unknown"]);
    }
    if field("observedGeneration").int().is_some_and(i64::is_negative) {
        field("observedGeneration").invalid("must be greater than or equal to zero");
    }
    if field("lastTransitionTime").is_empty() {
        field("lastTransitionTime").required("must be set");
    }
    let (reason, message) = (field("reason"), field("message"));
    if reason.is_empty() {
        reason.required("must be set");
    } else {
        reason.follows(names::condition_reason);
        if reason.text().len() > MAX_REASON_BYTES {
            reason.too_long(MAX_REASON_BYTES);
        }
    }
    if message.text().len() > MAX_MESSAGE_BYTES {
        message.too_long(MAX_MESSAGE_BYTES);
    }
}
