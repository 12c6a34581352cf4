//! Event of `events.k8s.io`: the newer words for the core [Event](super::EVENT), over the same stored objects.

use jiff::Timestamp;
use serde_json::Value;

use super::event;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check};

/// `events.events.k8s.io`
pub static EVENTS_EVENT: Kind = Kind {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.events.v1.Event",
    storage: "events",
    columns: event::COLUMNS,
    rules: &EventsEventRules,
};

/// Fields that the two groups call differently: (`events.k8s.io`, core).
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// The field selectors of this group, in the order of [`event::selectable_fields`].
const SELECTABLE: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "source",
    "type",
];

struct EventsEventRules;

/// Fields of the core form that stay as they are when an Event is counted again.
const IMMUTABLE: &[&str] = &[
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

impl Rules for EventsEventRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(&to_core(object), |event| {
            event::faults(event);
            series(&event.get("series"));
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(&to_core(object), only_newer_fields)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        let old = to_core(old);
        check(&to_core(new), |event| {
            for field in IMMUTABLE {
                event.get(field).immutable(&old[*field]);
            }
        })
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let core = event::selectable_fields(&to_core(object));
        SELECTABLE.iter().copied().zip(core.into_iter().map(|(_, value)| value)).collect()
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        event::row(&to_core(object), now)
    }

    fn stored_form(&self, object: &mut Value) {
        *object = to_core(object);
    }

    fn served_form(&self, stored: &Value) -> Option<Value> {
        Some(rename(stored, "events.k8s.io/v1", |(newer, core)| (core, newer)))
    }

    fn updates_create(&self) -> bool {
        true
    }
}

/// The core form; an object that is in it already stays as it is.
fn to_core(event: &Value) -> Value {
    rename(event, "v1", |names| *names)
}

fn rename<'n>(event: &Value, api_version: &str, direction: impl Fn(&'n (&str, &str)) -> (&'n str, &'n str)) -> Value {
    let mut event = event.clone();
    let Some(map) = event.as_object_mut() else { return event };
    for (from, to) in RENAMED.iter().map(direction) {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
    map.insert("apiVersion".to_owned(), api_version.into());
    event
}

fn series(series: &Cursor<'_>) {
    if !series.is_set() {
        return;
    }
    if series.get("count").int().unwrap_or_default() < 2 {
        series.get("count").invalid_as("", "should be at least 2");
    }
    series.get("lastObservedTime").must();
}

/// This API writes neither the fields it deprecates nor types of its own.
fn only_newer_fields(event: &Cursor<'_>) {
    event.get("eventTime").must();
    let kind = event.get("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        kind.invalid_as("", format!("has invalid value: {}", kind.text()));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count"] {
        if !event.get(field).is_empty() {
            event.get(field).invalid_as("", "needs to be unset");
        }
    }
    let source = event.get("source");
    if !source.get("component").is_empty() || !source.get("host").is_empty() {
        source.invalid_as("", "needs to be unset");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::EVENTS_EVENT;
    use crate::kinds::testing::{check, check_row};

    const GOOD: &str = "metadata: {name: a, namespace: b}, regarding: {kind: Pod, name: p, namespace: b}, \
        eventTime: '2026-01-01T11:59:00.5Z', reportingController: sampan/scheduler, reportingInstance: n, \
        action: Binding, reason: Scheduled, type: Normal, note: it went";

    #[test]
    fn an_event_is_stored_in_its_core_form() {
        let mut event = json!({ "apiVersion": "events.k8s.io/v1", "regarding": { "kind": "Pod" }, "note": "x" });
        let sent = event.clone();
        EVENTS_EVENT.rules.stored_form(&mut event);
        assert_eq!(event, json!({ "apiVersion": "v1", "involvedObject": { "kind": "Pod" }, "message": "x" }));
        assert_eq!(EVENTS_EVENT.rules.served_form(&event), Some(sent));
    }

    #[test]
    fn deprecated_fields_are_not_written() {
        check(&EVENTS_EVENT, &format!("{{{GOOD}}}"), &[]);
        check(
            &EVENTS_EVENT,
            &format!("{{{GOOD}, deprecatedCount: 1, series: {{count: 1}}}}"),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
                "count: Invalid value: \"\": needs to be unset",
            ],
        );
    }

    #[test]
    fn rows_are_those_of_the_core_form() {
        check_row(
            &EVENTS_EVENT,
            &format!("{{{GOOD}}}"),
            "60s | Normal | Scheduled | pod/p |  | sampan/scheduler, n | it went | 60s | 1 | a",
        );
    }
}
