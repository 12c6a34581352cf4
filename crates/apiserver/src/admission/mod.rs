//! Admission, in upstream's two phases around the object's own validation:
//!
//! ```text
//! mutate:   built-in plugins -> MutatingAdmissionPolicy -> mutating webhooks --changed something--+
//!              ^----------------------------- once more, whoever asked for it -------------------+
//! (the kind's own preparation and validation)
//! validate: built-in plugins -> ValidatingAdmissionPolicy -> validating webhooks -> ResourceQuota
//! ```
//!
//! Every write of a stored object passes here from [`Registry::transact`](crate::registry::Registry::transact);
//! what is posted to a subresource and not stored (bindings, evictions, token requests, reviews) and every connection
//! from [`pass`]. Built-in plugins are one file each; they read the cache and do not wait.

mod bound;
mod certificates;
mod default_class;
mod default_tolerations;
mod limit_ranger;
pub(crate) mod matching;
mod namespace_lifecycle;
mod node_declared_features;
mod node_restriction;
mod node_taint;
mod pod_resize;
mod pod_security;
mod pod_topology_labels;
mod policies;
mod priority;
mod quota;
mod rbac_escalation;
mod request;
mod runtime_class;
mod service_account;
mod storage;
mod webhooks;

use sampan_api::status::Status;
use serde_json::Value;

pub(crate) use self::policies::Policies;
pub(crate) use self::request::{Operation, Request};
use self::webhooks::Rounds;
pub(crate) use self::webhooks::Webhooks;
use crate::registry::Registry;

/// A built-in plugin. It sees every write and every connection, and takes part in the phases it has a method for.
trait Plugin: Sync {
    /// May change `new` (null for a deletion) or refuse it.
    fn mutate(&self, _registry: &Registry, _request: &Request<'_>, _new: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// May refuse what will be stored.
    fn validate(&self, _registry: &Registry, _request: &Request<'_>, _new: &Value) -> Result<(), Status> {
        Ok(())
    }
}

/// The plugins in upstream's order.
const PLUGINS: &[&dyn Plugin] = &[
    &namespace_lifecycle::NamespaceLifecycle,
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccount,
    &node_restriction::NodeRestriction,
    &node_taint::NodeTaint,
    &pod_security::PodSecurity,
    &priority::Priority,
    &default_tolerations::DefaultTolerations,
    &default_class::STORAGE,
    &storage::InUseProtection,
    &storage::ClaimResize,
    &runtime_class::RuntimeClass,
    &default_class::INGRESS,
    &rbac_escalation::RbacEscalation,
    &certificates::Certificates,
    &pod_topology_labels::PodTopologyLabels,
    &node_declared_features::NodeDeclaredFeatures,
    &pod_resize::PodResize,
];

/// The mutating phase.
pub(crate) async fn mutate(registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
    let (mut rounds, mut policy_rounds) = (Rounds::default(), Rounds::default());
    loop {
        PLUGINS.iter().try_for_each(|plugin| plugin.mutate(registry, request, new))?;
        policies::mutate(registry, request, new, &mut policy_rounds)?;
        webhooks::mutate(registry, request, new, &mut rounds).await?;
        // Both begin the next round, whoever asked for it.
        if !(rounds.next() | policy_rounds.next()) {
            return Ok(());
        }
    }
}

/// The validating phase.
pub(crate) async fn validate(registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|plugin| plugin.validate(registry, request, new))?;
    policies::validate(registry, request, new)?;
    webhooks::validate(registry, request, new).await?;
    quota::admit(registry, request, new).await
}

/// Both phases for something that is not stored; what becomes of it.
pub(crate) async fn pass(registry: &Registry, request: &Request<'_>, mut object: Value) -> Result<Value, Status> {
    mutate(registry, request, &mut object).await?;
    validate(registry, request, &object).await?;
    Ok(object)
}

/// Whether a Pod only mirrors one that a node runs by itself.
fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}
