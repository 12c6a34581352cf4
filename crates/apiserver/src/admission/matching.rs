//! Which requests a webhook or a policy is about: rules, and selectors of namespaces and objects.

use sampan_api::kind::KindRef;
use sampan_api::selector::Selector;
use sampan_api::status::{Resource, Status};
use serde_json::Value;

use super::{Operation, Request};
use crate::registry::Registry;

/// A `RuleWithOperations`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// `pods`, `pods/status`, `pods/*`, `*`, `*/*`.
    resources: Vec<String>,
    scope: String,
}

/// What a rule is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    pub(crate) group: &'t str,
    pub(crate) version: &'t str,
    pub(crate) plural: &'t str,
    pub(crate) subresource: &'t str,
    /// Whether the object is in a namespace.
    pub(crate) namespaced: bool,
}

impl Rule {
    /// The rule that an object says.
    pub(crate) fn of(rule: &Value) -> Self {
        let texts = |field: &str| -> Vec<String> {
            let items = rule[field].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    /// Whether the rule is about this.
    pub(crate) fn matches(&self, operation: Operation, target: &Target<'_>) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|one| one == "*" || one == item);
        has(&self.operations, operation.as_str())
            && has(&self.groups, target.group)
            && has(&self.versions, target.version)
            && self.resources.iter().any(|resource| covers(resource, target))
            && match self.scope.as_str() {
                "Namespaced" => target.namespaced,
                "Cluster" => !target.namespaced,
                _ => true,
            }
    }
}

fn covers(resource: &str, target: &Target<'_>) -> bool {
    let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    (plural == "*" || plural == target.plural) && (subresource == "*" || subresource == target.subresource)
}

/// The kind in whose form somebody wants to see the request whose rules match these targets: the request's own or, if
/// `equivalent` ones count, another that serves the same objects. `None` if the request does not concern them.
pub(crate) fn seen_as(
    registry: &Registry,
    request: &Request<'_>,
    equivalent: bool,
    matches: impl Fn(&Target<'_>) -> bool,
) -> Option<KindRef> {
    let kind = &request.attempt.kind;
    let matches = |kind: &KindRef| matches(&target(request, kind));
    if matches(kind) {
        return Some(kind.clone());
    }
    if !equivalent || !kind.verbs.are_of_stored() {
        return None;
    }
    let served = registry.catalog.served();
    let same = served.kinds.iter().filter(|other| other.storage == kind.storage && other.kind == kind.kind);
    let subresource = request.attempt.subresource;
    let mut equivalent =
        same.filter(|other| subresource.is_empty() || other.subresources.iter().any(|sub| sub.name == subresource));
    equivalent.find(|other| matches(other)).cloned()
}

fn target<'t>(request: &'t Request<'_>, kind: &'t KindRef) -> Target<'t> {
    Target {
        group: kind.group,
        version: kind.version,
        plural: kind.plural,
        subresource: request.attempt.subresource,
        namespaced: request.is_namespaced(),
    }
}

/// Whether the namespace that a request is about is selected; what is in no namespace always is. 404 for a namespace
/// that is not there.
pub(crate) fn selects_namespace(
    selector: &Selector,
    registry: &Registry,
    request: &Request<'_>,
    new: &Value,
) -> Result<bool, Status> {
    let attempt = request.attempt;
    let itself = attempt.kind.group.is_empty() && attempt.kind.plural == "namespaces";
    if selector.is_everything() || (attempt.namespace.is_empty() && !itself) {
        return Ok(true);
    }
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if itself && writes && attempt.subresource.is_empty() {
        return Ok(selector.matches(&new["metadata"]["labels"]));
    }
    let name = if itself { &attempt.name } else { &attempt.namespace };
    let namespace = registry.peek("", "Namespace", "", name);
    let namespace = namespace.ok_or_else(|| Status::not_found(Resource { group: "", name: "namespaces" }, name))?;
    Ok(selector.matches(&namespace["metadata"]["labels"]))
}

/// Whether the object is selected, as it is wanted or as it is.
pub(crate) fn selects_object(selector: &Selector, request: &Request<'_>, new: &Value) -> bool {
    let matches = |object: &Value| object.is_object() && selector.matches(&object["metadata"]["labels"]);
    selector.is_everything() || matches(new) || request.old.is_some_and(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(rule: Value, operation: Operation, what: &str, want: bool) {
        let mut parts = what.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let (group, version, resource, scope) = (next(), next(), next(), next());
        let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let target = Target { group, version, plural, subresource, namespaced: scope == "ns" };
        assert_eq!(Rule::of(&rule).matches(operation, &target), want, "{rule} {what}");
    }

    fn rule(resources: &[&str], scope: &str) -> Value {
        json!({ "operations": ["CREATE", "CONNECT"], "apiGroups": ["apps"], "apiVersions": ["*"],
                "resources": resources, "scope": scope })
    }

    #[test]
    fn resources_and_subresources() {
        use Operation::{Connect, Create, Update};
        check(rule(&["deployments"], "*"), Create, "apps v1 deployments ns", true);
        check(rule(&["deployments"], "*"), Connect, "apps v1 deployments ns", true);
        check(rule(&["deployments"], "*"), Update, "apps v1 deployments ns", false);
        check(rule(&["deployments"], "*"), Create, "batch v1 deployments ns", false);
        check(rule(&["deployments"], "*"), Create, "apps v1 deployments/scale ns", false);
        check(rule(&["deployments/*"], "*"), Create, "apps v1 deployments/scale ns", true);
        check(rule(&["deployments/*"], "*"), Create, "apps v1 deployments ns", true);
        check(rule(&["*"], "*"), Create, "apps v1 deployments ns", true);
        check(rule(&["*"], "*"), Create, "apps v1 deployments/scale ns", false);
        check(rule(&["*/scale"], "*"), Create, "apps v1 deployments/scale ns", true);
        check(rule(&["*/*"], "*"), Create, "apps v1 deployments/scale ns", true);
    }

    #[test]
    fn scopes() {
        check(rule(&["*"], "Namespaced"), Operation::Create, "apps v1 deployments ns", true);
        check(rule(&["*"], "Cluster"), Operation::Create, "apps v1 deployments ns", false);
        check(rule(&["*"], "Cluster"), Operation::Create, "apps v1 things cluster", true);
    }
}
