//! A container's own restart policy, and its rules by exit code.

use crate::validation::cursor::Cursor;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

/// The rules for `restartPolicy` and `restartPolicyRules` of an init or app container.
pub(super) fn policy(container: &Cursor<'_>) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    policy.may_be_one_of(&["Always", "OnFailure", "Never"]);
    if rules.is_empty() {
        return;
    }
    if !policy.is_set() {
        policy.required("must specify restartPolicy when restart rules are used");
    }
    if rules.len() > MAX_RULES {
        rules.too_many(MAX_RULES);
    }
    rules.items().for_each(|one| rule(&one));
}

fn rule(rule: &Cursor<'_>) {
    rule.get("action").must_be_one_of(&["Restart"]);
    let codes = rule.get("exitCodes");
    if !codes.is_set() {
        codes.required("must be specified");
        return;
    }
    codes.get("operator").must_be_one_of(&["In", "NotIn"]);
    let values = codes.get("values");
    if values.len() > MAX_EXIT_CODES {
        values.too_many(MAX_EXIT_CODES);
    }
}
