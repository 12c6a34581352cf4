//! The ranges that Services have their addresses from: `ServiceCIDR`s are made ready, and none goes while it is needed.
//!
//! ```text
//! new -> guarded by a finalizer -> Ready=True     -> deleted, in use -> Ready=False (Terminating)
//!                                                 -> deleted, unused -> gone
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use sampan_api::status::Status;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Filter, Room};
use crate::registry::{Attempt, Registry, built_in, conditions, metadata};

const GROUP: &str = "networking.k8s.io";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

/// The ranges that addresses may be given from now; `otherwise` until there are any.
pub(super) fn ready(cache: &Cache, otherwise: Ipv4Net) -> Vec<Ipv4Net> {
    let ranges = cache.stored("servicecidrs").map(|room| snapshot(&room)).unwrap_or_default();
    let usable = ranges.iter().filter(|range| !metadata::is_deleting(range) && readiness(range) == Some("True"));
    let networks: Vec<Ipv4Net> = usable.flat_map(networks).filter_map(ipv4).collect();
    if networks.is_empty() { vec![otherwise] } else { networks }
}

fn snapshot(room: &Room) -> Vec<Value> {
    room.snapshot(&Filter::default()).0.iter().map(|object| object.value()).collect()
}

fn networks(range: &Value) -> impl Iterator<Item = IpNet> {
    range["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(|cidr| cidr.as_str()?.parse().ok())
}

fn ipv4(network: IpNet) -> Option<Ipv4Net> {
    match network {
        IpNet::V4(network) => Some(network),
        IpNet::V6(_) => None,
    }
}

fn readiness(range: &Value) -> Option<&str> {
    let conditions = range["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

/// Takes care of all ranges, until `stop`.
pub(crate) async fn run(registry: Arc<Registry>, stop: CancellationToken) {
    let room = |kind| built_in(GROUP, kind).and_then(|kind| registry.cache.room(kind));
    let (Ok(ranges), Ok(addresses)) = (room("ServiceCIDR"), room("IPAddress")) else { return };
    let (mut changes, mut releases) = (ranges.subscribe(), addresses.subscribe());
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        releases.mark_unchanged();
        let all = snapshot(&ranges);
        for range in &all {
            if let Err(error) = care(&registry, range, &all, &addresses).await {
                tracing::debug!(%error, "a ServiceCIDR has changed meanwhile");
            }
        }
        let leaving = all.iter().any(metadata::is_deleting);
        let change = async {
            tokio::select! {
                _ = changes.changed() => {}
                _ = releases.changed(), if leaving => {}
            }
        };
        stop.run_until_cancelled(change).await;
    }
}

/// What is to be done about a range.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// It must not go unnoticed.
    Guard,
    /// Its readiness has changed.
    Say(&'static str, &'static str, &'static str),
    /// Nothing holds it back.
    Release,
}

fn plan(range: &Value, needed: bool) -> Step {
    let guarded = metadata::finalizers(range).contains(&FINALIZER);
    match (metadata::is_deleting(range), guarded, readiness(range)) {
        (false, false, _) => Step::Guard,
        (false, true, Some("True")) | (true, false, _) => Step::Nothing,
        (false, true, _) => Step::Say("True", "", "Kubernetes Service CIDR is ready"),
        (true, true, _) if !needed => Step::Release,
        (true, true, Some("False")) => Step::Nothing,
        (true, true, _) => Step::Say(
            "False",
            "Terminating",
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
        ),
    }
}

/// Whether an address lies in the range, and in no other that stays.
fn is_needed(range: &Value, all: &[Value], addresses: &[IpAddr]) -> bool {
    let within = |range: &Value, address: &IpAddr| networks(range).any(|network| network.contains(address));
    let others: Vec<&Value> = all
        .iter()
        .filter(|other| other["metadata"]["uid"] != range["metadata"]["uid"] && !metadata::is_deleting(other))
        .collect();
    addresses.iter().any(|address| within(range, address) && !others.iter().any(|other| within(other, address)))
}

async fn care(registry: &Registry, range: &Value, all: &[Value], addresses: &Room) -> Result<(), Status> {
    let needed = metadata::is_deleting(range) && {
        let (held, _) = addresses.snapshot(&Filter::default());
        is_needed(range, all, &held.iter().filter_map(|address| address.name.parse().ok()).collect::<Vec<_>>())
    };
    let attempt = Attempt::internal(built_in(GROUP, "ServiceCIDR")?, "", metadata::text(range, "name"));
    let mut new = range.clone();
    let mut finalizers: Vec<&str> = metadata::finalizers(range);
    match plan(range, needed) {
        Step::Nothing => return Ok(()),
        Step::Guard => finalizers.push(FINALIZER),
        Step::Release => finalizers.retain(|finalizer| *finalizer != FINALIZER),
        Step::Say(status, reason, message) => {
            let condition = json!({
                "type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": metadata::time(attempt.now),
            });
            conditions::set(&mut new, condition);
            let attempt = Attempt { subresource: "status", ..attempt };
            return registry.update(&attempt, new).await.map(drop);
        }
    }
    new["metadata"]["finalizers"] = json!(finalizers);
    registry.update(&attempt, new).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(cidr: &str, rest: &Value) -> Value {
        let mut range = json!({ "metadata": { "uid": cidr }, "spec": { "cidrs": [cidr] } });
        for (field, value) in rest.as_object().into_iter().flatten() {
            range["metadata"][field] = value.clone();
        }
        range
    }

    #[test]
    fn a_range_is_guarded_then_ready() {
        let new = range("10.0.0.0/24", &json!({}));
        assert_eq!(plan(&new, false), Step::Guard);
        let mut guarded = range("10.0.0.0/24", &json!({ "finalizers": [FINALIZER] }));
        assert!(matches!(plan(&guarded, false), Step::Say("True", ..)));
        guarded["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(plan(&guarded, false), Step::Nothing);
    }

    #[test]
    fn a_range_goes_when_nothing_needs_it() {
        let going = json!({ "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let old = range("10.0.0.0/24", &going);
        assert!(matches!(plan(&old, true), Step::Say("False", "Terminating", _)));
        assert_eq!(plan(&old, false), Step::Release);
        let addresses = ["10.0.0.5".parse().unwrap()];
        assert!(is_needed(&old, std::slice::from_ref(&old), &addresses));
        let wide = range("10.0.0.0/16", &json!({}));
        assert!(!is_needed(&old, &[old.clone(), wide], &addresses));
    }
}
