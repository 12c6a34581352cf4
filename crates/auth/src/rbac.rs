//! Role-based access control: roles and bindings in, decisions out.
//!
//! The API server feeds [`Rbac`] from its own cache of the RBAC objects; a decision looks only at the bindings of the
//! user, of its groups and of nobody else.

use std::collections::HashMap;
use std::fmt;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use parking_lot::RwLock;

use crate::{Attributes, Authorizer, Decision, Identity};

/// Holders of this group may do everything.
pub const MASTERS: &str = "system:masters";

/// A namespaced name; the namespace is empty for the whole cluster.
type Name = (String, String);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Grantee {
    User(String),
    Group(String),
}

struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The roles and bindings of a cluster. Shared; every request reads it.
#[derive(Default)]
pub struct Rbac {
    policy: RwLock<Policy>,
}

#[derive(Default)]
struct Policy {
    roles: HashMap<Name, Vec<PolicyRule>>,
    bindings: HashMap<Name, Binding>,
    by_grantee: HashMap<Grantee, Vec<Name>>,
}

impl Rbac {
    /// Nobody but `system:masters` may do anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A Role is there, new or changed.
    pub fn apply_role(&self, role: &Role) {
        let name = name(&role.metadata);
        self.policy.write().roles.insert(name, role.rules.clone().unwrap_or_default());
    }

    /// A ClusterRole is there, new or changed.
    pub fn apply_cluster_role(&self, role: &ClusterRole) {
        let (_, name) = name(&role.metadata);
        self.policy.write().roles.insert((String::new(), name), role.rules.clone().unwrap_or_default());
    }

    /// The Role (or with no namespace, the ClusterRole) is gone.
    pub fn delete_role(&self, namespace: &str, name: &str) {
        self.policy.write().roles.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// A RoleBinding is there, new or changed.
    pub fn apply_binding(&self, binding: &RoleBinding) {
        let subjects = binding.subjects.clone().unwrap_or_default();
        self.policy.write().bind(name(&binding.metadata), Binding { role: binding.role_ref.clone(), subjects });
    }

    /// A ClusterRoleBinding is there, new or changed.
    pub fn apply_cluster_binding(&self, binding: &ClusterRoleBinding) {
        let subjects = binding.subjects.clone().unwrap_or_default();
        let (_, name) = name(&binding.metadata);
        self.policy.write().bind((String::new(), name), Binding { role: binding.role_ref.clone(), subjects });
    }

    /// The RoleBinding (or with no namespace, the ClusterRoleBinding) is gone.
    pub fn delete_binding(&self, namespace: &str, name: &str) {
        self.policy.write().unbind(&(namespace.to_owned(), name.to_owned()));
    }

    /// All rules that hold for `who` in `namespace` (cluster-wide ones alone when empty).
    pub fn rules_for(&self, who: &Identity, namespace: &str) -> Vec<PolicyRule> {
        let mut rules = Vec::new();
        self.policy.read().visit(who, namespace, |_, _, rule| {
            rules.push(rule.clone());
            false
        });
        if who.groups.iter().any(|group| group == MASTERS) {
            rules.push(everything());
            rules.push(PolicyRule {
                non_resource_urls: Some(vec!["*".to_owned()]),
                verbs: all(),
                ..PolicyRule::default()
            });
        }
        rules
    }

    /// The rules of a role, by reference; `None` when there is no such role.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<Vec<PolicyRule>> {
        self.policy.read().rules_of(role, namespace).cloned()
    }
}

/// The rules of `wanted` that `owned` does not cover, broken down to single permissions: what an author who grants
/// `wanted` would gain. Empty when the author holds it all.
pub fn uncovered(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let pieces = wanted.iter().flat_map(single_permissions);
    pieces.filter(|piece| !owned.iter().any(|rule| covers(rule, piece))).collect()
}

impl Authorizer for Rbac {
    fn authorize(&self, who: &Identity, what: &Attributes) -> Decision {
        if who.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allow(String::new());
        }
        let policy = self.policy.read();
        let mut reason = None;
        policy.visit(who, &what.namespace, |binding, subject, rule| {
            let allowed = allows(rule, what);
            if allowed {
                reason = Some(explain(binding, &policy.bindings[binding].role, subject));
            }
            allowed
        });
        match reason {
            Some(reason) => Decision::Allow(reason),
            None => Decision::NoOpinion(String::new()),
        }
    }
}

impl Policy {
    fn bind(&mut self, name: Name, binding: Binding) {
        self.unbind(&name);
        for grantee in binding.subjects.iter().filter_map(grantee) {
            self.by_grantee.entry(grantee).or_default().push(name.clone());
        }
        self.bindings.insert(name, binding);
    }

