//! Where a volume's data is: exactly one source, which stays.

use serde_json::Value;

use super::sources_of;
use crate::kinds::fill;
use crate::validation::{Cursor, differences, names, same, volume_sources};

/// Sources whose drivers are gone, or soon will be: field, since when, and since when they do nothing any more.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "v1.11", "v1.16+"),
    ("scaleIO", "v1.16", "v1.22+"),
    ("storageos", "v1.22", "v1.25+"),
    ("glusterfs", "v1.25", "v1.26+"),
    ("rbd", "v1.28", "v1.31+"),
    ("cephfs", "v1.28", "v1.31+"),
];

/// References to Secrets in a CSI source.
const CSI_SECRETS: [&str; 4] =
    ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];

/// Fills what the sources leave out.
pub(super) fn default(spec: &mut Value) {
    fill::at(spec, "/hostPath", |source| fill::absent(source, "type", ""));
    fill::at(spec, "/iscsi", |source| fill::zero(source, "iscsiInterface", "default"));
    fill::at(spec, "/rbd", |source| {
        fill::zero(source, "pool", "rbd");
        fill::zero(source, "user", "admin");
        fill::zero(source, "keyring", "/etc/ceph/keyring");
    });
    fill::at(spec, "/scaleIO", |source| {
        fill::zero(source, "storageMode", "ThinProvisioned");
        fill::zero(source, "fsType", "xfs");
    });
    fill::at(spec, "/azureDisk", |source| {
        fill::absent(source, "cachingMode", "ReadWrite");
        fill::absent(source, "fsType", "ext4");
        fill::absent(source, "kind", "Shared");
        fill::absent(source, "readOnly", false);
    });
}

/// There must be one source, and no more.
pub(super) fn exactly_one(spec: &Cursor<'_>) {
    let sources = sources_of(spec.value());
    let mut kinds = sources.keys().map(String::as_str);
    let Some(first) = kinds.next() else {
        spec.required("must specify a volume type");
        return;
    };
    source(spec, first);
    for more in kinds {
        spec.get(more).forbidden("may not specify more than 1 volume type");
    }
}

fn source(spec: &Cursor<'_>, kind: &str) {
    let source = spec.get(kind);
    volume_sources::of_kind(kind, &source);
    match kind {
        "csi" => {
            source.get("volumeHandle").must();
            for secret in CSI_SECRETS.map(|field| source.get(field)).into_iter().filter(Cursor::is_set) {
                secret.get("name").must_follow(names::subdomain);
                secret.get("namespace").must_follow(names::label);
            }
        }
        "local" if !spec.get("nodeAffinity").is_set() => {
            spec.get("nodeAffinity").required("Local volume requires node affinity");
        }
        _ => {}
    }
}

/// The source stays, but that a Secret for growing it may come later.
pub(super) fn stay(spec: &Cursor<'_>, old: &Value) {
    let (mut new, old) = (Value::Object(sources_of(spec.value())), Value::Object(sources_of(old)));
    let secret = "controllerExpandSecretRef";
    if new["csi"].is_object() && old["csi"].is_object() && old["csi"][secret].is_null() {
        fill::keep(&mut new["csi"], &old["csi"], secret);
    }
    if !same(&new, &old) {
        let changed = differences(&new, &old);
        let changed = changed.iter().map(|path| format!("\n  spec.{path}")).collect::<String>();
        let place = spec.get("persistentvolumesource");
        place.forbidden(format!("spec.persistentvolumesource is immutable after creation{changed}"));
    }
}

/// The warnings about sources that have no future.
pub(super) fn warnings(spec: &Value) -> Vec<String> {
    let used = DEPRECATED.iter().filter(|(field, ..)| spec[*field].is_object());
    used.map(|(field, since, gone)| format!("spec.{field}: deprecated in {since}, non-functional in {gone}")).collect()
}
