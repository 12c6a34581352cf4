//! ReplicaSet: so many Pods of one template.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, SCALE, status};
use super::{cells, fill, pod, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, check};

const GVK: Gvk = ("apps", "v1", "ReplicaSet");

/// `replicasets.apps`
pub static REPLICA_SET: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[SCALE, status(GVK)],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
    storage: "replicasets",
    columns: &[
        cells::NAME,
        cells::number("Desired"),
        cells::number("Current"),
        cells::number("Ready"),
        cells::AGE,
        cells::wide("Containers"),
        cells::wide("Images"),
        cells::wide("Selector"),
    ],
    rules: &ReplicaSetRules,
};

struct ReplicaSetRules;

impl Rules for ReplicaSetRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "replicas", 1);
            fill::at(spec, "/template", pod::default_template);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "replicas": 0 });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| {
            let spec = object.get("spec");
            validation::replicas(&spec);
            validation::selector_and_template(&spec, "ReplicaSet");
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| new.get("spec").get("selector").immutable(&old["spec"]["selector"]))
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |new| validation::workload_status(&new.get("status"), &["fullyLabeledReplicas"], "readyReplicas"))
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::of_template(object)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now, cells::selector(object, "/spec/selector"))
    }
}

/// The row of what keeps so many Pods of a template, those of `selector`.
pub(super) fn row(object: &Value, now: Timestamp, selector: Value) -> Vec<Value> {
    let [containers, images] = cells::containers_and_images(&object["spec"]["template"]);
    vec![
        cells::name(object),
        read::int(object, "/spec/replicas").into(),
        read::int(object, "/status/replicas").into(),
        read::int(object, "/status/readyReplicas").into(),
        cells::age(object, now),
        containers,
        images,
        selector,
    ]
}

#[cfg(test)]
mod tests {
    use super::REPLICA_SET;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn the_selector_matches_the_template() {
        check(
            &REPLICA_SET,
            "{spec: {selector: {matchLabels: {a: b}}, template: {spec: {activeDeadlineSeconds: 5, \
             containers: [{name: c, image: i}]}}}}",
            &[
                "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not \
                 Supported",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &REPLICA_SET,
            "{metadata: {name: a}, spec: {replicas: 3}, status: {replicas: 2, readyReplicas: 1}}",
            "a | 3 | 2 | 1 | <unknown> |  |  | <none>",
        );
    }
}
