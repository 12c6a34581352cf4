//! How fast an autoscaler may go.

use serde_json::{Value, json};

use crate::kinds::fill;
use crate::validation::Cursor;

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_WINDOW_SECONDS: i64 = 3600;

/// Fills a behavior: once there is one, both directions have rules.
pub(super) fn default(behavior: &mut Value) {
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    for (direction, policies) in [("scaleUp", json!([pods, percent])), ("scaleDown", json!([percent]))] {
        fill::absent(behavior, direction, json!({}));
        let rules = &mut behavior[direction];
        fill::absent(rules, "selectPolicy", "Max");
        fill::absent(rules, "policies", policies);
    }
    // How long to wait before fewer are wanted is the controller's own setting.
    fill::absent(&mut behavior["scaleUp"], "stabilizationWindowSeconds", 0);
}

/// `behavior`
pub(super) fn behavior(behavior: &Cursor<'_>) {
    for rules in ["scaleUp", "scaleDown"].map(|direction| behavior.get(direction)) {
        if rules.is_set() {
            self::rules(&rules);
        }
    }
}

fn rules(rules: &Cursor<'_>) {
    let window = rules.get("stabilizationWindowSeconds");
    match window.int() {
        Some(..0) => window.invalid("must be greater than or equal to zero"),
        Some(seconds) if seconds > MAX_WINDOW_SECONDS => at_most(&window, MAX_WINDOW_SECONDS),
        _ => {}
    }
    rules.get("selectPolicy").may_be_one_of(&["Disabled", "Max", "Min"]);
    let policies = rules.get("policies");
    if policies.is_empty() {
        policies.required("must specify at least one Policy");
    }
    for policy in policies.items() {
        if !matches!(policy.get("type").text(), "Pods" | "Percent") {
            policy.get("type").not_supported(&["Percent", "Pods"]);
        }
        for field in ["value", "periodSeconds"] {
            let number = policy.get(field).int().unwrap_or_default();
            if number <= 0 {
                policy.get(field).invalid_as(number, "must be greater than zero");
            }
        }
        let period = policy.get("periodSeconds");
        if period.int().is_some_and(|seconds| seconds > MAX_PERIOD_SECONDS) {
            at_most(&period, MAX_PERIOD_SECONDS);
        }
    }
}

fn at_most(seconds: &Cursor<'_>, most: i64) {
    seconds.invalid(format!("must be less than or equal to {most}"));
}
