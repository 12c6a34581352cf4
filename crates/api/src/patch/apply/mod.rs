//! Server-side apply, and the account of who owns which field that it needs.
//!
//! An object's `metadata.managedFields` says for every manager which fields it owns. [`apply`] merges a manager's
//! configuration into the object: fields that others own and that would change are conflicts, unless forced; fields the
//! manager applied before and left out now go away, unless someone else owns them. [`track_update`] gives the fields
//! that any other write changed to the writer. Defaults, validation and the store are not known here.

mod check;
mod compare;
mod last_applied;
mod managers;
mod merge;
mod owned;
mod place;
mod remove;
mod set;

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::model::Model;
use crate::status::{Cause, Status};
use managers::{Entry, Operation};
use place::Place;
use set::Set;

/// The manager that owns what was there before anyone applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields that nobody owns.
const UNOWNED: [&str; 11] = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// One write: who writes what when.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// Name of the field manager.
    pub manager: &'a str,
    /// The subresource that is written through (`status`, `scale`), or empty.
    pub subresource: &'a str,
    /// Fields that this path resets and that are therefore not won by it, as dotted paths: `status`.
    pub reset: &'a [&'a str],
    /// The time of the write.
    pub now: Timestamp,
    /// The type of the object.
    pub model: Model<'a>,
}

impl Write<'_> {
    fn place(&self) -> Place<'_> {
        Place::root(self.model)
    }

    fn api_version(&self) -> String {
        self.model.api_version()
    }

    fn entry(&self, operation: Operation, fields: Set) -> Entry {
        Entry {
            manager: self.manager.to_owned(),
            operation,
            subresource: self.subresource.to_owned(),
            api_version: self.api_version(),
            time: managers::time(self.now),
            fields,
        }
    }

    fn reset(&self) -> Set {
        Set::of(self.reset.iter().map(|path| fields_of(path)))
    }
}

fn fields_of(dotted: &str) -> Vec<String> {
    dotted.split('.').map(set::field).collect()
}

/// The account itself, which is never part of what is accounted for.
fn account() -> &'static Set {
    static SET: LazyLock<Set> = LazyLock::new(|| Set::of([fields_of("metadata.managedFields")]));
    &SET
}

fn unowned() -> &'static Set {
    static SET: LazyLock<Set> = LazyLock::new(|| Set::of(UNOWNED.map(fields_of)));
    &SET
}

/// Applies `config` to `live` (`None` when there is no such object yet). With `force`, fields of others are taken over.
///
/// Returns the whole object with its `managedFields`, not yet defaulted; `live` itself when nothing changes. Fails with 409
/// and a cause per field on conflicts, with 400 when the configuration does not fit the schema.
pub fn apply(live: Option<&Value>, config: &Value, force: bool, write: &Write<'_>) -> Result<Value, Status> {
    let config = &checked(config, write)?;
    let place = write.place();
    let bare_live = live.map_or_else(nothing, without_managed_fields);
    let mut entries = live.map(|live| entries_before_apply(live, &bare_live, write)).unwrap_or_default();

    let mut mine = write.entry(Operation::Apply, Set::default());
    // What nobody owns counts for now: it is in the configuration, and so it stays.
    mine.fields = owned::fields(config, place).without_trees(&write.reset());
    let previous = take(&mut entries, &mine);

    let merged = merge::merge(&bare_live, config, place);
    let pruned = prune(merged, previous.as_ref(), &mine, &entries, place);
    mine.fields = mine.fields.difference(unowned());
    let changes = compare::compare(&bare_live, &pruned, place).without(&write.reset());
    let lost = lose(&mut entries, &changes, write);
    if !force && !lost.is_empty() {
        return Err(conflict(&lost));
    }
    let mut object = pruned;
    last_applied::keep(&mut object, config, write.manager);
    let unchanged = object == bare_live && previous.as_ref().is_some_and(|entry| entry.fields == mine.fields);
    if let (true, Some(previous)) = (unchanged, previous) {
        mine.time = previous.time;
    }
    entries.push(mine);
    managers::encode(entries, &mut object);
    Ok(object)
}

