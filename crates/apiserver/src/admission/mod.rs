//! Built-in admission: one file per plugin, in upstream's order. All of it reads the cache, nothing waits.

mod default_tolerations;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod rbac_escalation;
mod service_account;

use sampan_api::status::Status;
use serde_json::Value;

use crate::registry::{Attempt, Registry};

/// A plugin. It sees every create and update, and may change `new` or refuse it.
trait Plugin: Sync {
    fn admit(&self, registry: &Registry, attempt: &Attempt, new: &mut Value, old: Option<&Value>)
    -> Result<(), Status>;
}

const PLUGINS: [&dyn Plugin; 6] = [
    &namespace_lifecycle::NamespaceLifecycle,
    &node_restriction::NodeRestriction,
    &priority::Priority,
    &service_account::ServiceAccount,
    &default_tolerations::DefaultTolerations,
    &rbac_escalation::RbacEscalation,
];

/// Runs all plugins on a create (`old` is `None`) or update.
pub(crate) fn admit(
    registry: &Registry,
    attempt: &Attempt,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|plugin| plugin.admit(registry, attempt, new, old))
}

/// The same for a deletion.
pub(crate) fn admit_delete(_registry: &Registry, attempt: &Attempt, old: &Value) -> Result<(), Status> {
    node_restriction::admit_delete(attempt, old)
}

/// Whether the attempt creates a Pod.
fn creates_pod(attempt: &Attempt, old: Option<&Value>) -> bool {
    old.is_none() && is_pod(attempt) && attempt.subresource.is_empty()
}

fn is_pod(attempt: &Attempt) -> bool {
    attempt.kind.group.is_empty() && attempt.kind.plural == "pods"
}

/// Whether a Pod only mirrors one that a node runs by itself.
fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}
