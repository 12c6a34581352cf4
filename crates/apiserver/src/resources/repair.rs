//! At start: every Service has what it says it has, and what nobody has is free.
//!
//! Both go wrong when a server dies between the write of a claim and that of its Service, and for Services that were
//! stored before claims were.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};
use sampan_api::status::Status;
use sampan_store::{Span, Store};
use serde_json::Value;

use super::table::{Owner, Slot};
use super::{service, stored};
use crate::cache::{Cache, Filter, unavailable};

/// A claim without a Service may be one that another server is just making a Service for.
const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Makes the missing claims of Services, and removes those that have none.
pub(super) async fn run(cache: &Cache, store: &dyn Store, now: Timestamp) -> Result<(), Status> {
    let wanted = wanted(cache);
    let found = found(cache, store).await?;
    for (slot, owner) in &wanted {
        if !found.contains_key(slot) && !stored::take(store, *slot, owner, now).await? {
            tracing::warn!(?slot, ?owner, "a Service has what is someone else's");
        }
    }
    for (slot, (owner, since)) in &found {
        let old = since.checked_add(GRACE).is_ok_and(|due| due < now);
        if old && wanted.get(slot) != Some(owner) {
            stored::free(store, *slot, owner).await?;
        }
    }
    Ok(())
}

/// What the Services have.
fn wanted(cache: &Cache) -> HashMap<Slot, Owner> {
    let Some(room) = cache.stored("services") else { return HashMap::new() };
    let (services, _) = room.snapshot(&Filter::default());
    let of = |service: &Value| {
        let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default().to_owned();
        let owner = Owner { namespace: text("namespace"), name: text("name") };
        service::slots(service).into_iter().map(|slot| (slot, owner.clone())).collect::<Vec<_>>()
    };
    services.iter().flat_map(|service| of(&service.value())).collect()
}

/// What API servers have claimed for Services.
async fn found(cache: &Cache, store: &dyn Store) -> Result<HashMap<Slot, (Owner, Timestamp)>, Status> {
    let mut found = HashMap::new();
    let addresses = cache.stored("ipaddresses").map(|room| room.snapshot(&Filter::default()).0).unwrap_or_default();
    let (label, manager) = stored::MANAGED_BY;
    for address in addresses.iter().filter(|address| address.labels.get(label).is_some_and(|by| by == manager)) {
        if let (Ok(ip), Some(owner)) = (address.name.parse::<Ipv4Addr>(), stored::owner_of(&address.value())) {
            found.insert(Slot::Address(ip), owner);
        }
    }
    let prefix = stored::ports_prefix();
    let page = store.range(&Span::prefix(prefix.as_bytes()), None, None).await.map_err(|e| unavailable(&e))?;
    for entry in page.entries {
        let port = std::str::from_utf8(&entry.key[prefix.len()..]).ok().and_then(|port| port.parse().ok());
        let value: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        if let (Some(port), Some(owner)) = (port, stored::owner_of(&value)) {
            found.insert(Slot::Port(port), owner);
        }
    }
    Ok(found)
}
