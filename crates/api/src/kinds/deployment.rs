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
        cells::number("Up-to-date"),
        cells::number("Available"),
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
            validation::workload_status(&status, &["updatedReplicas", "unavailableReplicas"]);
            let collisions = status.get("collisionCount");
            if collisions.int() < old["status"]["collisionCount"].as_i64() {
                collisions.invalid("cannot be decremented");
            }
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| read::int(object, field);
        let [containers, images] = cells::containers_and_images(object);
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
    for limit in [&unavailable, &surge] {
        limit.non_negative();
        if limit.value().is_string() {
            limit.follows(names::percent);
        }
    }
    if number(&unavailable) == 0 && number(&surge) == 0 {
        // No Pod could ever be replaced.
        unavailable.invalid("may not be 0 when `maxSurge` is 0");
    }
    if unavailable.value().is_string() && number(&unavailable) > 100 {
        unavailable.invalid("must not be greater than 100%");
    }
}

/// A count or a percentage, as a bare number.
fn number(limit: &Cursor<'_>) -> i64 {
    let percent = limit.text().strip_suffix('%').and_then(|digits| digits.parse().ok());
    limit.int().or(percent).unwrap_or_default()
}
