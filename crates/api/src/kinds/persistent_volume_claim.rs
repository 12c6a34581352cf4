//! PersistentVolumeClaim: a Pod's wish for storage, and the volume that it was given.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, persistent_volume, read};
use crate::field::{Error, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::quantity::Quantity;
use crate::validation::{Cursor, check, claim_spec, differences, names, resource_names, same};

const GVK: Gvk = ("", "v1", "PersistentVolumeClaim");

/// `persistentvolumeclaims`
pub static PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.core.v1.PersistentVolumeClaim",
    storage: "persistentvolumeclaims",
    columns: &[
        cells::NAME,
        cells::text("Status"),
        cells::text("Volume"),
        cells::text("Capacity"),
        cells::text("Access Modes"),
        cells::text("StorageClass"),
        cells::text("VolumeAttributesClass"),
        cells::AGE,
        cells::wide("VolumeMode"),
    ],
    rules: &ClaimRules,
};

/// Where the class of a claim was before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

struct ClaimRules;

impl Rules for ClaimRules {
    fn default(&self, object: &mut Value) {
        fill::absent(object, "status", json!({}));
        fill::at(object, "/status", |status| fill::zero(status, "phase", "Pending"));
        fill::at(object, "/spec", default_spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "phase": "Pending" });
        fill::at(object, "/spec", settle_sources);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
        let had_source = ["dataSource", "dataSourceRef"].iter().any(|field| old["spec"][*field].is_object());
        fill::at(new, "/spec", if had_source { copy_source } else { settle_sources });
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        check(object, |claim| claim_spec(&claim.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        check(new, |claim| spec_stays(claim, old))
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Error> {
        check(new, |claim| {
            let status = claim.get("status");
            for (_, amount) in status.get("capacity").entries() {
                resource_names::basic(&amount);
            }
            for (_, state) in status.get("allocatedResourceStatuses").entries() {
                state.may_be_one_of(RESIZE_STATES);
            }
            let allocated = status.get("allocatedResources");
            for (resource, amount) in allocated.entries() {
                allocated_resource(&allocated, resource);
                resource_names::amount(&amount, "storage");
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings(&object["spec"], &Path::new("spec")).into_iter().collect()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let bound = !read::text(object, "/spec/volumeName").is_empty();
        let if_bound = |text: String| if bound { text } else { String::new() };
        vec![
            cells::name(object),
            persistent_volume::phase(object),
            read::text(object, "/spec/volumeName").into(),
            if_bound(read::or(read::text(object, "/status/capacity/storage"), "0").to_owned()).into(),
            if_bound(persistent_volume::access_modes(&read::texts(object, "/status/accessModes"))).into(),
            persistent_volume::class(object),
            read::or(read::text(object, "/spec/volumeAttributesClassName"), "<unset>").into(),
            cells::age(object, now),
            read::or(read::text(object, "/spec/volumeMode"), "<unset>").into(),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

/// The warning about the spec of a claim, of a template of claims too.
pub(super) fn warnings(spec: &Value, path: &Path) -> Option<String> {
    crate::amounts::fraction(&spec["resources"]["requests"], "storage", &path.child("resources").child("requests"))
}

/// Fills the spec of a claim, of a template of claims too.
pub(super) fn default_spec(spec: &mut Value) {
    fill::absent(spec, "volumeMode", "Filesystem");
}

/// Of a new source, the older field keeps what it always could hold; the newer holds the same.
fn settle_sources(spec: &mut Value) {
    let source = &spec["dataSource"];
    let group = read::text(source, "/apiGroup");
    let known = match read::text(source, "/kind") {
        "PersistentVolumeClaim" => group.is_empty(),
        "VolumeSnapshot" => group == "snapshot.storage.k8s.io",
        _ => false,
    };
    if !known && let Some(spec) = spec.as_object_mut() {
        spec.remove("dataSource");
    }
    copy_source(spec);
}

/// Either of the two fields for the source says what the other does, as far as it can.
fn copy_source(spec: &mut Value) {
    let (source, reference) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    let elsewhere = !read::text(&reference, "/namespace").is_empty();
    match (source.is_object(), reference.is_object()) {
        (true, false) => spec["dataSourceRef"] = source,
        (false, true) if !elsewhere => {
            spec["dataSource"] = reference;
            if let Some(source) = spec["dataSource"].as_object_mut() {
                source.remove("namespace");
            }
        }
        _ => {}
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

/// The spec stays but for the volume, which comes once, and for what can be changed of a volume in use.
fn spec_stays(claim: &Cursor<'_>, old: &Value) {
    let spec = claim.get("spec");
    let (mut before, mut after) = (old["spec"].clone(), spec.value().clone());
    if read::text(old, "/spec/volumeName").is_empty() {
        fill::keep(&mut before, &after, "volumeName");
    }
    class_stays(claim, old, &mut after);
    if read::text(claim.value(), "/status/phase") == "Bound" {
        fill::at(&mut after, "/resources/requests", |requests| {
            fill::keep(requests, &before["resources"]["requests"], "storage");
        });
        if after["volumeAttributesClassName"].is_string() {
            fill::keep(&mut after, &before, "volumeAttributesClassName");
        }
    }
    if !same(&after, &before) {
        let changed = differences(&after, &before);
        let changed = changed.iter().map(|path| format!("\n  spec.{path}")).collect::<String>();
        spec.forbidden(format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims{changed}"
        ));
    }
    size_stays_above_capacity(&spec, old);
    spec.get("volumeMode").at(&Path::new("volumeMode")).immutable(&old["spec"]["volumeMode"]);
    let attributes = spec.get("volumeAttributesClassName");
    if old["spec"]["volumeAttributesClassName"].is_string() && attributes.is_empty() {
        let to = if attributes.is_set() { "an empty string" } else { "nil" };
        attributes.forbidden(format!("update from non-nil value to {to} is forbidden"));
    }
}

/// The class may move from the annotation to the field, or come later when there was none.
fn class_stays(claim: &Cursor<'_>, old: &Value, after: &mut Value) {
    let annotation = |object: &Value| object["metadata"]["annotations"][CLASS_ANNOTATION].as_str().map(str::to_owned);
    let (was, is) = (annotation(old), annotation(claim.value()));
    let class = after["storageClassName"].as_str().map(str::to_owned);
    let had_class = old["spec"]["storageClassName"].is_string();
    let moves = was.is_some() && !had_class && class == was && is.as_ref().is_none_or(|is| Some(is) == was.as_ref());
    if !moves && was != is {
        let place = claim.get("metadata").get("annotations").key(CLASS_ANNOTATION);
        place.invalid_as(is.unwrap_or_default(), "field is immutable");
    }
    let comes = class.is_some() && !had_class && (was.is_none() || class == was);
    if moves || comes {
        fill::keep(after, &old["spec"], "storageClassName");
    }
}

/// A failed growth may be taken back, down to what the volume has.
fn size_stays_above_capacity(spec: &Cursor<'_>, old: &Value) {
    let amount = |object: &Value, pointer: &str| Quantity::parse(read::text(object, pointer)).unwrap_or(Quantity::ZERO);
    let new = amount(spec.value(), "/resources/requests/storage");
    let shrinks = new < amount(old, "/spec/resources/requests/storage");
    if shrinks && new <= amount(old, "/status/capacity/storage") {
        let place = spec.get("resources").get("requests").get("storage");
        place.forbidden("field can not be less than status.capacity");
    }
}

fn allocated_resource(place: &Cursor<'_>, name: &str) {
    let faults = names::qualified(name);
    for fault in &faults {
        place.invalid_as(name, fault.clone());
    }
    if faults.is_empty() && resource_names::is_native(name) && name != "storage" {
        place.fault(Error::not_supported(place.path(), name, &["storage"]));
    }
}

#[cfg(test)]
mod tests {
    use super::PERSISTENT_VOLUME_CLAIM;
    use crate::kinds::testing::{check, check_row, check_update, created};

    const GOOD: &str = "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}";

    #[track_caller]
    fn spec(spec: &str, want: &[&str]) {
        check(&PERSISTENT_VOLUME_CLAIM, &format!("{{spec: {{{spec}}}}}"), want);
    }

    #[test]
    fn a_claim_has_a_size_and_modes() {
        spec(GOOD, &[]);
        spec(
            "volumeMode: Tape",
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
                "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
            ],
        );
        spec(
            "accessModes: [ReadWriteOncePod, ReadWriteOnce, Fast], resources: {requests: {storage: '0'}}",
            &[
                "spec.accessModes: Unsupported value: \"Fast\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
             \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ],
        );
    }

    #[test]
    fn both_fields_say_the_source() {
        let claim = created(
            &PERSISTENT_VOLUME_CLAIM,
            &format!("{{spec: {{{GOOD}, dataSource: {{kind: PersistentVolumeClaim, name: x}}}}}}"),
        );
        assert_eq!(claim["spec"]["dataSourceRef"], claim["spec"]["dataSource"]);
        let claim = created(
            &PERSISTENT_VOLUME_CLAIM,
            &format!("{{spec: {{{GOOD}, dataSource: {{kind: Tape, apiGroup: example.com, name: x}}}}}}"),
        );
        assert!(claim["spec"].get("dataSource").is_none());
        spec(
            &format!("{GOOD}, dataSourceRef: {{kind: Tape, name: x}}"),
            &[
                "spec.dataSource: Invalid value: \"Tape\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                "spec.dataSourceRef: Invalid value: \"Tape\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        );
    }

    #[track_caller]
    fn change(old: &str, new: &str, want: &[&str]) {
        let claim = |spec: &str| format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}");
        check_update(&PERSISTENT_VOLUME_CLAIM, &claim(old), &claim(new), want);
    }

    #[test]
    fn the_spec_stays() {
        change(GOOD, &format!("{GOOD}, volumeName: v"), &[]);
        change(GOOD, &format!("{GOOD}, storageClassName: fast"), &[]);
        change(
            &format!("{GOOD}, storageClassName: slow"),
            &format!("{GOOD}, storageClassName: fast"),
            &["spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n  spec.storageClassName"],
        );
        change(
            GOOD,
            "accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}",
            &["spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n  spec.resources.requests.storage"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &PERSISTENT_VOLUME_CLAIM,
            "{metadata: {name: a}, spec: {volumeName: v, storageClassName: fast, volumeMode: Block}, \
             status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadWriteOnce]}}",
            "a | Bound | v | 1Gi | RWO,RWX | fast | <unset> | <unknown> | Block",
        );
        check_row(
            &PERSISTENT_VOLUME_CLAIM,
            "{metadata: {name: a, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {}, status: {phase: Pending}}",
            "a | Terminating |  |  |  |  | <unset> | <unknown> | <unset>",
        );
    }
}
