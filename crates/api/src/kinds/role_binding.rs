//! RoleBinding: grants a Role, or a ClusterRole within one namespace, to subjects.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names};

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

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |binding| faults(binding, Scope::Namespaced))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |binding| role_stays(binding, old))
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

/// The faults of a binding of either kind.
pub(super) fn faults(binding: &Cursor<'_>, scope: Scope) {
    let role = binding.get("roleRef");
    let kinds: &[&str] = if scope == Scope::Namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    group(&role, GROUP);
    if !kinds.contains(&role.get("kind").text()) {
        role.get("kind").not_supported(kinds);
    }
    role.get("name").must_follow(names::path_segment);
    for subject in binding.get("subjects").items() {
        self::subject(&subject, scope);
    }
}

fn subject(subject: &Cursor<'_>, scope: Scope) {
    let (kind, name) = (subject.get("kind"), subject.get("name"));
    name.must();
    match kind.text() {
        "ServiceAccount" => {
            name.may_follow(names::subdomain);
            group(subject, "");
            if scope == Scope::Cluster {
                subject.get("namespace").must();
            }
        }
        "User" | "Group" => {
            if name.is_empty() {
                name.invalid_as("", format!("{} name cannot be empty", kind.text().to_lowercase()));
            }
            group(subject, GROUP);
        }
        _ => kind.not_supported(&["ServiceAccount", "User", "Group"]),
    }
}

fn group(reference: &Cursor<'_>, wanted: &str) {
    let group = reference.get("apiGroup");
    if group.text() != wanted {
        group.not_supported(&[wanted]);
    }
}

/// A binding that could change its role could escalate: it must be deleted and made anew.
pub(super) fn role_stays(binding: &Cursor<'_>, old: &Value) {
    if binding.get("roleRef").value() != &old["roleRef"] {
        binding.get("roleRef").invalid("cannot change roleRef");
    }
}
