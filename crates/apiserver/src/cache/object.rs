//! One object as the cache holds it: encoded bytes that every reader shares, and the little that selectors ask for.
//!
//! The store holds an object without its `resourceVersion`, which only the write's revision gives. It is spliced in
//! once, here, right behind the opening brace of `metadata`: [`encode`] puts `kind`, `apiVersion` and `metadata`
//! first, so that brace is the second of the text.
//!
//! ```text
//! {"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7","name":...}}}\n
//!                          ^ start: the object             ^ members   ^ splice
//! ```
//!
//! An item of a list of a built-in type states no kind and no version. It is the same bytes from `members` on.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use sampan_api::kind::KindRef;
use sampan_store::{Entry, Revision};
use serde::de::IgnoredAny;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The kind of a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    /// The object is new to the watcher.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or no longer selected.
    Deleted,
}

impl EventType {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// An object, ready to be sent.
#[derive(Debug)]
pub(crate) struct Object {
    /// Namespace; empty for cluster scope.
    pub(crate) namespace: Box<str>,
    /// Name.
    pub(crate) name: Box<str>,
    /// The revision of its last write.
    pub(crate) revision: Revision,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its selectable fields besides name and namespace.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Whether its deletion has begun.
    pub(crate) deleting: bool,
    /// Whether it is in the form of another version than the kind's.
    pub(crate) foreign: bool,
    frame: Frame,
}

/// The watch event of an object, and where in it the object is.
#[derive(Debug, Default)]
struct Frame {
    bytes: Bytes,
    start: usize,
    members: usize,
}

/// What is asked of every object.
#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    namespace: Box<str>,
    name: Box<str>,
    labels: BTreeMap<String, String>,
    deletion_timestamp: Option<IgnoredAny>,
}

const FRAME_END: &[u8] = b"}\n";
const METADATA: &[u8] = b"\"metadata\":{";

impl Object {
    /// Takes an entry from the store. `kind` is the one whose form is stored. An error says what is wrong with the bytes.
    pub(crate) fn from_entry(kind: &KindRef, entry: &Entry, event: EventType) -> Result<Self, String> {
        if kind.custom().is_none() && kind.rules().selectable_names().is_empty() {
            return Self::from_head(entry, event);
        }
        let mut value: Value = serde_json::from_slice(&entry.value).map_err(|e| e.to_string())?;
        let refreshed = kind.custom().filter(|custom| custom.refresh_stored(&mut value)).map(|_| encode(&value));
        let foreign = kind.custom().is_some_and(|custom| !custom.is_form_of(&value));
        let frame = frame(event, refreshed.as_ref().unwrap_or(&entry.value), None, entry.modified)?;
        let meta = &value["metadata"];
        Ok(Self {
            namespace: meta["namespace"].as_str().unwrap_or_default().into(),
            name: meta["name"].as_str().unwrap_or_default().into(),
            revision: entry.modified,
            labels: labels(&value),
            fields: kind.rules().selectable_fields(&value),
            deleting: meta["deletionTimestamp"].is_string(),
            foreign,
            frame,
        })
    }

