//! The end of a definition: its instances are deleted; when the last one is gone, it is let go.

use sampan_api::custom::accept;
use sampan_api::kind::KindRef;
use sampan_api::kinds::CUSTOM_RESOURCE_DEFINITION;
use sampan_api::status::Status;
use serde_json::Value;

use super::attempt;
use crate::cache::Filter;
use crate::registry::{Attempt, DeleteOptions, Registry, metadata};

/// Whether a definition waits for its instances to be deleted.
pub(super) fn is_due(definition: &Value) -> bool {
    metadata::is_deleting(definition) && metadata::finalizers(definition).contains(&accept::FINALIZER)
}

/// Deletes the instances, waits until they are gone, and releases the definition.
pub(super) async fn close(registry: &Registry, name: &str, stored: Option<KindRef>) -> Result<(), Status> {
    if let Some(kind) = stored {
        change(registry, name, "status", accept::deleting_instances).await?;
        delete_instances(registry, &kind).await?;
    }
    change(registry, name, "", accept::release).await
}

async fn delete_instances(registry: &Registry, kind: &KindRef) -> Result<(), Status> {
    loop {
        registry.cache.fresh().await?;
        // Looked up each time: a definition that changes meanwhile gets another room.
        let room = registry.cache.room(kind)?;
        let mut changes = room.subscribe();
        let (instances, _) = room.snapshot(&Filter::default());
        if instances.is_empty() {
            return Ok(());
        }
        for instance in &instances {
            let attempt = Attempt::internal(kind.clone(), &instance.namespace, &instance.name);
            match registry.delete(&attempt, &DeleteOptions::default()).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => {}
            }
        }
        registry.cache.fresh().await?;
        if room.len() == 0 {
            return Ok(());
        }
        // What is left has finalizers: others have to act.
        tokio::select! {
            _ = changes.changed() => {}
            () = room.closed() => {}
        }
    }
}

/// Changes the definition as it is now.
async fn change(
    registry: &Registry,
    name: &str,
    subresource: &'static str,
    change: impl Fn(&mut Value, &str),
) -> Result<(), Status> {
    registry.cache.fresh().await?;
    let kind = &CUSTOM_RESOURCE_DEFINITION;
    let Some(mut definition) = registry.peek(kind.group, kind.kind, "", name) else { return Ok(()) };
    change(&mut definition, &metadata::time(sampan_clock::now()));
    match registry.update(&attempt(name, subresource), definition).await {
        Err(status) if status.reason != "NotFound" => Err(status),
        _ => Ok(()),
    }
}
