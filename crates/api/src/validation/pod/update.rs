//! What may change in a Pod that exists: images, a shorter deadline, more tolerations, fewer gates.

use serde_json::Value;

use super::{app_armor, pod};
use crate::field::Error;
use crate::kinds::qos_class;
use crate::validation::cursor::{Cursor, check};
use crate::validation::same::{differences, same};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
    (allow it to be set to 1 if it was previously negative)";

/// The faults of a Pod's change.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<Error> {
    check(new, |pod| {
        app_armor::stay(pod, old);
        let (spec, old_spec) = (pod.get("spec"), &old["spec"]);
        for list in ["containers", "initContainers"] {
            if spec.get(list).len() != old_spec[list].as_array().map_or(0, Vec::len) {
                spec.get(list).forbidden("pod updates may not add or remove containers");
                return;
            }
        }
        if !deadline(&spec.get("activeDeadlineSeconds"), &old_spec["activeDeadlineSeconds"]) {
            return;
        }
        tolerations_stay(&spec.get("tolerations"), &old_spec["tolerations"]);
        no_new_gates(&spec.get("schedulingGates"), &old_spec["schedulingGates"]);
        if same(spec.value(), old_spec) {
            return;
        }
        if qos_class(new) != qos_class(old) {
            pod.get("metadata").invalid_as(qos_class(new), "Pod QoS is immutable");
        }
        rest_stays(pod, old);
    })
}

/// A deadline may come, and come nearer; answers whether it did no more than that.
fn deadline(new: &Cursor<'_>, old: &Value) -> bool {
    match (new.int(), old.as_i64()) {
        (Some(new_seconds), _) if !(0..=i64::from(i32::MAX)).contains(&new_seconds) => {
            new.in_range(0..=i64::from(i32::MAX));
            false
        }
        (Some(new_seconds), Some(old_seconds)) if old_seconds < new_seconds => {
            new.invalid("must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            new.invalid("must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn tolerations_stay(new: &Cursor<'_>, old: &Value) {
    let but_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration["tolerationSeconds"] = Value::Null;
        toleration
    };
    let kept = |old: &Value| new.items().any(|item| same(&but_seconds(item.value()), &but_seconds(old)));
    if !old.as_array().into_iter().flatten().all(kept) {
        new.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
}

fn no_new_gates(new: &Cursor<'_>, old: &Value) {
    let known = |name: &str| old.as_array().is_some_and(|old| old.iter().any(|gate| gate["name"] == name));
    for name in new.items().map(|gate| gate.get("name")).filter(|name| !known(name.text())) {
        name.forbidden(format!("only deletion is allowed, but found new scheduling gate '{}'", name.text()));
    }
}

/// Everything but what may change must be as it was.
fn rest_stays(pod: &Cursor<'_>, old: &Value) {
    let spec = pod.get("spec");
    let old_spec = &old["spec"];
    let mut munged = spec.value().clone();
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        munged[field] = old_spec[field].clone();
    }
    for list in ["containers", "initContainers"] {
        let containers = munged[list].as_array_mut().into_iter().flatten();
        for (container, old) in containers.zip(old_spec[list].as_array().into_iter().flatten()) {
            container["image"] = old["image"].clone();
        }
    }
    let grace = "terminationGracePeriodSeconds";
    if munged[grace] == 1 && old_spec[grace].as_i64().is_some_and(i64::is_negative) {
        munged[grace] = old_spec[grace].clone();
    }
    if old_spec["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        gated_pod(&spec, old_spec, &mut munged);
    }
    if !same(&munged, old_spec) {
        let changed = differences(&munged, old_spec);
        let changed = changed.iter().map(|path| format!("\n  spec.{path}")).collect::<String>();
        spec.forbidden(format!("pod updates may not change fields other than {UPDATABLE}{changed}"));
    }
}

/// As long as a gate holds a Pod back, where it may run can be narrowed.
fn gated_pod(spec: &Cursor<'_>, old_spec: &Value, munged: &mut Value) {
    let selector = spec.get("nodeSelector");
    let old_selector = old_spec["nodeSelector"].as_object();
    if old_selector.into_iter().flatten().any(|(key, value)| selector.value().get(key) != Some(value)) {
        selector.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)");
    }
    munged["nodeSelector"] = old_spec["nodeSelector"].clone();

    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = spec.get("affinity").get("nodeAffinity").get(required).get("nodeSelectorTerms");
    let old_terms = old_spec.pointer(&format!("/affinity/nodeAffinity/{required}/nodeSelectorTerms"));
    let old_terms = old_terms.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !old_terms.is_empty() && old_terms.len() != terms.len() {
        terms.invalid("no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    } else {
        for (term, _) in terms.items().zip(old_terms).filter(|(term, old)| !only_adds(term, old)) {
            term.invalid("only additions are allowed (no mutations or deletions)");
        }
    }
    if munged["affinity"].is_object() || old_spec["affinity"].is_object() {
        munged["affinity"]["nodeAffinity"] = old_spec["affinity"]["nodeAffinity"].clone();
    }
}

fn only_adds(term: &Cursor<'_>, old: &Value) -> bool {
    let count = |term: &Value, field: &str| term[field].as_array().map_or(0, Vec::len);
    let fields = ["matchExpressions", "matchFields"];
    // A term without requirements matches nothing; a requirement would make it match something.
    if fields.iter().all(|field| count(old, field) == 0) {
        return fields.iter().all(|field| count(term.value(), field) == 0);
    }
    let keeps = |field: &&str| {
        let old = old[*field].as_array().map(Vec::as_slice).unwrap_or_default();
        term.get(field).len() >= old.len() && term.get(field).items().zip(old).all(|(new, old)| same(new.value(), old))
    };
    fields.iter().all(keeps)
}

/// The faults of a change through the `ephemeralcontainers` subresource, which only ever adds.
pub fn ephemeral_containers_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut faults = pod(new);
    faults.extend(check(new, |pod| {
        let list = pod.get("spec").get("ephemeralContainers");
        for old in old["spec"]["ephemeralContainers"].as_array().into_iter().flatten() {
            let name = old["name"].as_str().unwrap_or_default();
            match list.items().find(|container| container.get("name").text() == name) {
                None => list.forbidden(format!("existing ephemeral containers \"{name}\" may not be removed\n")),
                Some(container) if !same(container.value(), old) => {
                    list.forbidden(format!("existing ephemeral containers \"{name}\" may not be changed\n"));
                }
                Some(_) => {}
            }
        }
    }));
    faults
}
