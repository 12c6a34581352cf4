//! ControllerRevision: what a StatefulSet or DaemonSet once wanted its Pods to be; it never changes.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `controllerrevisions.apps`
pub static CONTROLLER_REVISION: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.apps.v1.ControllerRevision",
    storage: "controllerrevisions",
    columns: &[cells::NAME, cells::text("Controller"), cells::text("Revision"), cells::AGE],
    rules: &RevisionRules,
};

struct RevisionRules;

impl Rules for RevisionRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |revision| {
            if !revision.get("data").is_set() {
                revision.get("data").required("data is mandatory");
            }
            revision.get("revision").non_negative();
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |revision| revision.get("data").immutable(&old["data"]))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            cells::or_none(&controller(object)),
            read::int(object, "/revision").into(),
            cells::age(object, now),
        ]
    }
}

/// `statefulset.apps/web`
fn controller(object: &Value) -> String {
    let owners = read::list(object, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return String::new() };
    let group = read::text(owner, "/apiVersion").split_once('/').map(|(group, _)| format!(".{group}"));
    let kind = read::text(owner, "/kind").to_lowercase();
    format!("{kind}{}/{}", group.unwrap_or_default(), read::text(owner, "/name"))
}

#[cfg(test)]
mod tests {
    use super::CONTROLLER_REVISION;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn the_data_stays() {
        check(
            &CONTROLLER_REVISION,
            "{revision: -1}",
            &[
                "data: Required value: data is mandatory",
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ],
        );
        check_update(&CONTROLLER_REVISION, "{data: {a: 1}, revision: 1}", "{data: {a: 1}, revision: 2}", &[]);
        check_update(
            &CONTROLLER_REVISION,
            "{data: {a: 1}}",
            "{data: {a: 2}}",
            &["data: Invalid value: {\"a\":2}: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &CONTROLLER_REVISION,
            "{metadata: {name: a, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, \
             controller: true}]}, revision: 3}",
            "a | statefulset.apps/web | 3 | <unknown>",
        );
        check_row(&CONTROLLER_REVISION, "{metadata: {name: a}}", "a | <none> | 0 | <unknown>");
    }
}
