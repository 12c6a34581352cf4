//! What the kinds of `flowcontrol.apiserver.k8s.io` must look like, and the objects of them that every cluster has.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde_json::Value;

use super::cursor::Cursor;
use super::names;
use super::same::same;

/// The objects that every cluster has, in YAML; those of [`MANDATORY`] never change.
const OBJECTS: &str = include_str!("../../facts/flowcontrol.yaml");
/// The names of the objects, of either kind, that must be as they are.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const MAX_QUEUES: i64 = 10_000_000;
/// Bits of a request's hash that dealing queues out to its flow may use up.
const MAX_HASH_BITS: f64 = 60.0;

/// The `PriorityLevelConfiguration`s and `FlowSchema`s that every cluster has: what is mandatory, and what upstream
/// suggests.
pub fn flow_control_objects() -> &'static [Value] {
    static PARSED: OnceLock<Vec<Value>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let documents = serde_yaml_ng::Deserializer::from_str(OBJECTS);
        documents
            .map(|document| serde::Deserialize::deserialize(document).expect("invariant: the table is YAML"))
            .collect()
    })
}

/// The specs of the mandatory objects are fixed, but for what `exempt` itself may say about its share.
pub(crate) fn mandatory(kind: &str, name: &str, spec: &Cursor<'_>) {
    if !MANDATORY.contains(&name) {
        return;
    }
    let fixed = flow_control_objects().iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    let Some(fixed) = fixed.map(|fixed| &fixed["spec"]) else { return };
    let free = kind == "PriorityLevelConfiguration" && name == "exempt";
    let mut given = spec.value().clone();
    if free && given.is_object() {
        given["exempt"] = fixed["exempt"].clone();
    }
    if !same(&given, fixed) {
        let but = if free { " except the 'spec.exempt' field" } else { "" };
        spec.invalid(format!("spec of '{name}'{but} must equal the fixed value"));
    }
}

/// The conditions of either kind: each type once.
pub(crate) fn conditions(conditions: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for condition in conditions.items() {
        let kind = condition.get("type");
        if !taken.insert(kind.text()) {
            kind.duplicate();
        }
        if kind.is_empty() {
            kind.required("must not be empty");
        }
    }
}

/// The spec of the priority level `name`.
pub(crate) fn priority_level(spec: &Cursor<'_>, name: &str) {
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (name == "exempt") != (kind.text() == "Exempt") {
        kind.invalid_as(kind.text(), "type must be 'Exempt' if and only if name is 'exempt'");
    }
    match kind.text() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden("must be nil if the type is not Limited");
            }
            shares(&exempt);
            lendable(&exempt);
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden("must be nil if the type is Limited");
            }
            if limited.is_set() {
                self::limited(&limited);
            } else {
                limited.required("must not be empty when type is Limited");
            }
        }
        _ => kind.not_supported(&["Exempt", "Limited"]),
    }
}

fn limited(limited: &Cursor<'_>) {
    shares(limited);
    let response = limited.get("limitResponse");
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match (kind.text(), queuing.is_set()) {
        ("Reject", true) => queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
        ("Queue", false) => queuing.required("must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", true) => queues(&queuing),
        ("Reject", false) => {}
        _ => kind.not_supported(&["Queue", "Reject"]),
    }
    lendable(limited);
    let borrowing = limited.get("borrowingLimitPercent");
    if borrowing.int().is_some_and(i64::is_negative) {
        borrowing.invalid("if specified, must be a non-negative integer");
    }
}

fn shares(level: &Cursor<'_>) {
    let shares = level.get("nominalConcurrencyShares");
    if shares.int().is_some_and(i64::is_negative) {
        shares.invalid("must be a non-negative integer");
    }
}

fn lendable(level: &Cursor<'_>) {
    level.get("lendablePercent").in_range(0..=100);
}

