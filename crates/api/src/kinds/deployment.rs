//! Deployment: a Pod template rolled out in steps, with a history to go back to.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, SCALE, status};
use super::{cells, fill, pod, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, Cursor, check, names};

const GVK: Gvk = ("apps", "v1", "Deployment");

/// `deployments.apps`
pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[SCALE, status(GVK)],
    schema: "io.k8s.api.apps.v1.Deployment",
    storage: "deployments",
    columns: &[
        cells::NAME,
        cells::text("Ready"),
        cells::text("Up-to-date"),
        cells::text("Available"),
        cells::AGE,
        cells::wide("Containers"),
        cells::wide("Images"),
        cells::wide("Selector"),
    ],
    rules: &DeploymentRules,
};

struct DeploymentRules;

impl Rules for DeploymentRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "replicas", 1);
            fill::absent(spec, "revisionHistoryLimit", 10);
            fill::absent(spec, "progressDeadlineSeconds", 600);
            fill::absent(spec, "strategy", json!({}));
            fill::at(spec, "/strategy", default_strategy);
            fill::at(spec, "/template", pod::default_template);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| spec(&object.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| new.get("spec").get("selector").immutable(&old["spec"]["selector"]))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| {
            let status = new.get("status");
            validation::workload_status(&status, &["updatedReplicas", "unavailableReplicas"], "readyReplicas");
            validation::collisions(&status, &old["status"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::of_template(object)
    }

    fn has_generation(&self) -> bool {
        true
    }

    // Annotations count too: they are copied to the ReplicaSets.
    fn generation_changes(&self, new: &Value, old: &Value) -> bool {
        new["spec"] != old["spec"] || new["metadata"]["annotations"] != old["metadata"]["annotations"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| read::int(object, field);
        let [containers, images] = cells::containers_and_images(&object["spec"]["template"]);
        vec![
            cells::name(object),
            format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas")).into(),
            count("/status/updatedReplicas").into(),
            count("/status/availableReplicas").into(),
            cells::age(object, now),
            containers,
            images,
            cells::selector(object, "/spec/selector"),
        ]
    }
}

fn default_strategy(strategy: &mut Value) {
    fill::zero(strategy, "type", "RollingUpdate");
    if strategy["type"] != "RollingUpdate" {
        return;
    }
    fill::absent(strategy, "rollingUpdate", json!({}));
    fill::at(strategy, "/rollingUpdate", |rolling| {
        fill::absent(rolling, "maxUnavailable", "25%");
        fill::absent(rolling, "maxSurge", "25%");
    });
}

fn spec(spec: &Cursor<'_>) {
    validation::replicas(spec);
    validation::selector_and_template(spec, "ReplicaSet");
    strategy(&spec.get("strategy"));
    spec.get("revisionHistoryLimit").non_negative();
    let deadline = spec.get("progressDeadlineSeconds");
    deadline.non_negative();
    if deadline.int().is_some_and(|seconds| seconds <= spec.get("minReadySeconds").int().unwrap_or_default()) {
        deadline.invalid("must be greater than minReadySeconds");
    }
}

fn strategy(strategy: &Cursor<'_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "RollingUpdate" if rolling.is_set() => rolling_update(&rolling),
        "RollingUpdate" => rolling.required("this should be defaulted and never be nil"),
        "Recreate" if rolling.is_set() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        _ => strategy.get("type").not_supported(&["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &Cursor<'_>) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    validation::count_or_percent(&unavailable);
    surge.non_negative();
    if surge.value().is_string() {
        surge.follows(names::percent);
    }
    if validation::bare_number(&unavailable) == 0 && validation::bare_number(&surge) == 0 {
        // No Pod could ever be replaced.
        unavailable.invalid("may not be 0 when `maxSurge` is 0");
    }
}

#[cfg(test)]
mod tests {
    use super::DEPLOYMENT;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    const TEMPLATE: &str = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";

    fn deployment(spec: &str) -> String {
        format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}")
    }

    /// A Deployment with a good selector and template.
    #[track_caller]
    fn also(fields: &str, want: &[&str]) {
        check(&DEPLOYMENT, &deployment(&format!("selector: {{matchLabels: {{a: b}}}}, {TEMPLATE}, {fields}")), want);
    }

    #[test]
    fn the_selector_matches_the_template() {
        also("replicas: 0", &[]);
        check(&DEPLOYMENT, &deployment(TEMPLATE), &["spec.selector: Required value"]);
        check(
            &DEPLOYMENT,
            &deployment(&format!("selector: {{matchLabels: {{a: c}}}}, {TEMPLATE}")),
            &[
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        );
        check(
            &DEPLOYMENT,
            &deployment(&format!(
                "selector: {{matchExpressions: [{{key: a, operator: In, values: [b]}}]}}, {TEMPLATE}"
            )),
            &[],
        );
        check(
            &DEPLOYMENT,
            &deployment(&format!("selector: {{}}, {TEMPLATE}")),
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        );
    }

    #[test]
    fn its_pods_run_forever() {
        check(
            &DEPLOYMENT,
            &deployment(
                "selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, \
                 spec: {restartPolicy: Never, containers: [{name: c, image: ''}]}}",
            ),
            &[
                "spec.template.spec.containers[0].image: Required value",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ],
        );
    }

    #[test]
    fn strategies() {
        also("strategy: {type: Recreate}", &[]);
        also(
            "strategy: {type: Recreate, rollingUpdate: {}}",
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        );
        also(
            "strategy: {type: BlueGreen}",
            &[
                "spec.strategy.type: Unsupported value: \"BlueGreen\": supported values: \"Recreate\", \"RollingUpdate\"",
            ],
        );
        also(
            "strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 0%}}",
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        );
        also(
            "strategy: {rollingUpdate: {maxUnavailable: 101%}}",
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
        );
        also("replicas: -1", &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]);
        also(
            "minReadySeconds: 600",
            &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        );
    }

    #[test]
    fn the_selector_stays() {
        check_update(
            &DEPLOYMENT,
            &deployment(&format!("selector: {{matchLabels: {{a: b}}}}, {TEMPLATE}")),
            &deployment(
                "selector: {matchLabels: {x: y}}, \
                 template: {metadata: {labels: {x: y}}, spec: {containers: [{name: c, image: i}]}}",
            ),
            &["spec.selector: Invalid value: {\"matchLabels\":{\"x\":\"y\"}}: field is immutable"],
        );
    }

    #[test]
    fn defaults_are_upstreams() {
        check_defaults(
            &DEPLOYMENT,
            "{spec: {strategy: {rollingUpdate: {maxSurge: 1}}}}",
            "{spec: {replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, \
             strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}}}",
        );
    }

    #[test]
    fn rows() {
        check_row(
            &DEPLOYMENT,
            "{metadata: {name: a, creationTimestamp: '2025-12-31T10:00:00Z'}, spec: {replicas: 3, \
             selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: NotIn, values: [y, x]}]}, \
             template: {spec: {containers: [{name: c, image: i}, {name: d, image: j}]}}}, \
             status: {readyReplicas: 2, updatedReplicas: 3, availableReplicas: 1}}",
            "a | 2/3 | 3 | 1 | 26h | c,d | i,j | a=b,c notin (x,y)",
        );
    }
}
