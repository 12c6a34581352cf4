//! CustomResourceDefinition: a kind that its users describe. What becomes of an accepted one is in [`crate::custom`].

mod costs;
mod rules;
mod schema;
mod spec;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::custom::accept;
use crate::field::Error;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

const GVK: Gvk = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition");

/// `customresourcedefinitions.apiextensions.k8s.io`
pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    storage: "customresourcedefinitions",
    columns: cells::PLAIN,
    rules: &CustomResourceDefinitionRules,
};

struct CustomResourceDefinitionRules;

impl Rules for CustomResourceDefinitionRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            let kind = read::text(spec, "/names/kind").to_owned();
            fill::at(spec, "/names", |names| {
                if !kind.is_empty() {
                    fill::zero(names, "singular", kind.to_lowercase());
                    fill::zero(names, "listKind", format!("{kind}List"));
                }
            });
            fill::absent(spec, "conversion", json!({ "strategy": "None" }));
            fill::at(spec, "/conversion/webhook/clientConfig/service", |service| fill::absent(service, "port", 443));
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] =
            json!({ "conditions": [], "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": [] });
        store_version(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
        store_version(new);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        check(object, |definition| {
            let (spec, name) = (definition.get("spec"), definition.get("metadata").get("name"));
            if name.text() != format!("{}.{}", spec.get("names").get("plural").text(), spec.get("group").text()) {
                name.invalid("must be spec.names.plural+\".\"+spec.group");
            }
            let group = spec.get("group");
            let approval = definition.get("metadata").get("annotations").key(accept::APPROVAL);
            if accept::is_protected(group.text()) && approval.is_empty() {
                approval.required(&accept::missing_approval());
            }
            spec::spec(&spec);
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<Error> {
        check(object, |definition| spec::costs(&definition.get("spec"), &Value::Null))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        check(new, |definition| {
            spec::update(definition, old);
            spec::costs(&definition.get("spec"), &old["spec"]);
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Error> {
        check(new, |definition| {
            spec::names(&definition.get("status").get("acceptedNames"));
            spec::stored_versions(definition);
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn begin_delete(&self, object: &mut Value, now: &str) {
        accept::begin_delete(object, now);
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        cells::plain_row(object)
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

/// Notes that objects are stored in the present storage version from now on.
fn store_version(definition: &mut Value) {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let Some(name) =
        versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).next()
    else {
        return;
    };
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    let stored = &mut definition["status"]["storedVersions"];
    if !stored.is_array() {
        *stored = json!([]);
    }
    if let Some(stored) = stored.as_array_mut().filter(|stored| !stored.contains(&name)) {
        stored.push(name);
    }
}

#[cfg(test)]
mod tests;
