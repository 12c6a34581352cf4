//! CSIDriver: how the cluster is to treat the volumes of a CSI driver.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, same, storage};

/// `csidrivers.storage.k8s.io`
pub static CSI_DRIVER: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSIDriver",
    storage: "csidrivers",
    columns: &[
        cells::NAME,
        cells::boolean("AttachRequired"),
        cells::boolean("PodInfoOnMount"),
        cells::boolean("StorageCapacity"),
        cells::text("TokenRequests"),
        cells::boolean("RequiresRepublish"),
        cells::text("Modes"),
        cells::AGE,
    ],
    rules: &DriverRules,
};

/// What a driver says of itself if it says nothing.
const FLAGS: [(&str, bool); 5] = [
    ("attachRequired", true),
    ("podInfoOnMount", false),
    ("storageCapacity", false),
    ("requiresRepublish", false),
    ("seLinuxMount", false),
];
const MODES: &[&str] = &["Persistent", "Ephemeral"];
const MIN_UPDATE_PERIOD_SECONDS: i64 = 10;

struct DriverRules;

impl Rules for DriverRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            for (name, value) in FLAGS {
                fill::absent(spec, name, value);
            }
            fill::absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
            fill::zero(spec, "volumeLifecycleModes", json!(["Persistent"]));
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |driver| {
            let spec = driver.get("spec");
            for (field, shown) in [
                ("attachRequired", "attachedRequired"),
                ("podInfoOnMount", "podInfoOnMount"),
                ("storageCapacity", "storageCapacity"),
            ] {
                if !spec.get(field).is_set() {
                    spec.get(shown).required("");
                }
            }
            spec.get("fsGroupPolicy").may_be_one_of(&["File", "None", "ReadWriteOnceWithFSType"]);
            storage::token_requests(&spec.get("tokenRequests"));
            let modes = spec.get("volumeLifecycleModes");
            for mode in modes.texts().filter(|mode| !MODES.contains(mode)) {
                modes.not_supported_as(mode, MODES);
            }
            if !spec.get("seLinuxMount").is_set() {
                spec.get("seLinuxMount").required("");
            }
            let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
            if period.int().is_some_and(|seconds| seconds < MIN_UPDATE_PERIOD_SECONDS) {
                period.invalid("must be greater than or equal to 10 seconds");
            }
            let in_secrets = spec.get("serviceAccountTokenInSecrets");
            if in_secrets.is_set() && spec.get("tokenRequests").is_empty() {
                in_secrets.invalid("serviceAccountTokenInSecrets can only be set when tokenRequests is specified");
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |driver| {
            for (field, shown) in
                [("attachRequired", "spec.attachedRequired"), ("volumeLifecycleModes", "spec.volumeLifecycleModes")]
            {
                driver.get("spec").get(field).reported_at(shown).immutable(&old["spec"][field]);
            }
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_changes(&self, new: &Value, old: &Value) -> bool {
        ["tokenRequests", "requiresRepublish", "seLinuxMount", "podInfoOnMount", "storageCapacity", "fsGroupPolicy"]
            .iter()
            .any(|field| !same(&new["spec"][field], &old["spec"][field]))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let flag = |name: &str, otherwise: bool| object["spec"][name].as_bool().unwrap_or(otherwise).into();
        let requests = object.pointer("/spec/tokenRequests").map(|_| {
            let requests = read::list(object, "/spec/tokenRequests").iter();
            requests.map(|request| read::text(request, "/audience")).collect::<Vec<_>>().join(",")
        });
        vec![
            cells::name(object),
            flag("attachRequired", true),
            flag("podInfoOnMount", false),
            flag("storageCapacity", false),
            requests.unwrap_or_else(|| "<unset>".to_owned()).into(),
            flag("requiresRepublish", false),
            cells::or_none(&read::texts(object, "/spec/volumeLifecycleModes").join(",")),
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

#[cfg(test)]
mod tests {
    use super::CSI_DRIVER;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn defaults() {
        check_defaults(
            &CSI_DRIVER,
            "{spec: {podInfoOnMount: true}}",
            "{spec: {attachRequired: true, podInfoOnMount: true, storageCapacity: false, requiresRepublish: false, \
             seLinuxMount: false, fsGroupPolicy: ReadWriteOnceWithFSType, volumeLifecycleModes: [Persistent]}}",
        );
    }

    #[test]
    fn fields_are_known_values() {
        check(
            &CSI_DRIVER,
            "{spec: {fsGroupPolicy: Never, volumeLifecycleModes: [Sometimes], tokenRequests: [{audience: a, \
             expirationSeconds: 1}, {audience: a}], nodeAllocatableUpdatePeriodSeconds: 9}}",
            &[
                "spec.fsGroupPolicy: Unsupported value: \"Never\": supported values: \"File\", \"None\", \
                 \"ReadWriteOnceWithFSType\"",
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 \
                 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.volumeLifecycleModes: Unsupported value: \"Sometimes\": supported values: \"Persistent\", \
                 \"Ephemeral\"",
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
            ],
        );
        check_update(
            &CSI_DRIVER,
            "{spec: {}}",
            "{spec: {attachRequired: false}}",
            &["spec.attachedRequired: Invalid value: false: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &CSI_DRIVER,
            "{metadata: {name: a}, spec: {attachRequired: false, tokenRequests: [{audience: x}, {audience: y}]}}",
            "a | false | false | false | x,y | false | <none> | <unknown>",
        );
    }
}
