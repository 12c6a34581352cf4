//! PodDisruptionBudget: how many of some Pods may be evicted at a time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, check};

const GVK: Gvk = ("policy", "v1", "PodDisruptionBudget");

/// `poddisruptionbudgets.policy`
pub static POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.policy.v1.PodDisruptionBudget",
    storage: "poddisruptionbudgets",
    columns: &[
        cells::NAME,
        cells::text("Min Available"),
        cells::text("Max Unavailable"),
        cells::number("Allowed Disruptions"),
        cells::AGE,
    ],
    rules: &BudgetRules,
};

struct BudgetRules;

impl Rules for BudgetRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] =
            json!({ "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0 });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |budget| {
            let spec = budget.get("spec");
            let limits = ["minAvailable", "maxUnavailable"].map(|field| spec.get(field));
            if limits.iter().all(|limit| limit.is_set()) {
                spec.invalid("minAvailable and maxUnavailable cannot be both set");
            }
            for limit in limits.iter().filter(|limit| limit.is_set()) {
                validation::count_or_percent(limit);
            }
            validation::label_selector(&spec.get("selector"));
            spec.get("unhealthyPodEvictionPolicy").may_be_one_of(&["AlwaysAllow", "IfHealthyBudget"]);
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |budget| {
            for count in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                budget.get("status").get(count).non_negative();
            }
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let limit = |field: &str| match &object["spec"][field] {
            Value::Null => "N/A".into(),
            Value::Number(number) => number.to_string().into(),
            percent => percent.clone(),
        };
        vec![
            cells::name(object),
            limit("minAvailable"),
            limit("maxUnavailable"),
            read::int(object, "/status/disruptionsAllowed").into(),
            cells::age(object, now),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::POD_DISRUPTION_BUDGET;
    use crate::kinds::testing::{check, check_row};

    #[track_caller]
    fn spec(spec: &str, want: &[&str]) {
        check(&POD_DISRUPTION_BUDGET, &format!("{{spec: {{{spec}}}}}"), want);
    }

    #[test]
    fn one_limit() {
        spec("minAvailable: 50%, selector: {matchLabels: {a: b}}", &[]);
        spec(
            "minAvailable: 1, maxUnavailable: 101%",
            &[
                "spec: Invalid value: {\"maxUnavailable\":\"101%\",\"minAvailable\":1}: minAvailable and maxUnavailable \
             cannot be both set",
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ],
        );
        spec(
            "minAvailable: -1, unhealthyPodEvictionPolicy: Never",
            &[
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \
             \"IfHealthyBudget\"",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &POD_DISRUPTION_BUDGET,
            "{metadata: {name: a}, spec: {minAvailable: 2}, status: {disruptionsAllowed: 1}}",
            "a | 2 | N/A | 1 | <unknown>",
        );
    }
}
