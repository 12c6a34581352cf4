//! What is allowed in a Pod and yet is rarely meant.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::Path;
use crate::kinds::read;
use crate::validation::names;

/// Node labels that have newer names.
const OLD_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];

/// The warnings about a Pod.
pub(super) fn of_pod(pod: &Value) -> Vec<String> {
    let mut warnings = of_spec(&pod["spec"], &Path::new("spec"));
    let faults = names::label(read::text(pod, "/metadata/name"));
    if !faults.is_empty() && !read::text(pod, "/metadata/name").is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label \
             is recommended: [{}]",
            faults.join(" ")
        ));
    }
    warnings
}

/// The warnings about the Pod template of another kind's object, where most have it.
pub(in crate::kinds) fn of_template(object: &Value) -> Vec<String> {
    template_warnings(&object["spec"]["template"], &Path::new("spec").child("template"))
}

/// The warnings about a Pod template.
pub(in crate::kinds) fn template_warnings(template: &Value, path: &Path) -> Vec<String> {
    of_spec(&template["spec"], &path.child("spec"))
}

fn of_spec(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let selector = read::map(spec, "/nodeSelector");
    for (old, since, new) in OLD_LABELS.iter().filter(|(old, ..)| selector.is_some_and(|map| map.contains_key(*old))) {
        let path = path.child("nodeSelector").key(old);
        warnings.push(format!("{path}: deprecated since {since}; use \"{new}\" instead"));
    }
    if read::int(spec, "/terminationGracePeriodSeconds") < 0 {
        let path = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in read::list(spec, &format!("/{list}")).iter().enumerate() {
            warnings.extend(of_container(container, &path.child(list).index(index)));
        }
    }
    warnings
}

fn of_container(container: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut names = HashSet::new();
    for (index, variable) in read::list(container, "/env").iter().enumerate() {
        let name = read::text(variable, "/name");
        if !names.insert(name) {
            let path = path.child("env").index(index);
            warnings.push(format!(
                "{path}: hides previous definition of \"{name}\", which may be dropped when using apply"
            ));
        }
    }
    let ports = read::list(container, "/ports");
    let key = |port: &Value| (port["containerPort"].clone(), port["protocol"].clone(), port["hostPort"].clone());
    for (index, port) in ports.iter().enumerate() {
        if let Some(first) = ports[..index].iter().position(|earlier| key(earlier) == key(port)) {
            let list = path.child("ports");
            warnings.push(format!("{}: duplicate port definition with {}", list.index(index), list.index(first)));
        }
    }
    warnings
}
