//! The cluster roles and bindings that every cluster starts with, read from `policy/bootstrap.policy`.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The policy's text, in the form its own head describes.
const POLICY: &str = include_str!("../policy/bootstrap.policy");
/// The API group of the RBAC kinds.
const GROUP: &str = "rbac.authorization.k8s.io";

/// What a cluster starts with.
#[derive(Debug, Default)]
pub struct Bootstrap {
    /// The roles.
    pub roles: Vec<ClusterRole>,
    /// The bindings.
    pub bindings: Vec<ClusterRoleBinding>,
}

/// The roles and bindings that every cluster starts with.
pub fn bootstrap() -> Bootstrap {
    parse(POLICY).expect("invariant: the built-in policy is well formed, a test reads it")
}

fn parse(text: &str) -> Result<Bootstrap, String> {
    let mut policy = Bootstrap::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["role", name, options @ ..] => policy.roles.push(role(name, options)),
            ["bind", name, "to", subjects @ ..] => policy.bindings.push(binding(name, subjects)?),
            rule_words => {
                let role = policy.roles.last_mut().ok_or_else(|| format!("a rule before any role: {line}"))?;
                role.rules.get_or_insert_default().push(rule(rule_words)?);
            }
        }
    }
    Ok(policy)
}

fn meta(name: &str) -> ObjectMeta {
    let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(pair("kubernetes.io/bootstrapping", "rbac-defaults")),
        annotations: Some(pair("rbac.authorization.kubernetes.io/autoupdate", "true")),
        ..ObjectMeta::default()
    }
}

fn role(name: &str, options: &[&str]) -> ClusterRole {
    let label = |key: &str| (format!("{GROUP}/aggregate-to-{key}"), "true".to_owned());
    let mut role = ClusterRole { metadata: meta(name), ..ClusterRole::default() };
    for option in options.chunks_exact(2) {
        let (key, value) = label(option[1]);
        if option[0] == "label" {
            role.metadata.labels.get_or_insert_default().insert(key, value);
        } else {
            let selector =
                LabelSelector { match_labels: Some(BTreeMap::from([(key, value)])), ..LabelSelector::default() };
            role.aggregation_rule = Some(AggregationRule { cluster_role_selectors: Some(vec![selector]) });
        }
    }
    role
}

fn rule(words: &[&str]) -> Result<PolicyRule, String> {
    let (verbs, rest) = words.split_first().ok_or("an empty rule")?;
    let verbs = verbs.split(',').flat_map(verb).map(str::to_owned).collect();
    let owned = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    match rest {
        [group, resources @ ..] if group.ends_with(':') => {
            let names_at = resources.iter().position(|word| *word == "named");
            let (resources, names) = resources.split_at(names_at.unwrap_or(resources.len()));
            let groups = group.trim_end_matches(':').split(',').map(|g| if g == "core" { "" } else { g });
            Ok(PolicyRule {
                verbs,
                api_groups: Some(groups.map(str::to_owned).collect()),
                resources: Some(owned(resources)),
                resource_names: names.split_first().map(|(_, names)| owned(names)),
                non_resource_urls: None,
            })
        }
        [] => Err(format!("a rule about nothing: {}", words.join(" "))),
        paths => Ok(PolicyRule { verbs, non_resource_urls: Some(owned(paths)), ..PolicyRule::default() }),
    }
}

fn verb(word: &str) -> Vec<&str> {
    match word {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        other => vec![other],
    }
}

fn binding(name: &str, subjects: &[&str]) -> Result<ClusterRoleBinding, String> {
    let role_ref = RoleRef { api_group: Some(GROUP.to_owned()), kind: "ClusterRole".to_owned(), name: name.to_owned() };
    let subjects: Vec<Subject> = subjects.iter().map(|word| subject(word)).collect::<Result<_, _>>()?;
    Ok(ClusterRoleBinding { metadata: meta(name), role_ref, subjects: Some(subjects).filter(|all| !all.is_empty()) })
}

