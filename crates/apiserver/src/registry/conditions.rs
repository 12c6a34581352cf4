//! The conditions in an object's status: one of each type, each with the time since when it is as it is.

use serde_json::{Value, json};

/// Sets `condition` in the status of `object`, in the place of the one of its type, else after the others. As long as its
/// `status` stays the same, so does its `lastTransitionTime`.
pub(crate) fn set(object: &mut Value, mut condition: Value) {
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let Some(known) = conditions.iter_mut().find(|known| known["type"] == condition["type"]) else {
        return conditions.push(condition);
    };
    if known["status"] == condition["status"] {
        condition["lastTransitionTime"] = known["lastTransitionTime"].take();
    }
    *known = condition;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_its_place_and_its_time() {
        let condition = |status: &str, reason: &str, since: &str| json!({"type": "A", "status": status, "reason": reason, "lastTransitionTime": since});
        let other = json!({"type": "B", "status": "True"});
        let check = |before: Value, new: Value, want: Value| {
            let mut object = before;
            set(&mut object, new);
            assert_eq!(object["status"]["conditions"], want);
        };
        check(json!({}), condition("True", "x", "1"), json!([condition("True", "x", "1")]));
        let before = json!({"status": {"conditions": [condition("True", "x", "1"), other]}});
        check(before.clone(), condition("True", "y", "2"), json!([condition("True", "y", "1"), other]));
        check(before, condition("False", "x", "2"), json!([condition("False", "x", "2"), other]));
        let before = json!({"status": {"conditions": [other]}});
        check(before, condition("True", "x", "1"), json!([other, condition("True", "x", "1")]));
    }
}
