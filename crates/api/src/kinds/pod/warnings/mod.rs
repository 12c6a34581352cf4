//! What is allowed in a Pod and yet is rarely meant.

mod containers;
mod volumes;

use std::collections::HashSet;

use serde_json::Value;

use super::app_armor;
use crate::field::Path;
use crate::kinds::{old_labels, read};
use crate::validation::{addresses, names};

/// Annotations without effect, with what there is instead.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const SECCOMP_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// The warnings about a Pod.
pub(super) fn of_pod(pod: &Value) -> Vec<String> {
    let mut warnings = of_spec_and_metadata(pod, None);
    let faults = names::label(read::text(pod, "/metadata/name"));
    if !faults.is_empty() && !read::text(pod, "/metadata/name").is_empty() {
        let first = format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label \
             is recommended: [{}]",
            faults.join(" ")
        );
        warnings.insert(0, first);
    }
    warnings
}

/// The warnings about the Pod template of another kind's object, where most have it.
pub(in crate::kinds) fn of_template(object: &Value) -> Vec<String> {
    template_warnings(&object["spec"]["template"], &Path::new("spec").child("template"))
}

/// The warnings about a Pod template.
pub(in crate::kinds) fn template_warnings(template: &Value, path: &Path) -> Vec<String> {
    of_spec_and_metadata(template, Some(path))
}

/// A field of the Pod itself, or of the template at `at`.
fn field(at: Option<&Path>, name: &'static str) -> Path {
    at.map_or_else(|| Path::new(name), |at| at.child(name))
}

fn of_spec_and_metadata(pod: &Value, at: Option<&Path>) -> Vec<String> {
    let (spec, path) = (&pod["spec"], &field(at, "spec"));
    let mut warnings = of_labels(spec, path);
    warnings.extend(of_annotations(pod, &field(at, "metadata").child("annotations")));
    if let Some(at) = at {
        warnings.extend(app_armor::warnings(pod, &at.child("metadata").child("annotations")));
    }
    warnings.extend(volumes::warnings(spec, path));
    warnings.extend(of_duplicates(spec, path));
    warnings.extend(containers::warnings(spec, path));
    if read::int(spec, "/terminationGracePeriodSeconds") < 0 {
        let path = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings.extend(of_affinity(spec, &path.child("affinity")));
    let servers = path.child("dnsConfig").child("nameservers");
    let servers = read::texts(spec, "/dnsConfig/nameservers")
        .into_iter()
        .enumerate()
        .filter_map(|(index, server)| addresses::ip_warning(&servers.index(index), server));
    warnings.extend(servers);
    let aliases = read::list(spec, "/hostAliases").iter().enumerate();
    let ip = |index| path.child("hostAliases").index(index).child("ip");
    warnings.extend(aliases.filter_map(|(index, alias)| addresses::ip_warning(&ip(index), read::text(alias, "/ip"))));
    warnings
}

/// Labels of nodes with newer names, and constraints that match no Pod.
fn of_labels(spec: &Value, path: &Path) -> Vec<String> {
    let selector = path.child("nodeSelector");
    let mut warnings = old_labels::of_map(read::map(spec, "/nodeSelector"), |label| selector.key(label).to_string());
    let affinity = path.child("affinity").child("nodeAffinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = affinity.child(required).child("nodeSelectorTerms");
    let pointer = format!("/affinity/nodeAffinity/{required}/nodeSelectorTerms");
    for (index, term) in read::list(spec, &pointer).iter().enumerate() {
        warnings.extend(old_labels::of_expressions(term, &terms.index(index)));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in read::list(spec, &format!("/affinity/nodeAffinity/{preferred}")).iter().enumerate() {
        let path = affinity.child(preferred).index(index).child("preference");
        warnings.extend(old_labels::of_expressions(&term["preference"], &path));
    }
    for (index, spread) in read::list(spec, "/topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let key = read::text(spread, "/topologyKey");
        if let Some(message) = old_labels::message(key) {
            warnings.push(format!("{}: {key} is {message}", path.child("topologyKey")));
        }
        warnings.extend(matches_nothing(spread, &path));
    }
    warnings
}

fn matches_nothing(term: &Value, path: &Path) -> Option<String> {
    let warning = format!("{}: a null labelSelector results in matching no pod", path.child("labelSelector"));
    (!term["labelSelector"].is_object()).then_some(warning)
}

fn of_affinity(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for sort in ["podAffinity", "podAntiAffinity"] {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in read::list(spec, &format!("/affinity/{sort}/{required}")).iter().enumerate() {
            warnings.extend(matches_nothing(term, &path.child(sort).child(required).index(index)));
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in read::list(spec, &format!("/affinity/{sort}/{preferred}")).iter().enumerate() {
            let path = path.child(sort).child(preferred).index(index).child("podAffinityTerm");
            warnings.extend(matches_nothing(&term["podAffinityTerm"], &path));
        }
    }
    warnings
}

fn of_annotations(pod: &Value, path: &Path) -> Vec<String> {
    let Some(annotations) = read::map(pod, "/metadata/annotations") else { return Vec::new() };
    let old = OLD_ANNOTATIONS.iter().filter(|(name, _)| annotations.contains_key(*name));
    let mut warnings: Vec<String> = old.map(|(name, message)| format!("{}: {message}", path.key(name))).collect();
    let profiled = pod["spec"]["securityContext"]["seccompProfile"].is_object();
    if !profiled && annotations.contains_key(SECCOMP_ANNOTATION) {
        let path = path.key(SECCOMP_ANNOTATION);
        warnings.push(format!("{path}: non-functional in v1.27+; use the \"seccompProfile\" field instead"));
    }
    warnings
}

fn of_duplicates(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (index, item) in read::list(spec, &format!("/{list}")).iter().enumerate() {
            let value = item[field].as_str().unwrap_or_default();
            let path = path.child(list).index(index).child(field);
            if !seen.insert(value) {
                warnings.push(format!("{path}: duplicate {field} {value:?}"));
            }
            if value.is_empty() && field == "name" {
                warnings.push(format!("{path}: invalid empty name {value:?}"));
            }
        }
    }
    warnings
}
