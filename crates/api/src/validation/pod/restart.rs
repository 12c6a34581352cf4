//! A container's own restart policy, and its rules by exit code: what they may be, and what they come to.

use crate::validation::cursor::Cursor;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const RESTART_ALL: &str = "RestartAllContainers";

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
    rule.get("action").must_be_one_of(&["Restart", RESTART_ALL]);
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

/// Whether the exit of a container may restart all of the Pod with this specification.
pub(super) fn may_restart_all(spec: &Cursor<'_>) -> bool {
    let asks = |container: Cursor<'_>| {
        let rules = container.get("restartPolicyRules");
        rules.items().any(|rule| rule.get("action").text() == RESTART_ALL)
    };
    ["initContainers", "containers"].into_iter().any(|list| spec.get(list).items().any(asks))
}

/// Whether a container that exits with `code` is restarted: by its own policy and rules, if it has them, or the Pod's.
pub(super) fn restarts(container: &Cursor<'_>, pod_policy: &str, code: i64) -> bool {
    let (own, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    if own.is_set() && rules.items().any(|rule| is_for(&rule.get("exitCodes"), code)) {
        return true;
    }
    match if own.is_set() { own.text() } else { pod_policy } {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn is_for(codes: &Cursor<'_>, code: i64) -> bool {
    let listed = codes.get("values").items().any(|value| value.value().as_i64() == Some(code));
    match codes.get("operator").text() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}
