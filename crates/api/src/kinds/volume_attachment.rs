//! VolumeAttachment: a volume is to be attached to a node, by an attacher.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names, storage};

const GVK: Gvk = ("storage.k8s.io", "v1", "VolumeAttachment");

/// `volumeattachments.storage.k8s.io`
pub static VOLUME_ATTACHMENT: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "volumeattachments",
    singular: "volumeattachment",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.storage.v1.VolumeAttachment",
    storage: "volumeattachments",
    columns: &[
        cells::NAME,
        Column { name: "Attacher", kind: "string", format: "name", priority: 0 },
        cells::text("PV"),
        cells::text("Node"),
        cells::boolean("Attached"),
        cells::AGE,
    ],
    rules: &AttachmentRules,
};

const MAX_METADATA_BYTES: usize = 256 * 1024;
const MAX_MESSAGE_BYTES: usize = 1024;

struct AttachmentRules;

impl Rules for AttachmentRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "attached": false });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |attachment| {
            let spec = attachment.get("spec");
            spec.get("attacher").must();
            source(&spec.get("source"));
            spec.get("nodeName").follows(names::subdomain);
            status_faults(&attachment.get("status"));
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |attachment| {
            storage::driver_name(&attachment.get("spec").get("attacher"));
            let volume = attachment.get("spec").get("source").get("persistentVolumeName");
            if volume.is_set() {
                volume.follows(names::subdomain);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |attachment| attachment.get("spec").immutable(&old["spec"]))
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |attachment| status_faults(&attachment.get("status")))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::text(object, "/spec/attacher").into(),
            read::text(object, "/spec/source/persistentVolumeName").into(),
            read::text(object, "/spec/nodeName").into(),
            read::flag(object, "/status/attached").into(),
            cells::age(object, now),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn source(source: &Cursor<'_>) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (inline, volume) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    match (inline.is_set(), volume.is_set()) {
        (false, false) => source.required(ONE),
        (true, true) => source.forbidden(ONE),
        (false, true) if volume.is_empty() => volume.required("must specify non empty persistentVolumeName"),
        _ => {}
    }
}

fn status_faults(status: &Cursor<'_>) {
    let metadata = status.get("attachmentMetadata");
    if metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum::<usize>() > MAX_METADATA_BYTES {
        metadata.too_long(MAX_METADATA_BYTES);
    }
    for error in ["attachError", "detachError"].map(|field| status.get(field)) {
        if error.get("message").text().len() > MAX_MESSAGE_BYTES {
            // Upstream names the other bound here.
            error.get("message").too_long(MAX_METADATA_BYTES);
        }
        error.get("errorCode").in_range(0..=i64::from(i32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::VOLUME_ATTACHMENT;
    use crate::kinds::testing::{check, check_row, check_update};

    const SPEC: &str = "spec: {attacher: a.b, nodeName: n, source: {persistentVolumeName: v}}";

    #[test]
    fn what_is_attached_where_and_by_whom() {
        check(&VOLUME_ATTACHMENT, &format!("{{{SPEC}}}"), &[]);
        check(
            &VOLUME_ATTACHMENT,
            "{spec: {attacher: A_b, nodeName: n, source: {}}}",
            &[
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                "spec.attacher: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case \
                 alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
                 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        );
        check_update(
            &VOLUME_ATTACHMENT,
            &format!("{{{SPEC}}}"),
            "{spec: {attacher: a.b, nodeName: m, source: {persistentVolumeName: v}}}",
            &["spec: Invalid value: \
               {\"attacher\":\"a.b\",\"nodeName\":\"m\",\"source\":{\"persistentVolumeName\":\"v\"}}: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &VOLUME_ATTACHMENT,
            &format!("{{metadata: {{name: a}}, {SPEC}, status: {{attached: true}}}}"),
            "a | a.b | v | n | true | <unknown>",
        );
    }
}
