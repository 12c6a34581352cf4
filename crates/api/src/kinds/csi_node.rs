//! CSINode: the CSI drivers on a node.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names, same, storage};

/// `csinodes.storage.k8s.io`
pub static CSI_NODE: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSINode",
    storage: "csinodes",
    columns: &[cells::NAME, cells::number("Drivers"), cells::AGE],
    rules: &NodeDriversRules,
};

const MAX_NODE_ID_BYTES: usize = 256;

struct NodeDriversRules;

impl Rules for NodeDriversRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |node| {
            let mut taken = Vec::new();
            for driver in node.get("spec").get("drivers").items() {
                self::driver(&driver);
                let name = driver.get("name");
                if taken.contains(&name.text()) {
                    name.duplicate();
                }
                taken.push(name.text());
                topology_keys(&driver);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |node| {
            let drivers = node.get("spec").get("drivers");
            for old in read::list(old, "/spec/drivers") {
                for new in drivers.items().filter(|new| new.get("name").value() == &old["name"]) {
                    // How many volumes fit may change.
                    let [mut new, mut old] = [new.value().clone(), old.clone()];
                    [&mut new, &mut old].into_iter().for_each(|driver| fill::clear(driver, "allocatable"));
                    if !same(&new, &old) {
                        drivers.invalid_as(new, "field is immutable");
                    }
                }
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::list(object, "/spec/drivers").len().into(), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn driver(driver: &Cursor<'_>) {
    storage::driver_name(&driver.get("name"));
    let id = driver.get("nodeID");
    id.must();
    if id.text().len() > MAX_NODE_ID_BYTES {
        id.invalid(format!("must be {MAX_NODE_ID_BYTES} characters or less"));
    }
    driver.get("allocatable").get("count").non_negative();
}

/// Faults of keys are said to be the driver's, as upstream has it.
fn topology_keys(driver: &Cursor<'_>) {
    let mut taken = Vec::new();
    for key in driver.get("topologyKeys").texts() {
        if key.is_empty() {
            driver.required("");
        }
        if taken.contains(&key) {
            driver.duplicate_as(key);
        }
        taken.push(key);
        for fault in names::qualified(key) {
            driver.invalid_as(key, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CSI_NODE;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn drivers_are_there_once_and_stay_as_they_are() {
        check(&CSI_NODE, "{spec: {drivers: [{name: a.b, nodeID: n, topologyKeys: [x/y]}]}}", &[]);
        check(
            &CSI_NODE,
            "{spec: {drivers: [{name: a}, {name: a, nodeID: n, allocatable: {count: -1}, topologyKeys: [k, k]}]}}",
            &[
                "spec.drivers[0].nodeID: Required value",
                "spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                "spec.drivers[1].name: Duplicate value: \"a\"",
                "spec.drivers[1]: Duplicate value: \"k\"",
            ],
        );
        check_update(
            &CSI_NODE,
            "{spec: {drivers: [{name: a, nodeID: n}]}}",
            "{spec: {drivers: [{name: a, nodeID: n, allocatable: {count: 3}}, {name: b, nodeID: n}]}}",
            &[],
        );
        check_update(
            &CSI_NODE,
            "{spec: {drivers: [{name: a, nodeID: n}]}}",
            "{spec: {drivers: [{name: a, nodeID: m}]}}",
            &["spec.drivers: Invalid value: {\"name\":\"a\",\"nodeID\":\"m\"}: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(&CSI_NODE, "{metadata: {name: a}, spec: {drivers: [{name: b}]}}", "a | 1 | <unknown>");
    }
}
