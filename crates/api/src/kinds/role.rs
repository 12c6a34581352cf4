//! Role: verbs on resources, within a namespace or cluster-wide; it only ever allows.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `roles.rbac.authorization.k8s.io`
pub static ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "Role",
    plural: "roles",
    singular: "role",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.Role",
    storage: "roles",
    columns: cells::PLAIN,
    rules: &RoleRules,
};

struct RoleRules;

impl Rules for RoleRules {
    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        cells::plain_row(object)
    }
}
