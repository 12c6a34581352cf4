//! DeviceTaintRule: an administrator taints devices.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs, Writer};
use crate::validation::{check, conditions, devices, names, storage};

const GVK: Gvk = ("resource.k8s.io", "v1", "DeviceTaintRule");

/// `devicetaintrules.resource.k8s.io`
pub static DEVICE_TAINT_RULE: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "devicetaintrules",
    singular: "devicetaintrule",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.resource.v1.DeviceTaintRule",
    storage: "devicetaintrules",
    columns: &[
        cells::NAME,
        cells::text("Key"),
        cells::text("Value"),
        cells::text("Effect"),
        cells::text("TimeAdded"),
        cells::AGE,
    ],
    rules: &TaintRules,
};

const MAX_CONDITIONS: usize = 8;

struct TaintRules;

impl Rules for TaintRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn note_writer(&self, new: &mut Value, old: Option<&Value>, writer: &Writer<'_>) {
        let now = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let same = |old: &&Value| {
            ["key", "value", "effect"].iter().all(|f| old["spec"]["taint"][*f] == new["spec"]["taint"][*f])
        };
        let since = old.filter(same).map(|old| read::text(old, "/spec/taint/timeAdded").to_owned());
        let since = since.filter(|since| !since.is_empty()).unwrap_or(now);
        fill::at(new, "/spec/taint", |taint| fill::absent(taint, "timeAdded", since));
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |rule| devices::taint(&rule.get("spec").get("taint"), None))
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |rule| {
            let selector = rule.get("spec").get("deviceSelector");
            let (driver, pool, device) = (selector.get("driver"), selector.get("pool"), selector.get("device"));
            if driver.is_set() {
                storage::driver_name(&driver);
            }
            if pool.is_set() {
                devices::pool_name(&pool);
            }
            if device.is_set() {
                device.follows(names::label);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |rule| devices::taint(&rule.get("spec").get("taint"), Some(read::text(old, "/spec/taint/effect"))))
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |rule| {
            let list = rule.get("status").get("conditions");
            conditions(&list);
            devices::too_many(&list, MAX_CONDITIONS);
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |name: &str| read::text(object, &format!("/spec/taint/{name}"));
        let added = match text("timeAdded") {
            "" => String::new(),
            time => cells::since(time, now),
        };
        let [key, value, effect] = ["key", "value", "effect"].map(|name| text(name).into());
        vec![cells::name(object), key, value, effect, added.into(), cells::age(object, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::DEVICE_TAINT_RULE;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn a_taint_has_an_effect() {
        check(&DEVICE_TAINT_RULE, "{spec: {deviceSelector: {driver: a.b}, taint: {key: k, effect: None}}}", &[]);
        check(
            &DEVICE_TAINT_RULE,
            "{spec: {deviceSelector: {device: a.b}, taint: {key: k, effect: Explode}}}",
            &[
                "spec.deviceSelector.device: Invalid value: \"a.b\": must not contain dots",
                "spec.taint.effect: Unsupported value: \"Explode\": supported values: \"NoExecute\", \"NoSchedule\", \
                 \"None\"",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &DEVICE_TAINT_RULE,
            "{metadata: {name: a, creationTimestamp: '2026-01-01T11:59:30Z'}, spec: {taint: {key: k, value: v, \
             effect: NoSchedule, timeAdded: '2026-01-01T11:59:50Z'}}}",
            "a | k | v | NoSchedule | 10s | 30s",
        );
    }
}
