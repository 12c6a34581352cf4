//! MutatingAdmissionPolicyBinding: puts a MutatingAdmissionPolicy in force, with parameters and for a selection of requests.

use super::validating_admission_policy_binding::{BindingRules, COLUMNS};
use crate::kind::{Kind, NameRule, Scope, Verbs};

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
    rules: &BindingRules(|_| ()),
};
