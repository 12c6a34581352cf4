//! ResourceClaimTemplate: the claims that are made for Pods.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use super::resource_claim::default_requests;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{annotations, check, devices, labels};

/// `resourceclaimtemplates.resource.k8s.io`
pub static RESOURCE_CLAIM_TEMPLATE: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.ResourceClaimTemplate",
    storage: "resourceclaimtemplates",
    columns: &[cells::NAME, cells::AGE],
    rules: &TemplateRules,
};

struct TemplateRules;

impl Rules for TemplateRules {
    fn default(&self, object: &mut Value) {
        default_requests(object, "/spec/spec");
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |template| {
            let spec = template.get("spec");
            annotations(&spec.get("metadata").get("annotations"));
            labels(&spec.get("metadata").get("labels"));
            devices::claim_spec(&spec.get("spec"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |template| template.get("spec").immutable(&old["spec"]))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::RESOURCE_CLAIM_TEMPLATE;
    use crate::kinds::testing::{check, check_defaults, check_row};

    #[test]
    fn a_template_is_a_claim_to_be() {
        check_defaults(
            &RESOURCE_CLAIM_TEMPLATE,
            "{spec: {spec: {devices: {requests: [{name: r, firstAvailable: [{name: a, allocationMode: All}]}]}}}}",
            "{spec: {spec: {devices: {requests: [{name: r, firstAvailable: [{name: a, allocationMode: All}]}]}}}}",
        );
        check(
            &RESOURCE_CLAIM_TEMPLATE,
            "{spec: {spec: {devices: {requests: [{name: r, exactly: {}}]}}}}",
            &["spec.spec.devices.requests[0].exactly.deviceClassName: Required value"],
        );
    }

    #[test]
    fn rows() {
        check_row(&RESOURCE_CLAIM_TEMPLATE, "{metadata: {name: a}}", "a | <unknown>");
    }
}
