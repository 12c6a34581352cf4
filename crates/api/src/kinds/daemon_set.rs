//! DaemonSet: one Pod of a template on every node that wants one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, pod, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, Cursor, check};

const GVK: Gvk = ("apps", "v1", "DaemonSet");

/// `daemonsets.apps`
pub static DAEMON_SET: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.apps.v1.DaemonSet",
    storage: "daemonsets",
    columns: &[
        cells::NAME,
        cells::number("Desired"),
        cells::number("Current"),
        cells::number("Ready"),
        cells::number("Up-to-date"),
        cells::number("Available"),
        cells::text("Node Selector"),
        cells::AGE,
        cells::wide("Containers"),
        cells::wide("Images"),
        cells::wide("Selector"),
    ],
    rules: &DaemonSetRules,
};

/// Where the number of the template's changes is kept.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Numbers in the status.
const COUNTS: &[&str] = &[
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
];

struct DaemonSetRules;

impl Rules for DaemonSetRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "updateStrategy", json!({}));
            fill::at(spec, "/updateStrategy", default_strategy);
            fill::absent(spec, "revisionHistoryLimit", 10);
            fill::at(spec, "/template", pod::default_template);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        });
        note_template_generation(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
        let generation = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
        let generation: i64 = generation.and_then(|number| number.parse().ok()).unwrap_or(1);
        let changed = new["spec"]["template"] != old["spec"]["template"];
        note_template_generation(new, generation + i64::from(changed));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| spec(&object.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| new.get("spec").get("selector").immutable(&old["spec"]["selector"]))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |set| {
            let status = set.get("status");
            COUNTS.iter().for_each(|count| status.get(count).non_negative());
            validation::collisions(&status, &old["status"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::of_template(object)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| Value::from(read::int(&object["status"], field));
        let [containers, images] = cells::containers_and_images(&object["spec"]["template"]);
        vec![
            cells::name(object),
            count("/desiredNumberScheduled"),
            count("/currentNumberScheduled"),
            count("/numberReady"),
            count("/updatedNumberScheduled"),
            count("/numberAvailable"),
            cells::labels(object, "/spec/template/spec/nodeSelector"),
            cells::age(object, now),
            containers,
            images,
            cells::selector(object, "/spec/selector"),
        ]
    }
}

fn default_strategy(strategy: &mut Value) {
    fill::zero(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        fill::absent(strategy, "rollingUpdate", json!({}));
        fill::at(strategy, "/rollingUpdate", |rolling| {
            fill::absent(rolling, "maxUnavailable", 1);
            fill::absent(rolling, "maxSurge", 0);
        });
    }
}

fn note_template_generation(set: &mut Value, generation: i64) {
    fill::at(set, "/metadata", |metadata| {
        if let Some(annotations) = fill::map(metadata, "annotations") {
            annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
        }
    });
}

fn spec(spec: &Cursor<'_>) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    validation::label_selector(&selector);
    if selector.is_set() {
        validation::matches_template(&selector, &template);
        validation::not_empty(&selector, "daemonset");
    } else {
        // A selector that is not there selects nothing, not even these.
        let labels = template.get("metadata").get("labels");
        labels.invalid("`selector` does not match template `labels`");
    }
    validation::pod_template(&template);
    validation::runs_forever(&template.get("spec"), "DaemonSet");
    spec.get("minReadySeconds").non_negative();
    strategy(&spec.get("updateStrategy"));
    spec.get("revisionHistoryLimit").non_negative();
}

fn strategy(strategy: &Cursor<'_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_set() => rolling_update(&rolling),
        "RollingUpdate" => rolling.required(""),
        _ => strategy.get("type").not_supported(&["RollingUpdate", "OnDelete"]),
    }
}

fn rolling_update(rolling: &Cursor<'_>) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    for limit in [&unavailable, &surge] {
        validation::count_or_percent(limit);
    }
    match (validation::bare_number(&unavailable), validation::bare_number(&surge)) {
        (0, 0) => unavailable.required("cannot be 0 when maxSurge is 0"),
        (0, _) | (_, 0) => {}
        _ => surge.invalid("may not be set when maxUnavailable is non-zero"),
    }
}

#[cfg(test)]
mod tests {
    use super::DAEMON_SET;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update, created, object};

    const TEMPLATE: &str = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";

    fn set(fields: &str) -> String {
        format!("{{metadata: {{name: a}}, spec: {{selector: {{matchLabels: {{a: b}}}}, {TEMPLATE}, {fields}}}}}")
    }

    #[track_caller]
    fn strategy(strategy: &str, want: &[&str]) {
        check(&DAEMON_SET, &set(&format!("updateStrategy: {{{strategy}}}")), want);
    }

    #[test]
    fn strategies() {
        strategy("type: OnDelete", &[]);
        strategy("rollingUpdate: {maxUnavailable: 0, maxSurge: 10%}", &[]);
        strategy(
            "type: Recreate",
            &[
                "spec.updateStrategy.type: Unsupported value: \"Recreate\": supported values: \"RollingUpdate\", \"OnDelete\"",
            ],
        );
        strategy(
            "rollingUpdate: {maxSurge: 1}",
            &[
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ],
        );
        strategy(
            "rollingUpdate: {maxUnavailable: 0}",
            &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
        );
    }

    #[test]
    fn the_selector_selects_its_pods_and_stays() {
        check(
            &DAEMON_SET,
            &format!("{{spec: {{{TEMPLATE}}}}}"),
            &[
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        );
        check(
            &DAEMON_SET,
            &format!("{{spec: {{selector: {{}}, {TEMPLATE}}}}}"),
            &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
        );
        check_update(
            &DAEMON_SET,
            &set("minReadySeconds: 0"),
            &set("minReadySeconds: 0").replace("a: b", "x: y"),
            &["spec.selector: Invalid value: {\"matchLabels\":{\"x\":\"y\"}}: field is immutable"],
        );
    }

    #[test]
    fn changes_of_the_template_are_counted() {
        let key = "deprecated.daemonset.template.generation";
        let old = created(&DAEMON_SET, &set("minReadySeconds: 0"));
        assert_eq!(old["metadata"]["annotations"][key], "1");
        let mut new = object(&set("minReadySeconds: 0").replace("image: i", "image: j"));
        DAEMON_SET.rules.default(&mut new);
        DAEMON_SET.rules.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["annotations"][key], "2");
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(
            &DAEMON_SET,
            "{spec: {}}",
            "{spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1, maxSurge: 0}}, \
             revisionHistoryLimit: 10}}",
        );
        check_row(
            &DAEMON_SET,
            "{metadata: {name: a}, spec: {template: {spec: {nodeSelector: {a: b}}}}, status: {desiredNumberScheduled: 5, \
             currentNumberScheduled: 4, numberReady: 3, updatedNumberScheduled: 2, numberAvailable: 1}}",
            "a | 5 | 4 | 3 | 2 | 1 | a=b | <unknown> |  |  | <none>",
        );
    }
}
