//! Events are forgotten an hour after they were last seen, so that they do not fill the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cache::{Filter, Room};
use crate::registry::{Attempt, DeleteOptions, Registry, built_in};

/// How long an Event is kept after it was last seen.
const KEEP: SignedDuration = SignedDuration::from_hours(1);
/// Events that are due are collected for this long, and removed together.
const COLLECT: Duration = Duration::from_secs(60);

/// Removes old Events until `stop`. Sleeps until the oldest is due; without any Events, until there are some.
pub(crate) async fn run(registry: Arc<Registry>, stop: CancellationToken) {
    let Ok(room) = built_in("", "Event").and_then(|kind| registry.cache.room(kind)) else { return };
    while !stop.is_cancelled() {
        let now = sampan_clock::now();
        let (due, next) = plan(&seen(&room), now);
        for (namespace, name) in due {
            remove(&registry, &namespace, &name).await;
        }
        let mut changes = room.subscribe();
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep(until(now, at)).await,
                None => drop(changes.changed().await),
            }
        };
        stop.run_until_cancelled(wait).await;
    }
}

type Name = (String, String);

fn seen(room: &Room) -> Vec<(Name, Timestamp)> {
    let (objects, _) = room.snapshot(&Filter::default());
    let seen = |value: &Value| last_seen(value).unwrap_or(Timestamp::MIN);
    objects.iter().map(|o| ((o.namespace.to_string(), o.name.to_string()), seen(&o.value()))).collect()
}

/// Which Events are due now, and when the next will be.
fn plan(events: &[(Name, Timestamp)], now: Timestamp) -> (Vec<Name>, Option<Timestamp>) {
    let expires = |seen: Timestamp| seen.checked_add(KEEP).unwrap_or(Timestamp::MAX);
    let due = events.iter().filter(|(_, seen)| expires(*seen) <= now).map(|(name, _)| name.clone()).collect();
    let next = events.iter().map(|(_, seen)| expires(*seen)).filter(|at| *at > now).min();
    (due, next)
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default() + COLLECT
}

/// The latest of the times that an Event carries.
fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().filter_map(|time| time.as_str()?.parse().ok()).max()
}

async fn remove(registry: &Registry, namespace: &str, name: &str) {
    let Ok(kind) = built_in("", "Event") else { return };
    let attempt = Attempt::internal(kind, namespace, name);
    match registry.delete(&attempt, &DeleteOptions::default()).await {
        Err(error) if error.reason != "NotFound" => tracing::warn!(%error, name, "an old Event could not be removed"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_an_hour_after_they_were_last_seen() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let event = |name: &str, seen: &str| ((String::new(), name.to_owned()), seen.parse().unwrap());
        let events = [event("old", "2026-01-01T11:00:00Z"), event("new", "2026-01-01T11:30:00Z")];
        let (due, next) = plan(&events, now);
        assert_eq!(due, [(String::new(), "old".to_owned())]);
        assert_eq!(next, Some("2026-01-01T12:30:00Z".parse().unwrap()));
        assert_eq!(plan(&[], now), (vec![], None));
    }
}
