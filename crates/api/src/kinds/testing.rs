//! Tables of tests over kinds: objects in YAML, what comes of them as text.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Error;
use crate::kind::Kind;
use crate::validation;

/// The time at which rows are made.
const NOW: &str = "2026-01-01T12:00:00Z";

/// An object from YAML.
pub(crate) fn object(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap_or_else(|error| panic!("{error} in {yaml}"))
}

/// An object as it is stored when it is created.
pub(crate) fn created(kind: &Kind, yaml: &str) -> Value {
    let mut object = object(yaml);
    kind.rules.default(&mut object);
    kind.rules.prepare_create(&mut object);
    object
}

/// Creating the object must find just these faults; none of them about its metadata.
#[track_caller]
pub(crate) fn check(kind: &Kind, yaml: &str, want: &[&str]) {
    let object = created(kind, yaml);
    let mut faults = kind.rules.validate(&object);
    faults.extend(kind.rules.validate_create(&object));
    assert_faults(&faults, want, yaml);
}

/// Creating the object must find just these faults in its metadata.
#[track_caller]
pub(crate) fn check_metadata(kind: &Kind, yaml: &str, want: &[&str]) {
    assert_faults(&validation::metadata(kind, &object(yaml)), want, yaml);
}

/// Changing the object from `old` to `new` must find just these faults.
#[track_caller]
pub(crate) fn check_update(kind: &Kind, old: &str, new: &str, want: &[&str]) {
    let (old, mut object) = (created(kind, old), object(new));
    kind.rules.default(&mut object);
    kind.rules.prepare_update(&mut object, &old);
    let mut faults = kind.rules.validate(&object);
    faults.extend(kind.rules.validate_update(&object, &old));
    assert_faults(&faults, want, new);
}

/// The object's row must read like this, cells separated by ` | `.
#[track_caller]
pub(crate) fn check_row(kind: &Kind, yaml: &str, want: &str) {
    let now: Timestamp = NOW.parse().expect("a time");
    let row = kind.rules.row(&object(yaml), now);
    assert_eq!(row.len(), kind.columns.len(), "a cell for every column");
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    assert_eq!(row.iter().map(cell).collect::<Vec<_>>().join(" | "), want, "{yaml}");
}

/// Defaults must make of the object this one.
#[track_caller]
pub(crate) fn check_defaults(kind: &Kind, yaml: &str, want: &str) {
    let mut got = object(yaml);
    kind.rules.default(&mut got);
    assert_eq!(got, object(want), "{yaml}");
}

#[track_caller]
fn assert_faults(faults: &[Error], want: &[&str], yaml: &str) {
    let got: Vec<String> = faults.iter().map(Error::to_string).collect();
    assert_eq!(got, want, "{yaml}");
}
