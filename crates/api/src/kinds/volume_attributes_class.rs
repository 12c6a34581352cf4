//! VolumeAttributesClass: settings of volumes that may change while they are in use, by name.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, storage};

/// `volumeattributesclasses.storage.k8s.io`
pub static VOLUME_ATTRIBUTES_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.VolumeAttributesClass",
    storage: "volumeattributesclasses",
    columns: &[cells::NAME, cells::text("DriverName"), cells::AGE],
    rules: &AttributesClassRules,
};

const IS_DEFAULT: [&str; 1] = ["volumeattributesclass.alpha.kubernetes.io/is-default-class"];

struct AttributesClassRules;

impl Rules for AttributesClassRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            storage::driver(&class.get("driverName"));
            storage::parameters(&class.get("parameters"));
            if class.get("parameters").is_empty() {
                class.get("parameters").required("must contain at least one key/value pair");
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |class| {
            for field in ["driverName", "parameters"] {
                storage::stays(&class.get(field), &old[field], field);
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name_or_default(object, &IS_DEFAULT),
            read::text(object, "/driverName").into(),
            cells::age(object, now),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::VOLUME_ATTRIBUTES_CLASS;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn a_class_says_something_and_stays() {
        check(
            &VOLUME_ATTRIBUTES_CLASS,
            "{driverName: a.b}",
            &["parameters: Required value: must contain at least one key/value pair"],
        );
        check_update(
            &VOLUME_ATTRIBUTES_CLASS,
            "{driverName: a.b, parameters: {iops: '1'}}",
            "{driverName: a.c, parameters: {iops: '2'}}",
            &[
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden.",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(&VOLUME_ATTRIBUTES_CLASS, "{metadata: {name: a}, driverName: a.b}", "a | a.b | <unknown>");
    }
}
