//! MutatingAdmissionPolicyBinding: puts a MutatingAdmissionPolicy in force, with parameters and for a selection of requests.

use jiff::Timestamp;
use serde_json::Value;

use super::validating_admission_policy_binding::param_ref_cell;
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, policy as shared};

/// `mutatingadmissionpolicybindings.admissionregistration.k8s.io`
pub static MUTATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    storage: "mutatingadmissionpolicybindings",
    columns: COLUMNS,
    rules: &MutatingAdmissionPolicyBindingRules,
};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("PolicyName"), cells::text("ParamRef"), cells::AGE];

struct MutatingAdmissionPolicyBindingRules;

impl Rules for MutatingAdmissionPolicyBindingRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| shared::default_match_resources(spec, "matchResources"));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |binding| faults(&binding.get("spec")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::text(object, "/spec/policyName").into(),
            param_ref_cell(object).into(),
            cells::age(object, now),
        ]
    }
}

fn faults(spec: &Cursor<'_>) {
    shared::binding(spec);
}
