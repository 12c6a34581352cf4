//! Environment variables, and references to fields and resources of the Pod itself (the downward API).

use super::volumes::{Volumes, inside};
use crate::quantity::Quantity;
use crate::validation::cursor::Cursor;
use crate::validation::names;

/// Fields that a variable may hold.
const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that a file in a volume may hold.
pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The longest key of a file of variables.
const MAX_FILE_KEY_BYTES: usize = 128;

/// Resources of a container that variables and files may hold, besides huge pages.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `env`
pub(super) fn variables(variables: &Cursor<'_>, volumes: &Volumes<'_>) {
    for variable in variables.items() {
        variable.get("name").must_follow(names::env_variable);
        let from = variable.get("valueFrom");
        if from.is_set() {
            value_from(&from, &variable.get("value"), volumes);
        }
    }
}

fn value_from(from: &Cursor<'_>, value: &Cursor<'_>, volumes: &Volumes<'_>) {
    let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let sources = sources.map(|name| from.get(name));
    let [field, resource, config_map, secret, file] = &sources;
    if field.is_set() {
        field_ref(field, VARIABLE_FIELDS);
    }
    if resource.is_set() {
        resource_ref(resource);
    }
    if file.is_set() {
        file_key(file, volumes);
    }
    for reference in [config_map, secret].into_iter().filter(|reference| reference.is_set()) {
        reference.get("name").follows(names::subdomain);
        reference.get("key").must_follow(names::data_key);
    }
    match sources.iter().filter(|source| source.is_set()).count() {
        0 => from.invalid_as(
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        _ if !value.is_empty() => from.invalid_as("", "may not be specified when `value` is not empty"),
        1 => {}
        _ => from.invalid_as("", "may not have more than one field specified at a time"),
    }
}

/// A key in a file of an emptyDir, which other containers of the Pod write.
fn file_key(reference: &Cursor<'_>, volumes: &Volumes<'_>) {
    let (volume, path, key) = (reference.get("volumeName"), reference.get("path"), reference.get("key"));
    if volume.must() {
        match volumes.get(volume.text()) {
            None => volume.not_found(),
            Some(source) if !source.get("emptyDir").is_set() => {
                volume.invalid("referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
    if path.must() {
        inside(&path);
    }
    key.must_follow(names::env_variable);
    if key.text().len() > MAX_FILE_KEY_BYTES {
        key.too_long(MAX_FILE_KEY_BYTES);
    }
}

/// `envFrom`
pub(super) fn sources(sources: &Cursor<'_>) {
    for source in sources.items() {
        source.get("prefix").may_follow(names::env_variable);
        let references = ["configMapRef", "secretRef"].map(|name| source.get(name));
        for reference in references.iter().filter(|reference| reference.is_set()) {
            reference.get("name").must_follow(names::subdomain);
        }
        match references.iter().filter(|reference| reference.is_set()).count() {
            0 => sources.invalid_as("", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => sources.invalid_as("", "may not have more than one field specified at a time"),
        }
    }
}

/// A reference to a field of the Pod, which must be one of `fields`, or one label or annotation.
pub(super) fn field_ref(reference: &Cursor<'_>, fields: &[&str]) {
    let path = reference.get("fieldPath");
    if !reference.get("apiVersion").must() || !path.must() {
        return;
    }
    match path.text().split_once("['").and_then(|(field, rest)| Some((field, rest.strip_suffix("']")?))) {
        Some(("metadata.annotations", key)) => {
            for fault in names::qualified_any_case(key) {
                reference.invalid_as(key.to_lowercase(), fault);
            }
        }
        Some(("metadata.labels", key)) => {
            for fault in names::qualified(key) {
                reference.invalid_as(key, fault);
            }
        }
        Some((field, _)) => {
            path.invalid(format!("error converting fieldPath: field label does not support subscript: {field}"))
        }
        None if !fields.contains(&path.text()) && !is_known(path.text()) => {
            path.invalid(format!("error converting fieldPath: field label not supported: {}", path.text()));
        }
        None if !fields.contains(&path.text()) => path.not_supported(fields),
        None => {}
    }
}

/// Whether a field can be referred to at all, if not from here.
fn is_known(field: &str) -> bool {
    VARIABLE_FIELDS.contains(&field)
        || FILE_FIELDS.contains(&field)
        || matches!(field, "spec.restartPolicy" | "spec.schedulerName" | "status.phase")
}

/// A reference to a container's requests or limits.
pub(super) fn resource_ref(reference: &Cursor<'_>) {
    let resource = reference.get("resource");
    let huge_pages = |name: &str| name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if resource.must() && !RESOURCES.contains(&resource.text()) && !huge_pages(resource.text()) {
        resource.not_supported(RESOURCES);
    }
    divisor(reference, resource.text());
}

fn divisor(reference: &Cursor<'_>, resource: &str) {
    let divisor = reference.get("divisor");
    let Some(quantity) = super::quantity(&divisor).filter(|quantity| !quantity.is_zero()) else { return };
    let (what, allowed): (_, &[&str]) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => ("cpu", &["1m", "1"]),
        Some("memory") => ("memory", BYTE_DIVISORS),
        Some("ephemeral-storage") => ("local ephemeral storage", BYTE_DIVISORS),
        Some(name) if name.starts_with("hugepages-") => ("hugepages", BYTE_DIVISORS),
        _ => return,
    };
    let allows = |text: &&str| Quantity::parse(text).is_ok_and(|allowed| allowed == quantity);
    if !allowed.iter().any(allows) {
        let list = if what == "cpu" { "1m and 1".to_owned() } else { allowed.join(", ") };
        divisor.invalid_as(resource, format!("only divisor's values {list} are supported with the {what} resource"));
    }
}

const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
