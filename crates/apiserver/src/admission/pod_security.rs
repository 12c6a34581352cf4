//! PodSecurity: a namespace's labels say which Pods it takes; others are refused, warned of, or noted.

use std::collections::BTreeMap;

use sampan_api::pod_security::{Level, Policy, Standard, Violation, sentence, violations};
use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::cache::labels;
use crate::registry::Registry;

/// How many Pods of a namespace are looked at when its level rises.
const PODS_LOOKED_AT: usize = 3000;
/// Paths below a Pod that do not change what it is.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// Where the Pod template of other kinds is.
const TEMPLATES: [(&str, &str); 8] = [
    ("podtemplates", "/template"),
    ("replicationcontrollers", "/spec/template"),
    ("replicasets", "/spec/template"),
    ("deployments", "/spec/template"),
    ("statefulsets", "/spec/template"),
    ("daemonsets", "/spec/template"),
    ("jobs", "/spec/template"),
    ("cronjobs", "/spec/jobTemplate/spec/template"),
];

pub(super) struct PodSecurity;

impl Plugin for PodSecurity {
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let kind = &request.attempt.kind;
        match (kind.group, kind.plural) {
            ("", "namespaces") if request.attempt.subresource.is_empty() => namespace(registry, request, new),
            ("", "pods") if !HARMLESS.contains(&request.attempt.subresource) => pod(registry, request, new),
            ("" | "apps" | "batch", plural) if request.attempt.subresource.is_empty() => {
                template(registry, request, new, plural);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The policy of the namespace that the request is about.
fn policy(registry: &Registry, request: &Request<'_>) -> Policy {
    let namespace = registry.peek("", "Namespace", "", &request.attempt.namespace);
    Policy::of_labels(&namespace.as_ref().map(labels).unwrap_or_default()).0
}

fn pod(registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let policy = policy(registry, request);
    if policy.is_open() || request.old.is_some_and(|old| !changes_much(new, old)) {
        return Ok(());
    }
    let broken = violations(policy.enforce, &new["metadata"], &new["spec"]);
    request.attempt.notes.annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.to_string());
    note_audit(request, policy.audit, new);
    if !broken.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, sentence(&broken));
        return Err(request.attempt.forbidden(&why));
    }
    warn(request, policy.warn, new);
    Ok(())
}

/// A template makes no Pod yet: its author is warned, and it is noted.
fn template(registry: &Registry, request: &Request<'_>, new: &Value, plural: &str) {
    let place = TEMPLATES.iter().find(|(name, _)| *name == plural).map(|(_, place)| *place);
    let Some(template) = place.and_then(|place| new.pointer(place)).filter(|template| !template.is_null()) else {
        return;
    };
    let policy = policy(registry, request);
    note_audit(request, policy.audit, template);
    warn(request, policy.warn, template);
}

fn note_audit(request: &Request<'_>, standard: Standard, pod: &Value) {
    if let Some(words) = would_violate(standard, pod) {
        request.attempt.notes.annotate("pod-security.kubernetes.io/audit-violations", words);
    }
}

fn warn(request: &Request<'_>, standard: Standard, pod: &Value) {
    request.attempt.notes.warn_all(would_violate(standard, pod));
}

fn would_violate(standard: Standard, pod: &Value) -> Option<String> {
    let broken = violations(standard, &pod["metadata"], &pod["spec"]);
    (!broken.is_empty()).then(|| format!("would violate PodSecurity \"{standard}\": {}", sentence(&broken)))
}

/// Whether an update could make a Pod another one: images change, ephemeral containers come.
fn changes_much(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value, list: &str| -> BTreeMap<String, Value> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|c| (c["name"].as_str().unwrap_or_default().to_owned(), c["image"].clone())).collect()
    };
    ["initContainers", "containers", "ephemeralContainers"].iter().any(|list| images(new, list) != images(old, list))
}

/// The labels must make sense; if they ask for more than before, the Pods that are there may fall short.
fn namespace(registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let attempt = request.attempt;
    let (policy, faults) = Policy::of_labels(&labels(new));
    let Some(old) = request.old else {
        return if faults.is_empty() {
            Ok(())
        } else {
            Err(Status::invalid(attempt.group_kind(), &attempt.name, &faults))
        };
    };
    let (before, old_faults) = Policy::of_labels(&labels(old));
    if faults.len() > old_faults.len() {
        return Err(Status::invalid(attempt.group_kind(), &attempt.name, &faults));
    }
    let stricter = policy.enforce != before.enforce && policy.enforce.level >= before.enforce.level;
    if stricter && policy.enforce.level != Level::Privileged {
        attempt.notes.warn_all(falling_short(registry, &attempt.name, policy.enforce));
    }
    Ok(())
}

/// The Pods of a namespace that a new level would not take, as warnings: one line for each set of broken rules.
fn falling_short(registry: &Registry, namespace: &str, standard: Standard) -> Vec<String> {
    let pods = registry.peek_all("", "Pod", namespace);
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.iter().take(PODS_LOOKED_AT) {
        let broken = violations(standard, &pod["metadata"], &pod["spec"]);
        if !broken.is_empty() {
            let reasons = broken.iter().map(reason).collect::<Vec<_>>().join(", ");
            lines.entry(reasons).or_default().push(pod["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > PODS_LOOKED_AT {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_LOOKED_AT} of {} existing pods",
            pods.len()
        ));
    }
    if !lines.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut named: Vec<String> = lines.into_iter().map(|(reasons, names)| line(&reasons, &names)).collect();
    named.sort();
    warnings.extend(named);
    warnings
}

fn reason(violation: &Violation) -> &str {
    &violation.reason
}

fn line(reasons: &str, names: &[String]) -> String {
    let first = names.iter().min().map_or("", String::as_str);
    match names.len() {
        1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        many => format!("{first} (and {} other pods): {reasons}", many - 1),
    }
}
