//! MutatingAdmissionPolicy: changes, written in CEL, to what is requested where a binding puts it in force.

use jiff::Timestamp;
use serde_json::Value;

use super::validating_admission_policy::param_kind_cell;
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::policy;
use crate::validation::{Cursor, check, policy as shared};

/// `mutatingadmissionpolicies.admissionregistration.k8s.io`
pub static MUTATING_ADMISSION_POLICY: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    storage: "mutatingadmissionpolicies",
    columns: COLUMNS,
    rules: &MutatingAdmissionPolicyRules,
};

const COLUMNS: &[Column] = &[cells::NAME, cells::number("Mutations"), cells::text("ParamKind"), cells::AGE];

struct MutatingAdmissionPolicyRules;

impl Rules for MutatingAdmissionPolicyRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "failurePolicy", "Fail");
            fill::zero(spec, "reinvocationPolicy", "Never");
            shared::default_match_resources(spec, "matchConstraints");
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |policy| faults(&policy.get("spec")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::list(object, "/spec/mutations").len().into(),
            param_kind_cell(object).into(),
            cells::age(object, now),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn faults(spec: &Cursor<'_>) {
    shared::policy(spec);
    policy::faults(spec);
    for (rule, operation) in spec.get("matchConstraints").get("resourceRules").items().flat_map(|rule| {
        let operations: Vec<String> = rule.get("operations").texts().map(str::to_owned).collect();
        operations.into_iter().map(move |operation| (rule.clone(), operation))
    }) {
        if operation == "DELETE" || operation == "CONNECT" {
            rule.get("operations").not_supported(&["CREATE", "UPDATE"]);
        }
    }
    if spec.get("mutations").is_empty() {
        spec.get("mutations").required("mutations must contain at least one item");
    }
    spec.get("reinvocationPolicy").must_be_one_of(&["Never", "IfNeeded"]);
}
