//! Deployment: a Pod template rolled out in steps, with a history to go back to.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, SCALE, status};
use super::{cells, fill, pod, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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
