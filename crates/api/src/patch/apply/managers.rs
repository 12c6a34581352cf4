//! `metadata.managedFields`: who owns which fields.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::set::Set;

/// Managers that update an object are kept apart up to this number; upstream's limit.
const MAX_UPDATERS: usize = 10;

/// The manager that the oldest updaters are folded into.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
    pub(super) api_version: String,
    /// As written, RFC 3339 in UTC, so that it sorts.
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Entry {
    /// Whether both are the same manager's: an applier's version may change.
    pub(super) fn is_same_manager(&self, other: &Self) -> bool {
        (&self.manager, self.operation, &self.subresource) == (&other.manager, other.operation, &other.subresource)
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The manager as conflicts name it: `"kubectl-edit" using apps/v1`.
    pub(super) fn show(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn decode(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if !matches!(entry["fieldsType"].as_str(), Some("FieldsV1")) || text("apiVersion").is_empty() {
            return None;
        }
        Some(Self {
            manager: text("manager"),
            operation,
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: entry["time"].as_str().map(str::to_owned),
            fields: match &entry["fieldsV1"] {
                Value::Null => Set::default(),
                fields => Set::decode(fields)?,
            },
        })
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.to_owned(), value.into());
            }
        };
        put("manager", &self.manager);
        put("operation", if self.operation == Operation::Apply { "Apply" } else { "Update" });
        put("apiVersion", &self.api_version);
        put("time", self.time.as_deref().unwrap_or_default());
        put("fieldsType", "FieldsV1");
        put("subresource", &self.subresource);
        entry.insert("fieldsV1".to_owned(), self.fields.encode());
        Value::Object(entry)
    }
}

/// The entries of an object; `None` when one of them cannot be read.
pub(super) fn decode(object: &Value) -> Option<Vec<Entry>> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().map(Entry::decode).collect()
}

/// Whether a client asks to forget all managers: `managedFields: [{}]`.
pub(super) fn is_reset(object: &Value) -> bool {
    matches!(object["metadata"]["managedFields"].as_array().map(Vec::as_slice),
        Some([Value::Object(entry)]) if entry.is_empty())
}

/// Writes the entries into an object, bounded and in upstream's order.
pub(super) fn encode(mut entries: Vec<Entry>, object: &mut Value) {
    entries.retain(|entry| !entry.fields.is_empty());
    fold_ancient(&mut entries);
    entries.sort_by(|a, b| {
        let [a, b] =
            [a, b].map(|entry| (entry.operation, &entry.time, &entry.manager, &entry.api_version, &entry.subresource));
        a.cmp(&b)
    });
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), entries.iter().map(Entry::encode).collect());
    }
}

/// Folds the updaters that wrote longest ago into one per version while there are too many of them.
fn fold_ancient(entries: &mut Vec<Entry>) {
    let (mut updaters, appliers): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(entries).into_iter().partition(|entry| entry.operation == Operation::Update);
    updaters.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
    let mut ancient: Vec<Entry> = Vec::new();
    let mut rest = updaters.into_iter();
    while rest.len() + ancient.len() > MAX_UPDATERS {
        let Some(oldest) = rest.next() else { break };
        match ancient.iter_mut().find(|entry| entry.api_version == oldest.api_version) {
            Some(entry) => {
                entry.fields = entry.fields.union(&oldest.fields);
                entry.time = oldest.time;
            }
            None => ancient.push(Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..oldest }),
        }
    }
    *entries = appliers;
    entries.extend(ancient);
    entries.extend(rest);
}

/// A time as entries carry it.
pub(super) fn time(now: Timestamp) -> Option<String> {
    Some(format!("{now:.0}"))
}
