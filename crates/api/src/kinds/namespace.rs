//! Namespace: a space of names. It is deleted in two steps: `status.phase` Terminating, then, once it is empty, its
//! own finalizer in `spec.finalizers` is taken away through `finalize`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};
use crate::validation::{check, namespace_finalizers};

const GVK: Gvk = ("", "v1", "Namespace");

/// `namespaces`
pub static NAMESPACE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::OneByOne,
    names: NameRule::Label,
    subresources: &[Subresource { name: "finalize", gvk: GVK, verbs: &["update"] }, status(GVK)],
    schema: "io.k8s.api.core.v1.Namespace",
    storage: "namespaces",
    columns: &[cells::NAME, cells::text("Status"), cells::AGE],
    rules: &NamespaceRules,
};

/// The label that lets selectors name a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The finalizer that the namespace controller takes away.
const FINALIZER: &str = "kubernetes";

struct NamespaceRules;

impl Rules for NamespaceRules {
    fn default(&self, object: &mut Value) {
        label_with_name(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        label_with_name(object);
        object["status"] = json!({ "phase": "Active" });
        let mut finalizers = read::texts(object, "/spec/finalizers");
        if !finalizers.contains(&FINALIZER) {
            finalizers.push(FINALIZER);
        }
        object["spec"] = json!({ "finalizers": finalizers });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "spec");
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        namespace_finalizers(object)
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |namespace| {
            let phase = namespace.get("status").get("phase");
            let deleting = namespace.get("metadata").get("deletionTimestamp").is_set();
            let wanted = if deleting { "Terminating" } else { "Active" };
            if phase.text() != wanted {
                let not = if deleting { "not " } else { "" };
                phase.invalid_as(phase.text(), format!("may only be '{wanted}' if `deletionTimestamp` is {not}empty"));
            }
        })
    }

    fn begin_delete(&self, object: &mut Value, _now: &str) {
        object["status"]["phase"] = "Terminating".into();
    }

    fn is_held_back(&self, object: &Value) -> bool {
        !read::texts(object, "/spec/finalizers").is_empty()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", read::text(object, "/status/phase").to_owned())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::text(object, "/status/phase").into(), cells::age(object, now)]
    }
}

fn label_with_name(namespace: &mut Value) {
    let name = read::text(namespace, "/metadata/name").to_owned();
    if name.is_empty() {
        return; // A generated name comes later; prepare_create is asked after it.
    }
    fill::at(namespace, "/metadata", |metadata| {
        if let Some(labels) = fill::map(metadata, "labels") {
            labels.insert(NAME_LABEL.to_owned(), name.into());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::NAMESPACE;
    use crate::kinds::testing::{check_row, created};

    #[test]
    fn a_new_namespace_is_labelled_active_and_guarded() {
        let namespace = created(&NAMESPACE, "{metadata: {name: a}}");
        assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
        assert_eq!(namespace["spec"]["finalizers"][0], "kubernetes");
        assert_eq!(namespace["status"]["phase"], "Active");
    }

    #[test]
    fn rows() {
        check_row(&NAMESPACE, "{metadata: {name: a}, status: {phase: Active}}", "a | Active | <unknown>");
    }
}
