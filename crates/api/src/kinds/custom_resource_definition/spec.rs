//! What a definition says besides its schemas: group, scope, names, versions, conversion, columns, subresources.

use serde_json::Value;

use super::schema;
use crate::custom::JsonPath;
use crate::structural::Schema;
use crate::validation::{Cursor, names as rules};

/// Selectable fields that a version may have.
const MAX_SELECTABLE: usize = 8;
/// Types of printer columns.
const COLUMN_TYPES: [&str; 5] = ["integer", "number", "string", "boolean", "date"];
/// Formats of printer columns.
const COLUMN_FORMATS: [&str; 9] = ["int32", "int64", "float", "double", "byte", "date", "date-time", "password", ""];

pub(super) fn spec(spec: &Cursor<'_>) {
    group(&spec.get("group"));
    let scope = spec.get("scope");
    scope.must_be_one_of(&["Cluster", "Namespaced"]);
    if spec.get("preserveUnknownFields").is_true() {
        spec.get("preserveUnknownFields").invalid(
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        );
    }
    versions(&spec.get("versions"));
    for name in ["plural", "singular", "kind", "listKind"] {
        spec.get("names").get(name).must();
    }
    names(&spec.get("names"));
    conversion(&spec.get("conversion"));
    let all: Vec<Cursor<'_>> = spec.get("versions").items().collect();
    for version in &all {
        if !version.get("schema").get("openAPIV3Schema").is_set() {
            version.get("schema").get("openAPIV3Schema").required("schemas are required");
        }
    }
    for part in shared(&all, "schema", "spec.validation") {
        let root = part.get("openAPIV3Schema");
        if root.is_set() {
            schema::schema(&root);
        }
    }
    shared(&all, "subresources", "spec.subresources").iter().for_each(subresources);
    shared(&all, "additionalPrinterColumns", "spec.additionalPrinterColumns").iter().for_each(columns);
    shared(&all, "selectableFields", "spec.selectableFields").iter().for_each(selectable);
}

/// Whether the rules of the versions' schemas cost too much by estimate. A schema that `old`, an earlier spec, has under
/// the same version has been taken already, perhaps when nobody counted.
pub(super) fn costs(spec: &Cursor<'_>, old: &Value) {
    let all: Vec<Cursor<'_>> = spec.get("versions").items().collect();
    let is_new = |version: &Cursor<'_>| {
        let mut known = old["versions"].as_array().into_iter().flatten();
        let known = known.find(|known| known["name"] == version.get("name").text());
        known.is_none_or(|known| known["schema"] != *version.get("schema").value())
    };
    let parts = shared(&all, "schema", "spec.validation");
    let of = |index: usize| if parts.len() == all.len() { &all[index..=index] } else { &all[..] };
    for (_, part) in parts.iter().enumerate().filter(|(index, _)| of(*index).iter().any(is_new)) {
        super::rules::costs(&part.get("openAPIV3Schema"));
    }
}

/// The part `name` of each version. If all versions have the same, it is one part of the whole, at `place`.
fn shared<'a>(versions: &[Cursor<'a>], name: &str, place: &str) -> Vec<Cursor<'a>> {
    let parts: Vec<Cursor<'a>> = versions.iter().map(|version| version.get(name)).collect();
    match parts.first() {
        Some(first) if parts.iter().all(|part| part.value() == first.value()) => vec![first.reported_at(place)],
        _ => parts,
    }
}

fn group(group: &Cursor<'_>) {
    if !group.must() {
        return;
    }
    let before = group.fault_count();
    joined(group, "", rules::subdomain);
    if group.fault_count() == before && !group.text().contains('.') {
        group.invalid("should be a domain with at least one dot");
    }
}

/// The string, if there is one, must follow a rule, whose faults are told as one.
fn joined(text: &Cursor<'_>, before: &str, rule: impl Fn(&str) -> Vec<String>) {
    let faults = if text.is_empty() { Vec::new() } else { rule(text.text()) };
    if !faults.is_empty() {
        text.invalid(format!("{before}{}", faults.join(",")));
    }
}

fn versions(versions: &Cursor<'_>) {
    let mut seen = Vec::new();
    for version in versions.items() {
        let name = version.get("name");
        let faults = rules::label_1035(name.text());
        if !faults.is_empty() {
            name.invalid_as(name.text(), faults.join(","));
        }
        seen.push(name.text());
        if version.get("deprecationWarning").is_set() && !version.get("deprecated").is_true() {
            version.get("deprecationWarning").invalid("can only be set for deprecated versions");
        }
    }
    if (1..seen.len()).any(|index| seen[..index].contains(&seen[index])) {
        versions.invalid("must contain unique version names");
    }
    if versions.items().filter(|version| version.get("storage").is_true()).count() != 1 {
        versions.invalid("must have exactly one version marked as storage version");
    }
}

/// Wanted or accepted names.
pub(super) fn names(names: &Cursor<'_>) {
    joined(&names.get("plural"), "", rules::label_1035);
    joined(&names.get("singular"), "", rules::label_1035);
    let lower = |text: &str| rules::label_1035(&text.to_lowercase());
    joined(&names.get("kind"), "may have mixed case, but should otherwise match: ", lower);
    joined(&names.get("listKind"), "may have mixed case, but should otherwise match: ", lower);
    names.get("shortNames").items().for_each(|name| joined(&name, "", rules::label_1035));
    let list = names.get("listKind");
    if !list.is_empty() && names.get("kind").text() == list.text() {
        list.invalid("kind and listKind may not be the same");
    }
    names.get("categories").items().for_each(|name| joined(&name, "", rules::label_1035));
}