    fn unbind(&mut self, name: &Name) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for grantee in binding.subjects.iter().filter_map(grantee) {
            if let Some(names) = self.by_grantee.get_mut(&grantee) {
                names.retain(|other| other != name);
            }
        }
    }

    fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<&Vec<PolicyRule>> {
        let namespace = if role.kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(&(namespace.to_owned(), role.name.clone()))
    }

    /// Calls `each` with every rule that holds for `who` in `namespace`, until it says true.
    fn visit(&self, who: &Identity, namespace: &str, mut each: impl FnMut(&Name, &Grantee, &PolicyRule) -> bool) {
        let user = std::iter::once(Grantee::User(who.name.clone()));
        for grantee in user.chain(who.groups.iter().cloned().map(Grantee::Group)) {
            for name in self.by_grantee.get(&grantee).into_iter().flatten() {
                if !name.0.is_empty() && name.0 != namespace {
                    continue;
                }
                let rules = self.bindings.get(name).and_then(|b| self.rules_of(&b.role, &name.0));
                if rules.into_iter().flatten().any(|rule| each(name, &grantee, rule)) {
                    return;
                }
            }
        }
    }
}

fn name(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Name {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn grantee(subject: &Subject) -> Option<Grantee> {
    match subject.kind.as_str() {
        "User" => Some(Grantee::User(subject.name.clone())),
        "Group" => Some(Grantee::Group(subject.name.clone())),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            Some(Grantee::User(format!("system:serviceaccount:{namespace}:{}", subject.name)))
        }
        _ => None,
    }
}

fn explain(binding: &Name, role: &RoleRef, grantee: &Grantee) -> String {
    let (namespace, name) = binding;
    let binding = if namespace.is_empty() {
        format!("ClusterRoleBinding {name:?}")
    } else {
        format!("RoleBinding \"{name}/{namespace}\"")
    };
    format!("RBAC: allowed by {binding} of {} {:?} to {grantee}", role.kind, role.name)
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "User {name:?}"),
            Self::Group(name) => write!(f, "Group {name:?}"),
        }
    }
}

fn has(list: Option<&Vec<String>>, wanted: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|item| item == "*" || item == wanted))
}

/// Whether one of `rules` allows `what`.
pub(crate) fn any_allows(rules: &[PolicyRule], what: &Attributes) -> bool {
    rules.iter().any(|rule| allows(rule, what))
}

fn allows(rule: &PolicyRule, what: &Attributes) -> bool {
    if !has(Some(&rule.verbs), &what.verb) {
        return false;
    }
    if what.resource.is_empty() {
        return rule.non_resource_urls.iter().flatten().any(|pattern| path_matches(pattern, &what.path));
    }
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(rule.api_groups.as_ref(), &what.group)
        && resource_matches(rule, &what.resource, &what.subresource)
        && (names.is_empty() || names.contains(&what.name))
}

fn resource_matches(rule: &PolicyRule, resource: &str, subresource: &str) -> bool {
    rule.resources.iter().flatten().any(|pattern| match (pattern.as_str(), subresource) {
        ("*", _) => true,
        (pattern, "") => pattern == resource,
        (pattern, subresource) => pattern
            .split_once('/')
            .is_some_and(|(parent, child)| (parent == "*" || parent == resource) && child == subresource),
    })
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

fn everything() -> PolicyRule {
    PolicyRule { api_groups: Some(all()), resources: Some(all()), verbs: all(), ..PolicyRule::default() }
}

fn single_permissions(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| vec![value.clone()];
    let mut pieces = Vec::new();
    for verb in &rule.verbs {
        for url in rule.non_resource_urls.iter().flatten() {
            pieces.push(PolicyRule { non_resource_urls: Some(one(url)), verbs: one(verb), ..PolicyRule::default() });
        }
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let piece = PolicyRule {
                    api_groups: Some(one(group)),
                    resources: Some(one(resource)),
                    verbs: one(verb),
                    ..PolicyRule::default()
                };
                match rule.resource_names.as_deref().unwrap_or_default() {
                    [] => pieces.push(piece),
                    names => pieces.extend(
                        names.iter().map(|name| PolicyRule { resource_names: Some(one(name)), ..piece.clone() }),
                    ),
                }
            }
        }
    }
    pieces
}

/// Whether `rule` grants the single permission `piece`.
fn covers(rule: &PolicyRule, piece: &PolicyRule) -> bool {
    let first = |list: &Option<Vec<String>>| list.iter().flatten().next().cloned().unwrap_or_default();
    if !has(Some(&rule.verbs), &piece.verbs[0]) {
        return false;
    }
    if let Some(url) = piece.non_resource_urls.iter().flatten().next() {
        return rule.non_resource_urls.iter().flatten().any(|pattern| pattern == url || path_matches(pattern, url));
    }
    let wanted = first(&piece.resources);
    let (resource, subresource) = wanted.split_once('/').unwrap_or((&wanted, ""));
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(rule.api_groups.as_ref(), &first(&piece.api_groups))
        && resource_matches(rule, resource, subresource)
        && (names.is_empty() || piece.resource_names.iter().flatten().any(|name| names.contains(name)))
}
