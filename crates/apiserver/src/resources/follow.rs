//! What happens to claims behind the requests: other servers' Services come and go, and claims that came to nothing
//! are given back.

use std::sync::Arc;

use sampan_store::{Revision, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::table::{Return, Slot, Table};
use super::{service, stored};
use crate::cache::{Filter, Object, Room};

/// How many changes are taken at a time.
const BATCH: usize = 256;

/// Keeps the table in step with the Services, until `stop`.
pub(super) async fn services(table: Arc<Table>, room: Arc<Room>, stop: CancellationToken) {
    let mut moved = room.subscribe();
    let mut cursor = take_over(&table, &room);
    while !stop.is_cancelled() {
        moved.mark_unchanged();
        match room.since(cursor, BATCH) {
            Ok(changes) if changes.is_empty() => {
                let _ = stop.run_until_cancelled(moved.changed()).await;
            }
            Ok(changes) => {
                for change in changes {
                    apply(&table, change.before.as_deref(), change.after.as_deref());
                    cursor = change.revision;
                }
            }
            Err(_) => cursor = take_over(&table, &room),
        }
    }
}

/// Everything that the Services hold now. What they no longer hold stays marked: the store knows better.
fn take_over(table: &Table, room: &Room) -> Revision {
    let (objects, revision) = room.snapshot(&Filter::default());
    objects.iter().for_each(|object| table.hold(slots(Some(object))));
    revision
}

fn apply(table: &Table, before: Option<&Object>, after: Option<&Object>) {
    let (before, after) = (slots(before), slots(after));
    let freed: Vec<Slot> = before.into_iter().filter(|slot| !after.contains(slot)).collect();
    table.hold(after);
    table.release(&freed);
}

fn slots(service: Option<&Object>) -> Vec<Slot> {
    service.map(|service| service::slots(&service.value())).unwrap_or_default()
}

/// Frees what claims did not need, until `stop`.
pub(super) async fn returns(
    table: Arc<Table>,
    store: Arc<dyn Store>,
    mut returned: mpsc::Receiver<Return>,
    stop: CancellationToken,
) {
    while let Some(Some(Return { owner, slots })) = stop.run_until_cancelled(returned.recv()).await {
        for slot in slots {
            if let Err(error) = stored::free(store.as_ref(), slot, &owner).await {
                tracing::warn!(%error, "a slot stays held until the next start");
                continue;
            }
            table.release(&[slot]);
        }
    }
}
