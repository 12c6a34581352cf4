//! Event (core): what happened to an object, kept for a while. [`EVENTS_EVENT`](super::EVENTS_EVENT) is another view
//! of the same objects.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};

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

impl Rules for EventRules {
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        selectable_fields(object)
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
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
