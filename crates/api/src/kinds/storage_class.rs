//! StorageClass: a way to make volumes, by name.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, old_labels, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, storage};

/// `storageclasses.storage.k8s.io`
pub static STORAGE_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.StorageClass",
    storage: "storageclasses",
    columns: &[
        cells::NAME,
        cells::text("Provisioner"),
        cells::text("ReclaimPolicy"),
        cells::text("VolumeBindingMode"),
        cells::text("AllowVolumeExpansion"),
        cells::AGE,
    ],
    rules: &StorageClassRules,
};

/// What makes a class the one of claims that name none; the second is the old name.
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

struct StorageClassRules;

impl Rules for StorageClassRules {
    fn default(&self, object: &mut Value) {
        fill::absent(object, "reclaimPolicy", "Delete");
        fill::absent(object, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            storage::driver(&class.get("provisioner"));
            storage::parameters(&class.get("parameters"));
            let reclaim = class.get("reclaimPolicy");
            if !reclaim.is_empty() {
                reclaim.must_be_one_of(&["Delete", "Retain"]);
            }
            let binding = class.get("volumeBindingMode");
            if binding.is_set() {
                binding.may_be_one_of(&["Immediate", "WaitForFirstConsumer"]);
            } else {
                binding.required("");
            }
            storage::topologies(&class.get("allowedTopologies"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |class| {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                storage::stays(&class.get(field), &old[field], field);
            }
            class.get("volumeBindingMode").immutable(&old["volumeBindingMode"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, topology) in read::list(object, "/allowedTopologies").iter().enumerate() {
            let path = Path::new("allowedTopologies").index(index).child("matchLabelExpressions");
            for (index, expression) in read::list(topology, "/matchLabelExpressions").iter().enumerate() {
                let message = old_labels::message(read::text(expression, "/key"));
                warnings.extend(message.map(|message| format!("{}: {message}", path.index(index).child("key"))));
            }
        }
        warnings
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name_or_default(object, &IS_DEFAULT),
            read::text(object, "/provisioner").into(),
            read::or(read::text(object, "/reclaimPolicy"), "Delete").into(),
            read::or(read::text(object, "/volumeBindingMode"), "Immediate").into(),
            read::flag(object, "/allowVolumeExpansion").into(),
            cells::age(object, now),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::STORAGE_CLASS;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn defaults() {
        check_defaults(
            &STORAGE_CLASS,
            "{provisioner: a/b}",
            "{provisioner: a/b, reclaimPolicy: Delete, volumeBindingMode: Immediate}",
        );
    }

    #[test]
    fn fields_are_known_values() {
        check(&STORAGE_CLASS, "{provisioner: kubernetes.io/no-provisioner, parameters: {type: ssd}}", &[]);
        check(
            &STORAGE_CLASS,
            "{reclaimPolicy: Recycle, volumeBindingMode: Never, allowedTopologies: [{matchLabelExpressions: [{key: a}]}]}",
            &[
                "provisioner: Required value",
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
                "volumeBindingMode: Unsupported value: \"Never\": supported values: \"Immediate\", \
                 \"WaitForFirstConsumer\"",
                "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            ],
        );
    }

    #[test]
    fn a_class_stays_what_it_is() {
        check_update(
            &STORAGE_CLASS,
            "{provisioner: a/b, parameters: {a: b}}",
            "{provisioner: a/c, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer, mountOptions: [ro]}",
            &[
                "parameters: Forbidden: updates to parameters are forbidden.",
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &STORAGE_CLASS,
            "{metadata: {name: fast, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}, \
             creationTimestamp: '2026-01-01T11:00:00Z'}, provisioner: a/b, allowVolumeExpansion: true}",
            "fast (default) | a/b | Delete | Immediate | true | 60m",
        );
    }
}