/// `live` with `config` merged into it where nobody owns anything: for policies, whose changes belong to the writer.
///
/// What merges as a whole may not be named in part: the `Err` lists such places.
pub fn merged(live: &Value, config: &Value, model: Model<'_>) -> Result<Value, String> {
    let place = Place::root(model);
    if let [fault, ..] = check::faults(config, place).as_slice() {
        return Err(fault.clone());
    }
    let mut whole = Vec::new();
    places_of_wholes(config, place, String::new(), &mut whole);
    if !whole.is_empty() {
        return Err(format!("may not mutate atomic arrays, maps or structs: {}", whole.join(", ")));
    }
    Ok(merge::merge(live, config, place))
}

/// The paths in `config` of lists and objects that merge as a whole.
fn places_of_wholes(config: &Value, place: Place<'_>, path: String, found: &mut Vec<String>) {
    let grain = place.grain([Some(config), None]);
    match (grain, config) {
        (place::Grain::Whole, Value::Object(_) | Value::Array(_)) => found.push(path),
        (place::Grain::Whole | place::Grain::Set, _) => {}
        (_, Value::Object(fields)) => {
            fields.iter().for_each(|(name, value)| {
                places_of_wholes(value, place.field(name), format!("{path}.{name}"), found);
            });
        }
        (_, Value::Array(items)) => {
            items.iter().for_each(|item| places_of_wholes(item, place.item(), format!("{path}[]"), found));
        }
        _ => {}
    }
}

/// Accounts for a create, update or patch that turned `old` into `new`: what changed now belongs to the writer.
///
/// Objects that existed without any account stay without one until someone applies.
pub fn track_update(old: Option<&Value>, new: &mut Value, write: &Write<'_>) {
    let mut entries = entries_before_update(old, new, write);
    take_managed_fields(new);
    if old.is_some() && entries.is_empty() {
        return;
    }
    let changes = compare::compare(old.unwrap_or(&nothing()), new, write.place());
    let changes = changes.without(&write.reset()).without(account());
    lose(&mut entries, &changes, write);
    let won = changes.modified.union(&changes.added).difference(unowned());
    if !won.is_empty() {
        let mut mine = write.entry(Operation::Update, won);
        if let Some(previous) = take(&mut entries, &mine) {
            mine.fields = mine.fields.union(&previous.fields);
        }
        entries.push(mine);
    }
    managers::encode(entries, new);
}

