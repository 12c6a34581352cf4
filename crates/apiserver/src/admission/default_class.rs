//! DefaultStorageClass and DefaultIngressClass: who names no class gets the one that is marked as the default, the newest
//! if several are.

use std::cmp::Reverse;

use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

/// Fills in one field of one kind.
pub(super) struct DefaultClass {
    /// Group and plural of the objects that name a class.
    of: (&'static str, &'static str),
    /// The field that names it.
    field: &'static str,
    /// The annotation that named it before there was a field.
    annotation: &'static str,
    /// Group and kind of the classes.
    class: (&'static str, &'static str),
    /// The annotation that marks the default one.
    mark: &'static str,
}

/// Of PersistentVolumeClaims.
pub(super) const STORAGE: DefaultClass = DefaultClass {
    of: ("", "persistentvolumeclaims"),
    field: "storageClassName",
    annotation: "volume.beta.kubernetes.io/storage-class",
    class: ("storage.k8s.io", "StorageClass"),
    mark: "storageclass.kubernetes.io/is-default-class",
};

/// Of Ingresses.
pub(super) const INGRESS: DefaultClass = DefaultClass {
    of: ("networking.k8s.io", "ingresses"),
    field: "ingressClassName",
    annotation: "kubernetes.io/ingress.class",
    class: ("networking.k8s.io", "IngressClass"),
    mark: "ingressclass.kubernetes.io/is-default-class",
};

impl Plugin for DefaultClass {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        let (group, plural) = self.of;
        if request.operation != Operation::Create || !request.is_about(group, plural) {
            return Ok(());
        }
        let named = |object: &Value| {
            !object["spec"][self.field].is_null() || !object["metadata"]["annotations"][self.annotation].is_null()
        };
        if named(new) {
            return Ok(());
        }
        let (group, kind) = self.class;
        let classes = registry.peek_all(group, kind, "").into_iter();
        let marked = classes.filter(|class| class["metadata"]["annotations"][self.mark] == "true");
        let text = |class: &Value, field: &str| class["metadata"][field].as_str().unwrap_or_default().to_owned();
        let newest = marked.min_by_key(|class| (Reverse(text(class, "creationTimestamp")), text(class, "name")));
        if let Some(class) = newest {
            new["spec"][self.field] = class["metadata"]["name"].clone();
        }
        Ok(())
    }
}
