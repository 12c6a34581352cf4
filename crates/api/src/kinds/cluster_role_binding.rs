//! ClusterRoleBinding: grants a ClusterRole to subjects, everywhere.

use jiff::Timestamp;
use serde_json::Value;

use super::role_binding;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `clusterrolebindings.rbac.authorization.k8s.io`
pub static CLUSTER_ROLE_BINDING: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    storage: "clusterrolebindings",
    columns: role_binding::COLUMNS,
    rules: &ClusterRoleBindingRules,
};

struct ClusterRoleBindingRules;

impl Rules for ClusterRoleBindingRules {
    fn default(&self, object: &mut Value) {
        role_binding::default(object);
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |binding| role_binding::faults(binding, Scope::Cluster))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |binding| role_binding::role_stays(binding, old))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        role_binding::row(object, now)
    }

    fn updates_create(&self) -> bool {
        true
    }
}