fn subject(word: &str) -> Result<Subject, String> {
    let group = Some(GROUP.to_owned());
    match word.split_once(':') {
        Some(("user", name)) => {
            Ok(Subject { kind: "User".to_owned(), name: name.to_owned(), api_group: group, namespace: None })
        }
        Some(("group", name)) => {
            Ok(Subject { kind: "Group".to_owned(), name: name.to_owned(), api_group: group, namespace: None })
        }
        Some(("sa", path)) => {
            let (namespace, name) = path.split_once('/').ok_or_else(|| format!("no namespace in {word}"))?;
            Ok(Subject {
                kind: "ServiceAccount".to_owned(),
                name: name.to_owned(),
                api_group: None,
                namespace: Some(namespace.to_owned()),
            })
        }
        _ => Err(format!("who is {word}?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{Rbac, uncovered};
    use crate::{Attributes, Authorizer, Decision, Identity};

    /// `who` (a user, or a group after `@`) wants `verb group/resource`, optionally `in namespace`.
    fn check(who: &str, wish: &str, want: bool) {
        let rbac = Rbac::new();
        let policy = bootstrap();
        policy.roles.iter().for_each(|role| rbac.apply_cluster_role(role));
        policy.bindings.iter().for_each(|binding| rbac.apply_cluster_binding(binding));
        let (name, group) = who.split_once('@').unwrap_or((who, ""));
        let who = Identity { name: name.to_owned(), groups: vec![group.to_owned()], ..Identity::default() };
        let words: Vec<&str> = wish.split(' ').collect();
        let mut what = Attributes { verb: words[0].to_owned(), ..Attributes::default() };
        if words[1].starts_with('/') {
            what.path = words[1].to_owned();
        } else {
            let (group, resource) = words[1].split_once(':').unwrap();
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            what.group = group.to_owned();
            what.resource = resource.to_owned();
            what.subresource = subresource.to_owned();
            what.name = words.get(2).copied().unwrap_or_default().to_owned();
        }
        assert_eq!(matches!(rbac.authorize(&who, &what), Decision::Allow(_)), want, "{who:?} {what:?}");
    }

    #[test]
    fn components_may_do_their_work_and_no_more() {
        check("@system:masters", "delete :nodes n", true);
        check("@system:masters", "get /debug", true);
        check("system:kube-scheduler", "create :pods/binding p", true);
        check("system:kube-scheduler", "create :pods", false);
        check("system:kube-scheduler", "get :secrets s", false);
        check("system:kube-scheduler", "update coordination.k8s.io:leases kube-scheduler", true);
        check("system:kube-scheduler", "update coordination.k8s.io:leases other", false);
        check("system:kube-proxy", "watch discovery.k8s.io:endpointslices", true);
        check("system:kube-proxy", "get :secrets s", false);
        check("system:node:n@system:nodes", "get :secrets s", false);
        check("system:serviceaccount:kube-system:namespace-controller", "deletecollection apps:deployments", true);
        check("system:kube-controller-manager", "watch apps:deployments", true);
        check("system:kube-controller-manager", "delete apps:deployments d", false);
    }

    #[test]
    fn everybody_may_ask_for_health_and_nothing_else() {
        check("system:anonymous@system:unauthenticated", "get /healthz", true);
        check("system:anonymous@system:unauthenticated", "get /version", true);
        check("system:anonymous@system:unauthenticated", "get /apis", false);
        check("system:anonymous@system:unauthenticated", "list :pods", false);
        check("jane@system:authenticated", "get /apis/apps/v1", true);
        check("jane@system:authenticated", "create authorization.k8s.io:selfsubjectaccessreviews", true);
        check("jane@system:authenticated", "get /metrics", false);
    }

    #[test]
    fn a_grant_of_more_than_one_holds_is_found() {
        let rule = |text: &str| rule(&text.split(' ').collect::<Vec<_>>()).unwrap();
        let owned = [rule("read core: pods"), rule("get core: secrets named a")];
        assert!(uncovered(&owned, &[rule("get,list core: pods")]).is_empty());
        assert!(uncovered(&owned, &[rule("get core: secrets named a")]).is_empty());
        assert_eq!(uncovered(&owned, &[rule("get core: secrets")]).len(), 1);
        assert_eq!(uncovered(&owned, &[rule("get,delete core: pods pods/log")]).len(), 3);
        assert_eq!(uncovered(&owned, &[rule("* *: *")]).len(), 1);
        assert!(uncovered(&[rule("* *: *")], &[rule("delete apps: deployments/scale")]).is_empty());
    }
}