fn queues(queuing: &Cursor<'_>) {
    let field = |name: &str| (queuing.get(name), queuing.get(name).int().unwrap_or_default());
    let ((length, limit), (queues, deck), (hand_size, hand)) =
        (field("queueLengthLimit"), field("queues"), field("handSize"));
    if limit <= 0 {
        length.invalid_as(limit, "must be positive");
    }
    match deck {
        ..=0 => queues.invalid_as(deck, "must be positive"),
        _ if deck > MAX_QUEUES => queues.invalid(format!("must not be greater than {MAX_QUEUES}")),
        _ => {}
    }
    match hand {
        ..=0 => hand_size.invalid_as(hand, "must be positive"),
        _ if hand > deck => hand_size.invalid(format!("should not be greater than queues ({deck})")),
        _ if (deck as f64).log2() * hand as f64 > MAX_HASH_BITS => hand_size.invalid(format!(
            "required entropy bits of deckSize {deck} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        )),
        _ => {}
    }
}

/// `rules` of a `FlowSchema`.
pub(crate) fn policy_rules(rules: &Cursor<'_>) {
    for rule in rules.items() {
        let (subjects, resource_rules, path_rules) =
            (rule.get("subjects"), rule.get("resourceRules"), rule.get("nonResourceRules"));
        subjects.items().for_each(|subject| self::subject(&subject));
        if subjects.is_empty() {
            subjects.required("subjects must contain at least one value");
        }
        if resource_rules.is_empty() && path_rules.is_empty() {
            rule.required("at least one of resourceRules and nonResourceRules has to be non-empty");
        }
        resource_rules.items().for_each(|rule| resource_rule(&rule));
        path_rules.items().for_each(|rule| path_rule(&rule));
    }
}

/// The kinds of subject, each with its field.
const SUBJECTS: [(&str, &str); 3] = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

fn subject(subject: &Cursor<'_>) {
    let kind = subject.get("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(name, _)| *name == kind.text()) else {
        kind.not_supported(&SUBJECTS.map(|(name, _)| name));
        return;
    };
    let named = subject.get(own);
    if !named.is_set() {
        named.required(&format!("{own} is required when subject kind is '{}'", kind.text()));
    } else {
        let name = named.get("name");
        match *own {
            "serviceAccount" if name.text() != "*" => name.must_follow(names::subdomain),
            _ => drop(name.must()),
        }
        if *own == "serviceAccount" {
            service_account_namespace(&named.get("namespace"));
        }
    }
    for (kind, field) in SUBJECTS.iter().filter(|(_, field)| field != own) {
        let other = subject.get(field);
        if other.is_set() {
            other.forbidden(format!("{field} is forbidden when subject kind is not '{kind}'"));
        }
    }
}

fn service_account_namespace(namespace: &Cursor<'_>) {
    if namespace.is_empty() {
        namespace.required("must specify namespace for service account");
    } else {
        namespace.follows(names::label);
    }
}

fn verbs(verbs: &Cursor<'_>) {
    if verbs.is_empty() {
        verbs.required("verbs must contain at least one value");
    } else if !alone(verbs, "verbs") && !has_wildcard(verbs) && !verbs.texts().all(|verb| VERBS.contains(&verb)) {
        verbs.not_supported(VERBS);
    }
}

fn has_wildcard(list: &Cursor<'_>) -> bool {
    list.texts().any(|text| text == "*")
}

/// `*` covers everything, so nothing may stand beside it; answers whether something does.
fn alone(list: &Cursor<'_>, what: &str) -> bool {
    let crowded = list.len() > 1 && has_wildcard(list);
    if crowded {
        list.invalid(format!("if '*' is present, must not specify other {what}"));
    }
    crowded
}

fn resource_rule(rule: &Cursor<'_>) {
    verbs(&rule.get("verbs"));
    for (field, words) in [("apiGroups", "api group"), ("resources", "resource")] {
        let list = rule.get(field);
        if list.is_empty() {
            list.required(&format!("resource rules must supply at least one {words}"));
        }
        alone(&list, &format!("{words}s"));
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && !rule.get("clusterScope").is_true() {
        namespaces.required("resource rules that are not cluster scoped must supply at least one namespace");
    } else if !alone(&namespaces, "namespaces") && !has_wildcard(&namespaces) {
        for namespace in namespaces.items() {
            for fault in names::label(namespace.text()) {
                namespace.invalid(format!("each member of this list must be '*' or a DNS-1123 label; {fault}"));
            }
        }
    }
}

fn path_rule(rule: &Cursor<'_>) {
    verbs(&rule.get("verbs"));
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        urls.required("nonResourceURLs must contain at least one value");
    } else if !alone(&urls, "non-resource URLs") && !has_wildcard(&urls) {
        urls.items().for_each(|url| path(&url));
    }
}

fn path(path: &Cursor<'_>) {
    let text = path.text();
    let stars = text.matches('*').count();
    let fault = match text {
        "/" => return,
        "" => "must not be empty",
        _ if !text.starts_with('/') => "must start with slash",
        _ if text.contains(' ') => "must not contain white-space",
        _ if text.contains("//") => "must not contain double slash",
        _ if stars > 1 || (stars == 1 && !text.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    path.invalid(fault);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::find;

    #[test]
    fn what_every_cluster_has_is_without_fault() {
        for object in flow_control_objects() {
            let kind = object["kind"].as_str().and_then(|kind| find("flowcontrol.apiserver.k8s.io", "v1", kind));
            let rules = kind.expect("a built-in kind").rules;
            let mut defaulted = object.clone();
            rules.default(&mut defaulted);
            assert_eq!(&defaulted, object, "defaults are filled in already");
            assert_eq!(rules.validate(object), [], "{object}");
        }
    }
}
