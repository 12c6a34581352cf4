//! RoleBinding: grants a Role, or a ClusterRole within one namespace, to subjects.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};

/// `rolebindings.rbac.authorization.k8s.io`
pub static ROLE_BINDING: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.RoleBinding",
    storage: "rolebindings",
    columns: COLUMNS,
    rules: &RoleBindingRules,
};

/// The columns of both kinds of binding.
pub(super) const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Role"),
    cells::AGE,
    cells::wide("Users"),
    cells::wide("Groups"),
    cells::wide("ServiceAccounts"),
];

struct RoleBindingRules;

impl Rules for RoleBindingRules {
    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

/// The API group of roles, users and groups.
const GROUP: &str = "rbac.authorization.k8s.io";

/// Fills the groups of the role and the subjects.
pub(super) fn default(binding: &mut Value) {
    fill::at(binding, "/roleRef", |role| fill::zero(role, "apiGroup", GROUP));
    fill::each(binding, "/subjects", |subject| match read::text(subject, "/kind") {
        "User" | "Group" => fill::zero(subject, "apiGroup", GROUP),
        _ => {}
    });
}

/// The cells of [`COLUMNS`].
pub(super) fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let role = format!("{}/{}", read::text(binding, "/roleRef/kind"), read::text(binding, "/roleRef/name"));
    let subjects = ["User", "Group", "ServiceAccount"].map(|kind| subjects_of_kind(binding, kind).into());
    [cells::name(binding), role.into(), cells::age(binding, now)].into_iter().chain(subjects).collect()
}

fn subjects_of_kind(binding: &Value, kind: &str) -> String {
    let subjects = read::list(binding, "/subjects").iter().filter(|subject| subject["kind"] == kind);
    let names = subjects.map(|subject| match (read::text(subject, "/namespace"), read::text(subject, "/name")) {
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    });
    names.collect::<Vec<_>>().join(", ")
}
