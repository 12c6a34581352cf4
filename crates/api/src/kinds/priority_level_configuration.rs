//! PriorityLevelConfiguration: a share of the API server's concurrency, and what becomes of requests beyond it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;
use crate::validation::flowcontrol::{conditions, mandatory, priority_level};

const GVK: Gvk = ("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration");

/// `prioritylevelconfigurations.flowcontrol.apiserver.k8s.io`
pub static PRIORITY_LEVEL_CONFIGURATION: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    storage: "prioritylevelconfigurations",
    columns: &[
        cells::NAME,
        cells::text("Type"),
        cells::text("NominalConcurrencyShares"),
        cells::text("Queues"),
        cells::text("HandSize"),
        cells::text("QueueLengthLimit"),
        cells::AGE,
    ],
    rules: &PriorityLevelRules,
};

const DEFAULT_SHARES: i64 = 30;
const DEFAULT_QUEUES: i64 = 64;
const DEFAULT_HAND_SIZE: i64 = 8;
const DEFAULT_QUEUE_LENGTH: i64 = 50;

struct PriorityLevelRules;

impl Rules for PriorityLevelRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec/exempt", |exempt| {
            fill::absent(exempt, "nominalConcurrencyShares", 0);
            fill::absent(exempt, "lendablePercent", 0);
        });
        if read::text(object, "/spec/type") == "Exempt" {
            fill::at(object, "/spec", |spec| {
                let none = serde_json::json!({ "nominalConcurrencyShares": 0, "lendablePercent": 0 });
                fill::absent(spec, "exempt", none);
            });
        }
        fill::at(object, "/spec/limited", |limited| {
            fill::absent(limited, "nominalConcurrencyShares", DEFAULT_SHARES);
            fill::absent(limited, "lendablePercent", 0);
        });
        fill::at(object, "/spec/limited/limitResponse/queuing", |queuing| {
            fill::zero(queuing, "queues", DEFAULT_QUEUES);
            fill::zero(queuing, "handSize", DEFAULT_HAND_SIZE);
            fill::zero(queuing, "queueLengthLimit", DEFAULT_QUEUE_LENGTH);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |level| {
            let name = level.get("metadata").get("name").text();
            let spec = level.get("spec");
            priority_level(&spec, name);
            mandatory("PriorityLevelConfiguration", name, &spec);
            conditions(&level.get("status").get("conditions"));
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |level| conditions(&level.get("status").get("conditions")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let number = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_else(|| cells::or_none(""));
        let queuing = |field: &str| number(&format!("/spec/limited/limitResponse/queuing/{field}"));
        vec![
            cells::name(object),
            read::text(object, "/spec/type").into(),
            number("/spec/limited/nominalConcurrencyShares"),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            cells::age(object, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::PRIORITY_LEVEL_CONFIGURATION;
    use crate::kinds::testing::{check, check_defaults, check_row};

    #[test]
    fn defaults() {
        check_defaults(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}}}",
            "{spec: {type: Limited, limited: {nominalConcurrencyShares: 30, lendablePercent: 0, limitResponse: {type: \
             Queue, queuing: {queues: 64, handSize: 8, queueLengthLimit: 50}}}}}",
        );
        check_defaults(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{spec: {type: Exempt}}",
            "{spec: {type: Exempt, exempt: {nominalConcurrencyShares: 0, lendablePercent: 0}}}",
        );
    }

    #[test]
    fn limits_fit_their_type() {
        check(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: a}, spec: {type: Limited, limited: {limitResponse: {type: Reject}}}}",
            &[],
        );
        check(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: a}, spec: {type: Exempt, limited: {limitResponse: {type: Reject}}}}",
            &[
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                "spec.limited: Forbidden: must be nil if the type is not Limited",
            ],
        );
        check(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: a}, spec: {type: Limited, limited: {lendablePercent: 101, limitResponse: {type: Queue, \
             queuing: {queues: 2, handSize: 3}}}}}",
            &[
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ],
        );
        check(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: a}, spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {queues: 512, \
             handSize: 8}}}}}",
            &[
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and \
               handSize 8 should not be greater than 60",
            ],
        );
    }

    #[test]
    fn only_the_shares_of_exempt_may_change() {
        let exempt = |exempt: &str| format!("{{metadata: {{name: exempt}}, spec: {{type: Exempt, exempt: {exempt}}}}}");
        check(&PRIORITY_LEVEL_CONFIGURATION, &exempt("{nominalConcurrencyShares: 5}"), &[]);
        check(
            &PRIORITY_LEVEL_CONFIGURATION,
            &exempt("{lendablePercent: -1}"),
            &["spec.exempt.lendablePercent: Invalid value: -1: must be between 0 and 100, inclusive"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: a}, spec: {type: Limited, limited: {nominalConcurrencyShares: 5, limitResponse: {type: \
             Queue, queuing: {queues: 4, handSize: 2, queueLengthLimit: 9}}}}}",
            "a | Limited | 5 | 4 | 2 | 9 | <unknown>",
        );
        check_row(
            &PRIORITY_LEVEL_CONFIGURATION,
            "{metadata: {name: exempt}, spec: {type: Exempt}}",
            "exempt | Exempt | <none> | <none> | <none> | <none> | <unknown>",
        );
    }
}
