//! DeviceClass: devices of one sort, and how they are set up, by name.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, devices, names};

/// `deviceclasses.resource.k8s.io`
pub static DEVICE_CLASS: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.DeviceClass",
    storage: "deviceclasses",
    columns: &[cells::NAME, cells::AGE],
    rules: &DeviceClassRules,
};

struct DeviceClassRules;

impl Rules for DeviceClassRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            let spec = class.get("spec");
            devices::selectors(&spec.get("selectors"));
            devices::class_configs(&spec.get("config"));
            let resource = spec.get("extendedResourceName");
            if resource.is_set() && !is_extended_resource(resource.text()) {
                resource.invalid("must be a valid extended resource name");
            }
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

/// A resource of someone's domain; `requests.` must fit before it, for quotas.
fn is_extended_resource(name: &str) -> bool {
    let ours = name.split_once('/').is_none_or(|(domain, _)| domain.ends_with("kubernetes.io"));
    !ours && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::DEVICE_CLASS;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn selectors_and_configuration() {
        check(
            &DEVICE_CLASS,
            "{spec: {selectors: [{cel: {expression: 'true'}}], config: [{opaque: {driver: a.b, parameters: {x: 1}}}], \
             extendedResourceName: a.b/gpu}}",
            &[],
        );
        check(
            &DEVICE_CLASS,
            "{spec: {selectors: [{}], config: [{}, {opaque: {driver: a.b, parameters: [1]}}], extendedResourceName: cpu}}",
            &[
                "spec.selectors[0].cel: Required value",
                "spec.config[0].opaque: Required value",
                "spec.config[1].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(&DEVICE_CLASS, "{metadata: {name: a}}", "a | <unknown>");
    }
}
