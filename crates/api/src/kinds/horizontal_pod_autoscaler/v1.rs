//! HorizontalPodAutoscaler as `autoscaling/v1` has it: every rule is that of `v2`, asked about the converted object.

use jiff::Timestamp;
use serde_json::Value;

use super::convert::{to_v1, to_v2};
use super::{AutoscalerRules, HORIZONTAL_POD_AUTOSCALER, table};
use crate::field;
use crate::kind::{Kind, Rules};
use crate::kinds::fill;
use crate::kinds::subresources::status;

/// `horizontalpodautoscalers.v1.autoscaling`
pub static HORIZONTAL_POD_AUTOSCALER_V1: Kind = Kind {
    version: "v1",
    subresources: &[status(("autoscaling", "v1", "HorizontalPodAutoscaler"))],
    schema: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    rules: &V1Rules,
    ..HORIZONTAL_POD_AUTOSCALER
};

struct V1Rules;

impl Rules for V1Rules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| fill::absent(spec, "minReplicas", 1));
    }

    fn prepare_create(&self, object: &mut Value) {
        let mut v2 = to_v2(object);
        AutoscalerRules.prepare_create(&mut v2);
        *object = to_v1(&v2);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let mut v2 = to_v2(new);
        AutoscalerRules.prepare_update(&mut v2, &to_v2(old));
        *new = to_v1(&v2);
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let mut v2 = to_v2(new);
        AutoscalerRules.prepare_status(&mut v2, &to_v2(old));
        *new = to_v1(&v2);
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        AutoscalerRules.validate(&to_v2(object))
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        AutoscalerRules.validate_create(&to_v2(object))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        AutoscalerRules.validate_update(&to_v2(new), &to_v2(old))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        AutoscalerRules.validate_status(&to_v2(new), &to_v2(old))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        table::row(&to_v2(object), now)
    }

    fn stored_form(&self, object: &mut Value) {
        *object = to_v2(object);
    }

    fn served_form(&self, stored: &Value) -> Option<Value> {
        Some(to_v1(stored))
    }
}
