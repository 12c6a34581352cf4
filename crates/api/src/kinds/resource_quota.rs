//! ResourceQuota: how much of what a namespace may have, for all of its Pods or for those of some scopes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, resource_names};

const GVK: Gvk = ("", "v1", "ResourceQuota");

/// `resourcequotas`
pub static RESOURCE_QUOTA: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.core.v1.ResourceQuota",
    storage: "resourcequotas",
    columns: &[cells::NAME, cells::text("Request"), cells::text("Limit"), cells::AGE],
    rules: &ResourceQuotaRules,
};

/// Scopes that can only be asked for as such, not for some values.
const PLAIN_SCOPES: &[&str] =
    &["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"];
/// Scopes that have values: the names of classes.
const CLASS_SCOPES: &[&str] = &["PriorityClass", "VolumeAttributesClass"];
/// Scopes no Pod can be in at once.
const CONFLICTS: &[[&str; 2]] = &[["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
/// What scopes over the resources of Pods can count, besides their number.
const OF_PODS: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

struct ResourceQuotaRules;

impl Rules for ResourceQuotaRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |quota| {
            let spec = quota.get("spec");
            counted(&spec.get("hard"));
            let (scopes, selector) = (spec.get("scopes"), spec.get("scopeSelector"));
            for scope in scopes.texts() {
                if !PLAIN_SCOPES.contains(&scope) && !CLASS_SCOPES.contains(&scope) {
                    scopes.invalid("unsupported scope");
                }
                fits(&scopes, scope, &spec);
            }
            no_conflict(&scopes, &scopes.texts().collect::<Vec<_>>());
            // Upstream leaves the last step out of the paths below.
            let requirements = selector.get("matchExpressions");
            for requirement in requirements.items() {
                scope_requirement(&requirement.at(requirements.path()), &spec);
            }
            let names: Vec<_> = requirements.items().map(|requirement| requirement.get("scopeName").text()).collect();
            no_conflict(&requirements, &names);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        let scopes = |quota| read::texts(quota, "/spec/scopes").into_iter().collect::<BTreeSet<_>>();
        check(new, |quota| {
            if scopes(new) != scopes(old) {
                quota.get("spec").get("scopes").invalid("field is immutable");
            }
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |quota| {
            for field in ["hard", "used"] {
                counted(&quota.get("status").get(field));
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let hard: BTreeSet<&str> =
            read::map(object, "/status/hard").into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let (limits, requests): (Vec<&str>, Vec<&str>) =
            hard.into_iter().partition(|resource| resource.starts_with("limits."));
        let used = |resource: &&str| {
            let amount = |field: &str| object["status"][field][*resource].as_str().unwrap_or("0");
            format!("{resource}: {}/{}", amount("used"), amount("hard"))
        };
        let cell = |resources: Vec<&str>| Value::from(resources.iter().map(used).collect::<Vec<_>>().join(", "));
        vec![cells::name(object), cell(requests), cell(limits), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

fn counted(amounts: &Cursor<'_>) {
    for (name, amount) in amounts.entries() {
        resource_names::of_quota(&amount, name);
        resource_names::amount(&amount, name);
    }
}

/// A scope over Pods can only be used for what Pods have.
fn fits(place: &Cursor<'_>, scope: &str, spec: &Cursor<'_>) {
    let counts = |resource: &str| match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" => resource == "pods" || OF_PODS.contains(&resource),
        "BestEffort" => resource == "pods",
        _ => true,
    };
    for (resource, _) in spec.get("hard").entries() {
        if resource_names::is_of_quotas(resource) && !counts(resource) {
            place.invalid("unsupported scope applied to resource");
        }
    }
}

fn scope_requirement(requirement: &Cursor<'_>, spec: &Cursor<'_>) {
    let (scope, operator, values) =
        (requirement.get("scopeName"), requirement.get("operator"), requirement.get("values"));
    let plain = PLAIN_SCOPES.contains(&scope.text());
    if !plain && !CLASS_SCOPES.contains(&scope.text()) {
        scope.invalid_as(scope.text(), "unsupported scope");
    }
    fits(requirement, scope.text(), spec);
    if plain && operator.text() != "Exists" {
        operator.invalid_as(
            operator.text(),
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
             ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
             ResourceQuotaScopeCrossNamespacePodAffinity",
        );
    }
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.invalid("must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        text => operator.invalid_as(text, "not a valid selector operator"),
    }
}

fn no_conflict(place: &Cursor<'_>, scopes: &[&str]) {
    if CONFLICTS.iter().any(|pair| pair.iter().all(|scope| scopes.contains(scope))) {
        place.invalid("conflicting scopes");
    }
}

#[cfg(test)]
mod tests {
    use super::RESOURCE_QUOTA;
    use crate::kinds::testing::{check, check_row, check_update};

    #[track_caller]
    fn spec(spec: &str, want: &[&str]) {
        check(&RESOURCE_QUOTA, &format!("{{spec: {{{spec}}}}}"), want);
    }

    #[test]
    fn what_can_be_counted() {
        spec("hard: {pods: '5', requests.cpu: 100m, count/deployments.apps: '2', requests.nvidia.com/gpu: '1'}", &[]);
        spec(
            "hard: {cores: '5', pods: 1500m, cpu: '-1', storage: '1'}",
            &[
                "spec.hard[cores]: Invalid value: \"cores\": must be a standard resource type or fully qualified",
                "spec.hard[cores]: Invalid value: \"cores\": must be a standard resource for quota",
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
            ],
        );
    }

    #[test]
    fn scopes() {
        spec("hard: {pods: '1'}, scopes: [BestEffort]", &[]);
        spec(
            "hard: {cpu: '1'}, scopes: [BestEffort, NotBestEffort]",
            &[
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        );
        spec("scopes: [Best]", &["spec.scopes: Invalid value: [\"Best\"]: unsupported scope"]);
        spec("scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}", &[]);
        spec(
            "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}]}",
            &[
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is \
             'In' or 'NotIn' for scope selector",
            ],
        );
        check_update(
            &RESOURCE_QUOTA,
            "{spec: {scopes: [BestEffort]}}",
            "{spec: {scopes: [NotBestEffort]}}",
            &["spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &RESOURCE_QUOTA,
            "{metadata: {name: a}, status: {hard: {pods: '5', limits.cpu: '2', cpu: '1'}, used: {pods: '1'}}}",
            "a | cpu: 0/1, pods: 1/5 | limits.cpu: 0/2 | <unknown>",
        );
    }
}
