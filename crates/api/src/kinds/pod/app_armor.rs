//! Annotations that name AppArmor profiles, from before there were fields for it: they become fields.

use serde_json::{Value, json};

use crate::field::Path;
use crate::kinds::{fill, read};
use crate::validation::APP_ARMOR_ANNOTATION;

const LISTS: [&str; 3] = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];

/// Gives each container that has only an annotation the field that it stands for, unless its Pod says the same.
pub(super) fn make_fields(pod: &mut Value) {
    let annotations = pod["metadata"]["annotations"].clone();
    if !annotations.is_object() || is_for_windows(pod) {
        return;
    }
    let of_pod = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    let make = |container: &mut Value| {
        let Some(annotation) = lonely(&annotations, container) else { return };
        if let Some(profile) = profile(annotation).filter(|profile| *profile != of_pod)
            && let Some(context) = fill::map(container, "securityContext")
        {
            context.insert("appArmorProfile".to_owned(), profile);
        }
    };
    for list in LISTS {
        fill::each(pod, list, make);
    }
}

/// The warnings about such annotations of a Pod as it was sent, or of a template; `path` is that of its annotations.
pub(super) fn warnings(pod: &Value, path: &Path) -> Vec<String> {
    if is_for_windows(pod) {
        return Vec::new();
    }
    let (annotations, of_pod) = (&pod["metadata"]["annotations"], &pod["spec"]["securityContext"]["appArmorProfile"]);
    let containers = LISTS.into_iter().flat_map(|list| read::list(pod, list));
    let warn = |container: &Value| {
        let says_more = profile(lonely(annotations, container)?).is_none_or(|profile| profile != *of_pod);
        let path = path.key(&format!("{APP_ARMOR_ANNOTATION}{}", read::text(container, "/name")));
        says_more.then(|| format!("{path}: deprecated since v1.30; use the \"appArmorProfile\" field instead"))
    };
    containers.filter_map(warn).collect()
}

fn is_for_windows(pod: &Value) -> bool {
    read::text(pod, "/spec/os/name") == "windows"
}

/// The annotation for a container that has no field of its own.
fn lonely<'a>(annotations: &'a Value, container: &Value) -> Option<&'a str> {
    let alone = container["securityContext"]["appArmorProfile"].is_null();
    let key = format!("{APP_ARMOR_ANNOTATION}{}", read::text(container, "/name"));
    annotations.get(key).filter(|_| alone)?.as_str()
}

/// The field that an annotation stands for; none if it names no profile that a field could.
fn profile(annotation: &str) -> Option<Value> {
    match (annotation, annotation.strip_prefix("localhost/")) {
        ("unconfined", _) => Some(json!({"type": "Unconfined"})),
        ("runtime/default", _) => Some(json!({"type": "RuntimeDefault"})),
        (_, Some(name)) if !name.is_empty() && name == name.trim() => {
            Some(json!({"type": "Localhost", "localhostProfile": name}))
        }
        _ => None,
    }
}
