//! Claims to storage, wherever they stand: a PersistentVolumeClaim, a StatefulSet's templates, a generic ephemeral
//! volume.

use super::cursor::Cursor;
use super::{labels, names, resource_names};
use crate::field::Error;

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// The mode that suffers no other beside it.
const ALONE: &str = "ReadWriteOncePod";

/// The spec of a claim.
pub(crate) fn claim_spec(spec: &Cursor<'_>) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        modes.required("at least 1 access mode is required");
    }
    labels::selector(&spec.get("selector"));
    access_modes(&modes);
    size(spec);
    for class in ["storageClassName", "volumeAttributesClassName"] {
        spec.get(class).may_follow(names::subdomain);
    }
    volume_mode(&spec.get("volumeMode"));
    sources(spec);
}

/// A claim's template, which has but labels and annotations besides its spec.
pub(crate) fn claim_template(template: &Cursor<'_>) {
    let metadata = template.get("metadata");
    labels::annotations(&metadata.get("annotations"));
    labels::labels(&metadata.get("labels"));
    for (name, field) in metadata.fields() {
        if !matches!(name, "annotations" | "labels") && !field.is_empty() {
            field.forbidden("cannot be set");
        }
    }
    claim_spec(&template.get("spec"));
}

/// The ways in which a volume may be mounted.
pub(crate) fn access_modes(modes: &Cursor<'_>) {
    for mode in modes.texts().filter(|mode| !ACCESS_MODES.contains(mode)) {
        modes.fault(Error::not_supported(modes.path(), mode, ACCESS_MODES));
    }
    if modes.texts().any(|mode| mode == ALONE)
        && modes.texts().any(|mode| mode != ALONE && ACCESS_MODES.contains(&mode))
    {
        modes.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

/// Whether a volume is files or a bare device.
pub(crate) fn volume_mode(mode: &Cursor<'_>) {
    mode.may_be_one_of(&["Block", "Filesystem"]);
}

fn size(spec: &Cursor<'_>) {
    // Upstream leaves `requests` out of the path.
    let resources = spec.get("resources");
    let storage = resources.get("requests").key("storage").at(resources.key("storage").path());
    if !storage.is_set() {
        storage.required("");
    } else if resource_names::positive(&storage) {
        resource_names::amount(&storage, "storage");
    }
}

/// What the volume is filled from: the older field takes claims and snapshots only, the newer anything.
fn sources(spec: &Cursor<'_>) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for source in [&source, &reference].into_iter().filter(|source| source.is_set()) {
        data_source(source);
    }
    reference.get("namespace").may_follow(names::label);
    if !source.is_set() || !reference.is_set() {
        return;
    }
    let differs =
        ["apiGroup", "kind", "name"].iter().any(|field| source.get(field).value() != reference.get(field).value());
    let fault = match () {
        () if !reference.get("namespace").is_empty() => {
            "may not be specified when dataSourceRef.namespace is specified"
        }
        () if differs => "must match dataSourceRef",
        () => return,
    };
    spec.invalid_as(source.path().to_string(), fault);
}

fn data_source(source: &Cursor<'_>) {
    source.get("name").must();
    let kind = source.get("kind");
    kind.must();
    let group = source.get("apiGroup");
    if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
        source.invalid_as(kind.text(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    group.may_follow(names::subdomain);
}
