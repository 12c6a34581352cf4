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

    fn updates_create(&self) -> bool {
        true
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

#[cfg(test)]
mod tests {
    use super::ROLE_BINDING;
    use crate::kinds::CLUSTER_ROLE_BINDING;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn subjects_and_roles() {
        check(&ROLE_BINDING, "{roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}]}", &[]);
        check(
            &CLUSTER_ROLE_BINDING,
            "{roleRef: {kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: s}, {kind: Robot, name: r}]}",
            &[
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "subjects[0].namespace: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \
                 \"Group\"",
            ],
        );
    }

    #[test]
    fn the_role_stays() {
        check_update(
            &ROLE_BINDING,
            "{roleRef: {kind: Role, name: a}}",
            "{roleRef: {kind: Role, name: b}}",
            &[
                "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"b\"}: \
               cannot change roleRef",
            ],
        );
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(
            &ROLE_BINDING,
            "{roleRef: {kind: Role, name: r}, subjects: [{kind: Group, name: g}, {kind: ServiceAccount, name: s}]}",
            "{roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}, subjects: [{kind: Group, name: g, \
             apiGroup: rbac.authorization.k8s.io}, {kind: ServiceAccount, name: s}]}",
        );
        check_row(
            &ROLE_BINDING,
            "{metadata: {name: a}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}, \
             {kind: User, name: v}, {kind: ServiceAccount, name: s, namespace: n}]}",
            "a | Role/r | <unknown> | u, v |  | n/s",
        );
    }
}
