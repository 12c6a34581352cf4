//! ReplicationController: the older [ReplicaSet](super::REPLICA_SET), whose selector is labels alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, SCALE, status};
use super::{cells, fill, pod, read, replica_set};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, check};

const GVK: Gvk = ("", "v1", "ReplicationController");

/// `replicationcontrollers`
pub static REPLICATION_CONTROLLER: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[SCALE, status(GVK)],
    schema: "io.k8s.api.core.v1.ReplicationController",
    storage: "replicationcontrollers",
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
    rules: &ControllerRules,
};

struct ControllerRules;

impl Rules for ControllerRules {
    fn default(&self, object: &mut Value) {
        let labels = read::map(object, "/spec/template/metadata/labels").cloned().unwrap_or_default();
        fill::at(object, "/spec", |spec| {
            if read::map(spec, "/selector").is_none_or(serde_json::Map::is_empty) && !labels.is_empty() {
                spec["selector"] = labels.clone().into();
            }
            fill::absent(spec, "replicas", 1);
            fill::at(spec, "/template", pod::default_template);
        });
        fill::at(object, "/metadata", |metadata| {
            if read::map(metadata, "/labels").is_none_or(serde_json::Map::is_empty) && !labels.is_empty() {
                metadata["labels"] = labels.into();
            }
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
            spec.get("minReadySeconds").non_negative();
            let (selector, template) = (spec.get("selector"), spec.get("template"));
            selector.must();
            spec.get("replicas").non_negative();
            if !template.is_set() {
                template.required("");
                return;
            }
            let labels = template.get("metadata").get("labels");
            if selector.entries().any(|(key, value)| labels.value().get(key) != Some(value.value())) {
                labels.invalid("`selector` does not match template `labels`");
            }
            validation::pod_template(&template);
            validation::runs_forever(&template.get("spec"), "ReplicationController");
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |new| {
            validation::workload_status(&new.get("status"), &["fullyLabeledReplicas"], "readyReplicas");
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::of_template(object)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", read::int(object, "/status/replicas").to_string())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        replica_set::row(object, now, cells::labels(object, "/spec/selector"))
    }

    fn orphans_by_default(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::REPLICATION_CONTROLLER;
    use crate::kinds::testing::{check, check_row, created};

    const TEMPLATE: &str = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";

    #[test]
    fn the_selector_is_the_templates_labels() {
        let controller = created(&REPLICATION_CONTROLLER, &format!("{{metadata: {{name: a}}, spec: {{{TEMPLATE}}}}}"));
        assert_eq!(controller["spec"]["selector"]["a"], "b");
        assert_eq!(controller["metadata"]["labels"]["a"], "b");
        check(
            &REPLICATION_CONTROLLER,
            &format!("{{spec: {{selector: {{a: c}}, {TEMPLATE}}}}}"),
            &[
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        );
        check(
            &REPLICATION_CONTROLLER,
            "{spec: {replicas: -1}}",
            &[
                "spec.selector: Required value",
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template: Required value",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &REPLICATION_CONTROLLER,
            "{metadata: {name: a}, spec: {replicas: 3, selector: {a: b}}, status: {replicas: 2, readyReplicas: 1}}",
            "a | 3 | 2 | 1 | <unknown> |  |  | a=b",
        );
    }
}
