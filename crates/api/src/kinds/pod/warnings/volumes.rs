//! Volumes of types that are on their way out.

use serde_json::Value;

use crate::field::Path;
use crate::kinds::{persistent_volume_claim, read};

/// What is to be said of a type, and under which name: some differ from the field's.
const OLD_TYPES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// The warnings about the volumes of a Pod's spec at `path`.
pub(super) fn warnings(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, volume) in read::list(spec, "/volumes").iter().enumerate() {
        let path = path.child("volumes").index(index);
        for (field, name, message) in OLD_TYPES {
            if volume[field].is_object() {
                warnings.push(format!("{}: {message}", path.child(name)));
            }
        }
        let claim = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        let path = path.child("ephemeral").child("volumeClaimTemplate").child("spec");
        warnings.extend(persistent_volume_claim::warnings(claim, &path));
    }
    warnings
}
