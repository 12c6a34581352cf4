//! What may change through `resize`: how much CPU and memory containers have while they run, and the Pod as a whole.

use serde_json::Value;

use super::pod;
use crate::field::{Error, Path};
use crate::kinds::qos_class;
use crate::validation::cursor::{Cursor, check};
use crate::validation::same::same;

/// The faults of a change through `resize`.
pub fn resize_update(new: &Value, old: &Value) -> Vec<Error> {
    if old["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string() {
        return vec![Error::forbidden(&Path::root(), "static pods cannot be resized")];
    }
    if old["spec"]["os"]["name"] == "windows" {
        return vec![Error::forbidden(&Path::root(), "windows pods cannot be resized")];
    }
    let mut faults = pod(new);
    faults.extend(check(new, |pod| {
        if qos_class(new) != qos_class(old) {
            pod.get("metadata").invalid_as(qos_class(new), "Pod QOS Class may not change as a result of resizing");
        }
        let spec = pod.get("spec");
        whole(&spec, &old["spec"]);
        for list in ["containers", "initContainers"] {
            containers(&spec, list, &old["spec"][list]);
        }
    }));
    faults
}

/// The Pod's own.
fn whole(spec: &Cursor<'_>, old: &Value) {
    let (resources, old) = (spec.get("resources"), &old["resources"]);
    nothing_is_removed(&resources, old, "pod-level resource");
    if !same(&but_cpu_and_memory(resources.value()), &but_cpu_and_memory(old)) {
        spec.forbidden("only cpu and memory resources are mutable at pod-level");
    }
}

fn containers(spec: &Cursor<'_>, list: &str, old: &Value) {
    let old = old.as_array().map(Vec::as_slice).unwrap_or_default();
    for (container, old) in spec.get(list).items().zip(old) {
        let resources = container.get("resources");
        nothing_is_removed(&resources, &old["resources"], "resource");
        if same(resources.value(), &old["resources"]) {
            continue;
        }
        let is_init = list == "initContainers";
        if !same(&but_cpu_and_memory(resources.value()), &but_cpu_and_memory(&old["resources"])) {
            match is_init {
                true => container.forbidden("only cpu and memory resources for init or sidecar containers are mutable"),
                false => spec.forbidden("only cpu and memory resources are mutable"),
            }
        }
        let restarts = |policy: Cursor<'_>| policy.get("restartPolicy").text() == "RestartContainer";
        if is_init && old["restartPolicy"] != "Always" && container.get("resizePolicy").items().any(restarts) {
            container
                .forbidden("non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
        }
    }
}

fn nothing_is_removed(resources: &Cursor<'_>, old: &Value, what: &str) {
    for list in ["requests", "limits"] {
        let removed = |(name, _): (&String, &Value)| !resources.get(list).key(name).is_set();
        if old[list].as_object().into_iter().flatten().any(removed) {
            resources.get(list).forbidden(format!("{what} {list} cannot be removed"));
        }
    }
}

/// The resources without what may change; nothing of a list that has only that.
fn but_cpu_and_memory(resources: &Value) -> Value {
    let mut rest = resources.clone();
    if let Some(fields) = rest.as_object_mut() {
        for list in ["limits", "requests"] {
            if let Some(amounts) = fields.get_mut(list).and_then(Value::as_object_mut) {
                amounts.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
            }
        }
        fields.retain(|_, value| value.as_object().is_none_or(|amounts| !amounts.is_empty()));
    }
    rest
}
