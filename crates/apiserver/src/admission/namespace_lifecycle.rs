//! Nothing is created in a namespace that does not exist, or that is going away; some namespaces never go.

use sampan_api::status::{Resource, Status};
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::{Registry, terminating};

/// Namespaces that are never deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, _: &mut Value) -> Result<(), Status> {
        let attempt = request.attempt;
        let deletes = request.operation == Operation::Delete;
        if deletes && request.is_about("", "namespaces") && IMMORTAL.contains(&attempt.name.as_str()) {
            return Err(attempt.forbidden("this namespace may not be deleted"));
        }
        if deletes || !request.is_namespaced() || is_access_review(request) {
            return Ok(());
        }
        let name = &attempt.namespace;
        let Some(namespace) = registry.find("", "Namespace", "", name) else {
            return Err(Status::not_found(Resource { group: "", name: "namespaces" }, name));
        };
        if request.operation != Operation::Create || !namespace.deleting {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        Err(attempt.forbidden(&why).with_causes(vec![terminating(name)]))
    }
}

/// Whether rights are asked about that need no namespace to be there.
fn is_access_review(request: &Request<'_>) -> bool {
    request.is_about("authorization.k8s.io", "localsubjectaccessreviews")
}
