//! StorageObjectInUseProtection: volumes, claims and attribute classes stay while something uses them.
//! PersistentVolumeClaimResize: only a bound claim grows, and only if its class allows it.

use sampan_api::amounts;
use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

/// Group, plural and finalizer of what is protected.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub(super) struct InUseProtection;

impl Plugin for InUseProtection {
    fn mutate(&self, _: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        if request.operation != Operation::Create {
            return Ok(());
        }
        let found = PROTECTED.iter().find(|(group, plural, _)| request.is_about(group, plural));
        let Some((_, _, finalizer)) = found else { return Ok(()) };
        if !new["metadata"]["finalizers"].is_array() {
            new["metadata"]["finalizers"] = json!([]);
        }
        let finalizers = new["metadata"]["finalizers"].as_array_mut();
        if let Some(finalizers) = finalizers.filter(|list| list.iter().all(|one| one != finalizer)) {
            finalizers.push((*finalizer).into());
        }
        Ok(())
    }
}

pub(super) struct ClaimResize;

impl Plugin for ClaimResize {
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let Some(old) = request.old.filter(|_| request.is_about("", "persistentvolumeclaims")) else { return Ok(()) };
        if request.operation != Operation::Update || size(new) <= size(old) {
            return Ok(());
        }
        if old["status"]["phase"] != "Bound" {
            return Err(request.attempt.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = class(new).filter(|name| !name.is_empty() && class(old) == Some(*name));
        let class = class.and_then(|name| registry.peek("storage.k8s.io", "StorageClass", "", name));
        if class.is_some_and(|class| class["allowVolumeExpansion"] == true) {
            return Ok(());
        }
        Err(request.attempt.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
             resize",
        ))
    }
}

fn size(claim: &Value) -> Option<sampan_api::quantity::Quantity> {
    amounts::quantity(&claim["spec"]["resources"]["requests"]["storage"])
}

fn class(claim: &Value) -> Option<&str> {
    let annotated = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    annotated.or(claim["spec"]["storageClassName"].as_str())
}
