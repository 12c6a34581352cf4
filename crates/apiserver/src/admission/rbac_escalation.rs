//! Nobody grants what they do not hold, unless they may `escalate` the role or `bind` to it.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use sampan_api::status::Status;
use sampan_auth::rbac::uncovered;
use sampan_auth::{Attributes, Authorizer as _, Decision};
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::{Attempt, Registry};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) struct RbacEscalation;

impl Plugin for RbacEscalation {
    /// After all that could change a role, so that nothing slips in behind it.
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let attempt = request.attempt;
        if attempt.kind.group != GROUP || request.operation == Operation::Delete {
            return Ok(());
        }
        match attempt.kind.plural {
            "roles" | "clusterroles" => role(registry, attempt, new, request.old),
            "rolebindings" | "clusterrolebindings" => binding(registry, attempt, new, request.old),
            _ => Ok(()),
        }
    }
}

fn role(registry: &Registry, attempt: &Attempt, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if old.is_some_and(|old| old["rules"] == new["rules"])
        || may(registry, attempt, "escalate", attempt.kind.plural, &attempt.name)
    {
        return Ok(());
    }
    let rules: Vec<PolicyRule> = match &new["rules"] {
        Value::Null => Vec::new(),
        rules => serde_json::from_value(rules.clone()).map_err(|e| Status::bad_request(e.to_string()))?,
    };
    covered(registry, attempt, &rules)
}

fn binding(registry: &Registry, attempt: &Attempt, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if old.is_some_and(|old| old["subjects"] == new["subjects"] && old["roleRef"] == new["roleRef"]) {
        return Ok(());
    }
    let Ok(role) = serde_json::from_value::<RoleRef>(new["roleRef"].clone()) else {
        return Ok(()); // Validation says what is wrong with it.
    };
    let plural = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if may(registry, attempt, "bind", plural, &role.name) {
        return Ok(());
    }
    match registry.rights.rbac.rules_of(&role, &attempt.namespace) {
        Some(rules) => covered(registry, attempt, &rules),
        None => Err(Status::not_found(sampan_api::status::Resource { group: GROUP, name: plural }, &role.name)),
    }
}

fn may(registry: &Registry, attempt: &Attempt, verb: &str, resource: &str, name: &str) -> bool {
    let attributes = Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: attempt.namespace.clone(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    matches!(registry.rights.authorize(&attempt.identity, &attributes), Decision::Allow(_))
}

fn covered(registry: &Registry, attempt: &Attempt, rules: &[PolicyRule]) -> Result<(), Status> {
    let owned = registry.rights.rbac.rules_for(&attempt.identity, &attempt.namespace);
    let missing = uncovered(&owned, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let who = &attempt.identity;
    let missing = missing.iter().map(|rule| format!("\n{}", describe(rule))).collect::<String>();
    let groups = who.groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ");
    Err(attempt.forbidden(&format!(
        "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:{missing}",
        who.name
    )))
}

/// A rule as upstream prints it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
fn describe(rule: &PolicyRule) -> String {
    let list = |items: &[String]| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    let fields = [
        ("NonResourceURLs", &rule.non_resource_urls),
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
    ];
    for (name, items) in fields {
        if let Some(items) = items.as_ref().filter(|items| !items.is_empty()) {
            parts.push(format!("{name}:[{}]", list(items)));
        }
    }
    parts.push(format!("Verbs:[{}]", list(&rule.verbs)));
    format!("{{{}}}", parts.join(", "))
}
