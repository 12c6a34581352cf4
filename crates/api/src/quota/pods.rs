//! Pods: how many there are that still run or may run, and what they ask for.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Scope, one};
use crate::amounts::{self, Amounts};
use crate::kinds::qos_class;
use crate::validation::resource_names::is_huge_pages;

/// Names under which Pods are counted, beside huge pages and the resources of devices.
const NAMES: [&str; 10] = [
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// If a quota bounds one of these, every container must say how much it wants.
const MUST_BE_STATED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

pub(super) fn is_counted_as(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").unwrap_or(name);
    NAMES.contains(&name) || is_huge_pages(plain) || (plain != name && is_device(plain))
}

/// Whether a resource is one that a device plugin brings (`example.com/gpu`).
fn is_device(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

pub(super) fn usage(pod: &Value, now: Timestamp) -> Amounts {
    if is_over(pod, now) {
        return Amounts::new();
    }
    let spec = &pod["spec"];
    let of = |list| amounts::of_pod_with_overhead(spec, list);
    let mut used = compute(&of("requests"), &of("limits"));
    used.insert("pods".to_owned(), one());
    used
}

/// Requests and limits under the names by which quotas bound them.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        let native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(name);
        if native {
            used.insert(name.clone(), *amount);
        }
        if native || is_device(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    let bounded = |name: &&String| matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
    used.extend(limits.keys().filter(bounded).map(|name| (format!("limits.{name}"), limits[name])));
    used
}

/// Whether a Pod has ended, or should have by now.
fn is_over(pod: &Value, now: Timestamp) -> bool {
    if pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed" {
        return true;
    }
    let deleted = pod["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let (Some(deleted), Some(grace)) = (deleted, grace) else { return false };
    deleted.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
}

/// Whether a Pod ends by itself after some time.
pub(super) fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

pub(super) fn is_in(pod: &Value, scope: &Scope) -> bool {
    match scope.name {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => qos_class(pod) == "BestEffort",
        "NotBestEffort" => qos_class(pod) != "BestEffort",
        "PriorityClass" => {
            let class = pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty());
            scope.takes(class.as_slice())
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(&pod["spec"]["affinity"]),
        _ => false,
    }
}

fn reaches_other_namespaces(affinity: &Value) -> bool {
    let reaches = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|list| !list.is_empty()) || !term["namespaceSelector"].is_null()
    };
    let terms = |list: &'static str| {
        let sides = ["podAffinity", "podAntiAffinity"].into_iter();
        sides.flat_map(move |side| affinity[side][list].as_array().into_iter().flatten())
    };
    terms("requiredDuringSchedulingIgnoredDuringExecution").any(reaches)
        || terms("preferredDuringSchedulingIgnoredDuringExecution").any(|term| reaches(&term["podAffinityTerm"]))
}

/// `Err` with the containers that do not say what a quota bounds.
pub(super) fn check_stated(pod: &Value, counted: &[&str]) -> Result<(), String> {
    let whole = &pod["spec"]["resources"];
    if ["requests", "limits"].iter().any(|list| whole[*list].as_object().is_some_and(|list| !list.is_empty())) {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let lists = ["containers", "initContainers"].into_iter();
    for container in lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten()) {
        let of = |list: &str| amounts::read(&container["resources"][list]);
        let stated = compute(&of("requests"), &of("limits"));
        let unstated = counted.iter().filter(|name| MUST_BE_STATED.contains(name) && !stated.contains_key(**name));
        unstated.for_each(|name| missing.entry(name).or_default().push(container["name"].as_str().unwrap_or_default()));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let words = missing.into_iter().map(|(name, mut containers)| {
        containers.sort_unstable();
        format!("{name} for: {}", containers.join(","))
    });
    Err(format!("must specify {}", words.collect::<Vec<_>>().join("; ")))
}
