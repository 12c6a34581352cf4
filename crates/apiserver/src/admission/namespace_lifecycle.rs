//! Nothing is created in a namespace that does not exist, or that is going away.

use sampan_api::kind::Scope;
use sampan_api::status::{Resource, Status};
use serde_json::Value;

use super::Plugin;
use crate::registry::{Attempt, Registry, terminating};

pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn admit(&self, registry: &Registry, attempt: &Attempt, _: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        if old.is_some() || attempt.kind.scope == Scope::Cluster {
            return Ok(());
        }
        let name = &attempt.namespace;
        let Some(namespace) = registry.peek("", "Namespace", "", name) else {
            return Err(Status::not_found(Resource { group: "", name: "namespaces" }, name));
        };
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        Err(attempt.forbidden(&why).with_causes(vec![terminating(name)]))
    }
}
