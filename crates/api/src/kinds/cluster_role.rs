//! ClusterRole: verbs on resources, within a namespace or cluster-wide; it only ever allows.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, role};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `clusterroles.rbac.authorization.k8s.io`
pub static CLUSTER_ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.ClusterRole",
    storage: "clusterroles",
    columns: cells::PLAIN,
    rules: &ClusterRoleRules,
};

struct ClusterRoleRules;

impl Rules for ClusterRoleRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |cluster_role| role::rules(&cluster_role.get("rules"), Scope::Cluster))
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        cells::plain_row(object)
    }

    fn updates_create(&self) -> bool {
        true
    }
}
