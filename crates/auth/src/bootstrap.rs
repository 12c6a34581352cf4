//! The roles and bindings that every cluster starts with, read from `policy/*.policy`.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The policy's text, in the form that the head of the first describes.
const POLICY: [&str; 2] = [include_str!("../policy/bootstrap.policy"), include_str!("../policy/controllers.policy")];
/// The API group of the RBAC kinds.
const GROUP: &str = "rbac.authorization.k8s.io";

/// What a cluster starts with.
#[derive(Debug, Default)]
pub struct Bootstrap {
    /// The cluster roles.
    pub roles: Vec<ClusterRole>,
    /// Their bindings.
    pub bindings: Vec<ClusterRoleBinding>,
    /// The roles of single namespaces.
    pub local_roles: Vec<Role>,
    /// Their bindings.
    pub local_bindings: Vec<RoleBinding>,
}

/// The roles and bindings that every cluster starts with.
pub fn bootstrap() -> Bootstrap {
    let mut policy = Bootstrap::default();
    for text in POLICY {
        parse(text, &mut policy).expect("invariant: the built-in policy is well formed, a test reads it");
    }
    policy
}

fn parse(text: &str, policy: &mut Bootstrap) -> Result<(), String> {
    let mut namespace = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["within", name] => namespace = Some(*name),
            ["role", name, options @ ..] => policy.add_role(name, options, namespace),
            ["controller", name] => {
                let role = format!("system:controller:{name}");
                policy.add_role(&role, &[], namespace);
                policy.bind(&role, &role, &[&format!("sa:kube-system/{name}")], namespace)?;
            }
            ["bind", name, "of", role, "to", subjects @ ..] => policy.bind(name, role, subjects, namespace)?,
            ["bind", name, "to", subjects @ ..] => policy.bind(name, name, subjects, namespace)?,
            rule_words => policy.add_rule(rule(rule_words)?, namespace).ok_or("a rule before any role")?,
        }
    }
    Ok(())
}

impl Bootstrap {
    fn add_role(&mut self, name: &str, options: &[&str], namespace: Option<&str>) {
        match namespace {
            None => self.roles.push(role(name, options)),
            Some(_) => self.local_roles.push(Role { metadata: meta(name, namespace), rules: None }),
        }
    }

    /// Adds to the last role.
    fn add_rule(&mut self, rule: PolicyRule, namespace: Option<&str>) -> Option<()> {
        let rules = match namespace {
            None => &mut self.roles.last_mut()?.rules,
            Some(_) => &mut self.local_roles.last_mut()?.rules,
        };
        rules.get_or_insert_default().push(rule);
        Some(())
    }

    fn bind(&mut self, name: &str, role: &str, subjects: &[&str], namespace: Option<&str>) -> Result<(), String> {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let role_ref = RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: role.to_owned() };
        let subjects: Vec<Subject> = subjects.iter().map(|word| subject(word)).collect::<Result<_, _>>()?;
        let (metadata, subjects) = (meta(name, namespace), Some(subjects).filter(|all| !all.is_empty()));
        match namespace {
            None => self.bindings.push(ClusterRoleBinding { metadata, role_ref, subjects }),
            Some(_) => self.local_bindings.push(RoleBinding { metadata, role_ref, subjects }),
        }
        Ok(())
    }
}

fn meta(name: &str, namespace: Option<&str>) -> ObjectMeta {
    let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(pair("kubernetes.io/bootstrapping", "rbac-defaults")),
        annotations: Some(pair("rbac.authorization.kubernetes.io/autoupdate", "true")),
        ..ObjectMeta::default()
    }
}

fn role(name: &str, options: &[&str]) -> ClusterRole {
    let label = |key: &str| (format!("{GROUP}/aggregate-to-{key}"), "true".to_owned());
    let mut role = ClusterRole { metadata: meta(name, None), ..ClusterRole::default() };
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
        check("jane@system:serviceaccounts", "get /openid/v1/jwks", true);
        check(
            "system:serviceaccount:kube-system:certificate-controller",
            "approve certificates.k8s.io:signers kubernetes.io/kube-apiserver-client-kubelet",
            true,
        );
        check(
            "system:serviceaccount:kube-system:certificate-controller",
            "approve certificates.k8s.io:signers kubernetes.io/kubelet-serving",
            false,
        );
        check("system:serviceaccount:kube-system:namespace-controller", "deletecollection apps:deployments", true);
        check("system:kube-controller-manager", "watch apps:deployments", true);
        check("system:kube-controller-manager", "delete apps:deployments d", false);
    }

    #[test]
    fn roles_of_one_namespace_are_bound_there() {
        let policy = bootstrap();
        let reader = "system::extension-apiserver-authentication-reader";
        let binding = policy.local_bindings.iter().find(|b| b.metadata.name.as_deref() == Some(reader)).unwrap();
        assert_eq!(binding.role_ref.name, "extension-apiserver-authentication-reader");
        assert_eq!(binding.metadata.namespace.as_deref(), Some("kube-system"));
        for binding in &policy.local_bindings {
            let role = |r: &&Role| r.metadata.name.as_ref() == Some(&binding.role_ref.name);
            assert!(policy.local_roles.iter().find(role).is_some(), "{:?}", binding.metadata.name);
        }
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
