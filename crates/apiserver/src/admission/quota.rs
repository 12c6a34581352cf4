//! ResourceQuota: an object that would use more of its namespace than a quota allows is refused; what it uses is
//! charged before it is stored, on the condition that nobody else has charged in between.
//!
//! A charge for an object that is not stored after all (the store failed) stays until the quota's controller adds up
//! again what is there; so a quota may for a while refuse too much, and never too little.

use std::pin::Pin;

use sampan_api::amounts;
use sampan_api::quota::{Change, Resource, charge};
use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Request};
use crate::registry::{Attempt, Draft, Plan, Registry, built_in};

/// Charges the quotas of the namespace for `new`. Boxed, since a charge is a write like the one it stands in.
pub(super) fn admit<'r>(
    registry: &'r Registry,
    request: &'r Request<'_>,
    new: &'r Value,
) -> Pin<Box<dyn Future<Output = Result<(), Status>> + Send + 'r>> {
    Box::pin(async move {
        let counts = matches!(request.operation, Operation::Create | Operation::Update) && request.is_namespaced();
        let change = change(request, new);
        if !counts || !change.matters() {
            return Ok(());
        }
        let attempt = request.attempt;
        for quota in registry.peek_all("", "ResourceQuota", &attempt.namespace) {
            if charge(&quota, change).map_err(|why| attempt.forbidden(&why))?.is_some() && !attempt.dry_run {
                pay(registry, attempt, change, &quota).await?;
            }
        }
        Ok(())
    })
}

fn change<'r>(request: &'r Request<'_>, new: &'r Value) -> Change<'r> {
    let kind = &request.attempt.kind;
    Change {
        resource: Resource { group: kind.group, plural: kind.plural },
        subresource: request.attempt.subresource,
        new,
        old: request.old,
        now: request.attempt.now,
    }
}

/// Writes the charge into the quota's status, asking it again if it has changed.
async fn pay(registry: &Registry, attempt: &Attempt, change: Change<'_>, quota: &Value) -> Result<(), Status> {
    let name = quota["metadata"]["name"].as_str().unwrap_or_default();
    let write = Attempt::internal(built_in("", "ResourceQuota")?, &attempt.namespace, name);
    let charged = registry.transact(&write, |quota| {
        let Some(quota) = quota else { return Err(write.not_found()) };
        let used = charge(quota, change).map_err(|why| attempt.forbidden(&why))?;
        Ok(used.map_or(Draft::Keep, |used| {
            let mut quota = quota.clone();
            quota["status"]["used"] = amounts::write(&used);
            Draft::Admitted(Plan::Put(quota, None))
        }))
    });
    match charged.await {
        // A quota that is gone by now bounds nothing.
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
