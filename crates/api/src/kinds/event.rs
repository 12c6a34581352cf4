//! Event (core): what happened to an object, kept for a while. [`EVENTS_EVENT`](super::EVENTS_EVENT) is another view
//! of the same objects.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names};

/// `events`
pub static EVENT: Kind = Kind {
    group: "",
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
    schema: "io.k8s.api.core.v1.Event",
    storage: "events",
    columns: COLUMNS,
    rules: &EventRules,
};

/// The columns of both groups' Events.
pub(super) const COLUMNS: &[Column] = &[
    cells::text("Last Seen"),
    cells::text("Type"),
    cells::text("Reason"),
    cells::text("Object"),
    cells::wide("Subobject"),
    cells::wide("Source"),
    cells::text("Message"),
    cells::wide("First Seen"),
    cells::wide("Count"),
    Column { priority: 1, ..cells::NAME },
];

struct EventRules;

/// Bounds of an Event's texts.
const MAX_REASON_BYTES: usize = 128;
const MAX_NOTE_BYTES: usize = 1024;

impl Rules for EventRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, faults)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        selectable_fields(object)
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }

    fn updates_create(&self) -> bool {
        true
    }
}

const SELECTABLE: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The fields named in [`SELECTABLE`], which are paths into the object but for `source`.
pub(super) fn selectable_fields(event: &Value) -> Vec<(&'static str, String)> {
    let field = |name: &&'static str| match *name {
        "source" => (*name, source_component(event).to_owned()),
        path => (*name, read::text(event, &format!("/{}", path.replace('.', "/"))).to_owned()),
    };
    SELECTABLE.iter().map(field).collect()
}

fn source_component(event: &Value) -> &str {
    read::or(read::text(event, "/source/component"), read::text(event, "/reportingComponent"))
}

/// The cells of [`COLUMNS`].
pub(super) fn row(event: &Value, now: Timestamp) -> Vec<Value> {
    let (first, last, count) = sightings(event);
    vec![
        cells::since(last, now).into(),
        read::text(event, "/type").into(),
        read::text(event, "/reason").into(),
        target(event).into(),
        read::text(event, "/involvedObject/fieldPath").into(),
        source(event).into(),
        read::text(event, "/message").trim().into(),
        cells::since(first, now).into(),
        count.into(),
        cells::name(event),
    ]
}

/// When the event was first and last seen, and how often: series and single events of the newer API included.
fn sightings(event: &Value) -> (&str, &str, i64) {
    let first = read::or(read::text(event, "/firstTimestamp"), read::text(event, "/eventTime"));
    let last = read::or(read::text(event, "/lastTimestamp"), first);
    match event.get("series").filter(|series| series.is_object()) {
        Some(series) => (first, read::text(series, "/lastObservedTime"), read::int(series, "/count")),
        None => (first, last, read::int(event, "/count").max(1)),
    }
}

fn target(event: &Value) -> String {
    let kind = read::text(event, "/involvedObject/kind").to_lowercase();
    match read::text(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> String {
    let component = read::or(read::text(event, "/reportingComponent"), read::text(event, "/source/component"));
    match read::or(read::text(event, "/reportingInstance"), read::text(event, "/source/host")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

/// The faults of an Event in its core form. Those with an `eventTime` come from newer clients and must be complete.
pub(super) fn faults(event: &Cursor<'_>) {
    let own = event.get("metadata").get("namespace").text();
    let involved = event.get("involvedObject").get("namespace");
    let newer = event.get("eventTime").is_set();
    let matches = match involved.text() {
        "" => matches!(own, "" | "default") || (newer && own == "kube-system"),
        namespace => newer || namespace == own,
    };
    if !matches {
        involved.invalid_as(involved.text(), "does not match event.namespace");
    }
    if newer {
        complete(event);
    }
    event.get("metadata").get("namespace").follows(names::subdomain);
}

fn complete(event: &Cursor<'_>) {
    // Faults name the field as the newer API does.
    let controller = event.get("reportingComponent").reported_at("reportingController");
    controller.must_follow(names::qualified);
    for field in ["reportingInstance", "action", "reason"] {
        event.get(field).must();
        at_most(&event.get(field), MAX_REASON_BYTES);
    }
    at_most(&event.get("message"), MAX_NOTE_BYTES);
}

fn at_most(text: &Cursor<'_>, bytes: usize) {
    if text.text().len() > bytes {
        text.invalid_as("", format!("can have at most {bytes} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::EVENT;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn an_event_lives_beside_its_object() {
        check(&EVENT, "{metadata: {name: a, namespace: b}, involvedObject: {namespace: b}}", &[]);
        check(
            &EVENT,
            "{metadata: {name: a, namespace: b}, involvedObject: {namespace: c}}",
            &["involvedObject.namespace: Invalid value: \"c\": does not match event.namespace"],
        );
    }

    #[test]
    fn newer_events_are_complete() {
        check(
            &EVENT,
            "{metadata: {name: a, namespace: b}, involvedObject: {namespace: b}, eventTime: '2026-01-01T00:00:00.0Z', \
             reportingComponent: sampan/kubelet, reportingInstance: n}",
            &["action: Required value", "reason: Required value"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &EVENT,
            "{metadata: {name: e}, type: Warning, reason: BackOff, message: 'it fell ', count: 3, \
             involvedObject: {kind: Pod, name: a, fieldPath: 'spec.containers{c}'}, source: {component: kubelet, host: n}, \
             firstTimestamp: '2026-01-01T11:00:00Z', lastTimestamp: '2026-01-01T11:58:30Z'}",
            "90s | Warning | BackOff | pod/a | spec.containers{c} | kubelet, n | it fell | 60m | 3 | e",
        );
        check_row(
            &EVENT,
            "{metadata: {name: e}, type: Normal, reason: R, involvedObject: {kind: Node}, \
             eventTime: '2026-01-01T11:59:00.5Z', reportingComponent: scheduler}",
            "60s | Normal | R | node |  | scheduler |  | 60s | 1 | e",
        );
    }
}