/// The configuration in canonical form, or what is wrong with it.
fn checked(config: &Value, write: &Write<'_>) -> Result<Value, Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sent = type_name(&text(&config["apiVersion"]), &text(&config["kind"]));
    let own = type_name(&write.api_version(), write.model.kind());
    if sent != own {
        return Err(Status::bad_request(format!("invalid object type: {sent}")));
    }
    let metadata = &config["metadata"];
    if !place::is_empty(metadata.get("managedFields")) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let faults = match check::faults(config, write.place()).as_slice() {
        [] => write.model.canonical(config.clone()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    };
    faults.map_err(|faults| {
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        Status::bad_request(format!("failed to create typed patch object ({namespace}/{name}; {own}): {faults}"))
    })
}

/// A type as Go shows it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
fn type_name(api_version: &str, kind: &str) -> String {
    let core = if api_version.contains('/') { "" } else { "/" };
    format!("{core}{api_version}, Kind={kind}")
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    take_managed_fields(&mut object);
    object
}

fn take_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// The account of an object about to be applied to. If it has none, all that is there gets an owner to conflict with.
fn entries_before_apply(live: &Value, bare_live: &Value, write: &Write<'_>) -> Vec<Entry> {
    let entries = managers::decode(live).unwrap_or_default();
    if !entries.is_empty() {
        return entries;
    }
    let changes = compare::compare(&nothing(), bare_live, write.place());
    let fields = changes.modified.union(&changes.added).difference(unowned());
    let before = write.entry(Operation::Update, fields);
    vec![Entry { manager: BEFORE_FIRST_APPLY.to_owned(), subresource: String::new(), ..before }]
}

/// The account that a client sent along counts if it is readable, except through a subresource; else the old one does.
fn entries_before_update(old: Option<&Value>, new: &Value, write: &Write<'_>) -> Vec<Entry> {
    let of_old = || old.and_then(managers::decode).unwrap_or_default();
    if !write.subresource.is_empty() {
        return of_old();
    }
    if managers::is_reset(new) {
        return Vec::new();
    }
    managers::decode(new).filter(|entries| !entries.is_empty()).unwrap_or_else(of_old)
}

/// Takes the manager's entry out.
fn take(entries: &mut Vec<Entry>, mine: &Entry) -> Option<Entry> {
    let index = entries.iter().position(|entry| entry.is_same_manager(mine))?;
    Some(entries.remove(index))
}

/// Takes what changed from its owners. Returns each owner with the fields that were changed (not removed) under it.
fn lose(entries: &mut [Entry], changes: &compare::Comparison, write: &Write<'_>) -> Vec<(String, Set)> {
    let changed = changes.modified.union(&changes.added);
    let mut lost = Vec::new();
    for entry in entries.iter_mut().filter(|entry| write.model.shares_fields_with(&entry.api_version)) {
        let conflicts = entry.fields.intersection(&changed);
        entry.fields = entry.fields.difference(&conflicts).difference(&changes.removed);
        if !conflicts.is_empty() {
            lost.push((entry.show(), conflicts));
        }
    }
    lost.sort_by(|(a, _), (b, _)| a.cmp(b));
    lost
}

/// Removes from the merged object what the manager applied last time, left out this time, and nobody else owns.
fn prune(merged: Value, previous: Option<&Entry>, mine: &Entry, others: &[Entry], place: Place<'_>) -> Value {
    let Some(previous) = previous.filter(|entry| !entry.fields.is_empty()) else { return merged };
    // Whoever applies again all that it applied before leaves nothing out.
    if previous.fields.difference(&mine.fields).is_empty() {
        return merged;
    }
    let last = owned::with_structs(&previous.fields, place);
    let everything = owned::with_structs(&owned::fields(&merged, place), place);
    let left_after = |gone: &Set| remove::remove(merged.clone(), gone, place).unwrap_or_else(nothing);
    let remaining = |object: &Value| owned::with_structs(&owned::fields(object, place), place);

    let someones = others.iter().fold(mine.fields.clone(), |all, entry| all.union(&entry.fields));
    let someones = owned::with_structs(&someones, place);
    // First without all that was applied last time, then with what has an owner put back, then with what never was ours.
    let stripped = remaining(&left_after(&last));
    let owned_kept = remaining(&left_after(&everything.difference(&stripped.union(&someones))));
    left_after(&everything.difference(&owned_kept).intersection(&last))
}

fn conflict(lost: &[(String, Set)]) -> Status {
    let fields: Vec<(&str, String)> = lost
        .iter()
        .flat_map(|(manager, set)| set.paths().into_iter().map(|path| (manager.as_str(), set::show(&path))))
        .collect();
    let message = match fields.as_slice() {
        [(manager, field)] => format!("Apply failed with 1 conflict: conflict with {manager}: {field}"),
        many => {
            let mut lines = Vec::new();
            for (index, (manager, field)) in many.iter().enumerate() {
                if index == 0 || many[index - 1].0 != *manager {
                    lines.push(format!("conflicts with {manager}:"));
                }
                lines.push(format!("- {field}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |(manager, field): &(&str, String)| Cause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {manager}"),
        field: field.clone(),
    };
    let status = Status { code: 409, reason: "Conflict".to_owned(), message, details: None };
    status.with_causes(fields.iter().map(cause).collect())
}

#[cfg(test)]
mod tests;
