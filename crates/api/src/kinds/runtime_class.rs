//! RuntimeClass: a way to run containers, by name, with what it costs and where it is to be had.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, old_labels, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, labels, names, pod_overhead, pod_tolerations};

/// `runtimeclasses.node.k8s.io`
pub static RUNTIME_CLASS: Kind = Kind {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.node.v1.RuntimeClass",
    storage: "runtimeclasses",
    columns: &[cells::NAME, cells::text("Handler"), cells::AGE],
    rules: &RuntimeClassRules,
};

struct RuntimeClassRules;

impl Rules for RuntimeClassRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            class.get("handler").follows(names::label);
            pod_overhead(&class.get("overhead").get("podFixed").reported_at("overhead.limits"));
            let scheduling = class.get("scheduling");
            labels(&scheduling.get("nodeSelector"));
            pod_tolerations(&scheduling.get("tolerations"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |class| class.get("handler").immutable(&old["handler"]))
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let selector = read::map(object, "/scheduling/nodeSelector");
        old_labels::of_map(selector, |_| "scheduling.nodeSelector".to_owned())
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::text(object, "/handler").into(), cells::age(object, now)]
    }

    fn updates_say_version(&self) -> bool {
        true
    }

    fn updates_create(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::RUNTIME_CLASS;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn the_handler_is_a_label_and_stays() {
        check(
            &RUNTIME_CLASS,
            "{handler: runc, overhead: {podFixed: {cpu: 10m}}, scheduling: {nodeSelector: {a: b}, tolerations: \
             [{operator: Exists}]}}",
            &[],
        );
        check(
            &RUNTIME_CLASS,
            "{handler: a.b, overhead: {podFixed: {cpu: '-1'}}}",
            &[
                "handler: Invalid value: \"a.b\": must not contain dots",
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ],
        );
        check_update(
            &RUNTIME_CLASS,
            "{handler: runc}",
            "{handler: kata}",
            &["handler: Invalid value: \"kata\": field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(&RUNTIME_CLASS, "{metadata: {name: a}, handler: runc}", "a | runc | <unknown>");
    }
}
