//! PersistentVolume: a piece of storage, and the claim that it is bound to.

mod sources;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field::{self, Error, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs, Writer};
use crate::validation::{self, Cursor, check, names, resource_names, same};

const GVK: Gvk = ("", "v1", "PersistentVolume");

/// `persistentvolumes`
pub static PERSISTENT_VOLUME: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.core.v1.PersistentVolume",
    storage: "persistentvolumes",
    columns: &[
        cells::NAME,
        cells::text("Capacity"),
        cells::text("Access Modes"),
        cells::text("Reclaim Policy"),
        cells::text("Status"),
        cells::text("Claim"),
        cells::text("StorageClass"),
        cells::text("VolumeAttributesClass"),
        cells::text("Reason"),
        cells::AGE,
        cells::wide("VolumeMode"),
    ],
    rules: &VolumeRules,
};

/// Node labels that have newer names; a volume may be moved from one to the other.
const NEWER_LABELS: &[(&str, &str)] = &[
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

struct VolumeRules;

impl Rules for VolumeRules {
    fn default(&self, object: &mut Value) {
        fill::absent(object, "status", json!({}));
        fill::at(object, "/status", |status| fill::zero(status, "phase", "Pending"));
        fill::at(object, "/spec", |spec| {
            fill::zero(spec, "persistentVolumeReclaimPolicy", "Retain");
            fill::absent(spec, "volumeMode", "Filesystem");
            sources::default(spec);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "phase": "Pending" });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn note_writer(&self, new: &mut Value, old: Option<&Value>, writer: &Writer<'_>) {
        let entered = old.is_none_or(|old| {
            new["status"]["phase"] != old["status"]["phase"]
                && new["status"]["lastPhaseTransitionTime"] == old["status"]["lastPhaseTransitionTime"]
        });
        if entered {
            new["status"]["lastPhaseTransitionTime"] = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |volume| spec(&volume.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |volume| {
            let (spec, old) = (volume.get("spec"), &old["spec"]);
            sources::stay(&spec, old);
            spec.get("volumeMode").at(&Path::new("volumeMode")).immutable(&old["volumeMode"]);
            let affinity = spec.get("nodeAffinity");
            if old["nodeAffinity"].is_object() && !same(&newer(affinity.value()), &newer(&old["nodeAffinity"])) {
                affinity.at(&Path::new("nodeAffinity")).invalid("field is immutable");
            }
            let attributes = spec.get("volumeAttributesClassName");
            if old["volumeAttributesClassName"].is_string() && !attributes.is_set() {
                attributes.forbidden("update from non-nil value to nil is forbidden");
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = sources::warnings(&object["spec"]);
        if object["spec"]["persistentVolumeReclaimPolicy"] == "Recycle" {
            warnings.push(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the \
                 recommended approach is to use dynamic provisioning."
                    .to_owned(),
            );
        }
        warnings
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |pointer: &str| read::text(object, pointer);
        let claim = match (text("/spec/claimRef/namespace"), text("/spec/claimRef/name")) {
            _ if object["spec"]["claimRef"].is_null() => String::new(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![
            cells::name(object),
            read::or(text("/spec/capacity/storage"), "0").into(),
            access_modes(&read::texts(object, "/spec/accessModes")).into(),
            text("/spec/persistentVolumeReclaimPolicy").into(),
            phase(object),
            claim.into(),
            class(object),
            read::or(text("/spec/volumeAttributesClassName"), "<unset>").into(),
            text("/status/reason").into(),
            cells::age(object, now),
            read::or(text("/spec/volumeMode"), "<unset>").into(),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

/// Access modes as short words in a fixed order.
pub(super) fn access_modes(modes: &[&str]) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let short = SHORT.iter().filter(|(mode, _)| modes.contains(mode)).map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

/// The phase of a volume or claim; one that is being deleted says so.
pub(super) fn phase(object: &Value) -> Value {
    let deleting = !read::text(object, "/metadata/deletionTimestamp").is_empty();
    if deleting { "Terminating".into() } else { read::text(object, "/status/phase").into() }
}

/// The storage class of a volume or claim, from where it was once said too.
pub(super) fn class(object: &Value) -> Value {
    let annotation = object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    annotation.unwrap_or_else(|| read::text(object, "/spec/storageClassName")).into()
}

fn spec(spec: &Cursor<'_>) {
    let modes = spec.get("accessModes");
    modes.must();
    validation::access_modes(&modes);
    capacity(&spec.get("capacity"));
    let policy = spec.get("persistentVolumeReclaimPolicy");
    policy.may_be_one_of(&["Delete", "Recycle", "Retain"]);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        validation::node_selector(&affinity.get("required"), "must specify required node constraints");
    }
    sources::exactly_one(spec);
    let path = spec.get("hostPath").get("path");
    let is_root = !path.is_empty() && path.text().split('/').all(|part| matches!(part, "" | "."));
    if is_root && policy.text() == "Recycle" {
        policy.forbidden("may not be 'recycle' for a hostPath mount of '/'");
    }
    spec.get("storageClassName").may_follow(names::subdomain);
    validation::volume_mode(&spec.get("volumeMode"));
    let attributes = spec.get("volumeAttributesClassName");
    if attributes.is_set() {
        if attributes.is_empty() {
            attributes.required("an empty string is disallowed");
        } else {
            attributes.follows(names::subdomain);
        }
        if !spec.get("csi").is_set() {
            spec.get("csi").required("has to be specified when using volumeAttributesClassName");
        }
    }
}

/// Storage, and nothing else.
fn capacity(capacity: &Cursor<'_>) {
    capacity.must();
    if !capacity.key("storage").is_set() || capacity.len() > 1 {
        capacity.fault(Error::not_supported(capacity.path(), capacity.value().clone(), &["storage"]));
    }
    for (_, amount) in capacity.entries() {
        resource_names::basic(&amount);
        resource_names::positive(&amount);
    }
}

/// A node affinity with the newer names of labels.
fn newer(affinity: &Value) -> Value {
    let mut affinity = affinity.clone();
    fill::each(&mut affinity, "/required/nodeSelectorTerms", |term| {
        fill::each(term, "/matchExpressions", |requirement| {
            let key = read::text(requirement, "/key");
            if let Some((_, newer)) = NEWER_LABELS.iter().find(|(old, _)| *old == key) {
                requirement["key"] = (*newer).into();
            }
        });
    });
    affinity
}

/// The fields of a spec that are no source.
const NO_SOURCE: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// The sources in a spec.
fn sources_of(spec: &Value) -> Map<String, Value> {
    let fields = spec.as_object().into_iter().flatten();
    let sources = fields.filter(|(name, source)| !NO_SOURCE.contains(&name.as_str()) && !source.is_null());
    sources.map(|(name, source)| (name.clone(), source.clone())).collect()
}
