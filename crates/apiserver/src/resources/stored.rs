//! Claims as the store holds them, so that several servers on one store cannot give the same thing twice: an `IPAddress`
//! for each address, an entry of our own for each node port. Whoever makes the key first has the slot.

use bytes::Bytes;
use jiff::Timestamp;
use sampan_api::status::Status;
use sampan_store::{Outcome, Store, Write};
use serde_json::{Value, json};

use super::table::{Owner, Slot};
use crate::cache::{PREFIX, encode, unavailable};
use crate::registry::metadata;

/// Where node ports are, below [`PREFIX`]; no kind is stored there.
const PORTS: &str = "nodeports";
/// Marks the addresses that API servers make for Services, as opposed to those that others make.
pub(super) const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

/// The prefix of all node ports.
pub(super) fn ports_prefix() -> String {
    format!("{PREFIX}{PORTS}/")
}

fn key(slot: Slot) -> Bytes {
    match slot {
        Slot::Address(address) => format!("{PREFIX}ipaddresses/{address}").into(),
        Slot::Port(port) => format!("{}{port}", ports_prefix()).into(),
    }
}

fn value(slot: Slot, owner: &Owner, now: Timestamp) -> Bytes {
    let Owner { namespace, name } = owner;
    let since = metadata::time(now);
    let Slot::Address(address) = slot else {
        return json!({ "namespace": namespace, "name": name, "since": since }).to_string().into();
    };
    let (label, manager) = MANAGED_BY;
    encode(&json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": address.to_string(), "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": since,
            "labels": { "ipaddress.kubernetes.io/ip-family": "IPv4", label: manager },
        },
        "spec": { "parentRef": { "resource": "services", "namespace": namespace, "name": name } },
    }))
}

/// Whose slot a stored claim is, and since when.
pub(super) fn owner_of(value: &Value) -> Option<(Owner, Timestamp)> {
    let (parent, since) = match value.pointer("/spec/parentRef") {
        Some(parent) if parent["resource"] == "services" => (parent, &value["metadata"]["creationTimestamp"]),
        Some(_) => return None,
        None => (value, &value["since"]),
    };
    let text = |field: &str| parent[field].as_str().map(str::to_owned);
    let owner = Owner { namespace: text("namespace")?, name: text("name")? };
    Some((owner, since.as_str()?.parse().ok()?))
}

/// Takes a slot for `owner`; false if someone else has it.
pub(super) async fn take(store: &dyn Store, slot: Slot, owner: &Owner, now: Timestamp) -> Result<bool, Status> {
    let write = Write::Create { key: key(slot), value: value(slot, owner, now) };
    match store.write(write).await.map_err(|e| unavailable(&e))? {
        Outcome::Done(_) => Ok(true),
        // What this Service has from an attempt that came to nothing is its own.
        Outcome::Unmet(entry) => Ok(entry.is_some_and(|entry| is_of(owner, &entry.value))),
    }
}

/// Frees a slot, if it is `owner`'s.
pub(super) async fn free(store: &dyn Store, slot: Slot, owner: &Owner) -> Result<(), Status> {
    let key = key(slot);
    let Some(entry) = store.get(&key, None).await.map_err(|e| unavailable(&e))? else { return Ok(()) };
    if is_of(owner, &entry.value) {
        let write = Write::Delete { key, expected: entry.modified };
        store.write(write).await.map_err(|e| unavailable(&e))?;
    }
    Ok(())
}

fn is_of(owner: &Owner, value: &[u8]) -> bool {
    let value = serde_json::from_slice(value).unwrap_or_default();
    owner_of(&value).is_some_and(|(found, _)| found == *owner)
}
