//! HorizontalPodAutoscaler: how many replicas something has, by what its Pods are seen to do.
//!
//! The API has it in two versions over the same objects: `v2`, in whose form it is stored, and `v1`, which knows the
//! utilization of CPUs and keeps all else in annotations ([`convert`]).

mod behavior;
mod convert;
mod metrics;
mod table;
#[cfg(test)]
mod tests;
mod v1;

pub use v1::HORIZONTAL_POD_AUTOSCALER_V1;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fill;
use super::subresources::{Gvk, status};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names};

const GVK: Gvk = ("autoscaling", "v2", "HorizontalPodAutoscaler");

/// `horizontalpodautoscalers.v2.autoscaling`
pub static HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    storage: "horizontalpodautoscalers",
    columns: table::COLUMNS,
    rules: &AutoscalerRules,
};

/// How busy CPUs should be, in percent of what is requested, when no metric is named.
const CPU_PERCENT: i64 = 80;

struct AutoscalerRules;

impl Rules for AutoscalerRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "minReplicas", 1);
            fill::zero(spec, "metrics", json!([cpu_metric(CPU_PERCENT)]));
            fill::at(spec, "/behavior", behavior::default);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "currentMetrics": null, "desiredReplicas": 0 });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| spec(&object.get("spec")))
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| at_least_one(&object.get("spec").get("minReplicas")))
    }

    // What once had no replicas may stay so.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        let scaled_to_zero = old["spec"]["minReplicas"] == 0;
        check(new, |object| {
            if !scaled_to_zero {
                at_least_one(&object.get("spec").get("minReplicas"));
            }
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |object| {
            for count in ["currentReplicas", "desiredReplicas"] {
                object.get("status").get(count).non_negative();
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        table::row(object, now)
    }
}

/// The metric that CPUs are so many percent busy.
fn cpu_metric(percent: i64) -> Value {
    json!({
        "type": "Resource",
        "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } },
    })
}

fn at_least_one(replicas: &Cursor<'_>) {
    if replicas.int().is_some_and(|replicas| replicas < 1) {
        replicas.invalid("must be greater than or equal to 1");
    }
}

fn spec(spec: &Cursor<'_>) {
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let most = max.int().unwrap_or_default();
    if most < 1 {
        max.invalid_as(most, "must be greater than 0");
    }
    if min.int().is_some_and(|least| most < least) {
        max.invalid_as(most, "must be greater than or equal to `minReplicas`");
    }
    reference(&spec.get("scaleTargetRef"));
    let list = spec.get("metrics");
    list.items().for_each(|metric| metrics::metric(&metric));
    let from_outside = |metric: Cursor<'_>| matches!(metric.get("type").text(), "Object" | "External");
    if min.int() == Some(0) && !list.items().any(from_outside) {
        list.forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
    }
    behavior::behavior(&spec.get("behavior"));
}

/// The name of an object of some kind.
fn reference(reference: &Cursor<'_>) {
    for field in ["kind", "name"] {
        reference.get(field).must_follow(names::path_segment);
    }
}
