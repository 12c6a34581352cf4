//! The structure of every built-in type: its fields, their types, and how they merge.
//!
//! The tables are made by `build.rs` and live in the binary's read-only data: looking something up allocates nothing.
//! Descriptions are kept compressed and unpacked only for OpenAPI, see [`Descriptions`].
//! Start at [`definition`] or [`of_kind`].

mod descriptions;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use descriptions::Descriptions;

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// One type: `io.k8s.api.core.v1.PodSpec`.
#[derive(Debug)]
pub struct Definition {
    /// Its name in OpenAPI documents.
    pub name: &'static str,
    /// Group, version and kind, if objects of this type stand alone.
    pub gvk: Option<Gvk>,
    /// The form of its JSON.
    pub shape: Shape,
    /// Whether apply owns it as a whole wherever it occurs (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Its fields by name; none unless the shape is [`Shape::Struct`].
    pub fields: &'static [Field],
    /// Its protobuf message by number; `None` for what has no such form.
    pub message: Option<&'static [Slot]>,
    /// Groups of fields of which one at most is set, as JSON text (`x-kubernetes-unions`), or empty.
    pub unions: &'static str,
    /// Where its texts begin in [`Descriptions`]: its own, then one per field.
    description: usize,
}

/// Group, version and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gvk {
    /// API group; empty for core.
    pub group: &'static str,
    /// `v1`
    pub version: &'static str,
    /// `Pod`
    pub kind: &'static str,
}

/// The form of a definition's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object with the definition's fields and no others.
    Struct,
    /// Any JSON, kept as it is.
    Json,
    /// `100m`, `1Gi`, 2
    Quantity,
    /// 80, `25%`
    IntOrString,
    /// RFC 3339 in whole seconds.
    Time,
    /// RFC 3339 in microseconds.
    MicroTime,
}

/// A field of a definition.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether upstream's types demand it.
    pub required: bool,
    /// Whether it is a pointer in upstream's types: then a struct can be absent, else it is always there.
    pub pointer: bool,
    /// How it merges.
    pub merge: Merge,
    /// The values that it, each of its items, or each value of its map may have; empty if any.
    pub choices: &'static [&'static str],
    /// Its declared default as JSON text; `-` for none at all, empty for what its type has.
    default: &'static str,
}

/// A numbered field of a protobuf message.
#[derive(Debug)]
pub struct Slot {
    /// Its number.
    pub number: u32,
    /// When it is written.
    pub presence: Presence,
    /// What it holds.
    pub content: Content,
}

/// What a numbered field holds.
#[derive(Debug)]
pub enum Content {
    /// The field at this index of [`Definition::fields`].
    Field(usize),
    /// The list at this index, in a message of its own.
    Items(usize),
    /// A message whose fields are the definition's own in JSON.
    Inline(&'static [Slot]),
}

/// When a field is written. Lists, maps and bytes are always written exactly when they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In protobuf always; in JSON unless it is zero.
    Plain,
    /// Always.
    Shown,
    /// When it is there, zero or not.
    Pointer,
}

/// The type of a field, of a list's items or of a map's values.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// One plain value.
    Scalar(Scalar),
    /// A definition.
    Ref(&'static Definition),
    /// `[]`
    List(&'static Type),
    /// `{}` with free keys.
    Map(&'static Type),
}

/// A plain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Base64 text.
    Bytes,
    /// `true`, `false`
    Boolean,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 64-bit floating point.
    Double,
}

/// How a field merges: `list` and `map` are for apply, `strategy` and `merge_key` for strategic merge patches.
#[derive(Clone, Copy, Debug)]
pub struct Merge {
    /// `x-kubernetes-list-type` with its keys; `None` merges as atomic.
    pub list: Option<List>,
    /// `x-kubernetes-patch-strategy`: `merge`, `retainKeys`, both with a comma, `replace`, or empty.
    pub strategy: &'static str,
    /// `x-kubernetes-patch-merge-key`, or empty.
    pub merge_key: &'static str,
    /// `x-kubernetes-map-type`: `atomic`, `granular` or empty.
    pub map: &'static str,
}

/// How apply merges a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// As one value.
    Atomic,
    /// Item by item; items are scalars and unique.
    Set,
    /// Item by item; items are objects that these fields tell apart.
    Map(&'static [&'static str]),
}

impl Merge {
    const PLAIN: Self = Self { list: None, strategy: "", merge_key: "", map: "" };

    /// Whether a strategic merge patch merges this list instead of replacing it.
    pub fn patch_merges(&self) -> bool {
        self.strategy.split(',').any(|word| word == "merge")
    }

    /// Whether a strategic merge patch replaces this object or list even without saying so.
    pub fn patch_replaces(&self) -> bool {
        self.strategy == "replace"
    }
}

impl Definition {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().map(|index| &self.fields[index])
    }

    /// The Go name of the type: `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

impl Field {
    /// The value that upstream's schema gives a missing field: the declared default, else the zero of a required scalar
    /// and of a struct that is always there.
    pub fn default(&self) -> Option<serde_json::Value> {
        if !self.default.is_empty() {
            return serde_json::from_str(self.default).ok();
        }
        match self.ty {
            Type::Scalar(Scalar::Bytes) => None,
            Type::Scalar(scalar) if self.required && !self.pointer => Some(scalar.zero()),
            Type::Ref(Definition { shape: Shape::Struct, .. }) if !self.pointer => Some(serde_json::json!({})),
            _ => None,
        }
    }
}

impl Scalar {
    /// Go's zero value.
    pub fn zero(self) -> serde_json::Value {
        match self {
            Self::String | Self::Bytes => "".into(),
            Self::Boolean => false.into(),
            Self::Int32 | Self::Int64 | Self::Double => 0.into(),
        }
    }
}

/// The definition of this name: `io.k8s.api.core.v1.Pod`.
pub fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|index| DEFINITIONS[index])
}

/// The definition of this group, version and kind.
pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    static BY_KIND: LazyLock<HashMap<[&str; 3], &Definition>> = LazyLock::new(|| {
        let kinds = DEFINITIONS.iter().filter_map(|definition| Some((definition.gvk?, *definition)));
        kinds.map(|(Gvk { group, version, kind }, definition)| ([group, version, kind], definition)).collect()
    });
    BY_KIND.get(&[group, version, kind]).copied()
}

/// Every definition, by name.
pub fn all() -> &'static [&'static Definition] {
    DEFINITIONS
}

#[cfg(test)]
mod tests;
