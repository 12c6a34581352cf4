//! How the failure of a Pod counts, and which successes are enough.

use std::collections::HashSet;

use super::indexes;
use crate::validation::{Cursor, names};

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;
const MAX_INDEXES_BYTES: usize = 64 * 1024;

/// `podFailurePolicy`
pub(super) fn failure(spec: &Cursor<'_>) {
    let rules = spec.get("podFailurePolicy").get("rules");
    if rules.len() > MAX_RULES {
        rules.too_many(MAX_RULES);
    }
    for rule in rules.items() {
        let action = rule.get("action");
        match action.text() {
            "" => action.required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if !spec.get("backoffLimitPerIndex").is_set() => {
                action.invalid("requires the backoffLimitPerIndex to be set");
            }
            "Count" | "FailIndex" | "FailJob" | "Ignore" => {}
            _ => action.not_supported(&["Count", "FailIndex", "FailJob", "Ignore"]),
        }
        let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
        if codes.is_set() {
            exit_codes(&codes, spec);
        }
        pod_conditions(&conditions);
        match (codes.is_set(), !conditions.is_empty()) {
            (true, true) => rule.wrong("specifying both OnExitCodes and OnPodConditions is not supported"),
            (false, false) => rule.wrong("specifying one of OnExitCodes and OnPodConditions is required"),
            _ => {}
        }
    }
}

fn exit_codes(rule: &Cursor<'_>, spec: &Cursor<'_>) {
    let (operator, container, values) = (rule.get("operator"), rule.get("containerName"), rule.get("values"));
    match operator.text() {
        "" => operator.required("valid values: [\"In\" \"NotIn\"]"),
        "In" | "NotIn" => {}
        _ => operator.not_supported(&["In", "NotIn"]),
    }
    let pod = spec.get("template").get("spec");
    let named = |list: &str| pod.get(list).items().any(|c| c.get("name").text() == container.text());
    if container.is_set() && !named("containers") && !named("initContainers") {
        container.invalid("must be one of the container or initContainer names in the pod template");
    }
    match values.len() {
        0 => values.invalid("at least one value is required"),
        len if len > MAX_EXIT_CODES => values.too_many(MAX_EXIT_CODES),
        _ => {}
    }
    let mut taken = HashSet::new();
    for value in values.items() {
        if operator.text() == "In" && value.int() == Some(0) {
            value.invalid("must not be 0 for the In operator");
        }
        if !taken.insert(value.int()) {
            value.duplicate();
        }
    }
    let codes: Vec<_> = values.items().map(|value| value.int()).collect();
    if !codes.is_sorted() {
        values.invalid("must be ordered");
    }
}

fn pod_conditions(conditions: &Cursor<'_>) {
    if conditions.len() > MAX_CONDITIONS {
        conditions.too_many(MAX_CONDITIONS);
    }
    for condition in conditions.items() {
        condition.get("type").follows(names::qualified);
        let status = condition.get("status");
        match status.text() {
            "" => status.required("valid values: [\"False\" \"True\" \"Unknown\"]"),
            "False" | "True" | "Unknown" => {}
            _ => status.not_supported(&["False", "True", "Unknown"]),
        }
    }
}

/// `successPolicy`
pub(super) fn success(spec: &Cursor<'_>) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        policy.invalid("requires indexed completion mode");
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        rules.required("at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MAX_RULES {
        rules.too_many(MAX_RULES);
    }
    let completions = spec.get("completions").int().unwrap_or_default();
    rules.items().for_each(|rule| success_rule(&rule, completions));
}

fn success_rule(rule: &Cursor<'_>, completions: i64) {
    let (count, which) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
    if !count.is_set() && !which.is_set() {
        rule.required("at least one of succeededCount or succeededIndexes must be specified");
    }
    if which.text().len() > MAX_INDEXES_BYTES {
        which.too_long(MAX_INDEXES_BYTES);
    }
    let total = indexes::count(which.text(), completions).unwrap_or_else(|why| {
        which.invalid(format!("error parsing succeededIndexes: {why}"));
        0
    });
    let Some(number) = count.int() else { return };
    count.non_negative();
    if number > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        count.invalid(why);
    }
    if which.is_set() && number > total {
        count.invalid(format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        ));
    }
}
