//! CSIStorageCapacity: how much storage of a class a driver has left in a part of the cluster.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, old_labels, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, label_selector, names, resource_names};

/// `csistoragecapacities.storage.k8s.io`
pub static CSI_STORAGE_CAPACITY: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSIStorageCapacity",
    storage: "csistoragecapacities",
    columns: &[cells::NAME, cells::text("StorageClassName"), cells::text("Capacity")],
    rules: &CapacityRules,
};

struct CapacityRules;

impl Rules for CapacityRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |capacity| {
            label_selector(&capacity.get("nodeTopology"));
            capacity.get("storageClassName").follows(names::subdomain);
            if capacity.get("capacity").is_set() {
                resource_names::amount(&capacity.get("capacity"), "storage");
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |capacity| {
            for field in ["nodeTopology", "storageClassName"] {
                capacity.get(field).immutable(&old[field]);
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let (topology, path) = (&object["nodeTopology"], Path::new("nodeTopology"));
        let mut warnings = old_labels::of_expressions(topology, &path);
        let labels = path.child("matchLabels");
        warnings.extend(old_labels::of_map(read::map(topology, "/matchLabels"), |key| labels.child(key).to_string()));
        warnings
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::text(object, "/storageClassName").into(),
            read::or(read::text(object, "/capacity"), "<unset>").into(),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::CSI_STORAGE_CAPACITY;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn a_capacity_is_of_one_class_and_place() {
        check(&CSI_STORAGE_CAPACITY, "{storageClassName: a, nodeTopology: {matchLabels: {a: b}}, capacity: 1Gi}", &[]);
        check(
            &CSI_STORAGE_CAPACITY,
            "{storageClassName: a, capacity: -1Gi}",
            &["capacity: Invalid value: \"-1Gi\": must be greater than or equal to 0"],
        );
        check_update(
            &CSI_STORAGE_CAPACITY,
            "{storageClassName: a}",
            "{storageClassName: b}",
            &["storageClassName: Invalid value: \"b\": field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(&CSI_STORAGE_CAPACITY, "{metadata: {name: a}, storageClassName: c, capacity: 1Gi}", "a | c | 1Gi");
        check_row(&CSI_STORAGE_CAPACITY, "{metadata: {name: a}, storageClassName: c}", "a | c | <unset>");
    }
}