fn conversion(conversion: &Cursor<'_>) {
    let (strategy, webhook) = (conversion.get("strategy"), conversion.get("webhook"));
    strategy.must_be_one_of(&["None", "Webhook"]);
    let client = webhook.get("clientConfig");
    if strategy.text() != "Webhook" {
        if webhook.is_set() {
            conversion.get("webhookClientConfig").forbidden("should not be set when strategy is not set to Webhook");
        }
        return;
    }
    let place = conversion.get("webhookClientConfig");
    if !client.is_set() {
        place.required("required when strategy is set to Webhook");
    } else if client.get("url").is_set() == client.get("service").is_set() {
        place.required("exactly one of url or service is required");
    } else if client.get("service").is_set() {
        let (service, shown) = (client.get("service"), place.get("service"));
        for field in ["name", "namespace"] {
            if service.get(field).is_empty() {
                shown.get(field).required(&format!("service {field} is required"));
            }
        }
    } else if !client.get("url").text().starts_with("https://") {
        place.get("url").invalid_as(
            client.get("url").text(),
            "'https' is the only allowed URL scheme; desired format: https://host[/path]",
        );
    }
    let reviews = webhook.get("conversionReviewVersions");
    let place = conversion.get("conversionReviewVersions");
    if reviews.is_empty() {
        place.required("");
    } else if !reviews.texts().any(|version| matches!(version, "v1" | "v1beta1")) {
        place.invalid_as(reviews.value().clone(), "must include at least one of v1, v1beta1");
    }
}

fn subresources(subresources: &Cursor<'_>) {
    let scale = subresources.get("scale");
    if !scale.is_set() {
        return;
    }
    for (field, below, needed) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", "", false),
    ] {
        let path = scale.get(field);
        let text = path.text();
        if path.is_empty() {
            if needed {
                path.required("");
            }
        } else if !text.starts_with('.') {
            path.invalid("must be a simple json path starting with .");
        } else if !below.is_empty() && !text.starts_with(below) {
            path.invalid(format!("should be a json path under {}", below.trim_end_matches('.')));
        } else if !needed && !text.starts_with(".spec.") && !text.starts_with(".status.") {
            path.invalid("should be a json path under either .status or .spec");
        }
    }
}

fn columns(columns: &Cursor<'_>) {
    for column in columns.items() {
        column.get("name").must();
        let ty = column.get("type");
        if ty.must() && !COLUMN_TYPES.contains(&ty.text()) {
            ty.invalid(format!("must be one of {}", COLUMN_TYPES.join(",")));
        }
        let format = column.get("format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
            format.invalid(format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        let path = column.get("jsonPath");
        if path.must()
            && let Err(why) = JsonPath::parse(path.text())
        {
            path.invalid(why);
        }
    }
}

fn selectable(fields: &Cursor<'_>) {
    if fields.len() > MAX_SELECTABLE {
        fields.too_many(MAX_SELECTABLE);
    }
    let mut seen = Vec::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !path.must() {
            continue;
        }
        if seen.contains(&path.text()) {
            path.duplicate();
        }
        seen.push(path.text());
        if path.text().starts_with(".metadata.") {
            path.invalid("must not point to fields in metadata");
        } else if JsonPath::parse(path.text()).is_err() {
            path.invalid("is an invalid path");
        }
    }
}

/// What may not change any more.
pub(super) fn update(definition: &Cursor<'_>, old: &Value) {
    let spec = definition.get("spec");
    let old_spec = &old["spec"];
    if crate::custom::accept::is_true(old, "Established") {
        spec.get("scope").immutable(&old_spec["scope"]);
        spec.get("names").get("kind").immutable(&old_spec["names"]["kind"]);
    }
    spec.get("group").immutable(&old_spec["group"]);
    spec.get("names").get("plural").immutable(&old_spec["names"]["plural"]);
    stored_versions(definition);
}

/// Every version that objects may be stored in must be there to read them.
pub(super) fn stored_versions(definition: &Cursor<'_>) {
    let versions = definition.get("spec").get("versions");
    let known: Vec<&str> = versions.items().map(|version| version.get("name").text()).collect();
    let stored = definition.get("status").get("storedVersions");
    for version in stored.items().filter(|version| !known.contains(&version.text())) {
        let name = version.text();
        version.invalid(format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        ));
    }
    let storage = versions.items().find(|version| version.get("storage").is_true());
    if let Some(name) = storage.map(|version| version.get("name").text()) {
        if stored.is_empty() {
            stored.invalid_as(serde_json::json!([]), "must have at least one stored version");
        } else if !stored.texts().any(|version| version == name) {
            stored.invalid(format!("must have the storage version {name}"));
        }
    }
}

/// The schema of a definition as objects will be held against it.
pub(super) fn read(schema: &Cursor<'_>) -> Schema {
    Schema::read(schema.value())
}
