//! What admission policies and their bindings share: match resources, parameters.

use serde_json::{Value, json};

use super::{Cursor, labels, names, webhook};
use crate::kinds::fill;

/// What a policy may do about what it cannot evaluate.
pub(crate) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];

/// The defaults of the MatchResources `name` of `spec`, if it is there.
pub(crate) fn default_match_resources(spec: &mut Value, name: &str) {
    let Some(resources) = spec.get_mut(name).filter(|resources| resources.is_object()) else { return };
    fill::absent(resources, "matchPolicy", "Equivalent");
    fill::absent(resources, "namespaceSelector", json!({}));
    fill::absent(resources, "objectSelector", json!({}));
    for rules in ["/resourceRules", "/excludeResourceRules"] {
        fill::each(resources, rules, |rule| fill::absent(rule, "scope", "*"));
    }
}

/// A policy's `failurePolicy`, `paramKind` and `matchConstraints`.
pub(crate) fn policy(spec: &Cursor<'_>) {
    let failure = spec.get("failurePolicy");
    if failure.is_set() {
        failure.may_be_one_of(FAILURE_POLICIES);
    } else {
        failure.required("");
    }
    if spec.get("paramKind").is_set() {
        param_kind(&spec.get("paramKind"));
    }
    let constraints = spec.get("matchConstraints");
    if !constraints.is_set() {
        return constraints.required("");
    }
    match_resources(&constraints);
    if constraints.get("resourceRules").is_empty() {
        constraints.get("resourceRules").required("");
    }
}

fn param_kind(kind: &Cursor<'_>) {
    let (version, name) = (kind.get("apiVersion"), kind.get("kind"));
    if version.must() {
        let (group, version_text) = version.text().split_once('/').unwrap_or(("", version.text()));
        if !group.is_empty() {
            version.follows(|_| names::subdomain(group));
        }
        version.follows(|_| names::label_1035(version_text));
    }
    if name.must() {
        let lower = name.text().to_lowercase();
        name.follows(|_| names::label_1035(&lower));
    }
}

/// A `MatchResources`.
pub(crate) fn match_resources(resources: &Cursor<'_>) {
    resources.get("matchPolicy").may_be_one_of(&["Equivalent", "Exact"]);
    for selector in ["namespaceSelector", "objectSelector"] {
        if resources.get(selector).is_set() {
            labels::selector(&resources.get(selector));
        } else {
            resources.get(selector).required("");
        }
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        resources.get(rules).items().for_each(|rule| self::rule(&rule));
    }
}

fn rule(rule: &Cursor<'_>) {
    webhook::rule(rule);
    for name in rule.get("resourceNames").items() {
        name.follows(names::path_segment);
    }
}

/// A binding's `policyName`, `paramRef` and `matchResources`.
pub(crate) fn binding(spec: &Cursor<'_>) {
    spec.get("policyName").must_follow(names::subdomain);
    if spec.get("paramRef").is_set() {
        param_ref(&spec.get("paramRef"));
    }
    if spec.get("matchResources").is_set() {
        match_resources(&spec.get("matchResources"));
    }
}

fn param_ref(reference: &Cursor<'_>) {
    let (name, selector) = (reference.get("name"), reference.get("selector"));
    name.may_follow(names::path_segment);
    if !name.is_empty() && selector.is_set() {
        name.forbidden("name and selector are mutually exclusive");
        selector.forbidden("name and selector are mutually exclusive");
    } else if name.is_empty() && !selector.is_set() {
        name.required("one of name or selector must be specified");
        selector.required("one of name or selector must be specified");
    }
    if selector.is_set() {
        labels::selector(&selector);
    }
    let action = reference.get("parameterNotFoundAction");
    if action.must() {
        action.may_be_one_of(&["Allow", "Deny"]);
    }
}
