//! Role: verbs on resources, within a namespace or cluster-wide; it only ever allows.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check};

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
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |role| rules(&role.get("rules"), Scope::Namespaced))
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        cells::plain_row(object)
    }

    fn updates_create(&self) -> bool {
        true
    }
}

/// The rules of a role of either kind.
pub(super) fn rules(rules: &Cursor<'_>, scope: Scope) {
    for rule in rules.items() {
        let field = |name: &str| rule.get(name);
        let (urls, resources, resource_names) = (field("nonResourceURLs"), field("resources"), field("resourceNames"));
        if field("verbs").is_empty() {
            field("verbs").required("verbs must contain at least one value");
        }
        if !urls.is_empty() {
            if scope == Scope::Namespaced {
                urls.invalid("namespaced rules cannot apply to non-resource URLs");
            }
            if field("apiGroups").len() + resources.len() + resource_names.len() > 0 {
                urls.invalid("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if field("apiGroups").is_empty() {
            field("apiGroups").required("resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            resources.required("resource rules must supply at least one resource");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ROLE;
    use crate::kinds::CLUSTER_ROLE;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn rules_are_whole() {
        check(&ROLE, "{rules: [{verbs: [get], apiGroups: [''], resources: [pods]}]}", &[]);
        check(
            &ROLE,
            "{rules: [{}]}",
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        );
    }

    #[test]
    fn paths_are_for_cluster_roles() {
        let rule = "{rules: [{verbs: [get], nonResourceURLs: [/healthz]}]}";
        check(&CLUSTER_ROLE, rule, &[]);
        check(
            &ROLE,
            rule,
            &[
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource \
               URLs",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &ROLE,
            "{metadata: {name: a, creationTimestamp: '2026-01-01T11:00:00Z'}}",
            "a | 2026-01-01T11:00:00Z",
        );
    }
}
