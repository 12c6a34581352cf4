//! Which FlowSchema a request belongs to: the first one, by precedence and then by name, with a rule for it.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};
use sampan_auth::Identity;

use crate::request::RequestInfo;

const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whether a rule of the schema is for this request.
pub(super) fn matches(spec: &FlowSchemaSpec, who: &Identity, info: &RequestInfo) -> bool {
    spec.rules.iter().flatten().any(|rule| rule_matches(rule, who, info))
}

/// What tells the flows of a schema apart.
pub(super) fn distinguisher<'r>(spec: &FlowSchemaSpec, who: &'r Identity, info: &'r RequestInfo) -> &'r str {
    match spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()) {
        Some("ByUser") => &who.name,
        Some("ByNamespace") => &info.namespace,
        _ => "",
    }
}

fn rule_matches(rule: &PolicyRulesWithSubjects, who: &Identity, info: &RequestInfo) -> bool {
    if !rule.subjects.iter().any(|subject| is_subject(subject, who)) {
        return false;
    }
    if info.is_resource {
        rule.resource_rules.iter().flatten().any(|rule| resource_matches(rule, info))
    } else {
        rule.non_resource_rules.iter().flatten().any(|rule| path_matches(rule, info))
    }
}

fn is_subject(subject: &Subject, who: &Identity) -> bool {
    match subject.kind.as_str() {
        "User" => subject.user.as_ref().is_some_and(|user| user.name == "*" || user.name == who.name),
        "Group" => subject.group.as_ref().is_some_and(|group| group.name == "*" || who.groups.contains(&group.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|account| {
            let own = who.name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
            own.is_some_and(|(namespace, name)| {
                namespace == account.namespace && (account.name == "*" || account.name == name)
            })
        }),
        _ => false,
    }
}

fn resource_matches(rule: &ResourcePolicyRule, info: &RequestInfo) -> bool {
    let scope = match info.namespace.as_str() {
        "" => rule.cluster_scope.unwrap_or_default(),
        namespace => covers(rule.namespaces.iter().flatten(), |listed| listed == namespace),
    };
    scope
        && covers(&rule.verbs, |verb| verb == info.verb)
        && covers(&rule.api_groups, |group| *group == info.group)
        && covers(&rule.resources, |resource| names_resource(resource, info))
}

/// `resource`, or `resource/subresource`.
fn names_resource(listed: &str, info: &RequestInfo) -> bool {
    let (resource, subresource) = listed.split_once('/').unwrap_or((listed, ""));
    resource == info.resource && subresource == info.subresource
}

/// A path is meant by its name, by what it lies below, or by `/below/*`.
fn path_matches(rule: &NonResourcePolicyRule, info: &RequestInfo) -> bool {
    let below = |listed: &str| {
        let prefix = listed.trim_end_matches('*').trim_end_matches('/');
        info.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    };
    covers(&rule.verbs, |verb| verb == info.verb)
        && covers(&rule.non_resource_urls, |listed| *listed == info.path || below(listed))
}

fn covers<'l>(list: impl IntoIterator<Item = &'l String>, is: impl Fn(&String) -> bool) -> bool {
    list.into_iter().any(|listed| listed == "*" || is(listed))
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};
    use serde_json::{Value, json};

    use super::*;
    use crate::request::Query;

    fn request(line: &str) -> RequestInfo {
        let (method, uri) = line.split_once(' ').unwrap();
        let (method, uri): (Method, Uri) = (method.parse().unwrap(), uri.parse().unwrap());
        RequestInfo::parse(&method, &uri, &Query::of(&uri).unwrap()).unwrap()
    }

    fn spec(subject: &str, rules: Value) -> FlowSchemaSpec {
        let subject = match subject.split_once(' ').unwrap() {
            ("user", name) => json!({ "kind": "User", "user": { "name": name } }),
            ("group", name) => json!({ "kind": "Group", "group": { "name": name } }),
            (_, name) => {
                let (namespace, name) = name.split_once('/').unwrap();
                json!({ "kind": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": name } })
            }
        };
        let mut rule = rules;
        rule["subjects"] = json!([subject]);
        let level = json!({ "name": "l" });
        serde_json::from_value(json!({ "priorityLevelConfiguration": level, "rules": [rule] })).unwrap()
    }

    #[track_caller]
    fn check(spec: &FlowSchemaSpec, user: &str, line: &str, want: bool) {
        let who = Identity { name: user.into(), groups: vec![format!("{user}s")], ..Identity::default() };
        assert_eq!(matches(spec, &who, &request(line)), want, "{user} {line}");
    }

    #[test]
    fn subjects() {
        let everything = || json!({ "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }] });
        let check = |subject: &str, user: &str, want| check(&spec(subject, everything()), user, "GET /version", want);
        check("user bob", "bob", true);
        check("user bob", "bobby", false);
        check("user *", "eve", true);
        check("group bobs", "bob", true);
        check("group bob", "bob", false);
        check("group *", "eve", true);
        check("account ns/a", "system:serviceaccount:ns:a", true);
        check("account ns/*", "system:serviceaccount:ns:b", true);
        check("account ns/a", "system:serviceaccount:ns:b", false);
        check("account n/*", "system:serviceaccount:ns:a", false);
        check("account ns/*", "ns:a", false);
    }

    #[test]
    fn resources() {
        let rule = |verbs: &str, group: &str, resource: &str, namespace: &str, cluster: bool| {
            let rule = json!({
                "verbs": [verbs], "apiGroups": [group], "resources": [resource], "clusterScope": cluster,
                "namespaces": if namespace.is_empty() { json!([]) } else { json!([namespace]) },
            });
            spec("user bob", json!({ "resourceRules": [rule] }))
        };
        let pods = rule("list", "", "pods", "*", false);
        check(&pods, "bob", "GET /api/v1/namespaces/a/pods", true);
        check(&pods, "bob", "GET /api/v1/pods", false);
        check(&pods, "bob", "GET /api/v1/namespaces/a/pods/p", false);
        check(&pods, "bob", "GET /version", false);
        check(&rule("*", "*", "*", "", true), "bob", "GET /api/v1/pods", true);
        check(&rule("*", "*", "*", "", true), "bob", "GET /api/v1/namespaces/a/pods", false);
        check(&rule("*", "*", "*", "b", true), "bob", "GET /api/v1/namespaces/a/pods", false);
        check(&rule("*", "apps", "*", "a", false), "bob", "GET /api/v1/namespaces/a/pods", false);
        check(&rule("*", "", "pods", "a", false), "bob", "PUT /api/v1/namespaces/a/pods/p/status", false);
        check(&rule("*", "", "pods/status", "a", false), "bob", "PUT /api/v1/namespaces/a/pods/p/status", true);
    }

    #[test]
    fn paths() {
        let rule = |url: &str| {
            spec("user bob", json!({ "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": [url] }] }))
        };
        check(&rule("/healthz"), "bob", "GET /healthz", true);
        check(&rule("/healthz"), "bob", "GET /healthz/ping", true);
        check(&rule("/healthz"), "bob", "GET /healthzz", false);
        check(&rule("/healthz"), "bob", "POST /healthz", false);
        check(&rule("/a/*"), "bob", "GET /a/b/c", true);
        check(&rule("/a/*"), "bob", "GET /b", false);
        check(&rule("*"), "bob", "GET /anything", true);
        check(&rule("/healthz"), "bob", "GET /api/v1/pods", false);
    }

    #[test]
    fn flows() {
        let who = Identity { name: "bob".into(), ..Identity::default() };
        let info = request("GET /api/v1/namespaces/a/pods");
        let check = |method: Value, want| {
            let spec = json!({ "priorityLevelConfiguration": { "name": "l" }, "distinguisherMethod": method });
            assert_eq!(distinguisher(&serde_json::from_value(spec).unwrap(), &who, &info), want);
        };
        check(json!({ "type": "ByUser" }), "bob");
        check(json!({ "type": "ByNamespace" }), "a");
        check(Value::Null, "");
    }
}