    /// Of a built-in kind without selectable fields nothing is asked but its metadata: the rest is not even decoded.
    fn from_head(entry: &Entry, event: EventType) -> Result<Self, String> {
        let Head { metadata } = serde_json::from_slice(&entry.value).map_err(|e| e.to_string())?;
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            revision: entry.modified,
            labels: metadata.labels,
            fields: Vec::new(),
            deleting: metadata.deletion_timestamp.is_some(),
            foreign: false,
            frame: frame(event, &entry.value, None, entry.modified)?,
        })
    }

    /// The same object in the form of `kind`, which is `value`.
    pub(crate) fn as_form(&self, kind: &KindRef, value: &Value) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            revision: self.revision,
            labels: labels(value),
            fields: kind.rules().selectable_fields(value),
            deleting: self.deleting,
            foreign: false,
            frame: frame(EventType::Modified, &encode(value), None, self.revision).unwrap_or_default(),
        }
    }

    /// The value of a selectable field besides name and namespace.
    pub(super) fn field(&self, name: &str) -> &str {
        value_of(name, &self.fields)
    }

    /// The object's JSON, `resourceVersion` included; shares the memory.
    pub(crate) fn json(&self) -> Bytes {
        self.behind(self.frame.start)
    }

    /// What is between the object's braces, its closing brace included, without `kind` and `apiVersion`; shares the
    /// memory.
    pub(crate) fn untyped_members(&self) -> Bytes {
        self.behind(self.frame.members)
    }

    fn behind(&self, place: usize) -> Bytes {
        self.frame.bytes.slice(place..self.frame.bytes.len().saturating_sub(FRAME_END.len()))
    }

    /// The bytes of its JSON.
    pub(crate) fn size(&self) -> u64 {
        self.frame.bytes.len().saturating_sub(self.frame.start + FRAME_END.len()) as u64
    }

    /// The object, decoded.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json()).unwrap_or(Value::Null)
    }

    /// The watch event of its last write; shares the memory.
    pub(crate) fn frame(&self) -> Bytes {
        self.frame.bytes.clone()
    }

    /// A watch event of another type about this object as it was at `revision`.
    pub(crate) fn frame_as(&self, event: EventType, revision: Revision) -> Bytes {
        let json = self.json();
        if revision == self.revision {
            return frame_of(event.as_str(), &json);
        }
        frame(event, &json, Some(self.revision), revision).unwrap_or_default().bytes
    }
}

/// The watch event of `event` with the object `json`.
pub(crate) fn frame_of(event: &str, json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 32);
    let _ = write!(out, "{{\"type\":\"{event}\",\"object\":");
    out.extend_from_slice(json);
    out.extend_from_slice(FRAME_END);
    out.into()
}

/// The event's frame with `revision` spliced into `json`, which holds `present` already or no revision.
fn frame(event: EventType, json: &[u8], present: Option<Revision>, revision: Revision) -> Result<Frame, String> {
    let brace = json.iter().skip(1).position(|b| *b == b'{').map(|at| at + 2).ok_or("the object has no metadata")?;
    let members = json[..brace].strip_suffix(METADATA).ok_or("the object does not begin as stored ones do")?.len();
    let skip = present.map_or(0, |present| version_field(present).len());
    let mut out = Vec::with_capacity(json.len() + 64);
    let _ = write!(out, "{{\"type\":\"{}\",\"object\":", event.as_str());
    let start = out.len();
    out.extend_from_slice(&json[..brace]);
    out.extend_from_slice(version_field(revision).as_bytes());
    out.extend_from_slice(&json[brace + skip..]);
    out.extend_from_slice(FRAME_END);
    Ok(Frame { bytes: out.into(), start, members: start + members })
}

fn version_field(revision: Revision) -> String {
    format!("\"resourceVersion\":\"{revision}\",")
}

/// The value of a selectable field; empty if it is not there.
pub(super) fn value_of<'f>(name: &str, fields: &'f [(&'static str, String)]) -> &'f str {
    fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
}

/// The labels of an object.
pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    let labels = value["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
}

/// The stored form of an object: no `resourceVersion`; `kind`, `apiVersion` and `metadata` first.
pub(crate) fn encode(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    // Writing a value to memory does not fail.
    let _ = serde_json::to_writer(&mut out, &Stored(value));
    out.into()
}

struct Stored<'v>(&'v Value);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value) = self;
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("kind", &value["kind"])?;
        fields.serialize_entry("apiVersion", &value["apiVersion"])?;
        fields.serialize_entry("metadata", &Unversioned(&value["metadata"]))?;
        for (name, field) in value.as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
                fields.serialize_entry(name, field)?;
            }
        }
        fields.end()
    }
}

/// Metadata without its `resourceVersion`.
struct Unversioned<'v>(&'v Value);

impl Serialize for Unversioned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().filter(|(name, _)| *name != "resourceVersion"))
            }
            other => other.serialize(serializer),
        }
    }
}
