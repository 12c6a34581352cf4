//! StorageVersionMigration: everything of a resource is to be written anew.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, conditions, names};

const GVK: Gvk = ("storagemigration.k8s.io", "v1", "StorageVersionMigration");

/// `storageversionmigrations.storagemigration.k8s.io`
pub static STORAGE_VERSION_MIGRATION: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "storageversionmigrations",
    singular: "storageversionmigration",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.storagemigration.v1.StorageVersionMigration",
    storage: "storageversionmigrations",
    columns: &[
        Column { name: "Name", kind: "string", format: "", priority: 0 },
        cells::text("Resource"),
        cells::text("Status"),
    ],
    rules: &MigrationRules,
};

struct MigrationRules;

impl Rules for MigrationRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |migration| {
            let resource = migration.get("spec").get("resource");
            let (group, name) = (resource.get("group"), resource.get("resource"));
            if name.is_empty() {
                name.required("resource is required to be set");
            } else {
                joined(&name, names::label_1035(name.text()));
            }
            if !group.is_empty() {
                joined(&group, names::subdomain(group.text()));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |migration| migration.get("spec").immutable(&old["spec"]))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |migration| {
            let status = migration.get("status");
            let version = status.get("resourceVersion");
            if !version.is_empty() && !is_version(version.text()) {
                version.invalid(format!("resource version is not well formed: {}", version.text()));
            }
            conditions(&status.get("conditions"));
            let before = read::text(old, "/status/resourceVersion");
            if !before.is_empty() && before != version.text() {
                version.invalid_as(version.text(), "field is immutable");
            }
            progress(&status.get("conditions"), new, old);
        })
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let part = |name: &str| read::text(object, &format!("/spec/resource/{name}"));
        let resource = match (part("resource"), part("group")) {
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let states = read::list(object, "/status/conditions").iter().filter(|condition| condition["status"] == "True");
        let states = states.filter_map(|condition| condition["type"].as_str());
        let state = states.rev().find(|state| ["Running", "Failed", "Succeeded"].contains(state));
        vec![cells::name(object), resource.into(), state.unwrap_or("Unknown").into()]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn joined(name: &Cursor<'_>, faults: Vec<String>) {
    if !faults.is_empty() {
        name.invalid(faults.join(","));
    }
}

/// Whether this is a number as resource versions are: digits, the first of them not 0.
fn is_version(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// A migration runs, then has succeeded or failed, and that stays.
fn progress(conditions: &Cursor<'_>, new: &Value, old: &Value) {
    let is = |object: &Value, kind: &str| read::condition_is_true(object, kind);
    let [succeeded, failed, running] = ["Succeeded", "Failed", "Running"].map(|kind| is(new, kind));
    let rules = [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (is(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (is(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ];
    for (_, fault) in rules.into_iter().filter(|(broken, _)| *broken) {
        conditions.invalid(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::STORAGE_VERSION_MIGRATION as SVM;
    use crate::field::Error;
    use crate::kinds::testing::{check, check_row, check_update, object};

    #[test]
    fn what_is_migrated_is_named_and_stays() {
        check(&SVM, "{spec: {resource: {group: apps, resource: deployments}}}", &[]);
        check(
            &SVM,
            "{spec: {resource: {}}}",
            &["spec.resource.resource: Required value: resource is required to be set"],
        );
        check_update(
            &SVM,
            "{spec: {resource: {resource: a}}}",
            "{spec: {resource: {resource: b}}}",
            &["spec: Invalid value: {\"resource\":{\"resource\":\"b\"}}: field is immutable"],
        );
    }

    #[test]
    fn what_has_ended_has_ended() {
        let status = |kind: &str| {
            format!(
                "{{status: {{conditions: [{{type: {kind}, status: 'True', reason: R, lastTransitionTime: \
                 '2026-01-01T00:00:00Z'}}]}}}}"
            )
        };
        let faults = SVM.rules.validate_status(&object(&status("Running")), &object(&status("Succeeded")));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().ends_with("Success condition cannot be set to false once it is true"));
        let faults = SVM.rules.validate_status(&object("{status: {resourceVersion: x}}"), &object("{}"));
        assert_eq!(
            faults.iter().map(Error::to_string).collect::<Vec<_>>(),
            ["status.resourceVersion: Invalid value: \"x\": resource version is not well formed: x"]
        );
    }

    #[test]
    fn rows() {
        check_row(
            &SVM,
            "{metadata: {name: a}, spec: {resource: {group: apps, resource: deployments}}}",
            "a | deployments.apps | Unknown",
        );
    }
}
