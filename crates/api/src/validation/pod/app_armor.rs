//! AppArmor profiles: the fields that name them, and the annotations that did before there were fields.

use serde_json::Value;

use crate::validation::cursor::Cursor;

/// What an annotation begins with that names the profile of the container whose name follows.
pub(crate) const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The longest path that Linux takes, without its end.
const NAME_BYTES: usize = 4095;
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The field `appArmorProfile` of a Pod's or a container's security context.
pub(super) fn profile(profile: &Cursor<'_>) {
    if !profile.is_set() {
        return;
    }
    let (kind, name) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" => localhost(&name),
        "RuntimeDefault" | "Unconfined" if name.is_set() => {
            name.invalid("can only be set when AppArmor type is Localhost");
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required("type is required when appArmorProfile is set"),
        _ => kind.not_supported(&["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn localhost(name: &Cursor<'_>) {
    let text = name.text();
    if text != text.trim() {
        name.invalid("must not be padded with whitespace");
    } else if text.is_empty() {
        name.required("must be set when AppArmor type is Localhost");
    }
    if text.len() > NAME_BYTES {
        name.too_long(NAME_BYTES);
    }
}

/// The annotations of a Pod or a template: each names a container of it, and a profile.
pub(super) fn annotations(pod: &Cursor<'_>) {
    for (key, value) in pod.get("metadata").get("annotations").entries() {
        let Some(container) = key.strip_prefix(ANNOTATION) else { continue };
        let is_it = |other: &Cursor<'_>| other.get("name").text() == container;
        if !LISTS.into_iter().any(|list| pod.get("spec").get(list).items().any(|other| is_it(&other))) {
            value.invalid_as(container, "container not found");
        }
        let profile = value.text();
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            value.invalid(format!("invalid AppArmor profile name: {profile:?}"));
        }
    }
}

/// Where a container of a new Pod or a template has both a field and an annotation, they say the same.
pub(super) fn agreement(pod: &Cursor<'_>) {
    let (annotations, spec) = (&pod.value()["metadata"]["annotations"], pod.get("spec"));
    if spec.get("os").get("name").text() == "windows" {
        return;
    }
    let of_pod = spec.get("securityContext").get("appArmorProfile");
    for container in LISTS.into_iter().flat_map(|list| spec.get(list).items().collect::<Vec<_>>()) {
        let Some(annotation) = annotations[format!("{ANNOTATION}{}", container.get("name").text())].as_str() else {
            continue;
        };
        let place = container.get("securityContext").get("appArmorProfile");
        let profile = if place.is_set() { place.value() } else { of_pod.value() };
        agree(&place, profile, annotation);
    }
}

fn agree(place: &Cursor<'_>, profile: &Value, annotation: &str) {
    let same_type = match profile["type"].as_str() {
        Some("Unconfined") => annotation == "unconfined",
        Some("RuntimeDefault") => annotation == "runtime/default",
        Some("Localhost") => match annotation.strip_prefix("localhost/") {
            Some(name) if profile["localhostProfile"] != name => {
                place.get("localhostProfile").forbidden("apparmor profile in annotation and field must match");
                return;
            }
            named => named.is_some(),
        },
        _ => true,
    };
    if !same_type {
        place.get("type").forbidden("apparmor type in annotation and field must match");
    }
}

/// Annotations of a Pod that exists stay what they are.
pub(super) fn stay(pod: &Cursor<'_>, old: &Value) {
    let new = pod.get("metadata").get("annotations");
    let old = &old["metadata"]["annotations"];
    for key in old.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| key.starts_with(ANNOTATION)) {
        if new.value().get(key) != old.get(key) {
            new.key(key).forbidden("may not remove or update AppArmor annotations");
        }
    }
    for (key, value) in new.entries().filter(|(key, _)| key.starts_with(ANNOTATION)) {
        if old.get(key).is_none() {
            value.forbidden("may not add AppArmor annotations");
        }
    }
}
