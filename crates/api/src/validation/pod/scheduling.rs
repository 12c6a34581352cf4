//! Where a Pod may run: affinity, tolerations, topology spread, gates.

use std::collections::HashSet;

use crate::validation::cursor::Cursor;
use crate::validation::{labels, names};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// What a taint does.
pub(crate) const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `affinity`
pub(super) fn affinity(affinity: &Cursor<'_>) {
    node_affinity(&affinity.get("nodeAffinity"));
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.get(REQUIRED).items() {
            pod_term(&term);
        }
        for weighted in pods.get(PREFERRED).items() {
            weight(&weighted);
            pod_term(&weighted.get("podAffinityTerm"));
        }
    }
}

fn node_affinity(affinity: &Cursor<'_>) {
    let required = affinity.get(REQUIRED);
    if required.is_set() {
        node_selector(&required, "");
    }
    for preferred in affinity.get(PREFERRED).items() {
        weight(&preferred);
        node_selector_term(&preferred.get("preference"));
    }
}

/// A node selector, which must be there; `missing` says what is missing if it is not.
pub(crate) fn node_selector(selector: &Cursor<'_>, missing: &str) {
    if !selector.is_set() {
        selector.required(missing);
        return;
    }
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        terms.required("must have at least one node selector term");
    }
    for term in terms.items() {
        node_selector_term(&term);
    }
}

fn weight(term: &Cursor<'_>) {
    let weight = term.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or_default()) {
        weight.invalid_as(weight.int().unwrap_or_default(), "must be in the range 1-100");
    }
}

/// A term of a node selector.
fn node_selector_term(term: &Cursor<'_>) {
    for requirement in term.get("matchExpressions").items() {
        labels::node_requirement(&requirement);
    }
    for requirement in term.get("matchFields").items() {
        node_field(&requirement);
    }
}

/// Only a node's name can be matched as a field.
fn node_field(requirement: &Cursor<'_>) {
    let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.len() != 1 => {
            values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        }
        "In" | "NotIn" => {}
        text => operator.invalid_as(text, "not a valid selector operator"),
    }
    if key.text() != "metadata.name" {
        key.invalid_as(key.text(), "not a valid field selector key");
        return;
    }
    for value in values.items() {
        value.follows(names::subdomain);
    }
}

fn pod_term(term: &Cursor<'_>) {
    labels::selector(&term.get("labelSelector"));
    labels::selector(&term.get("namespaceSelector"));
    for namespace in term.get("namespaces").items() {
        namespace.follows(names::label);
    }
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(&term.get(field), &term.get("labelSelector"));
    }
    let mismatch = term.get("mismatchLabelKeys");
    for key in term.get("matchLabelKeys").items() {
        if mismatch.texts().any(|other| other == key.text()) {
            key.invalid("exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
    let topology = term.get("topologyKey");
    if topology.is_empty() {
        topology.required("can not be empty");
    }
    topology.follows(names::qualified);
}

fn label_keys(keys: &Cursor<'_>, selector: &Cursor<'_>) {
    if !keys.is_empty() && !selector.is_set() {
        keys.forbidden("must not be specified when labelSelector is not set");
        return;
    }
    for key in keys.items() {
        key.follows(names::qualified);
    }
}

/// `tolerations`
pub(crate) fn tolerations(tolerations: &Cursor<'_>) {
    for toleration in tolerations.items() {
        let field = |name: &str| toleration.get(name);
        let (key, operator, value, effect) = (field("key"), field("operator"), field("value"), field("effect"));
        key.may_follow(names::qualified);
        if key.is_empty() && operator.text() != "Exists" {
            operator.invalid_as(
                operator.text(),
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if field("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            effect.invalid_as(effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.text() {
            "" | "Equal" => {
                let faults = names::label_value(value.text());
                if !faults.is_empty() {
                    operator.invalid_as(value.text(), faults.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                operator.invalid_as(toleration.value().clone(), "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            _ => operator.not_supported(&["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            effect.may_be_one_of(TAINT_EFFECTS);
        }
    }
}

/// `topologySpreadConstraints`
pub(super) fn topology_spread(constraints: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for constraint in constraints.items() {
        let field = |name: &str| constraint.get(name);
        let (topology, action) = (field("topologyKey"), field("whenUnsatisfiable"));
        positive(&field("maxSkew"));
        if topology.is_empty() {
            topology.required("can not be empty");
        }
        if !matches!(action.text(), "DoNotSchedule" | "ScheduleAnyway") {
            action.not_supported(&["DoNotSchedule", "ScheduleAnyway"]);
        }
        if !taken.insert((topology.text(), action.text())) {
            field("{topologyKey, whenUnsatisfiable}").duplicate_as(format!(
                "{{{}, {}}}",
                topology.text(),
                action.text()
            ));
        }
        min_domains(&field("minDomains"), action.text());
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            field(policy).may_be_one_of(&["Honor", "Ignore"]);
        }
        label_keys(&field("matchLabelKeys"), &field("labelSelector"));
        labels::selector(&field("labelSelector"));
    }
}

fn min_domains(domains: &Cursor<'_>, action: &str) {
    if !domains.is_set() {
        return;
    }
    positive(domains);
    if action != "DoNotSchedule" {
        domains.invalid(format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"));
    }
}

fn positive(number: &Cursor<'_>) {
    if number.int().unwrap_or_default() <= 0 {
        number.invalid_as(number.int().unwrap_or_default(), "must be greater than zero");
    }
}

/// `readinessGates` and `schedulingGates`
pub(super) fn gates(spec: &Cursor<'_>) {
    for gate in spec.get("readinessGates").items() {
        gate.get("conditionType").follows(names::qualified);
    }
    let mut taken = HashSet::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name").text();
        for fault in names::qualified(name) {
            gate.invalid_as(name, fault);
        }
        if !taken.insert(name) {
            gate.duplicate_as(name);
        }
    }
}
